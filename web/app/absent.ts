/** Stands for what is not in the bundle because nothing asks for it (see vite.config.ts). */

export {};
