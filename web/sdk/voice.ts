/**
 * The seam between calls and what makes sound: calls know keys and flows, the voice engine makes datagrams and plays them.
 */

import type { CallId, LegId } from './client.ts';

/** This device's attachment to a call. */
export interface OwnLeg {
  leg: LegId;
  /** Stands in front of each datagram sent; below 2^62. */
  flow: bigint;
  /** 16 bytes, the SFrame `base_key` (RFC 9605); key id 0. */
  key: Uint8Array;
}

/** Another device's attachment to a call. */
export interface PeerLeg {
  leg: LegId;
  flow: bigint;
  key: Uint8Array;
  /** Names the device, so that a leg attached anew takes the place of the one before. */
  device: string;
}

export interface VoiceQuality {
  lossOut: number;
  lossIn: number;
  concealed: number;
  playoutDelayMs: number;
  jitterMs: number;
  levelOut: number;
  levelIn: number;
  muted: boolean;
}

/** The sound of calls. */
export interface VoiceEngine {
  /** A call stands. `send` takes datagrams, whatever link they leave by. */
  start(call: CallId, own: OwnLeg, peers: PeerLeg[], send: (datagram: Uint8Array) => void): void;
  /** Send with this from now on. */
  handleOwnLeg(call: CallId, own: OwnLeg): void;
  /** Takes the place of any other leg of the same device. */
  handlePeerLeg(call: CallId, leg: PeerLeg): void;
  /** A datagram has come; passed over where its flow is not known. */
  handleDatagram(bytes: Uint8Array): void;
  setMuted(call: CallId, muted: boolean): void;
  quality(call: CallId): VoiceQuality | null;
  /** Milliseconds since a packet opened; for noticing a silent link. */
  silentMs(call: CallId): number;
  stop(call: CallId): void;
}
