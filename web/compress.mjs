// Lays a brotli and a gzip form beside every file of the bundle that text makes small, so that ahoyd packs nothing while it serves.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const dist = new URL('./dist/', import.meta.url);

/** Bytes of script, packed by gzip, that a first visit may cost; the codec that browsers without their own need counts apart. */
const SCRIPT_MAX = 350 * 1024;

const names = (await readdir(dist, { recursive: true })).filter((name) => /\.(html|js|css|svg|wasm|webmanifest)$/.test(name));
const script = { page: 0, codec: 0 };
for (const name of names) {
  const bytes = await readFile(new URL(name, dist));
  const gzip = gzipSync(bytes, { level: 9 });
  await writeFile(new URL(`${name}.gz`, dist), gzip);
  await writeFile(new URL(`${name}.br`, dist), brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }));
  if (name.endsWith('.js')) script[bytes.includes('libopus') ? 'codec' : 'page'] += gzip.length;
}
const kilobytes = (bytes) => `${(bytes / 1024).toFixed(1)} KB`;
console.log(`script by gzip: ${kilobytes(script.page)}, and ${kilobytes(script.codec)} of a codec where the browser has none`);
if (script.page > SCRIPT_MAX || script.codec === 0) {
  console.error(`script is to be at most ${kilobytes(SCRIPT_MAX)}, with the codec in a file of its own`);
  process.exit(1);
}
