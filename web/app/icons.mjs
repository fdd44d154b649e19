// Draws the icons of the installed app from icon.svg: `node app/icons.mjs`, in Debian's Chromium. Their result is committed.
import { readFile, writeFile } from 'node:fs/promises';
import { chromium } from '@playwright/test';

const folder = new URL('../public/', import.meta.url);
const svg = await readFile(new URL('icon.svg', folder), 'utf8');
// Launchers cut maskable icons to their own shape: the ground reaches to the edge, and what matters lies within the middle 80 %.
const ground = svg.replace(/rx="116"/, '').replace(/c0 64-52 116-116 116H116C52 512 0 460 0 396z/, 'v116H0z').replace(/c-12 50-58 88-112 88H116C60 512 13 474 0 424z/, 'v88H0z');

const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
const page = await browser.newPage();
for (const [name, size, source] of [
  ['icon-180', 180, ground],
  ['icon-192', 192, svg],
  ['icon-512', 512, svg],
  ['icon-maskable-512', 512, ground],
]) {
  await page.setViewportSize({ width: size, height: size });
  await page.setContent(`<style>*{margin:0;background:none}svg{display:block;width:${size}px;height:${size}px}</style>${source}`);
  await writeFile(new URL(`${name}.png`, folder), await page.screenshot({ omitBackground: true }));
}
await browser.close();
