/** The interface over the made-up town: by keyboard alone, for assistive technology, on a phone. */

import AxeBuilder from '@axe-core/playwright';
import { expect, test, type Page } from '@playwright/test';
import { address, c, scenes, sizes } from './scenes.ts';

/** Anything that the policy of the page forbids, or that the interface throws, fails the test. */
const broken = new WeakMap<Page, string[]>();

test.beforeEach(({ page }) => {
  const said: string[] = [];
  broken.set(page, said);
  page.on('pageerror', (error) => said.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') said.push(message.text());
  });
});

test.afterEach(({ page }) => {
  expect(broken.get(page)).toEqual([]);
});

async function open(page: Page, hash: string, scene = '') {
  await page.goto('about:blank');
  await page.goto(`/demo.html?scene=${scene}${hash}`);
  await page.locator('#main').waitFor({ state: 'attached' });
  await page.waitForTimeout(120);
}

const background = (page: Page) => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);

/** The legacy mode is for pages without frames of other origins, as ours is: it opens no page more for each look. */
const axe = (page: Page) => new AxeBuilder({ page }).setLegacyMode();

/** The rules of axe that look at colours: all that a theme changes. */
const COLOURS = ['color-contrast', 'link-in-text-block'];

for (const size of sizes) {
  test(`axe finds nothing on any screen in either theme: ${size.name}`, async ({ page }) => {
    test.setTimeout(360_000);
    await page.setViewportSize({ width: size.width, height: size.height });
    await page.emulateMedia({ reducedMotion: 'reduce' });
    const found: string[] = [];
    for (const scene of scenes) {
      await page.emulateMedia({ colorScheme: 'light' });
      await page.goto('about:blank');
      await page.goto(address(scene));
      await page.locator('#main').waitFor({ state: 'attached' });
      await page.waitForTimeout(150);
      for (const label of scene.press ?? []) await page.getByRole('button', { name: label }).first().click();
      const light = await background(page);
      const all = await axe(page).withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']).analyze();
      await page.emulateMedia({ colorScheme: 'dark' });
      await expect.poll(() => background(page)).not.toBe(light);
      const dark = await axe(page).withRules(COLOURS).analyze();
      for (const { id, nodes } of [...all.violations, ...dark.violations]) found.push(`${scene.name}: ${id}: ${nodes.map((node) => node.target.join(' ')).slice(0, 3).join(' | ')}`);
    }
    expect(found).toEqual([]);
  });
}

test.describe('by keyboard alone', () => {
  test('a conversation is found, answered and left', async ({ page }) => {
    await open(page, '#/');
    await page.keyboard.press('Control+k');
    await page.keyboard.type('carol');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await expect(page.getByRole('textbox', { name: 'Write to carol' })).toBeFocused();
    await page.keyboard.type('Good winds');
    await page.keyboard.press('Shift+Enter');
    await page.keyboard.type('to you too!');
    await page.keyboard.press('Enter');
    await expect(page.getByRole('article').last()).toContainText('to you too!');
    await expect(page.getByRole('textbox', { name: 'Write to carol' })).toHaveValue('');
    await page.keyboard.press('Escape');
    await expect(page.getByRole('link', { name: /carol/ })).toBeFocused();
  });

  test('a message is replied to, reacted to, changed and taken back', async ({ page }) => {
    await open(page, `#/c/${c(1)}`);
    const composer = page.getByRole('textbox', { name: 'Write to bob' });
    await expect(composer).toBeFocused();
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('e');
    await expect(composer).toHaveValue(/route/);
    await page.keyboard.press('Control+a');
    await page.keyboard.type('Call me.');
    await page.keyboard.press('Enter');
    const last = page.getByRole('article').last();
    await expect(last).toContainText('Call me.');
    await expect(last).toContainText('edited');
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('+');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('Enter');
    await expect(last.getByRole('button', { name: /by You/ })).toBeVisible();
    await expect(last).toBeFocused();
    await page.keyboard.press('r');
    await expect(page.getByText('Reply to You')).toBeVisible();
    await page.keyboard.press('Escape');
    await expect(page.getByText('Reply to You')).toBeHidden();
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('x');
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).focus();
    await page.keyboard.press('Enter');
    await expect(last).toContainText('This message was deleted');
  });

  test('the overview opens with ?, and no letter does anything while one writes', async ({ page }) => {
    await open(page, '#/contacts');
    await page.keyboard.press('?');
    await expect(page.getByRole('dialog', { name: 'Keyboard' })).toBeVisible();
    await page.keyboard.press('Escape');
    await expect(page.getByRole('dialog')).toBeHidden();
    await open(page, `#/c/${c(1)}`);
    await page.keyboard.type('?xr+');
    await expect(page.getByRole('dialog')).toBeHidden();
    await expect(page.getByRole('textbox', { name: 'Write to bob' })).toHaveValue('?xr+');
  });

  test('a call is answered, muted and ended without leaving the text', async ({ page }) => {
    await open(page, `#/c/${c(2)}`, 'incoming');
    await expect(page.getByRole('alert', { name: 'bob calls you' })).toBeVisible();
    await page.keyboard.type('yes');
    await expect(page.getByRole('alert', { name: 'bob calls you' })).toBeVisible();
    await page.keyboard.press('Alt+y');
    await expect(page.getByText('End-to-end encrypted')).toBeVisible();
    await page.keyboard.press('Alt+m');
    await expect(page.getByRole('button', { name: 'Unmute' })).toHaveAttribute('aria-pressed', 'true');
    await page.keyboard.press('Alt+h');
    await expect(page.getByText('Call ended')).toBeVisible();
  });

  test('a menu walks, closes and gives the focus back', async ({ page }) => {
    await open(page, '#/');
    const button = page.getByRole('button', { name: 'New chat or group' });
    await button.focus();
    await page.keyboard.press('Enter');
    await expect(page.getByRole('menuitem', { name: 'Write to somebody' })).toBeFocused();
    await page.keyboard.press('ArrowDown');
    await expect(page.getByRole('menuitem', { name: 'New group' })).toBeFocused();
    await page.keyboard.press('Escape');
    await expect(button).toBeFocused();
  });

  test('everything that has the focus shows it', async ({ page }) => {
    await open(page, '#/');
    for (let press = 0; press < 20; press += 1) {
      await page.keyboard.press('Tab');
      const outline = await page.evaluate(() => {
        const style = getComputedStyle(document.activeElement ?? document.body);
        return document.activeElement === document.body ? 'none at all' : style.outlineStyle;
      });
      expect(outline).not.toBe('none');
    }
  });
});

test.describe('on a phone', () => {
  test.use({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });

  test('the back button leads from details to the conversation to the list', async ({ page }) => {
    await open(page, '#/');
    await page.getByRole('link', { name: /Crew of the Albatross/ }).tap();
    await expect(page.getByRole('log')).toBeVisible();
    await page.getByRole('button', { name: 'About this conversation' }).tap();
    await expect(page.getByRole('heading', { name: 'Members' })).toBeVisible();
    await page.goBack();
    await expect(page.getByRole('log')).toBeVisible();
    await page.goBack();
    await expect(page.getByRole('heading', { name: 'Chats' })).toBeVisible();
  });

  test('the arrow leads up where a deep link was opened', async ({ page }) => {
    await open(page, `#/c/${c(1)}/about`);
    await page.getByRole('button', { name: 'Back' }).last().tap();
    await expect(page.getByRole('log')).toBeVisible();
    await page.getByRole('button', { name: 'Back' }).first().tap();
    await expect(page.getByRole('heading', { name: 'Chats' })).toBeVisible();
  });

  test('nothing is wider than the screen, whatever the names and words', async ({ page }) => {
    for (const scene of scenes) {
      await page.goto('about:blank');
      await page.goto(address(scene));
      await page.locator('#main').waitFor({ state: 'attached' });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      expect(wide, scene.name).toBeLessThanOrEqual(0);
      const out = await page.evaluate(() =>
        [...document.querySelectorAll<HTMLElement>('.pane *, .list-pane *, .incoming *, dialog *')]
          .filter((element) => element.checkVisibility() && !element.closest('.unseen, .one-line, svg, .switch') && element.getBoundingClientRect().right > innerWidth + 1)
          .map((element) => element.className || element.tagName),
      );
      expect(out, scene.name).toEqual([]);
    }
  });

  test('what a finger presses is large enough', async ({ page }) => {
    for (const hash of ['#/', `#/c/${c(2)}`, '#/contacts', '#/settings/privacy']) {
      await open(page, hash);
      const small = await page.evaluate(() =>
        [...document.querySelectorAll<HTMLElement>('button, a.row, a.place, input:not([type=checkbox], [type=radio]), select')]
          .filter((element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !element.matches('.reaction, .quote, .message-tools *, .link'))
          .filter((element) => Math.min(element.getBoundingClientRect().width, element.getBoundingClientRect().height) < 36)
          .map((element) => element.outerHTML.slice(0, 80)),
      );
      expect(small, hash).toEqual([]);
    }
  });
});

test.describe('a long conversation', () => {
  test('loads upwards without a jump, and never holds more rows than a window of them', async ({ page }) => {
    await open(page, `#/c/${c(6)}`);
    const log = page.getByRole('log');
    await expect(page.getByText('On my way to pontoon C.').last()).toBeVisible();
    for (let round = 0; round < 12; round += 1) {
      const before = await log.evaluate((box) => {
        box.scrollTop = Math.max(0, box.scrollTop - 900);
        return 0;
      });
      expect(before).toBe(0);
      await page.waitForTimeout(60);
      const kept = await log.evaluate(async (box) => {
        const middle = [...box.querySelectorAll<HTMLElement>('[data-message]')].find((row) => row.getBoundingClientRect().top > box.getBoundingClientRect().top + 100);
        const top = middle?.getBoundingClientRect().top ?? 0;
        await new Promise((resolve) => setTimeout(resolve, 80));
        return { moved: middle?.isConnected === true ? Math.abs(middle.getBoundingClientRect().top - top) : -1, rows: box.querySelectorAll('[data-key]').length };
      });
      expect(kept.moved).toBeGreaterThanOrEqual(0);
      expect(kept.moved).toBeLessThan(2);
      expect(kept.rows).toBeLessThanOrEqual(240);
    }
    await page.getByRole('button', { name: 'To the newest message' }).click();
    await expect(page.getByText('On my way to pontoon C.').last()).toBeInViewport();
  });

  test('a message that answers leads to the one that it answers', async ({ page }) => {
    await open(page, `#/c/${c(1)}`);
    await page.getByRole('button', { name: /bob Do we still sail/ }).click();
    await expect(page.getByRole('article', { name: /Do we still sail/ }).first()).toBeFocused();
  });
});

test('text of others is never markup, and only web links open', async ({ page }) => {
  await open(page, `#/c/${c(1)}`);
  await page.keyboard.type('<img src=x onerror=alert(1)> javascript:alert(1) https://example.org/a?b=<c> http://user:secret@example.org/');
  await page.keyboard.press('Enter');
  const last = page.getByRole('article').last();
  await expect(last).toContainText('<img src=x onerror=alert(1)>');
  await expect(last.locator('img')).toHaveCount(0);
  await expect(last.getByRole('link')).toHaveCount(1);
  const link = last.getByRole('link');
  await expect(link).toHaveAttribute('href', 'https://example.org/a?b=');
  await expect(link).toHaveAttribute('rel', 'noopener noreferrer nofollow');
});

test('sign-up shows the recovery code, and nobody goes on without having written it down', async ({ page }) => {
  await open(page, '', 'welcome');
  await page.getByRole('textbox', { name: 'Name' }).fill('Eve!');
  await page.getByLabel('Password', { exact: true }).fill('short');
  await page.getByRole('button', { name: 'Make an account' }).click();
  await expect(page.getByRole('alert').first()).toContainText('3 to 32');
  await page.getByRole('textbox', { name: 'Name' }).fill('eve.k');
  await page.getByLabel('Password', { exact: true }).fill('four calm words afloat');
  await expect(page.getByText('Strong: nobody guesses this.')).toBeVisible();
  await page.getByRole('button', { name: 'Make an account' }).click();
  await expect(page.getByRole('heading', { name: 'Write this down' })).toBeVisible();
  await expect(page.getByRole('button', { name: 'Come aboard' })).toBeDisabled();
  await page.getByRole('checkbox', { name: 'I have written it down' }).check();
  await page.getByRole('button', { name: 'Come aboard' }).click();
  await expect(page.getByRole('heading', { name: 'Chats' })).toBeVisible();
});
