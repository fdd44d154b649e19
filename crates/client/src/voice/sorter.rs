//! Datagrams of the session's link, sorted by flow: each goes to the engine of the call that it belongs to.
//!
//! A task of its own reads the link, because it has one reader and there may be many calls. Invariant: a flow has at most one engine; what
//! nobody has claimed is kept for a moment, because voice may overtake the message that names its flow.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ahoy_net::ClientLink;
use ahoy_proto::flow::FlowId;
use ahoy_proto::limits::CALLS_PER_ACCOUNT_MAX;
use bytes::Bytes;
use tokio::sync::mpsc;

/// Commands under way: all calls may get new legs at once, and the link changes.
const QUEUE: usize = 2 * CALLS_PER_ACCOUNT_MAX;

/// Packets that wait for an engine: 1.3 s of one leg. It takes all of them every time that it wakes.
const WAITING_MAX: usize = 64;

/// Packets that nobody has claimed, all together: at 1,100 bytes each, 70 KB.
const UNCLAIMED_MAX: usize = 64;

/// Where an engine takes its packets in.
pub(super) type Packets = mpsc::Receiver<Bytes>;

enum Command {
    Link(Option<Arc<ClientLink>>),
    Claim { flow: FlowId, instead_of: Option<FlowId>, to: mpsc::Sender<Bytes> },
}

/// Speaks to the sorting task, which ends with the last of these.
#[derive(Debug, Clone)]
pub(crate) struct Sorter(mpsc::Sender<Command>);

/// One engine's claims.
#[derive(Debug)]
pub(super) struct Claims {
    sorter: Sorter,
    to: mpsc::Sender<Bytes>,
}

impl Sorter {
    /// Starts the task, without a link yet.
    pub(crate) fn start() -> Self {
        let (commands, inbox) = mpsc::channel(QUEUE);
        tokio::spawn(Sorting::default().run(inbox));
        Self(commands)
    }

    /// From now on packets come from this link, and for as long as it lasts from the one before; `None`: from none.
    pub(crate) fn set_link(&self, link: Option<Arc<ClientLink>>) {
        self.send(Command::Link(link));
    }

    /// For one engine.
    pub(super) fn claims(&self) -> (Claims, Packets) {
        let (to, packets) = mpsc::channel(WAITING_MAX);
        (Claims { sorter: self.clone(), to }, packets)
    }

    fn send(&self, command: Command) {
        if self.0.try_send(command).is_err() {
            tracing::error!("the sorter of voice packets does not take commands");
        }
    }
}

impl Claims {
    /// From now on this engine gets the packets of a flow, instead of those of one that is over.
    pub(super) fn claim(&self, flow: FlowId, instead_of: Option<FlowId>) {
        self.sorter.send(Command::Claim { flow, instead_of, to: self.to.clone() });
    }
}

#[derive(Default)]
struct Sorting {
    link: Option<Arc<ClientLink>>,
    /// The link before, on which something may be under way.
    last: Option<Arc<ClientLink>>,
    claimed: BTreeMap<FlowId, mpsc::Sender<Bytes>>,
    /// Oldest first.
    unclaimed: VecDeque<(FlowId, Bytes)>,
}

impl Sorting {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        loop {
            let (link, last) = (self.link.clone(), self.last.clone());
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(Command::Link(None)) => (self.link, self.last) = (None, None),
                    Some(Command::Link(link)) => self.last = std::mem::replace(&mut self.link, link),
                    Some(Command::Claim { flow, instead_of, to }) => self.claim(flow, instead_of, &to),
                    None => return,
                },
                datagram = next_datagram(link.as_deref()) => match datagram {
                    Some(datagram) => self.sort(datagram),
                    None => self.link = None,
                },
                datagram = next_datagram(last.as_deref()) => match datagram {
                    Some(datagram) => self.sort(datagram),
                    None => self.last = None,
                },
            }
        }
    }

    fn claim(&mut self, flow: FlowId, instead_of: Option<FlowId>, to: &mpsc::Sender<Bytes>) {
        // Engines that have ended claim nothing, so there is at most one flow for each leg of a call.
        self.claimed.retain(|other, engine| Some(*other) != instead_of && !engine.is_closed());
        self.claimed.insert(flow, to.clone());
        for (other, datagram) in std::mem::take(&mut self.unclaimed) {
            if other == flow {
                // What an engine has no room for is lost, as on any other queue of voice.
                let _ = to.try_send(datagram);
            } else {
                self.unclaimed.push_back((other, datagram));
            }
        }
    }

    fn sort(&mut self, datagram: Bytes) {
        let Some((flow, _)) = FlowId::split(&datagram) else { return };
        if let Some(engine) = self.claimed.get(&flow) {
            // As above.
            let _ = engine.try_send(datagram);
            return;
        }
        if self.unclaimed.len() >= UNCLAIMED_MAX {
            self.unclaimed.pop_front();
        }
        self.unclaimed.push_back((flow, datagram));
    }
}

/// The link's next datagram; `None` when it has ended. Without a link: never.
async fn next_datagram(link: Option<&ClientLink>) -> Option<Bytes> {
    match link {
        Some(link) => link.next_datagram().await.ok(),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(number: u64) -> FlowId {
        FlowId::new(number).unwrap()
    }

    fn packet(number: u64, content: u8) -> Bytes {
        let mut datagram = Vec::new();
        flow(number).encode(&mut datagram);
        datagram.push(content);
        datagram.into()
    }

    fn contents(packets: &mut Packets) -> Vec<u8> {
        std::iter::from_fn(|| packets.try_recv().ok()).map(|datagram| *datagram.last().unwrap()).collect()
    }

    #[test]
    fn each_packet_reaches_the_engine_of_its_flow_and_no_other() {
        let mut sorting = Sorting::default();
        let (one, mut ones) = mpsc::channel(WAITING_MAX);
        let (two, mut twos) = mpsc::channel(WAITING_MAX);
        sorting.claim(flow(1), None, &one);
        sorting.claim(flow(2), None, &two);
        for (number, content) in [(1, 10), (2, 20), (3, 30), (1, 11)] {
            sorting.sort(packet(number, content));
        }
        assert_eq!((contents(&mut ones), contents(&mut twos)), (vec![10, 11], vec![20]));
    }

    #[test]
    fn voice_that_overtakes_the_name_of_its_flow_is_not_lost() {
        let mut sorting = Sorting::default();
        for content in 1..=3 {
            sorting.sort(packet(7, content));
        }
        let (to, mut packets) = mpsc::channel(WAITING_MAX);
        sorting.claim(flow(7), None, &to);
        sorting.sort(packet(7, 4));
        assert_eq!(contents(&mut packets), [1, 2, 3, 4]);
    }

    #[test]
    fn flows_that_nobody_claims_hold_little_memory() {
        let mut sorting = Sorting::default();
        for number in 0..10 * UNCLAIMED_MAX as u64 {
            sorting.sort(packet(number, 1));
        }
        assert_eq!(sorting.unclaimed.len(), UNCLAIMED_MAX);
    }

    #[test]
    fn flows_that_are_over_and_engines_that_have_ended_leave_nothing_behind() {
        let mut sorting = Sorting::default();
        let (gone, packets) = mpsc::channel(WAITING_MAX);
        sorting.claim(flow(1), None, &gone);
        drop(packets);
        let (stays, _packets) = mpsc::channel(WAITING_MAX);
        sorting.claim(flow(2), None, &stays);
        sorting.claim(flow(3), Some(flow(2)), &stays);
        assert_eq!(sorting.claimed.keys().copied().collect::<Vec<_>>(), [flow(3)]);
    }
}
