/** Samples as text, to cross between the bench's page and Node. */

/** 16 bit, little-endian, in base64. */
export function encodePcm(samples: Float32Array): string {
  const bytes = new DataView(new ArrayBuffer(samples.length * 2));
  for (const [at, sample] of samples.entries()) bytes.setInt16(at * 2, Math.max(-32_768, Math.min(32_767, sample * 32_767)), true);
  const octets = new Uint8Array(bytes.buffer);
  let text = '';
  for (let from = 0; from < octets.length; from += 8_192) text += String.fromCharCode(...octets.subarray(from, from + 8_192));
  return btoa(text);
}

export function decodePcm(text: string): Float32Array<ArrayBuffer> {
  const octets = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const bytes = new DataView(octets.buffer);
  return Float32Array.from({ length: octets.length / 2 }, (_, at) => bytes.getInt16(at * 2, true) / 32_768);
}
