//! A link comes up and proves itself, or is turned away.

use std::time::Duration;

use ahoy_proto::frame::Deframer;
use ahoy_proto::v1::supernode_message::Body;
use ahoy_proto::{SupernodeId, limits, v1};
use bytes::Bytes;
use rand::seq::IteratorRandom;
use smallvec::SmallVec;

use super::{Links, millis};
use crate::outbox::{Outbox, Refusal, framed};
use crate::peer::Peer;
use crate::rate::Buckets;
use crate::session::{Online, Phase, Proving, Session, Standing, Violation};
use crate::timers::Due;
use crate::{Fleet, LinkId, Node, Now, admission};

/// What a supernode is called in its challenge. All crates have one version.
const AGENT: &str = concat!("ahoyd/", env!("CARGO_PKG_VERSION"));
const SHUTTING_DOWN: &str = "this supernode goes down: sign in elsewhere";

impl Links {
    pub(crate) fn up(&mut self, link: LinkId, exporter: Option<[u8; 32]>, now: Now, outbox: &mut Outbox) {
        outbox.counters.links += 1;
        if self.half_open >= self.config.half_open_max {
            return self.refuse_for_another(link, outbox);
        }
        let nonce = self.random();
        let deadline = now.instant + limits::PROOF_TIMEOUT;
        let challenge = v1::Challenge {
            nonce: Bytes::copy_from_slice(&nonce),
            time_ms: now.unix_ms,
            supernode: self.config.supernode.to_bytes(),
            minimum_version: self.config.minimum_version,
            certificate: self.authority.certificate.clone(),
            agent: AGENT.to_owned(),
        };
        let phase = Phase::Proving(Proving { nonce, exporter, deadline });
        self.sessions.insert(link, Box::new(Session { deframer: Deframer::default(), phase }));
        self.half_open += 1;
        self.timers.set(deadline, Due::Proof(link));
        outbox.send(link, framed(0, Body::Challenge(challenge)));
    }

    /// A device signs in.
    pub(super) fn prove(
        &mut self,
        link: LinkId,
        request: u64,
        prove: &v1::Prove,
        now: Now,
        outbox: &mut Outbox,
    ) -> Result<(), Violation> {
        if prove.agent.len() > limits::AGENT_MAX {
            let refusal = Refusal::invalid("the program's name has at most 64 bytes");
            outbox.send(link, framed(request, refusal.body()));
            return Ok(());
        }
        if self.turns_away(link, prove.urgency(), now, outbox) {
            return Ok(());
        }
        let Some(Phase::Proving(proving)) = self.sessions.get_mut(&link).map(|session| &mut session.phase) else {
            return Ok(());
        };
        let credential = proving.verify(prove, &self.config, &self.authority, now.unix())?;
        let online = Online {
            account: credential.account,
            device: credential.device,
            standing: Standing::of(&credential, now),
            unanswered: SmallVec::new(),
            flows: SmallVec::new(),
            signed_in_ms: now.steady_ms(self.config.started),
            buckets: Buckets::default(),
            long: None,
        };
        self.welcome(link, request, online, outbox);
        Ok(())
    }

    /// Refuses a sign-in that is not to be taken now, before anything is verified: that has to be cheap. Says whether it did.
    fn turns_away(&mut self, link: LinkId, urgency: v1::Urgency, now: Now, outbox: &mut Outbox) -> bool {
        if self.going.is_some() {
            outbox.counters.shut_out += 1;
            refuse_link(link, v1::ErrorCode::ShuttingDown, SHUTTING_DOWN, Duration::ZERO, outbox);
        } else if self.sessions.len() - self.half_open >= admission::room(self.config.sessions_max, urgency) {
            self.refuse_for_another(link, outbox);
        } else if let Err(retry_after) = self.admission.take(urgency, now.instant) {
            outbox.counters.sign_ins_put_off += 1;
            refuse_link(link, v1::ErrorCode::Overloaded, "too many sign in at once", retry_after, outbox);
        } else {
            return false;
        }
        self.forget(link);
        true
    }

    /// There is no room; perhaps there is elsewhere.
    fn refuse_for_another(&mut self, link: LinkId, outbox: &mut Outbox) {
        outbox.counters.overloaded += 1;
        if let Some(supernode) = self.another(outbox.fleet()) {
            let away = v1::GoAway { supernode: supernode.to_bytes(), ..Default::default() };
            outbox.send(link, framed(0, Body::GoAway(away)));
        }
        refuse_link(link, v1::ErrorCode::Overloaded, "this supernode is full: try another", Duration::ZERO, outbox);
    }

    /// Somewhere to send those for whom there is no room: as far as anybody here knows, each is as good as any other nearby.
    fn another(&mut self, fleet: &Fleet) -> Option<SupernodeId> {
        let others = fleet.nodes().iter().filter(|node| node.near && node.weight > 0 && node.node != Node::OWN);
        others.choose(&mut self.rng).map(|node| node.supernode)
    }

    fn welcome(&mut self, link: LinkId, request: u64, online: Online, outbox: &mut Outbox) {
        let session: [u8; 16] = self.random();
        let welcome = v1::Welcome {
            session: Bytes::copy_from_slice(&session),
            keepalive_ms: millis(admission::keepalive(self.sessions.len() * usize::from(self.config.shards))),
            max_message: limits::MESSAGE_MAX as u32,
            roster_serial: self.authority.roster_serial,
            revocations_serial: self.authority.revoked.serial,
        };
        outbox.send(link, framed(request, Body::Welcome(welcome)));
        outbox.counters.sign_ins += 1;
        let (party, at_ms) = (online.party(link, outbox), online.signed_in_ms);
        self.timers.set(online.standing.look_at, Due::Expiry(link));
        if let Some(session) = self.sessions.get_mut(&link) {
            let proven = std::mem::replace(&mut session.phase, Phase::Online(online));
            self.no_longer_half_open(link, &proven);
        }
        outbox.tell_account(party.account, Peer::SignedIn { party, at_ms });
    }

    /// Forgets a link that has not proven itself.
    pub(super) fn forget(&mut self, link: LinkId) {
        if let Some(session) = self.sessions.remove(&link) {
            self.no_longer_half_open(link, &session.phase);
        }
    }

    pub(super) fn no_longer_half_open(&mut self, link: LinkId, phase: &Phase) {
        if let Phase::Proving(proving) = phase {
            self.timers.clear(proving.deadline, Due::Proof(link));
            self.half_open -= 1;
        }
    }
}

/// The last words on a link, and its end. `retry_after`: zero where it does not help to wait for anything here.
pub(super) fn refuse_link(
    link: LinkId,
    code: v1::ErrorCode,
    text: impl ToString,
    retry_after: Duration,
    outbox: &mut Outbox,
) {
    let error = v1::Error { code: code.into(), text: text.to_string(), retry_after_ms: millis(retry_after) };
    outbox.send(link, framed(0, Body::Error(error)));
    outbox.close(link, code);
}
