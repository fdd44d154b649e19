/** Pictures and tests of the interface, over the made-up town in Debian's Chromium. */
import { defineConfig } from '@playwright/test';

const PORT = 4179;

export default defineConfig({
  testDir: 'app/tests',
  testMatch: process.env['AHOY_PICTURES'] === undefined ? /interface\.spec\.ts/ : /pictures\.spec\.ts/,
  outputDir: 'test-results/interface',
  reporter: 'line',
  workers: 1,
  timeout: 30_000,
  webServer: {
    command: `npx vite build --mode demo --logLevel warn && npx vite preview --mode demo --outDir dist-demo --port ${PORT} --strictPort`,
    url: `http://localhost:${PORT}/demo.html`,
    timeout: 120_000,
    reuseExistingServer: true,
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
});
