//! First contact with a network, and every later one: what it says of itself, checked against what was pinned.

use ahoy_proto::api::{Base64Url, SignUpPolicy, WellKnown};
use ahoy_proto::document::{self, Jwk, Roster, SigningKeyCertificate};
use ahoy_proto::{Name, NetworkId, UnixTime, VERSION};
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

use super::authority::Authority;
use super::{AccountError, NetworkUrl};

/// Signing keys read of one network: the present one, the next, and some past.
const SIGNING_KEYS_MAX: usize = 16;

/// A network as a client knows it: pinned root key, and the newest signing keys and roster, all checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Where its authority answers.
    pub url: NetworkUrl,
    /// What people call it.
    pub name: String,
    /// Made from `root_key`.
    pub network: NetworkId,
    /// Pinned at first contact.
    pub root_key: Jwk,
    /// `ahoy-signing-key+jwt` documents.
    pub signing_keys: Vec<String>,
    /// The newest `ahoy-roster+jwt` document seen.
    pub roster: String,
    /// X25519, public, 32 bytes: reports are sealed to it. Empty where none was heard of yet.
    #[serde(default)]
    pub report_key: Base64Url,
}

/// A network, and what it said about itself just now that is not worth keeping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// To be kept.
    pub network: Network,
    /// Who may sign up.
    pub sign_up: SignUpPolicy,
    /// The account that answers every call with the caller's own voice.
    pub echo: Option<Name>,
}

/// Asks a network who it is. `pinned` is what an earlier contact left.
///
/// # Errors
/// When it can't be reached, is not what it was, or can't prove what it says.
pub fn contact(url: &NetworkUrl, pinned: Option<&Network>, now: UnixTime) -> Result<Contact, AccountError> {
    let authority = Authority::new(url.clone());
    let said: WellKnown = authority.fetch("/.well-known/ahoy")?;
    let mut network = check(url, said.clone(), pinned, now)?;
    network.roster = authority.roster()?;
    network.verified_roster(now)?;
    Ok(Contact { network, sign_up: said.sign_up, echo: said.echo })
}

fn check(url: &NetworkUrl, said: WellKnown, pinned: Option<&Network>, now: UnixTime) -> Result<Network, AccountError> {
    let changed = pinned.is_some_and(|pinned| pinned.root_key != said.root_key);
    if changed {
        return Err(AccountError::NetworkChanged(url.clone()));
    }
    if said.network != NetworkId::of_root_key(said.root_key.bytes()) {
        return Err(AccountError::NotAhoy(url.clone()));
    }
    if said.minimum_version > VERSION {
        return Err(AccountError::VersionTooOld { minimum: said.minimum_version });
    }
    let network = Network {
        url: url.clone(),
        name: said.name,
        network: said.network,
        root_key: said.root_key,
        signing_keys: said.signing_keys.into_iter().take(SIGNING_KEYS_MAX).collect(),
        roster: String::new(),
        report_key: said.report_key,
    };
    network.verified_signing_keys(now)?;
    Ok(network)
}

impl Network {
    /// The signing keys that the root key vouches for at this time; at least one.
    ///
    /// # Errors
    /// When there is none: the error of the newest.
    pub fn verified_signing_keys(&self, now: UnixTime) -> Result<Vec<VerifyingKey>, AccountError> {
        let root = self.root_key.verifying_key().ok_or_else(|| AccountError::NotAhoy(self.url.clone()))?;
        let mut failure = document::DocumentError::Malformed;
        let mut keys = Vec::new();
        for token in self.signing_keys.iter().rev() {
            match document::verify::<SigningKeyCertificate>(token, &[root], self.network, now) {
                Ok(certificate) => keys.extend(certificate.key.verifying_key()),
                Err(error) => failure = error,
            }
        }
        if keys.is_empty() { Err(AccountError::Document { what: "signing key", error: failure }) } else { Ok(keys) }
    }

    /// The roster, if it is good at this time.
    ///
    /// # Errors
    /// Says why it is not.
    pub fn verified_roster(&self, now: UnixTime) -> Result<Roster, AccountError> {
        let keys = self.verified_signing_keys(now)?;
        document::verify(&self.roster, &keys, self.network, now)
            .map_err(|error| AccountError::Document { what: "roster", error })
    }
}

#[cfg(test)]
mod tests {
    use ahoy_proto::document::{DocumentError, sign};
    use ed25519_dalek::SigningKey;

    use super::*;

    const NOW: UnixTime = UnixTime(1_000_000);

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn jwk(key: &SigningKey) -> Jwk {
        Jwk::ed25519(*key.verifying_key().as_bytes())
    }

    /// A network whose root key is `root`, with a signing key vouched for by `voucher`.
    fn said(root: &SigningKey, voucher: &SigningKey) -> WellKnown {
        let network = NetworkId::of_root_key(root.verifying_key().as_bytes());
        let certificate = SigningKeyCertificate {
            network,
            key: jwk(&key(2)),
            issued_at: UnixTime(NOW.0 - 100),
            expires: UnixTime(NOW.0 + 100),
        };
        WellKnown {
            certificate_hashes: Vec::new(),
            name: "example.org".to_owned(),
            network,
            root_key: jwk(root),
            signing_keys: vec![sign(&certificate, voucher)],
            minimum_version: 1,
            sign_up: SignUpPolicy::Open,
            echo: None,
            supernodes: vec![],
            report_key: Base64Url::default(),
        }
    }

    fn url() -> NetworkUrl {
        NetworkUrl::parse("https://example.org").unwrap()
    }

    #[test]
    fn a_root_key_that_changed_is_refused_and_the_same_one_accepted() {
        let first = check(&url(), said(&key(1), &key(1)), None, NOW).unwrap();
        assert!(check(&url(), said(&key(1), &key(1)), Some(&first), NOW).is_ok());
        let other = check(&url(), said(&key(9), &key(9)), Some(&first), NOW);
        assert!(matches!(other, Err(AccountError::NetworkChanged(_))));
    }

    #[test]
    fn a_signing_key_that_the_root_key_does_not_vouch_for_is_refused() {
        let forged = check(&url(), said(&key(1), &key(3)), None, NOW);
        assert!(matches!(forged, Err(AccountError::Document { error: DocumentError::Forged, .. })));
    }

    #[test]
    fn a_wrong_clock_shows_as_expired_keys() {
        let late = check(&url(), said(&key(1), &key(1)), None, UnixTime(NOW.0 + 101));
        assert!(matches!(late, Err(AccountError::Document { error: DocumentError::Expired, .. })));
    }

    #[test]
    fn a_network_for_newer_programs_says_so() {
        let mut future = said(&key(1), &key(1));
        future.minimum_version = VERSION + 1;
        let refused = check(&url(), future, None, NOW);
        assert!(matches!(refused, Err(AccountError::VersionTooOld { .. })));
    }

    #[test]
    fn a_network_id_that_is_not_its_root_keys_is_refused() {
        let mut wrong = said(&key(1), &key(1));
        wrong.network = NetworkId([0; 16]);
        assert!(matches!(check(&url(), wrong, None, NOW), Err(AccountError::NotAhoy(_))));
    }
}
