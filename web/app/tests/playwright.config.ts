/** Tests of the interface: `npm run interface`. */
import { defineConfig } from '@playwright/test';
import { base } from './base.ts';

export default defineConfig(base, { testDir: '.', testMatch: /interface\.spec\.ts/, outputDir: '../../test-results/interface' });
