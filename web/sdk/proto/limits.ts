/** The bounds of docs/protocol.md, section 5, as far as a client keeps to them or holds its supernode to them. Bytes and milliseconds. */

/** The protocol version spoken here. */
export const PROTOCOL_VERSION = 1;

/** Longest message on the stream before the proof: a certificate and a credential are below 1 KiB each. */
export const UNPROVEN_MESSAGE_MAX = 4 * 1024;

/** Longest message on the stream. */
export const MESSAGE_MAX = 64 * 1024;

/** Longest message put together from fragments: GroupInfo and Welcome of a group of 2,048 devices at some 500 bytes each, twice. */
export const LARGE_MESSAGE_MAX = 9 * 256 * 1024;

/** Unanswered requests of a session; one more closes the link. */
export const REQUESTS_IN_FLIGHT_MAX = 32;

export const DATAGRAM_MAX = 1_100;

/** `sealed` in call messages. */
export const CALL_SEALED_MAX = 4 * 1024;
export const MESSAGE_SEALED_MAX = 32 * 1024;
export const SIGNAL_SEALED_MAX = 256;
export const REPORT_SEALED_MAX = 32 * 1024;

/** Length of every encoded note before it is sealed: 280 characters of 4 bytes, and what frames them. */
export const NOTE_LENGTH = 1_200;
export const NOTE_SEALED_MAX = 1_280;
export const NOTE_CHARACTERS_MAX = 280;
export const MOOD_CHARACTERS_MAX = 140;
export const TITLE_CHARACTERS_MAX = 64;
/** Bytes of UTF-8 in a text. */
export const TEXT_MAX = 16 * 1024;
/** Bytes of UTF-8 in a reaction. */
export const REACTION_MAX = 32;
export const REPORT_REASON_CHARACTERS_MAX = 1_000;

export const SEARCH_PREFIX_MIN = 3;
export const SEARCH_RESULTS_MAX = 10;
export const DEVICES_MAX = 8;
export const GROUP_MEMBERS_MAX = 256;
export const CONVERSATIONS_MAX = 10_000;
export const CONTACTS_MAX = 1_000;
export const KEY_PACKAGES_MAX = 100;
export const KEY_PACKAGE_MAX = 4 * 1024;

/** Bytes of UTF-8 in a device's name. */
export const DEVICE_NAME_MAX = 64;
/** Bytes of UTF-8 in `Prove.agent`. */
export const AGENT_MAX = 64;

export const CLOCK_SKEW_MAX_MS = 300_000;
/** How long an expired credential can still be renewed. */
export const RENEWAL_GRACE_MS = 30 * 86_400_000;

/** What `Welcome.keepalive_ms` is taken as, at least and at most. */
export const KEEPALIVE_MIN_MS = 5_000;
export const KEEPALIVE_MAX_MS = 25_000;
/** After a ping on which nothing follows for so long, a link counts as silent. */
export const PING_TIMEOUT_MS = 2_000;
/** In a call: a link on which nothing has come for so long counts as silent. */
export const CALL_SILENCE_MS = 800;
/** A roster lists fewer supernodes. */
export const SUPERNODES_MAX = 10_000;
export const SUPERNODE_ADDRESSES_MAX = 8;
/** Longest roster as it is signed: as many entries of the largest kind, with eight long addresses and 2.4 KB each, as base64. */
export const ROSTER_BYTES_MAX = 32 * 1024 * 1024;
/** Longest body that the authority takes or gives; the roster is a document apart. */
export const BODY_MAX = 64 * 1024;
