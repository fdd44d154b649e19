//! Who a leaf is: the account-signed binding in its credential.

use ahoy_proto::binding::{self, VerifiedBinding};
use ahoy_proto::v1;
use openmls::prelude::{BasicCredential, Credential};
use prost::Message;

use super::MlsError;

/// A leaf whose binding verifies and names the leaf's own signature key. Whether its account key is the right one,
/// the caller must know.
pub(crate) type Leaf = VerifiedBinding;

/// Reads a leaf's credential.
pub(super) fn read(credential: &Credential, signature_key: &[u8]) -> Result<Leaf, MlsError> {
    let basic = BasicCredential::try_from(credential.clone()).map_err(|_| MlsError::Unbound)?;
    let binding = v1::Binding::decode(basic.identity()).map_err(|_| MlsError::Unbound)?;
    let leaf = binding::verify(&binding).map_err(|_| MlsError::Unbound)?;
    if leaf.device_key[..] == *signature_key { Ok(leaf) } else { Err(MlsError::Unbound) }
}

/// Reads the credential of a message's sender, which must be a leaf that has been read before.
pub(super) fn sender(credential: &Credential) -> Result<Leaf, MlsError> {
    let basic = BasicCredential::try_from(credential.clone()).map_err(|_| MlsError::Unbound)?;
    let binding = v1::Binding::decode(basic.identity()).map_err(|_| MlsError::Unbound)?;
    binding::verify(&binding).map_err(|_| MlsError::Unbound)
}
