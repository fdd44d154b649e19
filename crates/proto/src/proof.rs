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
