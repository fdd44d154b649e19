/** Debian's Chromium over the made-up town, for pictures and for tests of the interface. */

import type { PlaywrightTestConfig } from '@playwright/test';

const PORT = 4179;

export const base: PlaywrightTestConfig = {
  reporter: 'line',
  workers: 2,
  fullyParallel: true,
  timeout: 180_000,
  webServer: {
    command: `npx vite build --mode demo --logLevel warn && npx vite preview --mode demo --outDir dist-demo --port ${PORT} --strictPort`,
    cwd: new URL('../..', import.meta.url).pathname,
    url: `http://localhost:${PORT}/demo.html`,
    timeout: 120_000,
  },
  use: {
    baseURL: `http://localhost:${PORT}`,
    locale: 'en-GB',
    timezoneId: 'Europe/Berlin',
    launchOptions: {
      executablePath: '/usr/bin/chromium',
      args: ['--no-sandbox', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--font-render-hinting=none'],
    },
  },
};
