//! Any bytes on a link's stream: framing, fragments, message decoding, flow ids, bindings, request keys, notes.
#![no_main]

use ahoy_proto::frame::{Assembler, Deframer};
use ahoy_proto::request_key::{self, RequestSecret};
use ahoy_proto::{AccountId, binding, flow::FlowId, limits, note, v1};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|noise: &[u8]| {
    let _ = FlowId::split(noise);
    if let Ok(binding) = v1::Binding::decode(noise) {
        let _ = binding::verify(&binding);
    }
    let (asking, asked) = (AccountId([1; 16]), AccountId([2; 16]));
    let key = ed25519_dalek::SigningKey::from_bytes(&[3; 32]).verifying_key();
    assert!(request_key::verify(noise, asked, key.as_bytes()).is_err());
    assert!(note::open(noise, asking, asked, &RequestSecret::new([4; 32])).is_err());
    let (mut deframer, mut assembler) = (Deframer::default(), Assembler::default());
    for piece in noise.chunks(7) {
        deframer.push(piece);
        while let Ok(Some(message)) = deframer.next(limits::UNPROVEN_MESSAGE_MAX) {
            if let Ok(v1::ClientMessage { body: Some(v1::client_message::Body::Fragment(fragment)), .. }) =
                v1::ClientMessage::decode(message.clone())
                && let Ok(Some(whole)) = assembler.push(&fragment, limits::UNPROVEN_MESSAGE_MAX)
            {
                let _ = v1::ClientMessage::decode(whole);
            }
            let _ = v1::SupernodeMessage::decode(message);
        }
    }
});
