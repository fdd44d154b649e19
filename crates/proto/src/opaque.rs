//! The OPAQUE configuration (RFC 9807) that the authority and all clients share: ristretto255, 3DH, SHA-512, Argon2id.

use argon2::{Algorithm, Argon2, Params, Version};
use opaque_ke::{CipherSuite, Ristretto255, TripleDh};

/// ristretto255-SHA512 as OPRF and key exchange group, Argon2id as key stretching function.
#[derive(Debug, Clone, Copy)]
pub struct Suite;

impl CipherSuite for Suite {
    type OprfCs = Ristretto255;
    type KeyExchange = TripleDh<Ristretto255, sha2::Sha512>;
    type Ksf = Argon2<'static>;
}

/// What a password goes through before it is used.
pub type KeyStretching<'a> = Argon2<'a>;

/// Argon2id with 64 MiB, 3 passes and 4 lanes (the second recommendation of RFC 9106).
pub fn key_stretching() -> Argon2<'static> {
    let params = Params::new(64 * 1024, 3, 4, None).expect("the recommended parameters are valid");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// The least that Argon2id does. For passwords of 128 random bits or more: nobody guesses those, however fast a guess is.
pub fn no_key_stretching() -> Argon2<'static> {
    let params = Params::new(Params::MIN_M_COST, 1, 1, None).expect("the least parameters are valid");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}
