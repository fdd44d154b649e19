//! Any bytes on a link's stream: framing, message decoding, flow ids, bindings.
#![no_main]

use ahoy_proto::{binding, flow::FlowId, frame::Deframer, limits, v1};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|noise: &[u8]| {
    let _ = FlowId::split(noise);
    if let Ok(binding) = v1::Binding::decode(noise) {
        let _ = binding::verify(&binding);
    }
    let mut deframer = Deframer::default();
    for piece in noise.chunks(7) {
        deframer.push(piece);
        while let Ok(Some(message)) = deframer.next(limits::UNPROVEN_MESSAGE_MAX) {
            let _ = v1::ClientMessage::decode(message.clone());
            let _ = v1::SupernodeMessage::decode(message);
        }
    }
});
