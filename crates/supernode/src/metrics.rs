//! What operators see: every counter and gauge of all shards, summed. No label ever names an account, a device or an address.
//!
//! Each shard publishes its plain numbers after every turn; a scrape adds them up. The table below is the whole list.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use ahoy_core::{DropCause, Exchange, Gauges, Violation};
use ahoy_net::{LostCause, QuicShard};
use ahoy_proto::v1::Cause;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::{
    inbox::Post,
    shard,
    sockets::{self, Sockets},
};

/// The newest numbers of one shard.
#[derive(Debug, Default)]
pub(crate) struct Published(Mutex<Numbers>);

#[derive(Debug, Clone, Default)]
pub(crate) struct Numbers {
    net: ahoy_net::shard::Counters,
    core: ahoy_core::Counters,
    shell: shard::Counters,
    sockets: sockets::Counters,
    sockets_open: usize,
    gauges: Gauges,
    connections: usize,
    handshakes: usize,
    trunks: usize,
}

impl Published {
    pub(crate) fn set(
        &self,
        quic: &QuicShard,
        exchange: &Exchange,
        shell: &shard::Counters,
        sockets: &Sockets,
        trunks: usize,
    ) {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.net = *quic.counters();
        numbers.core.clone_from(exchange.counters());
        numbers.shell.clone_from(shell);
        numbers.sockets = sockets.counters;
        numbers.sockets_open = sockets.len();
        numbers.gauges = exchange.gauges();
        numbers.connections = quic.connections();
        numbers.handshakes = quic.handshakes();
        numbers.trunks = trunks;
    }

    pub(crate) fn gauges(&self) -> Gauges {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).gauges
    }

    fn get(&self) -> Numbers {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A metric: its name after `ahoy_`, what it says, and where its number comes from.
struct Metric {
    name: &'static str,
    help: &'static str,
    number: Number,
}

enum Number {
    Counter(fn(&Numbers) -> u64),
    Gauge(fn(&Numbers) -> usize),
    /// One counter for each value of a label.
    Family(&'static str, fn(&Numbers) -> Vec<(String, u64)>),
}

const fn counter(name: &'static str, help: &'static str, number: fn(&Numbers) -> u64) -> Metric {
    Metric { name, help, number: Number::Counter(number) }
}

const fn gauge(name: &'static str, help: &'static str, number: fn(&Numbers) -> usize) -> Metric {
    Metric { name, help, number: Number::Gauge(number) }
}

const fn family(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    numbers: fn(&Numbers) -> Vec<(String, u64)>,
) -> Metric {
    Metric { name, help, number: Number::Family(label, numbers) }
}

const METRICS: &[Metric] = &[
    // Now
    gauge("links", "Links, proven or not", |n| n.gauges.links),
    gauge("links_half_open", "Links that have not proven themselves yet", |n| n.gauges.half_open),
    gauge("sessions", "Signed-in links", |n| n.gauges.sessions),
    gauge("accounts", "Accounts at home here with a device online", |n| n.gauges.accounts),
    gauge("calls", "Calls, ringing or answered", |n| n.gauges.calls),
    gauge("calls_answered", "Answered calls", |n| n.gauges.calls_answered),
    gauge("legs", "Legs that may send voice", |n| n.gauges.flows),
    gauge("store_questions_waiting", "Questions that the store has not answered yet", |n| n.gauges.queries),
    gauge("long_message_bytes", "Bytes of long messages that are unfinished or with the store", |n| {
        n.gauges.long_bytes
    }),
    gauge("timers", "Timers set by exchanges", |n| n.gauges.timers),
    gauge("quic_connections", "QUIC connections of any phase", |n| n.connections),
    gauge("quic_handshakes", "QUIC handshakes under way", |n| n.handshakes),
    gauge("web_sockets", "Links by WebSocket, closing ones included", |n| n.sockets_open),
    gauge("trunks", "Trunks to other supernodes that are up", |n| n.trunks),
    // Sessions
    counter("handshakes", "QUIC handshakes finished", |n| n.net.handshakes_finished),
    counter("handshakes_failed", "QUIC handshakes that failed or took too long", |n| n.net.handshakes_failed),
    counter("handshakes_refused", "QUIC handshakes not begun: too many under way", |n| n.net.handshakes_refused),
    counter("retries", "Clients asked to show that they receive at their address", |n| n.net.retries_sent),
    counter("links_up", "Links that came up", |n| n.core.links),
    family("links_by_transport", "Links that came up, by what carries them", "transport", |n| {
        let (transports, sockets) = (n.net.web_transports, n.sockets.links);
        let quic = n.core.links - transports - sockets;
        [("quic", quic), ("webtransport", transports), ("websocket", sockets)]
            .map(|(transport, count)| (transport.to_owned(), count))
            .to_vec()
    }),
    counter("sign_ins_put_off", "Sign-ins put off because too many came at once", |n| n.core.sign_ins_put_off),
    counter("links_overloaded", "Links refused because the supernode was full", |n| n.core.overloaded),
    counter("links_shut_out", "Links refused or closed because the supernode goes down", |n| n.core.shut_out),
    family("links_lost", "Links lost, by cause", "cause", |n| {
        LostCause::ALL.iter().map(|cause| (cause.name().to_owned(), n.shell.links_lost[cause.index()])).collect()
    }),
    family("links_closed", "Links closed, by the rule that their client broke", "rule", |n| {
        let rule = |rule: &Violation| label("ERROR_CODE_", rule.code().as_str_name());
        Violation::ALL.iter().map(|violation| (rule(violation), n.core.violations[violation.index()])).collect()
    }),
    counter("sign_ins", "Proofs accepted", |n| n.core.sign_ins),
    counter("sessions_replaced", "Sessions closed because their device signed in again", |n| n.core.sessions_replaced),
    counter("sessions_revoked", "Sessions closed by a revocation list", |n| n.core.sessions_revoked),
    counter("requests", "Requests", |n| n.core.requests),
    counter("requests_rate_limited", "Requests refused: too many of their kind", |n| n.core.rate_limited),
    counter("store_questions", "Questions put to the store", |n| n.core.questions),
    counter("store_errors", "Questions that the store could not answer", |n| n.core.store_errors),
    counter("fragments_refused", "Fragments of long messages refused", |n| n.core.fragments_refused),
    // People and messages
    counter("contacts_changed", "Contacts asked, answered, removed or blocked", |n| n.core.contact_changes),
    counter("presence_told", "Times that an account was told the presence of a contact", |n| n.core.presence_told),
    counter("names_refused", "Look-ups refused: the account had learnt as many names as it may", |n| {
        n.core.names_refused
    }),
    counter("messages", "Messages that were put into logs", |n| n.core.messages),
    counter("commits", "Commits that were put into logs", |n| n.core.commits),
    counter("receipts", "Receipts replaced", |n| n.core.receipts),
    counter("signals_given", "Signals handed to the members of a conversation", |n| n.core.signals),
    // Calls
    counter("calls_started", "Calls taken up", |n| n.core.calls),
    counter("calls_recreated", "Calls taken up from a call token", |n| n.core.calls_recreated),
    counter("call_tokens_refused", "Call tokens refused", |n| n.core.call_tokens_refused),
    family("calls_ended", "Calls ended, by cause", "cause", |n| {
        let cause = |number: usize| Cause::try_from(number as i32).unwrap_or_default();
        let numbers = n.core.calls_ended.iter().enumerate();
        numbers.map(|(number, count)| (label("CAUSE_", cause(number).as_str_name()), *count)).collect()
    }),
    // Voice
    counter("voice_packets_forwarded", "Voice packets handed on", |n| n.core.forwarded),
    counter("voice_bytes_forwarded", "Bytes of voice packets handed on", |n| n.core.forwarded_bytes),
    counter("voice_packets_sent", "Voice packets handed to a recipient's link", |n| {
        n.net.datagrams_sent + n.sockets.datagrams_sent
    }),
    counter("voice_packets_crossed", "Voice packets that went to a recipient on another shard", |n| {
        n.shell.voice_crossed
    }),
    family("voice_packets_dropped", "Voice packets dropped, by cause", "cause", |n| {
        let relay = DropCause::ALL.iter().map(|cause| (cause.name().to_owned(), n.core.drops[cause.index()]));
        let shell = [
            ("queue_full", n.shell.voice_cross_dropped + n.sockets.datagrams_refused),
            ("trunk", n.shell.trunk_voice_dropped),
            ("displaced", n.net.datagrams_displaced + n.sockets.datagrams_displaced),
            ("unsendable", n.net.datagrams_refused),
        ];
        relay.chain(shell.map(|(cause, count)| (cause.to_owned(), count))).collect()
    }),
    // The fleet
    counter("trunks_dialled", "Attempts to reach another supernode", |n| n.net.trunks_dialled),
    counter("trunks_failed", "Attempts that got no connection", |n| n.net.trunks_failed),
    counter("trunks_lost", "Trunks lost", |n| n.shell.trunks_lost),
    counter("trunk_messages_sent", "Messages to other supernodes", |n| n.core.trunk_messages),
    counter("trunk_bytes_sent", "Bytes of messages to other supernodes", |n| n.shell.trunk_bytes_sent),
    counter("trunk_messages_received", "Messages of other supernodes", |n| n.shell.trunk_messages_received),
    counter("trunk_bytes_received", "Bytes of messages of other supernodes", |n| n.shell.trunk_bytes_received),
    family("trunk_messages_dropped", "Messages between supernodes that were dropped, by cause", "cause", |n| {
        let causes = [
            ("queue_full", n.shell.trunk_messages_lost),
            ("trunk_gone", n.shell.trunk_messages_late),
            ("supernode_gone", n.core.strays),
            ("refused", n.core.trunk_refused),
        ];
        causes.map(|(cause, count)| (cause.to_owned(), count)).to_vec()
    }),
    counter("trunk_messages_forwarded", "Messages sent on because a home had moved", |n| n.core.forwarded_messages),
    counter("trunk_voice_packets_sent", "Voice packets for links of other supernodes", |n| n.shell.trunk_voice_sent),
    counter("trunk_voice_packets_received", "Voice packets of other supernodes", |n| n.shell.trunk_voice_received),
    counter("resyncs", "Sessions asked to tell everything anew", |n| n.core.resyncs),
    counter("trunks_kept_small", "Links that asked for a trunk's bounds and got a client's: too many unproven", |n| {
        n.net.trunks_kept_small
    }),
    counter("trunk_packets_sent", "Of the voice packets sent, those on trunks", |n| n.net.trunk_datagrams_sent),
    counter("trunk_packets_displaced", "Of the voice packets displaced, those on trunks", |n| {
        n.net.trunk_datagrams_displaced
    }),
    // Packets
    counter("udp_packets_received", "UDP packets received", |n| n.net.packets_received),
    counter("udp_bytes_received", "UDP payload received, in bytes", |n| n.net.bytes_received),
    counter("udp_packets_sent", "UDP packets sent", |n| n.net.packets_sent),
    counter("udp_bytes_sent", "UDP payload sent, in bytes", |n| n.net.bytes_sent),
    counter("udp_packets_ignored", "UDP packets that belong to nothing", |n| n.net.packets_ignored),
    counter("udp_sends_failed", "UDP packets that the operating system refused", |n| n.net.sends_failed),
    counter("udp_sends_stalled", "Times that a socket's send buffer was full", |n| n.net.sends_stalled),
    counter("resets", "Stateless resets, for links of an earlier process", |n| n.net.resets_sent),
    counter("packets_handed_over", "Packets received for another shard", |n| n.net.packets_handed_over),
    counter("packets_taken_over", "Packets taken from another shard", |n| n.net.packets_taken_over),
    counter("handovers_dropped", "Packets for another shard whose queue was full", |n| n.shell.handover_dropped),
    counter("signals", "Messages from one shard to another", |n| n.shell.signals_sent),
    counter("signals_dropped", "Messages for another shard whose queue was full", |n| n.shell.signals_dropped),
];

/// A label's value: the schema's name without its prefix, in lower case.
fn label(prefix: &str, name: &str) -> String {
    name.trim_start_matches(prefix).to_ascii_lowercase()
}

/// Gives the numbers of all shards to a registry.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) shards: Vec<Arc<Published>>,
    pub(crate) posts: Vec<Post>,
    pub(crate) view_size: Arc<AtomicUsize>,
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let shards: Vec<_> = self.shards.iter().map(|shard| shard.get()).collect();
        for metric in METRICS {
            let name = format!("ahoy_{}", metric.name);
            let kind = match metric.number {
                Number::Gauge(_) => MetricType::Gauge,
                Number::Counter(_) | Number::Family(..) => MetricType::Counter,
            };
            let mut out = encoder.encode_descriptor(&name, metric.help, None, kind)?;
            match metric.number {
                Number::Counter(number) => ConstCounter::new(shards.iter().map(number).sum::<u64>()).encode(out)?,
                Number::Gauge(number) => {
                    let sum = shards.iter().map(number).sum::<usize>();
                    ConstGauge::new(sum as u64).encode(out)?;
                }
                Number::Family(label, numbers) => {
                    for (value, sum) in sums(&shards, numbers) {
                        ConstCounter::new(sum).encode(out.encode_family(&[(label, value)])?)?;
                    }
                }
            }
        }
        let help = "Supernodes in the view of this one, itself included";
        let out = encoder.encode_descriptor("ahoy_fleet_supernodes", help, None, MetricType::Gauge)?;
        ConstGauge::new(self.view_size.load(Ordering::Relaxed) as u64).encode(out)?;
        let help = "Messages and packets that wait in the inboxes of shards; of trunks' messages the bytes";
        let mut out = encoder.encode_descriptor("ahoy_queue_depth", help, None, MetricType::Gauge)?;
        for (shard, post) in self.posts.iter().enumerate() {
            for (queue, depth) in post.depths() {
                let labels = [("shard", shard.to_string()), ("queue", queue.to_owned())];
                ConstGauge::new(depth as u64).encode(out.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn sums(shards: &[Numbers], numbers: fn(&Numbers) -> Vec<(String, u64)>) -> Vec<(String, u64)> {
    let mut shards = shards.iter().map(numbers);
    let mut sums = shards.next().unwrap_or_default();
    for shard in shards {
        for (sum, (_, count)) in sums.iter_mut().zip(shard) {
            sum.1 += count;
        }
    }
    sums
}
