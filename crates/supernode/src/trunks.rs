//! The trunks of one shard: links to shards of other supernodes, from the first byte to the last.
//!
//! Invariant: a message that is lost costs the trunk, and what comes before the view knows whose it is waits, within bounds.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
};

use ahoy_core::{Lists, Node, ShardId};
use ahoy_net::{LinkId, QuicShard};
use ahoy_proto::{
    NetworkId, SupernodeId, TRUNK_VERSION, UnixTime,
    document::{self, SupernodeCertificate},
    flow::FlowId,
    frame::{self, Deframer},
    limits,
    proof::trunk_input,
    v1::{self, ErrorCode, client_message::Body as Ask, supernode_message::Body as Say},
};
use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use prost::Message as _;

use crate::view::{At, Dial, Event, Failure};

/// What may come on a trunk before its node is in the view, in bytes: the sign-ins of 10,000 sessions that find their home here,
/// in the second that a lease takes to be seen.
const HELD_MAX: usize = 1024 * 1024;

/// The number of the one request of a trunk's handshake.
const JOIN: u64 = 1;

/// By what a supernode makes itself known to others.
pub(crate) struct Identity {
    pub(crate) network: NetworkId,
    pub(crate) supernode: SupernodeId,
    pub(crate) incarnation: u64,
    pub(crate) shards: u16,
    pub(crate) roster_key: SigningKey,
}

/// All trunks whose link is on this shard, dialled ones from the start.
pub(crate) struct Trunks {
    shard: ShardId,
    own: Arc<Identity>,
    signing_keys: Vec<VerifyingKey>,
    certificate: String,
    links: BTreeMap<LinkId, Trunk>,
    view: mpsc::Sender<Event>,
}

struct Trunk {
    peer: SupernodeId,
    deframer: Deframer,
    phase: Phase,
}

enum Phase {
    /// We have dialled, and wait for the link.
    Dialling {
        attempt: u64,
        key: VerifyingKey,
    },
    /// The link is there: we wait for the challenge.
    Challenged {
        attempt: u64,
        key: VerifyingKey,
        exporter: [u8; 32],
    },
    /// The challenge is answered: we wait for the welcome.
    Joining {
        attempt: u64,
    },
    /// Not in the view yet, and this many bytes wait.
    Held {
        bytes: usize,
    },
    Open {
        node: Node,
    },
}

impl Trunks {
    pub(crate) fn new(shard: ShardId, own: Arc<Identity>, lists: &Lists, view: mpsc::Sender<Event>) -> Self {
        let (signing_keys, certificate) = (lists.signing_keys.clone(), lists.certificate.clone());
        Self { shard, own, signing_keys, certificate, links: BTreeMap::new(), view }
    }

    pub(crate) fn set_lists(&mut self, lists: &Lists) {
        self.signing_keys.clone_from(&lists.signing_keys);
        self.certificate.clone_from(&lists.certificate);
    }

    /// Whether a link is or becomes a trunk.
    pub(crate) fn has(&self, link: LinkId) -> bool {
        self.links.contains_key(&link)
    }

    /// Trunks that are up.
    pub(crate) fn len(&self) -> usize {
        self.links.values().filter(|trunk| matches!(trunk.phase, Phase::Held { .. } | Phase::Open { .. })).count()
    }

    pub(crate) fn dial(&mut self, dial: Dial, quic: &mut QuicShard) {
        let Dial { attempt, peer, key, address } = dial;
        match quic.dial(address, &key) {
            Ok(link) => {
                let phase = Phase::Dialling { attempt, key };
                self.links.insert(link, Trunk { peer, deframer: Deframer::default(), phase });
            }
            Err(error) => self.tell(Event::Failed { attempt, why: Failure::Unreached(error.to_string()) }),
        }
    }

    /// An attempt has taken too long.
    pub(crate) fn give_up(&mut self, attempt: u64, quic: &mut QuicShard) {
        let of = |(_, trunk): &(&LinkId, &Trunk)| trunk.phase.attempt() == Some(attempt);
        if let Some(link) = self.links.iter().find(of).map(|(link, _)| *link) {
            self.close(link, ErrorCode::ProofTimeout, quic);
        }
    }

    /// A link that the exchange has found to come from another supernode.
    pub(crate) fn accept(
        &mut self,
        link: LinkId,
        peer: SupernodeId,
        incarnation: u64,
        shards: u16,
        quic: &mut QuicShard,
    ) {
        if !quic.confirm_trunk(link) {
            return quic.close(link, ErrorCode::Overloaded);
        }
        self.links.insert(link, Trunk { peer, deframer: Deframer::default(), phase: Phase::Held { bytes: 0 } });
        self.tell(Event::Up { at: self.at(link), peer, incarnation, shards, attempt: None });
    }

    /// A link that we dialled is there.
    pub(crate) fn up(&mut self, link: LinkId, exporter: [u8; 32]) {
        if let Some(trunk) = self.links.get_mut(&link)
            && let Phase::Dialling { attempt, key } = trunk.phase
        {
            trunk.phase = Phase::Challenged { attempt, key, exporter };
        }
    }

    /// What comes on a trunk is this node's from now on.
    pub(crate) fn open(&mut self, link: LinkId, node: Node) {
        if let Some(trunk) = self.links.get_mut(&link)
            && matches!(trunk.phase, Phase::Held { .. })
        {
            trunk.phase = Phase::Open { node };
        }
    }

    /// Bytes of a trunk's stream; what they bring is to be taken with [`Self::next`].
    pub(crate) fn bytes(&mut self, link: LinkId, bytes: &[u8], now: UnixTime, quic: &mut QuicShard) {
        let Some(trunk) = self.links.get_mut(&link) else { return };
        trunk.deframer.push(bytes);
        // Ends: every turn takes a message off the buffer, or returns.
        while let Some(trunk) = self.links.get_mut(&link).filter(|trunk| trunk.phase.attempt().is_some()) {
            match trunk.deframer.next(limits::MESSAGE_MAX).map(|message| message.map(v1::SupernodeMessage::decode)) {
                Ok(None) => return,
                Ok(Some(Ok(message))) => self.shake_hands(link, message, now, quic),
                Ok(Some(Err(_))) | Err(_) => return self.end(link, ErrorCode::Malformed, quic),
            }
        }
        if let Some(trunk) = self.links.get_mut(&link)
            && let Phase::Held { bytes: held } = &mut trunk.phase
        {
            *held += bytes.len();
            if *held > HELD_MAX {
                self.end(link, ErrorCode::Overloaded, quic);
            }
        }
    }

    /// The next message of a trunk that is in the view. A trunk whose bytes can't be read is closed.
    pub(crate) fn next(&mut self, link: LinkId, quic: &mut QuicShard) -> Option<(Node, v1::TrunkMessage, usize)> {
        let trunk = self.links.get_mut(&link)?;
        let Phase::Open { node } = trunk.phase else { return None };
        let taken = match trunk.deframer.next(limits::TRUNK_MESSAGE_MAX) {
            Ok(None) => return None,
            Ok(Some(message)) => {
                let length = message.len();
                v1::TrunkMessage::decode(message)
                    .map(|message| (node, message, length))
                    .map_err(|_| ErrorCode::Malformed)
            }
            Err(_) => Err(ErrorCode::MessageTooLong),
        };
        taken.map_err(|code| self.end(link, code, quic)).ok()
    }

    /// Says whether the link was one of these.
    pub(crate) fn lost(&mut self, link: LinkId, cause: &str) -> bool {
        let Some(trunk) = self.links.remove(&link) else { return false };
        self.tell(match trunk.phase.attempt() {
            Some(attempt) => Event::Failed { attempt, why: Failure::Unreached(cause.to_owned()) },
            None => Event::Lost(self.at(link)),
        });
        true
    }

    /// Closes a trunk and lets the view know.
    pub(crate) fn end(&mut self, link: LinkId, code: ErrorCode, quic: &mut QuicShard) {
        if self.lost(link, code.as_str_name()) {
            quic.close(link, code);
        }
    }

    /// Closes a trunk that the view has given up.
    pub(crate) fn close(&mut self, link: LinkId, code: ErrorCode, quic: &mut QuicShard) {
        if self.links.remove(&link).is_some() {
            quic.close(link, code);
        }
    }

    fn shake_hands(&mut self, link: LinkId, message: v1::SupernodeMessage, now: UnixTime, quic: &mut QuicShard) {
        let at = self.at(link);
        let Some(trunk) = self.links.get_mut(&link) else { return };
        match (&trunk.phase, message.in_reply_to, message.body) {
            (Phase::Challenged { attempt, key, exporter }, 0, Some(Say::Challenge(challenge))) => {
                let (attempt, exporter) = (*attempt, *exporter);
                match self.own.trusts(trunk.peer, key, &challenge, &self.signing_keys, now) {
                    Ok(nonce) => {
                        trunk.phase = Phase::Joining { attempt };
                        let join = self.own.join(trunk.peer, &nonce, &exporter, self.certificate.clone());
                        let message = v1::ClientMessage { request: JOIN, body: Some(Ask::JoinTrunk(join)) };
                        quic.send(link, frame::encode(&message));
                    }
                    Err(why) => {
                        self.close(link, ErrorCode::CredentialForged, quic);
                        self.tell(Event::Failed { attempt, why: Failure::Untrusted(why) });
                    }
                }
            }
            (Phase::Joining { attempt }, JOIN, Some(Say::TrunkJoined(joined))) if joined.version == TRUNK_VERSION => {
                let (attempt, peer) = (Some(*attempt), trunk.peer);
                trunk.phase = Phase::Held { bytes: 0 };
                let shards = joined.shards.clamp(1, 256) as u16;
                self.tell(Event::Up { at, peer, incarnation: joined.incarnation, shards, attempt });
            }
            (_, _, Some(Say::Error(error))) => {
                if self.lost(link, &format!("it says {}", error.code().as_str_name())) {
                    quic.close(link, ErrorCode::Unspecified);
                }
            }
            // It is full: so says the error that follows, which names no way out for a trunk.
            (Phase::Challenged { .. }, 0, Some(Say::GoAway(_))) => {}
            _ => self.end(link, ErrorCode::OutOfOrder, quic),
        }
    }

    fn at(&self, link: LinkId) -> At {
        At { shard: self.shard, link }
    }

    /// The view's thread is gone only when all ends.
    fn tell(&self, event: Event) {
        let _ = self.view.send(event);
    }
}

impl Phase {
    /// The attempt to dial that is not over yet.
    fn attempt(&self) -> Option<u64> {
        match self {
            Self::Dialling { attempt, .. } | Self::Challenged { attempt, .. } | Self::Joining { attempt } => {
                Some(*attempt)
            }
            Self::Held { .. } | Self::Open { .. } => None,
        }
    }
}

impl Identity {
    /// Whether a challenge comes from a supernode of the network, and from that one. Gives its nonce.
    fn trusts(
        &self,
        peer: SupernodeId,
        key: &VerifyingKey,
        challenge: &v1::Challenge,
        signing_keys: &[VerifyingKey],
        now: UnixTime,
    ) -> Result<[u8; 32], String> {
        let verified = document::verify(&challenge.certificate, signing_keys, self.network, now);
        let certificate: SupernodeCertificate = verified.map_err(|error| format!("its certificate: {error}"))?;
        let named = (certificate.supernode, certificate.confirmation.jwk.bytes(), &challenge.supernode[..]);
        if named != (peer, key.as_bytes(), &peer.0[..]) {
            return Err("its certificate is another supernode's".to_owned());
        }
        challenge.nonce[..].try_into().map_err(|_| "its nonce has not 32 bytes".to_owned())
    }

    fn join(&self, peer: SupernodeId, nonce: &[u8; 32], exporter: &[u8; 32], certificate: String) -> v1::JoinTrunk {
        let Self { network, supernode, incarnation, shards, ref roster_key } = *self;
        let input = trunk_input(network, peer, supernode, incarnation, nonce, exporter);
        let signature = Bytes::copy_from_slice(&roster_key.sign(&input).to_bytes());
        v1::JoinTrunk { certificate, signature, version: TRUNK_VERSION, incarnation, shards: shards.into() }
    }
}

/// A voice datagram for a link of another supernode, as a trunk carries it. `None`: no such link can be named.
pub(crate) fn wrap(shard: ShardId, link: ahoy_core::LinkId, voice: &[u8]) -> Option<Bytes> {
    let link = FlowId::new(link.0)?;
    let mut datagram = Vec::with_capacity(1 + 8 + voice.len());
    datagram.push(u8::try_from(shard.0).ok()?);
    link.encode(&mut datagram);
    datagram.extend_from_slice(voice);
    Some(datagram.into())
}

/// Undoes [`wrap`].
pub(crate) fn unwrap(datagram: &Bytes) -> Option<(ShardId, LinkId, Bytes)> {
    let (shard, rest) = datagram.split_first()?;
    let (link, length) = FlowId::split(rest)?;
    Some((ShardId((*shard).into()), LinkId(link.number()), datagram.slice(1 + length..)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn wrapped_voice_comes_out_as_it_was(shard in 0..256u16, link in 0..1u64 << 62, voice: Vec<u8>) {
            let wrapped = wrap(ShardId(shard), ahoy_core::LinkId(link), &voice).unwrap();
            prop_assert_eq!(unwrap(&wrapped), Some((ShardId(shard), LinkId(link), voice.into())));
        }

        #[test]
        fn any_datagram_is_unwrapped_or_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            let _ = unwrap(&bytes.into());
        }
    }
}
