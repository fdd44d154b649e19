/** How the page, its worker and its service worker become `dist/`; `--mode demo` builds the made-up town instead, into `dist-demo/`. */
import { readFileSync } from 'node:fs';
import preact from '@preact/preset-vite';
import { defineConfig } from 'vitest/config';

const absent = new URL('app/absent.ts', import.meta.url).pathname;

/** What ahoyd sends with the page (crates/ahoyd/src/web.rs), so that pictures and tests of the interface keep to it too. */
const policy = `${readFileSync(new URL('content-security-policy.txt', import.meta.url), 'utf8').trim()}; connect-src 'self'`;

export default defineConfig(({ mode, command }) => ({
  // ts-mls would load these for cipher suites that no version of the protocol has.
  resolve: { alias: command === 'build' ? { '@noble/curves/ed448.js': absent, '@noble/curves/nist.js': absent } : {} },
  plugins: [preact({ devToolsEnabled: false, prefreshEnabled: false })],
  preview: { headers: { 'content-security-policy': policy } },
  worker: { format: 'es' },
  build: {
    outDir: mode === 'demo' ? 'dist-demo' : 'dist',
    target: 'es2023',
    // The policy allows `data:` for pictures only, and small files cost nothing on one connection.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
    rollupOptions: {
      input: mode === 'demo' ? { demo: 'demo.html' } : { index: 'index.html', sw: 'app/sw.ts' },
      output: { entryFileNames: (chunk) => (chunk.name === 'sw' ? 'sw.js' : 'assets/[name]-[hash].js') },
    },
  },
  // Most take milliseconds; those with real cryptography and a busy machine may take their time. All cores: by itself Vitest leaves one idle.
  test: { include: ['app/**/*.test.ts', 'sdk/**/*.test.ts', 'voice/**/*.test.ts'], testTimeout: 60_000, hookTimeout: 60_000, maxWorkers: '100%' },
}));
