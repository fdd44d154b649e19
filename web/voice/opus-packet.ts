/**
 * The outside of Opus packets (RFC 6716, section 3), as far as we must know it: a decoder of a browser closes itself over a packet that is
 * malformed, and a packet of another length than 20 ms would move the time of all that follow.
 */

/** Largest Opus frame, in bytes. */
const FRAME_BYTES_MAX = 1_275;

/** Units of 2.5 ms in 20 ms. */
const UNITS_20_MS = 8;

/** Whether `packet` is one well-formed Opus packet that decodes to exactly 20 ms. */
export function is20MsPacket(packet: Uint8Array): boolean {
  const toc = packet[0];
  if (toc === undefined || packet.length > FRAME_BYTES_MAX) return false;
  const units = unitsOf(toc >> 3);
  switch (toc & 0b11) {
    case 0:
      return units === UNITS_20_MS;
    case 1:
      return units * 2 === UNITS_20_MS && packet.length % 2 === 1;
    case 2:
      return units * 2 === UNITS_20_MS && frameLength(packet, 1, packet.length) !== null;
    default:
      return isWhole(packet, units);
  }
}

/** The packet that makes a decoder conceal: its frame is lost, of the mode of the packet before. */
export function lostPacket(toc: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(toc & 0xfc);
}

/** Whether a packet is SILK at 8 kHz of bandwidth, what we want of an encoder. */
export function isSilkWideband(packet: Uint8Array): boolean {
  const configuration = (packet[0] ?? 0xff) >> 3;
  return configuration >= 8 && configuration < 12;
}

/** Length of each frame of a configuration, in units of 2.5 ms. */
function unitsOf(configuration: number): number {
  if (configuration < 12) return [4, 8, 16, 24][configuration & 3] ?? 0;
  if (configuration < 16) return [4, 8][configuration & 1] ?? 0;
  return 1 << (configuration & 3);
}

/** Checks a packet of any number of frames, perhaps padded. */
function isWhole(packet: Uint8Array, units: number): boolean {
  const head = packet[1];
  if (head === undefined) return false;
  const count = head & 0x3f;
  if (count * units !== UNITS_20_MS) return false;
  let at = 2;
  let padding = 0;
  if ((head & 0x40) !== 0) {
    let octet: number | undefined;
    do {
      octet = packet[at];
      if (octet === undefined) return false;
      at += 1;
      padding += octet === 255 ? 254 : octet;
    } while (octet === 255);
  }
  const end = packet.length - padding;
  if (end < at) return false;
  if ((head & 0x80) === 0) return (end - at) % count === 0;
  for (let frame = 1; frame < count; frame += 1) {
    const length = frameLength(packet, at, end);
    if (length === null) return false;
    at += length;
  }
  return at <= end;
}

/** Bytes that a frame takes with its length in front, at `at`; `null` where it reaches past `end`. */
function frameLength(packet: Uint8Array, at: number, end: number): number | null {
  const first = packet[at];
  if (first === undefined || at >= end) return null;
  const long = first >= 252;
  const length = long ? first + (packet[at + 1] ?? 0) * 4 : first;
  const whole = length + (long ? 2 : 1);
  return at + whole <= end ? whole : null;
}
