//! Calls: voice between two links, on one shard and across shards.

use ahoy_proto::{CallId, LegId, flow::FlowId};
use bytes::Bytes;

use super::*;

/// Two clients in an answered call, and the flow that each sends on and hears the other on.
pub(super) struct Call {
    pub(super) caller: Client,
    pub(super) callee: Client,
    pub(super) caller_sends: FlowId,
    pub(super) callee_sends: FlowId,
    pub(super) caller_token: Bytes,
    pub(super) callee_token: Bytes,
}

pub(super) fn attached(event: Say) -> Option<(FlowId, Bytes)> {
    if let Say::LegAttached(attached) = event { Some((FlowId::new(attached.flow)?, attached.call_token)) } else { None }
}

pub(super) async fn call(rig: &Rig, alice: &Person, bob: &Person, number: u8) -> Call {
    connect(rig.sign_in(alice).await, rig.sign_in(bob).await, number).await
}

/// Rings and answers.
pub(super) async fn connect(mut caller: Client, mut callee: Client, number: u8) -> Call {
    let call = CallId([number; 16]).to_bytes();
    let started = caller
        .ask(Ask::StartCall(v1::StartCall {
            call: call.clone(),
            conversation: CONVERSATION.to_bytes(),
            leg: LegId([1; 16]).to_bytes(),
            sealed: vec![1].into(),
        }))
        .await;
    assert!(matches!(started, Say::Done(_)), "{started:?}");
    callee.event(|event| matches!(event, Say::IncomingCall(_)).then_some(())).await;
    let leg = LegId([2; 16]).to_bytes();
    let answered = callee.ask(Ask::AnswerCall(v1::AnswerCall { call, leg, sealed: vec![1].into() })).await;
    let (callee_sends, callee_token) = attached(answered).unwrap();
    let (caller_sends, caller_token) = caller.event(attached).await;
    callee.event(|event| matches!(event, Say::LegUp(_)).then_some(())).await;
    caller.event(|event| matches!(event, Say::LegUp(_)).then_some(())).await;
    Call { caller, callee, caller_sends, callee_sends, caller_token, callee_token }
}

pub(super) fn voice(flow: FlowId, text: &[u8]) -> Bytes {
    let mut packet = Vec::new();
    flow.encode(&mut packet);
    packet.extend_from_slice(text);
    packet.into()
}

impl Call {
    pub(super) async fn talk(&self) {
        let (there, back) = (voice(self.caller_sends, b"hello bob"), voice(self.callee_sends, b"hello alice"));
        self.caller.link.send_datagram(there.clone()).unwrap();
        assert_eq!(in_time("voice there", self.callee.link.next_datagram()).await, Ok(there));
        self.callee.link.send_datagram(back.clone()).unwrap();
        assert_eq!(in_time("voice back", self.caller.link.next_datagram()).await, Ok(back));
    }

    pub(super) async fn hang_up(&mut self, number: u8) {
        let hang_up = v1::HangUp { call: CallId([number; 16]).to_bytes(), cause: v1::Cause::HungUp.into() };
        self.caller.ask(Ask::HangUp(hang_up)).await;
    }
}

#[tokio::test]
async fn voice_goes_both_ways_on_one_shard() {
    let rig = Rig::start(1);
    let (alice, bob) = rig.two_people().await;
    call(&rig, &alice, &bob, 1).await.talk().await;
}

#[tokio::test]
async fn voice_goes_both_ways_across_shards() {
    let rig = Rig::start(2);
    let (alice, bob) = rig.two_people().await;
    // The kernel picks each link's shard by its port: all sixteen pairs meet on one shard once in 65,536 runs.
    for number in 1..=16 {
        let mut call = call(&rig, &alice, &bob, number).await;
        call.talk().await;
        call.hang_up(number).await;
        if rig.scrape.metric("ahoy_voice_packets_crossed") > 0.0 {
            return;
        }
    }
    panic!("no call was across shards");
}

#[tokio::test]
async fn a_call_goes_on_when_a_client_changes_its_address() {
    let rig = Rig::start(2);
    let (alice, bob) = rig.two_people().await;
    let call = call(&rig, &alice, &bob, 1).await;
    // Of sixteen ports, all lead to the same shard once in 32,768 runs.
    for _ in 0..16 {
        call.caller.link.rebind().unwrap();
        call.talk().await;
    }
    let scrape = rig.stop();
    assert!(scrape.metric("ahoy_packets_handed_over") > 0.0);
    assert_eq!(scrape.metric("ahoy_packets_handed_over"), scrape.metric("ahoy_packets_taken_over"));
}

#[tokio::test]
async fn nobody_can_send_on_the_flow_of_another() {
    let rig = Rig::start(1);
    let (alice, bob) = rig.two_people().await;
    let call = call(&rig, &alice, &bob, 1).await;
    call.callee.link.send_datagram(voice(call.caller_sends, b"forged")).unwrap();
    call.talk().await;
    assert_eq!(rig.stop().metric("ahoy_voice_packets_dropped"), 1.0);
}
