/** Makes the pictures of every screen, in both widths and themes. */

import { mkdirSync } from 'node:fs';
import { test } from '@playwright/test';
import { address, scenes, sizes, themes } from './scenes.ts';

const everything = process.env['AHOY_PICTURES'];
const folder = everything ?? new URL('../../../docs/pictures/web', import.meta.url).pathname;

/** Those that the documentation shows. */
const chosen = new Set([
  'welcome-wide-light',
  'chats-narrow-light',
  'conversation-narrow-dark',
  'conversation-wide-light',
  'right-to-left-narrow-light',
  'group-about-wide-dark',
  'contacts-narrow-light',
  'compare-wide-light',
  'incoming-call-narrow-light',
  'call-narrow-dark',
  'call-wide-light',
  'settings-privacy-wide-dark',
]);
mkdirSync(folder, { recursive: true });

for (const size of sizes) {
  for (const theme of themes) {
    test(`pictures, ${size.name}, ${theme}`, async ({ browser }) => {
      test.setTimeout(240_000);
      const context = await browser.newContext({ viewport: { width: size.width, height: size.height }, hasTouch: size.hasTouch, isMobile: size.hasTouch, colorScheme: theme, reducedMotion: 'reduce' });
      const page = await context.newPage();
      for (const scene of scenes) {
        const name = `${scene.name}-${size.name}-${theme}`;
        if (everything === undefined && !chosen.has(name)) continue;
        await page.goto('about:blank');
        await page.goto(address(scene));
        await page.locator('#main, .aboard').first().waitFor();
        await page.waitForTimeout(scene.scene === 'offline' ? 1_800 : 160);
        for (const label of scene.press ?? []) await page.getByRole('button', { name: label, exact: false }).first().click();
        await page.screenshot({ path: `${folder}/${name}.png`, animations: 'disabled' });
      }
      await context.close();
    });
  }
}
