import { defineConfig } from '@playwright/test';

// One at a time: each trial starts a network and browsers of its own, and judges what is heard.
export default defineConfig({
  testDir: 'trials',
  testMatch: '*.trial.ts',
  workers: 1,
  retries: 0,
  timeout: 240_000,
  expect: { timeout: 40_000 },
  reporter: [['list']],
  forbidOnly: true,
});
