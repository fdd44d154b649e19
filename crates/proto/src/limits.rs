//! Every bound of the protocol, with the sum that justifies it. docs/protocol.md repeats them.

use std::time::Duration;

/// Longest message before proof, in bytes: a credential is about 700 and a signature 64, so 4 KiB leaves room for a
/// credential to grow fivefold while 10,000 half-open links hold at most 40 MB.
pub const UNPROVEN_MESSAGE_MAX: usize = 4 * 1024;

/// Longest message of a session on the stream, in bytes. Everything that people say fits; what is longer travels in fragments
/// of at most this size, so that nothing waits long behind it.
pub const MESSAGE_MAX: usize = 64 * 1024;

/// Longest message put together from fragments, in bytes. The largest is a `Commit` of the largest group: 256 accounts with 8
/// devices are 2,048 leaves at about 500 bytes, once in the GroupInfo and once in the Welcome: 2 MiB; and an eighth for the rest.
pub const LARGE_MESSAGE_MAX: usize = 9 * 256 * 1024;

/// Time for a message in fragments to be whole, from its first one: the largest at 64 kbit/s, as slow as a link may be that carries voice.
pub const LARGE_MESSAGE_TIME: Duration = Duration::from_secs(300);

/// Longest message on a trunk, in bytes: a large one, and what says for whom it is: 256 accounts and their devices.
pub const TRUNK_MESSAGE_MAX: usize = LARGE_MESSAGE_MAX + 64 * 1024;

/// Bytes of unfinished large messages that one shard holds for all its links: a hundred of the largest kind.
pub const LARGE_MESSAGES_SHARD_MAX: usize = 100 * LARGE_MESSAGE_MAX;

/// Time from a link's first packet to its proof. Two round trips at 1 s each, and eight seconds for a sleeping phone's CPU.
pub const PROOF_TIMEOUT: Duration = Duration::from_secs(10);

/// Unanswered requests of one session. An SDK runs a handful; each holds at most [`MESSAGE_MAX`], so 32 bound it at 2 MiB.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 32;

/// Bytes queued towards a client that does not read, beyond what its receive window takes: one large message, and 28 of the
/// longest others.
pub const OUTBOUND_QUEUE_MAX: usize = 4 * 1024 * 1024;

/// How often, at least, a client pings its supernode: an empty datagram, which comes back. NAT bindings for UDP live 30 s and more (RFC
/// 4787 asks for two minutes).
pub const KEEPALIVE: Duration = Duration::from_secs(25);

/// How often a supernode with few sessions asks for it, so that its death is noticed soon …
pub const KEEPALIVE_MIN: Duration = Duration::from_secs(5);

/// … and how many pings a second it asks for at most before they become rarer: 50,000 sessions ping every 5 s, 250,000 and more every
/// 25 s. At some 5 us each that is a twentieth of a core.
pub const KEEPALIVES_PER_SECOND: usize = 10_000;

/// How long a ping may be without an answer, or anything else, before another session is dialled for: three of QUIC's probes at a
/// round trip of 100 ms.
pub const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// A link that has been silent for this long is lost: two keepalives and a half.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(62);

/// Silence in a call after which a client starts a parallel dial: 40 voice packets in a row.
pub const CALL_SILENCE: Duration = Duration::from_millis(800);

/// How long a call rings before NO_ANSWER.
pub const RING_TIMEOUT: Duration = Duration::from_secs(45);

/// How long a leg whose link was lost may take to attach again.
pub const LEG_RETURN: Duration = Duration::from_secs(10);

/// Life of a call token; a session in a call gets a new one at half of it.
pub const CALL_TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// Longest call token, in bytes.
pub const CALL_TOKEN_MAX: usize = 512;

/// Longest sealed part of call signalling, in bytes: a LegOffer is about 80, its MLS message about 250.
pub const SEALED_MAX: usize = 4 * 1024;

/// Longest voice datagram, in bytes. QUIC guarantees 1,200 bytes a packet; header, tag and frame take at most 60.
pub const DATAGRAM_MAX: usize = 1100;

/// Voice packets of one leg per second, sustained: 50 of 20 ms, and half as many again for clock drift and reports.
pub const VOICE_PACKETS_PER_SECOND: u32 = 75;

/// Voice packets of one leg at once: 400 ms, what piles up while a phone changes its network.
pub const VOICE_PACKETS_BURST: u32 = 20;

/// Legs of one call. One-to-one today; 8 devices of two accounts could attach in turn.
pub const LEGS_MAX: usize = 16;

/// Calls that one account can be in at once. A person is in one or two; a device that answers for many, such as the echo account,
/// in all of them: 64 legs send 3,200 packets a second, a twentieth of what a core relays, and hold 10 KiB each while they ring.
pub const CALLS_PER_ACCOUNT_MAX: usize = 64;

/// Devices of one account: phones, tablets, computers and browsers of one person.
pub const DEVICES_MAX: usize = 8;

/// Conversations of one account.
pub const CONVERSATIONS_MAX: usize = 10_000;

/// Key packages kept for one device. 100 new conversations between two visits; at about 500 bytes, 50 KB a device.
pub const KEY_PACKAGES_MAX: usize = 100;

/// Longest key package, in bytes: suite 1 needs about 500.
pub const KEY_PACKAGE_MAX: usize = 4 * 1024;

/// Entries kept in one device's inbox.
pub const INBOX_MAX: usize = 1_000;

/// Longest log or inbox response, in bytes of entries: leaves 4 KiB of a message for fields.
pub const PAGE_BYTES_MAX: usize = 60 * 1024;

/// Longest program name in Prove.
pub const AGENT_MAX: usize = 64;

/// Life of a credential; renewed from half of it on.
pub const CREDENTIAL_LIFE: Duration = Duration::from_secs(7 * 86_400);

/// Two clocks may differ by this much before a credential of the future or a client's clock is refused.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(300);

/// Life of a signed roster and revocation list; both are renewed hourly while the authority is up. A week lets a
/// fleet outlive its authority for that long.
pub const ROSTER_LIFE: Duration = Duration::from_secs(7 * 86_400);

/// Contacts of one account, blocked and asking ones included. A sign-in tells each of them, so 1,000 bound it at as many
/// messages between shards; people who count have some hundred.
pub const CONTACTS_MAX: usize = 1_000;

/// Requests of one account that nobody has answered: whoever asks strangers in bulk has to wait for their answers.
pub const CONTACT_REQUESTS_OUT_MAX: usize = 100;

/// Requests that wait for one account's answer; further ones are swallowed. At 1.4 KB a note, 140 KB.
pub const CONTACT_REQUESTS_IN_MAX: usize = 100;

/// How long an account that was declined asks in vain.
pub const DECLINE_LASTS: Duration = Duration::from_secs(30 * 86_400);

/// Longest note of a contact request, in characters.
pub const NOTE_CHARACTERS_MAX: usize = 280;

/// Length of an encoded `ContactNote`, padded: 280 characters of 4 bytes, tags and lengths.
pub const NOTE_LENGTH: usize = 1_200;

/// Longest sealed note, in bytes: the padded note, a KEM output of 32 and a tag of 16.
pub const NOTE_SEALED_MAX: usize = 1_280;

/// Longest mood, in characters.
pub const MOOD_CHARACTERS_MAX: usize = 140;

/// Letters that a directory search needs: 3 of 39 make a guess cost a name in 59,000 on average.
pub const SEARCH_PREFIX_MIN: usize = 3;

/// Names that a search shows.
pub const SEARCH_RESULTS_MAX: usize = 10;

/// Names that one account may learn in any hour, by look-up or search; a search counts as `SEARCH_RESULTS_MAX`.
pub const NAMES_PER_HOUR: usize = 300;

/// Accounts in one group.
pub const GROUP_MEMBERS_MAX: usize = 256;

/// Longest title of a group, in characters.
pub const TITLE_CHARACTERS_MAX: usize = 64;

/// Longest text of a message, in bytes: some pages.
pub const TEXT_MAX: usize = 16 * 1024;

/// Longest reaction, in bytes: an emoji of a family is 25.
pub const REACTION_MAX: usize = 32;

/// Longest sealed message, in bytes: a text, a reference, and what MLS puts around it.
pub const MESSAGE_SEALED_MAX: usize = 32 * 1024;

/// Longest sealed signal or receipt, in bytes.
pub const SIGNAL_SEALED_MAX: usize = 256;

/// Logs that one `Acknowledge` names: an entry is 30 bytes.
pub const LOG_MARKS_MAX: usize = 100;

/// How long a log entry, a Welcome or a report is kept for those who have not fetched it.
pub const RETENTION: Duration = Duration::from_secs(30 * 86_400);

/// Bytes of log entries that one account's messages may take up at a time: at 1 KB a message 65,000 that nobody has fetched.
pub const MAILBOX_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Longest sealed report, in bytes: a reason and a dozen messages.
pub const REPORT_SEALED_MAX: usize = 32 * 1024;

/// Reports that one account may file in a day.
pub const REPORTS_PER_DAY_MAX: usize = 10;

/// Supernodes of one network. At some 300 bytes an entry, a roster of as many is 4 MB as base64.
pub const SUPERNODES_MAX: usize = 10_000;

/// Longest roster as it is signed, in bytes: [`SUPERNODES_MAX`] entries of the largest kind, with eight addresses of the longest kind and 2.4 KB
/// each, as base64.
pub const ROSTER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Addresses of one supernode: some of IPv4, of IPv6 and of names.
pub const SUPERNODE_ADDRESSES_MAX: usize = 8;

/// Longest address of a supernode, in bytes: a host name has at most 253, and a colon and a port follow.
pub const SUPERNODE_ADDRESS_MAX: usize = 259;

/// Longest region of a supernode, in bytes.
pub const REGION_MAX: usize = 64;

/// How long after its end a supernode's certificate still serves to ask for the next one, as with credentials: a month in which a
/// machine may be off.
pub const CERTIFICATE_GRACE: Duration = Duration::from_secs(30 * 86_400);
