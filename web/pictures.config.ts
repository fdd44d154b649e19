/** Pictures of the interface for the documentation: `npm run pictures`; with `AHOY_PICTURES=FOLDER` all of them, into that folder. */
import { defineConfig } from '@playwright/test';
import { base } from './app/tests/base.ts';

export default defineConfig(base, { testDir: 'app/tests', testMatch: /pictures\.spec\.ts/, outputDir: 'test-results/pictures' });
