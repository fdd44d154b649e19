//! Voice packets, sealed: SFrame (RFC 9605) behind the flow id, which is authenticated as metadata.
//!
//! Invariant: a [`Sealer`] owns its key and its counter and can't be copied, so no counter value is used twice under one key; and an
//! [`Opener`] gives each packet once.

use ahoy_proto::flow::FlowId;
use ahoy_proto::limits::DATAGRAM_MAX;
use sframe::CipherSuite;
use sframe::frame::validation::{ReplayAttackProtection, Tolerance};
use sframe::frame::{EncryptedFrameView, MediaFrameView, MonotonicCounter};
use sframe::key::{DecryptionKey, EncryptionKey};

use crate::member::VoiceKey;

const SUITE: CipherSuite = CipherSuite::AesGcm128Sha256;

/// Every leg has a key of its own, so none needs a name.
const KEY_ID: u64 = 0;

/// Packets that may arrive behind the newest: 20 s of voice, beyond any path's reordering; docs/protocol.md asks for at least 512.
const REPLAY_WINDOW: usize = 1024;

/// Packets of one leg at most: 2^32 are 2.7 years, and below the 2^34.5 that AES-GCM allows one key.
const COUNTER_MAX: u64 = u32::MAX as u64;

/// Why a datagram did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotOpened {
    /// Not of this leg.
    #[error("another flow's packet")]
    OtherFlow,
    /// Changed, forged, sealed with another key, come before, or too old.
    #[error("a packet that is not authentic, or not new")]
    Refused,
}

/// Seals what this device says, on one leg.
pub(super) struct Sealer {
    key: EncryptionKey,
    counter: MonotonicCounter,
    prefix: Vec<u8>,
}

impl Sealer {
    /// For one leg; `None` if the key can't be used, which its length rules out.
    pub(super) fn new(key: &VoiceKey, flow: FlowId) -> Self {
        Self::begin_at(key.bytes(), KEY_ID, 0, flow)
    }

    fn begin_at(key: &[u8; 16], key_id: u64, counter: u64, flow: FlowId) -> Self {
        let mut prefix = Vec::with_capacity(8);
        flow.encode(&mut prefix);
        Self {
            key: EncryptionKey::derive_from(SUITE, key_id, key).expect("HKDF takes any key of 16 bytes"),
            counter: MonotonicCounter::with_start_value(counter, COUNTER_MAX),
            prefix,
        }
    }

    /// The payload as a datagram; `None` once the counter is used up.
    pub(super) fn seal(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let frame = MediaFrameView::try_with_meta_data(&mut self.counter, payload, &self.prefix).ok()?;
        let mut datagram = Vec::with_capacity(self.prefix.len() + payload.len() + 32);
        frame.encrypt_into(&self.key, &mut datagram).ok()?;
        Some(datagram)
    }
}

/// Opens what another device says, on one leg.
pub(super) struct Opener {
    key: DecryptionKey,
    flow: FlowId,
    replay: ReplayAttackProtection,
}

impl Opener {
    pub(super) fn new(key: &VoiceKey, flow: FlowId) -> Self {
        Self::for_key_id(key.bytes(), KEY_ID, flow)
    }

    fn for_key_id(key: &[u8; 16], key_id: u64, flow: FlowId) -> Self {
        Self {
            key: DecryptionKey::derive_from(SUITE, key_id, key).expect("HKDF takes any key of 16 bytes"),
            flow,
            replay: ReplayAttackProtection::new(key_id, Tolerance::new(REPLAY_WINDOW)),
        }
    }

    /// The payload in a datagram.
    pub(super) fn open(&mut self, datagram: &[u8]) -> Result<Vec<u8>, NotOpened> {
        let (flow, prefix) = FlowId::split(datagram).ok_or(NotOpened::OtherFlow)?;
        if flow != self.flow {
            return Err(NotOpened::OtherFlow);
        }
        if datagram.len() > DATAGRAM_MAX {
            return Err(NotOpened::Refused);
        }
        let (prefix, frame) = datagram.split_at(prefix);
        let frame = EncryptedFrameView::try_with_meta_data(frame, prefix).map_err(|_| NotOpened::Refused)?;
        let mut opened = Vec::with_capacity(datagram.len());
        let opened =
            frame.validated_decrypt_into(&self.key, &mut opened, &mut self.replay).map_err(|_| NotOpened::Refused)?;
        Ok(opened.payload().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flow(number: u64) -> FlowId {
        FlowId::new(number).unwrap()
    }

    fn pair() -> (Sealer, Opener) {
        let key = VoiceKey::new([7; 16]);
        (Sealer::new(&key, flow(77)), Opener::new(&key, flow(77)))
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    /// RFC 9605, appendix C.3, AES_128_GCM_SHA256_128. Its metadata is no flow id, so the key alone is tried.
    #[test]
    fn the_vector_of_rfc_9605_comes_out() {
        let base_key: [u8; 16] = std::array::from_fn(|index| index as u8);
        let mut sealer = Sealer::begin_at(&base_key, 0x123, 0x4567, flow(0));
        sealer.prefix = bytes("4945544620534672616d65205747");
        let sealed = sealer.seal(&bytes("64726166742d696574662d736672616d652d656e63")).unwrap();
        let wanted = bytes("9901234567b7412c2513a1b66dbb48841bbaf17f598751176ad847681a69c6d0b091c07018ce4adb34eb");
        assert_eq!(sealed[..14], sealer.prefix);
        assert_eq!(sealed[14..], wanted);
    }

    #[test]
    fn what_is_sealed_opens_once() {
        let (mut sealer, mut opener) = pair();
        let datagrams: Vec<_> = (0..5u8).map(|index| sealer.seal(&[index; 104]).unwrap()).collect();
        for index in [1, 0, 4, 2, 3] {
            assert_eq!(opener.open(&datagrams[index]), Ok(vec![index as u8; 104]));
        }
        for datagram in &datagrams {
            assert_eq!(opener.open(datagram), Err(NotOpened::Refused));
        }
    }

    #[test]
    fn a_packet_behind_the_window_is_refused() {
        let (mut sealer, mut opener) = pair();
        let old = sealer.seal(b"old").unwrap();
        for _ in 0..REPLAY_WINDOW {
            opener.open(&sealer.seal(b"new").unwrap()).unwrap();
        }
        assert_eq!(opener.open(&old), Err(NotOpened::Refused));
    }

    #[test]
    fn no_byte_of_a_packet_can_be_changed() {
        let (mut sealer, mut opener) = pair();
        let datagram = sealer.seal(&[9; 104]).unwrap();
        for index in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[index] ^= 1;
            assert!(opener.open(&changed).is_err(), "byte {index}");
        }
        assert!(opener.open(&datagram).is_ok());
    }

    #[test]
    fn another_flow_and_another_key_are_refused() {
        let (mut sealer, _) = pair();
        let datagram = sealer.seal(&[9; 104]).unwrap();
        let key = VoiceKey::new([7; 16]);
        assert_eq!(Opener::new(&key, flow(78)).open(&datagram), Err(NotOpened::OtherFlow));
        let strange = VoiceKey::new([8; 16]);
        assert_eq!(Opener::new(&strange, flow(77)).open(&datagram), Err(NotOpened::Refused));
    }

    #[test]
    fn a_forged_packet_does_not_move_the_window() {
        let (mut sealer, mut opener) = pair();
        let first = sealer.seal(b"first").unwrap();
        let strange = VoiceKey::new([8; 16]);
        let forged = Sealer::begin_at(strange.bytes(), KEY_ID, 1_000_000, flow(77)).seal(b"forged").unwrap();
        assert!(opener.open(&forged).is_err());
        assert_eq!(opener.open(&first), Ok(b"first".to_vec()));
    }

    #[test]
    fn the_counter_ends_rather_than_begin_anew() {
        let mut sealer = Sealer::begin_at(&[7; 16], KEY_ID, COUNTER_MAX, flow(1));
        assert!(sealer.seal(b"last").is_some());
        assert!(sealer.seal(b"one too many").is_none());
    }

    proptest! {
        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..200), own in any::<bool>()) {
            let (_, mut opener) = pair();
            let mut datagram = Vec::new();
            if own {
                flow(77).encode(&mut datagram);
            }
            datagram.extend(noise);
            prop_assert!(opener.open(&datagram).is_err());
        }
    }
}
