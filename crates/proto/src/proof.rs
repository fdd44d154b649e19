//! What a device signs to prove that it holds the key of its credential.

use crate::{NetworkId, SupernodeId};

const LABEL: &[u8] = b"ahoy/1 session proof";

/// Label of the TLS exporter (RFC 8446, section 7.5) that native links mix in; context empty, 32 bytes.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-ahoy/1 session";

/// The input of the signature in `Prove`: label, 0, network, supernode, nonce, and on native links the 32 bytes of the
/// TLS exporter. All parts have fixed lengths.
pub fn proof_input(
    network: NetworkId,
    supernode: SupernodeId,
    nonce: &[u8; 32],
    exporter: Option<&[u8; 32]>,
) -> Vec<u8> {
    let mut input = Vec::with_capacity(LABEL.len() + 1 + 16 + 16 + 32 + 32);
    input.extend_from_slice(LABEL);
    input.push(0);
    input.extend_from_slice(&network.0);
    input.extend_from_slice(&supernode.0);
    input.extend_from_slice(nonce);
    if let Some(exporter) = exporter {
        input.extend_from_slice(exporter);
    }
    input
}

const TRUNK_LABEL: &[u8] = b"ahoy/1 trunk";

/// The input of the signature in `JoinTrunk`: label, 0, network, the supernode that is dialled, the one that dials, its incarnation
/// (8 bytes, big-endian), the nonce of the challenge, and the 32 bytes of the TLS exporter.
pub fn trunk_input(
    network: NetworkId,
    dialled: SupernodeId,
    dialler: SupernodeId,
    incarnation: u64,
    nonce: &[u8; 32],
    exporter: &[u8; 32],
) -> Vec<u8> {
    let mut input = TRUNK_LABEL.to_vec();
    input.push(0);
    for part in [&network.0[..], &dialled.0, &dialler.0, &incarnation.to_be_bytes(), nonce, exporter] {
        input.extend_from_slice(part);
    }
    input
}
