//! Call tokens: what a supernode tells its successor about a leg, sealed by the fleet's key and carried by the client.
//!
//! A token is version (1 byte), nonce (24 bytes), then XChaCha20-Poly1305 of the claims with the network id as
//! associated data. Clients can't read it.

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{AccountId, CallId, ConversationId, DeviceId, NetworkId, UnixTime};

/// The key that all supernodes of a fleet share.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct CallTokenKey([u8; 32]);

impl std::fmt::Debug for CallTokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallTokenKey(…)")
    }
}

impl CallTokenKey {
    /// The key of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What is handed to a supernode of the fleet, and kept.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallTokenClaims {
    /// The call.
    pub call: CallId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Who may attach with this token.
    pub account: AccountId,
    /// On which device.
    pub device: DeviceId,
    /// The others with a leg in the call.
    pub peers: Vec<(AccountId, DeviceId)>,
    /// When the call was answered.
    pub answered_at: UnixTime,
    /// Its last second.
    pub expires: UnixTime,
}

/// Sealed by another key, for another network, cut, or expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call token is not of this network, or has expired")]
pub struct CallTokenRefused;

const VERSION: u8 = 1;
const NONCE: usize = 24;
const FIXED: usize = 16 * 4 + 8 + 8;

/// Seals the claims; `nonce` must be random.
pub fn seal(claims: &CallTokenClaims, network: NetworkId, key: &CallTokenKey, nonce: [u8; NONCE]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(FIXED + 32 * claims.peers.len());
    for id in [&claims.call.0, &claims.conversation.0, &claims.account.0, &claims.device.0] {
        plain.extend_from_slice(id);
    }
    plain.extend_from_slice(&claims.answered_at.0.to_be_bytes());
    plain.extend_from_slice(&claims.expires.0.to_be_bytes());
    for (account, device) in &claims.peers {
        plain.extend_from_slice(&account.0);
        plain.extend_from_slice(&device.0);
    }
    let sealed = XChaCha20Poly1305::new((&key.0).into())
        .encrypt((&nonce).into(), Payload { msg: &plain, aad: &network.0 })
        .expect("a token is far below the cipher's limit");
    [&[VERSION][..], &nonce, &sealed].concat()
}

/// Opens a token.
///
/// # Errors
/// When it is not sealed by this key for this network, or has expired.
pub fn open(
    token: &[u8],
    network: NetworkId,
    key: &CallTokenKey,
    now: UnixTime,
) -> Result<CallTokenClaims, CallTokenRefused> {
    let (&VERSION, rest) = token.split_first().ok_or(CallTokenRefused)? else { return Err(CallTokenRefused) };
    let (nonce, sealed) = rest.split_at_checked(NONCE).ok_or(CallTokenRefused)?;
    let plain = XChaCha20Poly1305::new((&key.0).into())
        .decrypt(nonce.into(), Payload { msg: sealed, aad: &network.0 })
        .map_err(|_| CallTokenRefused)?;
    let claims = parse(&plain).ok_or(CallTokenRefused)?;
    if now > claims.expires { Err(CallTokenRefused) } else { Ok(claims) }
}

fn parse(plain: &[u8]) -> Option<CallTokenClaims> {
    let (fixed, peers) = plain.split_at_checked(FIXED)?;
    let id = |index: usize| -> [u8; 16] { std::array::from_fn(|byte| fixed[index * 16 + byte]) };
    let time = |at: usize| UnixTime(fixed[at..at + 8].iter().fold(0, |n, byte| n << 8 | u64::from(*byte)));
    let pair = |bytes: &[u8]| Some((AccountId::try_from(&bytes[..16]).ok()?, DeviceId::try_from(&bytes[16..]).ok()?));
    if peers.len() % 32 != 0 {
        return None;
    }
    Some(CallTokenClaims {
        call: CallId(id(0)),
        conversation: ConversationId(id(1)),
        account: AccountId(id(2)),
        device: DeviceId(id(3)),
        answered_at: time(64),
        expires: time(72),
        peers: peers.chunks(32).map(pair).collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: NetworkId = NetworkId([1; 16]);

    fn claims() -> CallTokenClaims {
        CallTokenClaims {
            call: CallId([2; 16]),
            conversation: ConversationId([3; 16]),
            account: AccountId([4; 16]),
            device: DeviceId([5; 16]),
            peers: vec![(AccountId([6; 16]), DeviceId([7; 16]))],
            answered_at: UnixTime(8),
            expires: UnixTime(100),
        }
    }

    fn key() -> CallTokenKey {
        CallTokenKey::new([9; 32])
    }

    #[test]
    fn any_supernode_of_the_fleet_reads_a_token() {
        let token = seal(&claims(), NETWORK, &key(), [1; 24]);
        assert_eq!(open(&token, NETWORK, &key(), UnixTime(100)), Ok(claims()));
        assert!(token.len() < crate::limits::CALL_TOKEN_MAX);
    }

    #[test]
    fn strange_expired_and_cut_tokens_are_refused() {
        let token = seal(&claims(), NETWORK, &key(), [1; 24]);
        assert!(open(&token, NetworkId([2; 16]), &key(), UnixTime(9)).is_err());
        assert!(open(&token, NETWORK, &CallTokenKey::new([8; 32]), UnixTime(9)).is_err());
        assert!(open(&token, NETWORK, &key(), UnixTime(101)).is_err());
        for length in 0..token.len() {
            assert!(open(&token[..length], NETWORK, &key(), UnixTime(9)).is_err());
        }
    }
}
