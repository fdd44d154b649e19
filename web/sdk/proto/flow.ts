/** Flow ids in front of voice datagrams: QUIC variable-length integers (RFC 9000, section 16; docs/protocol.md, section 8.3). */

/** A flow id is below this. */
const FLOW_END = 1n << 62n;

/** Throws where the number is no flow id. */
export function encodeFlow(flow: bigint): Uint8Array<ArrayBuffer> {
  if (flow < 0n || flow >= FLOW_END) throw new RangeError('a flow id has 62 bits');
  const exponent = flow < 1n << 6n ? 0 : flow < 1n << 14n ? 1 : flow < 1n << 30n ? 2 : 3;
  const bytes = new Uint8Array(1 << exponent);
  let rest = flow;
  for (let at = bytes.length - 1; at >= 0; at -= 1) {
    bytes[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  bytes[0] = (bytes[0] ?? 0) | (exponent << 6);
  return bytes;
}

/** The flow id that a datagram begins with, and how many bytes it takes; `null` where it is cut off. */
export function decodeFlow(datagram: Uint8Array): { flow: bigint; length: number } | null {
  const [first] = datagram;
  if (first === undefined) return null;
  const length = 1 << (first >> 6);
  if (datagram.length < length) return null;
  let flow = BigInt(first & 0x3f);
  for (let at = 1; at < length; at += 1) flow = (flow << 8n) | BigInt(datagram[at] ?? 0);
  return { flow, length };
}
