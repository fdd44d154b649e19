/** Makes the pictures of every screen, in both widths and themes. */

import { mkdirSync } from 'node:fs';
import { test } from '@playwright/test';
import { address, scenes, sizes, themes } from './scenes.ts';

const folder = process.env['AHOY_PICTURES'] ?? '../docs/pictures/web';
const only = process.env['AHOY_SCENES']?.split(',');
mkdirSync(folder, { recursive: true });

for (const size of sizes) {
  for (const theme of themes) {
    test(`pictures, ${size.name}, ${theme}`, async ({ browser }) => {
      test.setTimeout(240_000);
      const context = await browser.newContext({ viewport: { width: size.width, height: size.height }, hasTouch: size.hasTouch, isMobile: size.hasTouch, colorScheme: theme, reducedMotion: 'reduce' });
      const page = await context.newPage();
      for (const scene of scenes.filter((other) => only === undefined || only.includes(other.name))) {
        await page.goto('about:blank');
        await page.goto(address(scene));
        await page.locator('#main, .aboard').first().waitFor();
        await page.waitForTimeout(scene.scene === 'offline' ? 1_800 : 160);
        for (const label of scene.press ?? []) await page.getByRole('button', { name: label, exact: false }).first().click();
        await page.screenshot({ path: `${folder}/${scene.name}-${size.name}-${theme}.png`, animations: 'disabled' });
      }
      await context.close();
    });
  }
}
