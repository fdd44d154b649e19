//! How a machine becomes a supernode: what its roster key signs for the authority, and how it is handed the fleet's call-token key.
//!
//! The key travels sealed to a secret that the asking machine makes for one request and signs the public half of, so that whoever
//! replays the request is answered with bytes that he can't open.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{NetworkId, SupernodeId, UnixTime, base_mode};

const ENROL_LABEL: &[u8] = b"ahoy/1 supernode enrolment";
const RENEW_LABEL: &[u8] = b"ahoy/1 supernode renewal";
const REPLY_INFO: &[u8] = b"ahoy/1 call-token key";

/// What a supernode says of itself when it enrols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Particulars<'a> {
    /// Where it listens: `host:port`, best first.
    pub addresses: &'a [String],
    /// Where it stands, in the operator's words.
    pub region: &'a str,
    /// Its share of new sessions, relative to the others.
    pub weight: u32,
}

/// The input of the roster key's signature in [`EnrolSupernode`](crate::api::EnrolSupernode): label, 0, SHA-256 of the token,
/// reply key, weight (4 bytes, big-endian), then region and each address, each after its length (2 bytes, big-endian). `None` when one
/// of these is longer than 65,535 bytes.
pub fn enrol_input(token: &str, reply_key: &[u8; 32], particulars: Particulars<'_>) -> Option<Vec<u8>> {
    let Particulars { addresses, region, weight } = particulars;
    let token: [u8; 32] = Sha256::digest(token).into();
    let mut input = [ENROL_LABEL, &[0], &token, reply_key, &weight.to_be_bytes()].concat();
    for text in std::iter::once(region).chain(addresses.iter().map(String::as_str)) {
        input.extend_from_slice(&u16::try_from(text.len()).ok()?.to_be_bytes());
        input.extend_from_slice(text.as_bytes());
    }
    Some(input)
}

/// The input of the roster key's signature in [`RenewSupernode`](crate::api::RenewSupernode): label, 0, network, supernode, time (8
/// bytes, big-endian), reply key.
pub fn renew_input(network: NetworkId, supernode: SupernodeId, time: UnixTime, reply_key: &[u8; 32]) -> Vec<u8> {
    [RENEW_LABEL, &[0], &network.0, &supernode.0, &time.0.to_be_bytes(), reply_key].concat()
}

/// Opens the answer to one request. Zeroized on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ReplySecret([u8; 32]);

impl fmt::Debug for ReplySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplySecret(…)")
    }
}

impl ReplySecret {
    /// The secret of these bytes, which must be random and used for one request.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// X25519, public: stands in the request.
    pub fn reply_key(&self) -> [u8; 32] {
        base_mode::public_key(&self.0)
    }

    /// Opens the call-token key that the authority sealed for this supernode; `None` when it is not that.
    pub fn open(&self, sealed: &[u8], supernode: SupernodeId) -> Option<Zeroizing<[u8; 32]>> {
        let plain = base_mode::open(&self.0, REPLY_INFO, &supernode.0, sealed)?;
        plain.as_slice().try_into().ok().map(Zeroizing::new)
    }
}

/// Seals the call-token key for a supernode that asked with this reply key; `seed` must be random and used once. `None` when the
/// reply key is of small order.
pub fn seal_call_token_key(
    key: &[u8; 32],
    supernode: SupernodeId,
    reply_key: &[u8; 32],
    seed: [u8; 32],
) -> Option<Vec<u8>> {
    base_mode::seal(reply_key, REPLY_INFO, &supernode.0, key, seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_asked_opens_the_answer() {
        let (asked, other) = (ReplySecret::new([1; 32]), ReplySecret::new([2; 32]));
        let supernode = SupernodeId([3; 16]);
        let sealed = seal_call_token_key(&[9; 32], supernode, &asked.reply_key(), [4; 32]).unwrap();
        assert_eq!(asked.open(&sealed, supernode).as_deref(), Some(&[9; 32]));
        assert!(other.open(&sealed, supernode).is_none());
        assert!(asked.open(&sealed, SupernodeId([5; 16])).is_none());
        assert!(seal_call_token_key(&[9; 32], supernode, &[0; 32], [4; 32]).is_none(), "a key of small order");
    }

    #[test]
    fn no_two_enrolments_sign_the_same_bytes() {
        let texts = |all: &[&str]| all.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let input = |token, region, addresses: &[&str], weight| {
            enrol_input(token, &[1; 32], Particulars { addresses: &texts(addresses), region, weight }).unwrap()
        };
        let first = input("token", "ab", &["c", "d"], 1);
        for other in [
            input("nekot", "ab", &["c", "d"], 1),
            input("token", "a", &["bc", "d"], 1),
            input("token", "ab", &["cd"], 1),
            input("token", "ab", &["c", "d"], 2),
        ] {
            assert_ne!(first, other);
        }
        let long = "x".repeat(65_536);
        assert!(enrol_input("t", &[1; 32], Particulars { addresses: &[], region: &long, weight: 1 }).is_none());
    }
}
