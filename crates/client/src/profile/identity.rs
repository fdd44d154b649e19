//! Who a profile is.

use std::fmt;

use ahoy_proto::api::Base64Url;
use ahoy_proto::document::{self, Credential, Jwk};
use ahoy_proto::request_key::RequestSecret;
use ahoy_proto::{AccountId, DeviceId, Name, UnixTime, v1};
use ed25519_dalek::SigningKey;
use prost::Message;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::account::{AccountError, Network};
use crate::member;

/// One device of one account on one network: everything that signing in to a supernode takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The network, pinned.
    pub network: Network,
    /// The account.
    pub account: AccountId,
    /// Its name.
    pub name: Name,
    /// Ed25519, public. The secret is at the authority, sealed; it is not kept here.
    pub account_key: Jwk,
    /// This device.
    pub device: DeviceId,
    /// Its secret.
    pub device_key: DeviceKey,
    /// `ahoy.v1.Binding`, encoded: the account key's word for this device.
    pub binding: Base64Url,
    /// `ahoy-credential+jwt`, the newest.
    pub credential: String,
    /// Opens the notes of those who ask to become a contact. A device that signed in before there were notes has none.
    #[serde(default, with = "request_secret")]
    pub request_secret: Option<RequestSecret>,
}

impl Identity {
    /// The credential's claims, if it is good at this time.
    ///
    /// # Errors
    /// Says why it is not.
    pub fn verified_credential(&self, now: UnixTime) -> Result<Credential, AccountError> {
        let keys = self.network.verified_signing_keys(now)?;
        document::verify(&self.credential, &keys, self.network.network, now)
            .map_err(|error| AccountError::Document { what: "credential", error })
    }

    /// As the member knows itself.
    ///
    /// # Errors
    /// When the binding is damaged.
    pub fn member(&self) -> Result<member::Identity, prost::DecodeError> {
        Ok(member::Identity {
            network: self.network.network,
            account: self.account,
            name: self.name.clone(),
            device: self.device,
            device_key: self.device_key.signing_key().clone(),
            account_key: *self.account_key.bytes(),
            binding: v1::Binding::decode(self.binding.0.as_slice())?,
            request_secret: self.request_secret.clone(),
        })
    }

    /// `name@network`
    pub fn full_name(&self) -> String {
        format!("{}@{}", self.name, self.network.name)
    }
}

/// A device's Ed25519 secret. Its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Base64Url", into = "Base64Url")]
pub struct DeviceKey(SigningKey);

impl DeviceKey {
    /// The device key of this secret.
    pub fn new(key: SigningKey) -> Self {
        Self(key)
    }

    /// For signing.
    pub fn signing_key(&self) -> &SigningKey {
        &self.0
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceKey(…)")
    }
}

impl TryFrom<Base64Url> for DeviceKey {
    type Error = &'static str;
    fn try_from(bytes: Base64Url) -> Result<Self, Self::Error> {
        let bytes = Zeroizing::new(bytes.0);
        SigningKey::try_from(bytes.as_slice()).map(Self).map_err(|_| "a device key is 32 bytes")
    }
}

impl From<DeviceKey> for Base64Url {
    fn from(key: DeviceKey) -> Self {
        Self(key.0.to_bytes().to_vec())
    }
}

/// A request secret as it is kept.
mod request_secret {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(secret: &Option<RequestSecret>, to: S) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(|secret| Base64Url::from(secret.as_bytes().as_slice())).serialize(to)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<RequestSecret>, D::Error> {
        let Some(bytes) = Option::<Base64Url>::deserialize(from)? else { return Ok(None) };
        let bytes = Zeroizing::new(bytes.0);
        let secret = bytes.as_slice().try_into().map(RequestSecret::new);
        secret.map(Some).map_err(|_| serde::de::Error::custom("a request secret is 32 bytes"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use ahoy_proto::NetworkId;
    use ahoy_proto::document::{Confirmation, SigningKeyCertificate, sign};

    use super::*;
    use crate::account::NetworkUrl;

    const ISSUED: UnixTime = UnixTime(1_000);
    const EXPIRES: UnixTime = UnixTime(2_000);

    /// An identity whose documents verify between 1,000 and 2,000.
    pub(crate) fn sample() -> Identity {
        let key = |seed| SigningKey::from_bytes(&[seed; 32]);
        let jwk = |seed| Jwk::ed25519(*key(seed).verifying_key().as_bytes());
        let network = NetworkId::of_root_key(jwk(1).bytes());
        let certificate = SigningKeyCertificate { network, key: jwk(2), issued_at: ISSUED, expires: EXPIRES };
        let name = Name::parse("alice").unwrap();
        let credential = Credential {
            network,
            account: AccountId([3; 16]),
            name: name.clone(),
            device: DeviceId([4; 16]),
            confirmation: Confirmation { jwk: jwk(5) },
            issued_at: ISSUED,
            expires: EXPIRES,
        };
        Identity {
            network: Network {
                url: NetworkUrl::parse("https://example.org").unwrap(),
                name: "example.org".to_owned(),
                network,
                root_key: jwk(1),
                signing_keys: vec![sign(&certificate, &key(1))],
                roster: String::new(),
                report_key: Base64Url::default(),
            },
            account: AccountId([3; 16]),
            name,
            account_key: jwk(6),
            device: DeviceId([4; 16]),
            device_key: DeviceKey::new(key(5)),
            binding: Base64Url::default(),
            credential: sign(&credential, &key(2)),
            request_secret: Some(RequestSecret::new([8; 32])),
        }
    }

    #[test]
    fn no_secret_shows_in_debug() {
        let debug = format!("{:?}", sample());
        assert!(debug.contains("DeviceKey(…)"));
        assert!(!debug.contains("5, 5, 5"));
    }

    #[test]
    fn an_identity_of_before_there_were_notes_is_read() {
        let mut json = serde_json::to_value(sample()).unwrap();
        assert_eq!(serde_json::from_value::<Identity>(json.clone()).unwrap(), sample());
        json.as_object_mut().unwrap().remove("request_secret");
        json["network"].as_object_mut().unwrap().remove("report_key");
        assert_eq!(serde_json::from_value::<Identity>(json).unwrap().request_secret, None);
    }

    #[test]
    fn a_credential_is_good_for_its_time_only() {
        assert!(sample().verified_credential(UnixTime(1_500)).is_ok());
        assert!(sample().verified_credential(UnixTime(2_001)).is_err());
    }
}
