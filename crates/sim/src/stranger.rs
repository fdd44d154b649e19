//! A stranger: an account that is in nobody's conversation, signs in properly, and then tries everything with whatever it
//! could have overheard.

use ahoy_proto::flow::FlowId;
use ahoy_proto::{LegId, frame, v1};
use bytes::Bytes;
use rand::{Rng, RngExt};
use v1::client_message::Body;

use crate::world::World;

impl World {
    /// A handful of attacks in a row, on the stranger's session.
    pub(crate) fn attack(&mut self, device: usize) {
        let Some(link) = self.devices[device].link.as_ref().filter(|_| self.devices[device].is_online()) else {
            return;
        };
        let link = link.id;
        let overheard: Vec<_> = self.flows.given().rev().take(4).collect();
        for (_, flow, call) in overheard {
            let flow = if self.rng.random() { flow } else { self.rng.random_range(0..200) };
            let mut datagram = Vec::new();
            FlowId::new(flow).expect("below 2^62").encode(&mut datagram);
            datagram.extend_from_slice(&[0xbd; 16]);
            self.send_voice(link, datagram);
            let body = self.hostile_request(call.to_bytes());
            let request = self.rng.random_range(1..1_000_000);
            self.send_up(link, frame::encode(&v1::ClientMessage { request, body: Some(body) }));
        }
        // Sometimes noise, which closes the link.
        if self.rng.random_bool(0.05) {
            let mut noise = vec![0; self.rng.random_range(1..200)];
            self.rng.fill_bytes(&mut noise);
            self.send_up(link, noise.into());
        }
    }

    fn hostile_request(&mut self, call: Bytes) -> Body {
        let leg = LegId(self.rng.random()).to_bytes();
        let sealed = Bytes::from_static(b"not sealed at all");
        let cause = self.rng.random_range(0..12);
        let account = self.devices[0].identity.account;
        let stranger = self.devices.iter().find(|device| device.is_stranger);
        let stranger = stranger.map_or_else(Bytes::new, |device| device.identity.account.to_bytes());
        let conversation = self.fleet.store.conversations(account).first().map_or_else(Bytes::new, |id| id.to_bytes());
        let call_token = self.flows.tokens().next_back().cloned().unwrap_or_default();
        match self.rng.random_range(0..16) {
            0 => Body::AnswerCall(v1::AnswerCall { call, leg, sealed }),
            1 => Body::DeclineCall(v1::DeclineCall { call, cause }),
            2 => Body::HangUp(v1::HangUp { call, cause }),
            3 => Body::AttachLeg(v1::AttachLeg { call_token, leg, sealed }),
            4 => Body::StartCall(v1::StartCall { call, conversation, leg, sealed }),
            5 => Body::FetchLog(v1::FetchLog { conversation, after: 0 }),
            6 => Body::Commit(v1::Commit {
                conversation,
                generation: 1,
                epoch: self.rng.random_range(0..9),
                commit: sealed.clone(),
                group_info: sealed,
                welcomes: Vec::new(),
                add: vec![stranger],
                remove: vec![account.to_bytes()],
            }),
            7 => Body::SendMessage(v1::SendMessage {
                conversation,
                number: self.rng.random_range(0..3),
                generation: 1,
                epoch: self.rng.random_range(0..9),
                sealed,
            }),
            8 => Body::RequestContact(v1::RequestContact { account: account.to_bytes(), note: sealed }),
            9 => Body::AnswerContact(v1::AnswerContact { account: account.to_bytes(), accept: true }),
            10 => Body::SendSignal(v1::SendSignal { conversation, sealed }),
            11 => Body::SetReceipt(v1::SetReceipt { conversation, sealed }),
            12 => Body::LeaveConversation(v1::LeaveConversation { conversation }),
            13 => Body::FetchMembers(v1::FetchMembers { conversation }),
            14 => Body::CreateConversation(v1::CreateConversation {
                conversation: LegId(self.rng.random()).to_bytes(),
                peer: account.to_bytes(),
                epoch: 1,
                group_info: sealed,
                welcomes: Vec::new(),
            }),
            _ => Body::FetchInbox(v1::FetchInbox { after: self.rng.random() }),
        }
    }
}
