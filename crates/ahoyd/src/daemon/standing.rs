//! By what right this process's supernode is one: what the authority has given it, and the newest of what it has signed.

use ahoy_proto::call_token::CallTokenKey;
use ahoy_proto::{NetworkId, SupernodeId};
use ahoy_supernode::CredentialKeys;
use ed25519_dalek::SigningKey;
use tokio::sync::watch;

/// What a supernode is started with, wherever its authority is.
pub(super) struct Standing {
    pub(super) network: NetworkId,
    pub(super) roster_key: SigningKey,
    pub(super) stateless_reset_key: [u8; 32],
    pub(super) call_token_key: CallTokenKey,
    /// As in its certificate.
    pub(super) number: u32,
    /// The newest, and every later one.
    pub(super) keys: watch::Receiver<CredentialKeys>,
}

impl Standing {
    /// The supernode's id.
    pub(super) fn id(&self) -> SupernodeId {
        SupernodeId::of_roster_key(self.roster_key.verifying_key().as_bytes())
    }
}

/// Whether a roster has this supernode with this key.
pub(super) fn lists(keys: &CredentialKeys, supernode: SupernodeId) -> bool {
    keys.roster.supernodes.iter().any(|entry| entry.supernode == supernode)
}
