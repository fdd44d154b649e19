// Lays a brotli and a gzip form beside every file of the bundle that text makes small, so that ahoyd packs nothing while it serves.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const dist = new URL('./dist/', import.meta.url);
const names = (await readdir(dist, { recursive: true })).filter((name) => /\.(html|js|css|svg|wasm|webmanifest)$/.test(name));
let total = 0;
for (const name of names) {
  const bytes = await readFile(new URL(name, dist));
  const gzip = gzipSync(bytes, { level: 9 });
  await writeFile(new URL(`${name}.gz`, dist), gzip);
  await writeFile(new URL(`${name}.br`, dist), brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }));
  if (name.endsWith('.js')) total += gzip.length;
}
console.log(`script, gzip: ${(total / 1024).toFixed(1)} KB in ${names.filter((name) => name.endsWith('.js')).length} files`);
