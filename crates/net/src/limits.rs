//! Every bound of this crate, with the sum that justifies it. What both ends must agree on stands in `ahoy_proto::limits`.

use std::time::Duration;

use ahoy_proto::limits;

/// Bytes in flight that are always allowed, whatever the congestion controller thinks: 200 voice packets, so about 4 s of
/// one flow without an acknowledgement. Without it a few per cent of loss push the window below one packet and voice
/// waits for seconds. The application caps the rate of voice instead.
pub const WINDOW_FLOOR: u64 = 32 * 1024;

/// Datagrams waiting for the window, in bytes: one of the largest kind with quinn's 32 bytes of bookkeeping, or about seven
/// voice packets. The oldest is dropped first, because late voice is worthless.
pub const DATAGRAM_SEND_BUFFER: usize = limits::DATAGRAM_MAX + 64;

/// Datagrams received and not yet taken, in bytes: the shard takes them after every batch, so this bounds one batch of 32
/// buffers from one peer.
pub const DATAGRAM_RECEIVE_BUFFER: usize = 32 * 1024;

/// What a peer may have sent without our reading it, on one stream and altogether. Everything in order is read at once, so an
/// honest peer has a round trip's worth under way; one that leaves a gap makes us hold this much, so that 4,096 links that have
/// not proven themselves hold at most 128 MB.
pub const RECEIVE_WINDOW: u32 = 32 * 1024;

/// Bytes that were handed to a connection and are not acknowledged yet; what exceeds it waits in the link's own queue,
/// which `ahoy_proto::limits::OUTBOUND_QUEUE_MAX` bounds.
pub const SEND_WINDOW: u64 = 64 * 1024;

/// How often something is sent on an idle link of a browser. Chromium gives up one that is silent for 30 s, and a page that sleeps sends no
/// pings.
pub const WEB_KEEPALIVE: Duration = Duration::from_secs(12);

/// Round-trip time assumed until one is measured: a lost first packet is sent again after three of these.
pub const INITIAL_RTT: Duration = Duration::from_millis(100);

/// How long a link that we close may take to deliver what was sent on it.
pub const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// Connections of one shard whose handshake is not finished. At about 30 KB each, 120 MB; at 3,500 handshakes a second
/// and core, one second of work.
pub const HANDSHAKES_MAX: usize = 4_096;

/// From this many unfinished handshakes on, a client must first show that it receives at its address (QUIC Retry).
pub const HANDSHAKES_BEFORE_RETRY: usize = 512;

/// What one shard takes on: 2,000 handshakes a second. A sign-in costs a third of a millisecond of a core, handshake included, so that a third
/// of the core is left for those who are there already, calls above all. What comes beyond it is passed over: a client sends its first
/// packet again after 0.3, 0.9, 2.1, … seconds, which is a queue that takes no memory here.
pub const HANDSHAKE_INTERVAL: Duration = Duration::from_micros(500);

/// Handshakes that may come at once after a pause. When half of them are used up, a client must first show that it receives at its
/// address, so that packets with a forged one cost the honest nothing.
pub const HANDSHAKE_BURST: u32 = 1_024;

/// Least time between two stateless resets of one shard. A restarted supernode resets 10,000 sessions within a second;
/// resets are smaller than what provokes them, so they amplify nothing.
pub const RESET_INTERVAL: Duration = Duration::from_micros(100);

/// Receive buffer asked for each socket: 100 ms of 400,000 packets of 200 bytes a second. The kernel's default of 208 KB
/// overflows in a login storm; it grants less than this where `net.core.rmem_max` says so.
pub const SOCKET_RECEIVE_BUFFER: usize = 8 * 1024 * 1024;

/// Send buffer asked for each socket: the kernel charges about 800 bytes a small packet, so 2,600 packets.
pub const SOCKET_SEND_BUFFER: usize = 2 * 1024 * 1024;

/// Receive calls for one socket before timers and sends get their turn: 4 × 32 buffers are a few milliseconds of work.
pub const RECEIVE_ROUNDS: usize = 4;

/// Most packets of one send call with segmentation offload; more would let one link hold up the others.
pub const SEGMENTS_MAX: usize = 8;

/// Head start of one address of a supernode over the next (RFC 8305 recommends 250 ms).
pub const ADDRESS_HEAD_START: Duration = Duration::from_millis(250);

/// How long dialling may take altogether.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Addresses of one supernode that are tried: all that a roster entry may have; where names resolve to more, the first. The last of them is
/// dialled after 1.75 s, within the 2 s that a dial in a call has.
pub const ATTEMPTS_MAX: usize = limits::SUPERNODE_ADDRESSES_MAX;

/// Messages of a client that wait to be written: with `REQUESTS_IN_FLIGHT_MAX` a well-behaved one never has more than 32.
pub const CLIENT_QUEUE_MAX: usize = 64;

/// Packets that may come before one is acknowledged: 200 ms of voice. At 180 bytes each, 1.8 KB of the congestion window's
/// floor of 32 KB wait for their acknowledgement.
pub const ACK_PACKETS_MAX: u32 = 9;

/// How long an acknowledgement may wait; QUIC takes the round trip instead where that is less (but 25 ms at least). It comes on top
/// of the time after which lost signalling is sent again.
pub const ACK_DELAY_MAX: Duration = Duration::from_millis(100);

/// How often an idle trunk sends something, from whichever end heard nothing for so long: 3 packets of 30 bytes a second.
pub const TRUNK_KEEPALIVE: Duration = Duration::from_millis(300);

/// How long a trunk may be silent. A peer that dies just after a packet is noticed when the next keepalive has waited for this
/// long: 0.3 s + 1.5 s, which leaves 0.2 s to the scheduler of a loaded machine until 2 s. A living peer may lose four keepalives
/// in a row, or have its thread stand still for 1.2 s. Less would cut trunks off on a stall; where three probe
/// timeouts are longer, as on a round trip of more than 300 ms, QUIC waits for those instead.
pub const TRUNK_IDLE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Bytes in flight that are always allowed on a trunk: 350 flows of 150 bytes, 50 times a second, over a round trip of 100 ms, or
/// 1,000 over 35 ms. Above it NewReno decides; the way between supernodes is the operator's own.
pub const TRUNK_WINDOW_FLOOR: u64 = 256 * 1024;

/// Datagrams of a trunk waiting for the window: 40 ms of 1,000 flows of 150 bytes, 50 times a second, are 300 KB, and 2,000 times
/// 32 bytes of quinn's bookkeeping 64 KB. The oldest is dropped first. More would only make voice older.
pub const TRUNK_DATAGRAM_SEND_BUFFER: usize = 384 * 1024;

/// Datagrams of a trunk received and not yet taken. A shard takes up to `RECEIVE_ROUNDS` times 32 buffers before it takes
/// datagrams out: 1 MiB is 110 ms of 1,000 flows, bookkeeping included.
pub const TRUNK_DATAGRAM_RECEIVE_BUFFER: usize = 1024 * 1024;

/// What a trunk's peer may have sent without our reading it. 2,000 messages of 500 bytes a second are 200 KB over a round trip of
/// 200 ms; the rest is for catching up after a loss. With `UNPROVEN_TRUNKS_MAX`, strangers that leave gaps hold 64 MiB a shard.
pub const TRUNK_RECEIVE_WINDOW: u32 = 1024 * 1024;

/// Bytes of a trunk's stream that wait for the connection to take them. When a home moves, all sessions register anew at once:
/// 100,000 of them are 10 MB, and what they ask for follows while the first leave.
pub const TRUNK_OUTBOUND_QUEUE_MAX: usize = 32 * 1024 * 1024;

/// Bytes of a trunk's stream that were handed to the connection and are not acknowledged: as much as the peer takes.
pub const TRUNK_SEND_WINDOW: u64 = 1024 * 1024;

/// Accepted links of one shard that asked for the bounds of a trunk and have not proven themselves. An honest one takes two round
/// trips, so that a fleet of hundreds can come back at once; those beyond it are accepted as ordinary links.
pub const UNPROVEN_TRUNKS_MAX: usize = 64;

/// Links of one shard that it dials and that are not up: one to each supernode of a fleet of 256.
pub const DIALS_MAX: usize = 256;

/// Least time between two packets of unknown links of which one shard asks the others whether they are stateless resets. Noise
/// costs each other shard 100 packets a second then; a reset that is passed over is repeated for the next packet of the link.
pub const RESET_SEARCH_INTERVAL: Duration = Duration::from_millis(10);
