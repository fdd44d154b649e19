//! What makes a machine a supernode of its network, in the `keys/` of a supernode alone: its own keys, what the authority has given
//! it, and the signed lists as they were last seen.
//!
//! Nothing that is read here is believed before it verifies against the network's root key. No secret of the authority's is ever
//! here: a supernode that is stolen can be revoked, a signing key could not.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use ahoy_authority::Signed;
use ahoy_proto::api::SupernodeEnrolled;
use ahoy_proto::call_token::CallTokenKey;
use ahoy_proto::document::{
    self, Document, DocumentError, Revocations, Roster, SigningKeyCertificate, SupernodeCertificate,
};
use ahoy_proto::enrolment::ReplySecret;
use ahoy_proto::limits::CERTIFICATE_GRACE;
use ahoy_proto::{NetworkId, SupernodeId, UnixTime};
use anyhow::{Context as _, bail};
use ed25519_dalek::{SigningKey, VerifyingKey};

use crate::config::private_key;
use crate::folder;

/// Longest file that is read: a roster of 10,000 supernodes.
const FILE_MAX: u64 = 8 * 1024 * 1024;

const ROSTER_KEY: &str = "roster.key";
const STATELESS_RESET: &str = "stateless-reset.key";
const CALL_TOKEN: &str = "call-token.key";
const ROOT_PUBLIC: &str = "root.pub";
/// `ahoy-signing-key+jwt` documents, one a line.
const SIGNING_KEYS: &str = "signing.certs";
/// Written last at enrolment: where it lies, the machine has enrolled.
const CERTIFICATE: &str = "supernode.cert";
const ROSTER: &str = "roster.jwt";
const REVOCATIONS: &str = "revocations.jwt";

/// What only an authority has.
const OF_AN_AUTHORITY: [&str; 4] = ["root.key", "signing.key", "opaque.key", "report.key"];

/// The keys of a machine that wants to be a supernode, or is one.
pub(crate) struct OwnKeys {
    folder: PathBuf,
    /// Proves it.
    pub(crate) roster: SigningKey,
    /// Makes stateless resets.
    pub(crate) stateless_reset: [u8; 32],
}

impl OwnKeys {
    /// Reads them, or makes them where there are none.
    ///
    /// # Errors
    /// When the folder holds an authority's secrets, a file is open to others or of the wrong length, or the disk refuses.
    pub(crate) fn load_or_create(keys: &Path) -> anyhow::Result<Self> {
        folder::make(keys)?;
        if let Some(secret) = OF_AN_AUTHORITY.iter().find(|name| keys.join(name).exists()) {
            bail!(
                "{} is an authority's secret, and this is a supernode alone: give it a data folder of its own",
                keys.join(secret).display()
            );
        }
        for name in [ROSTER_KEY, STATELESS_RESET] {
            if !keys.join(name).exists() {
                write(keys, name, &rand::random::<[u8; 32]>())?;
            }
        }
        let stateless_reset = bytes(keys, STATELESS_RESET)?;
        Ok(Self { folder: keys.to_owned(), roster: roster_key(keys)?, stateless_reset })
    }

    /// Its id.
    pub(crate) fn id(&self) -> SupernodeId {
        SupernodeId::of_roster_key(self.roster.verifying_key().as_bytes())
    }
}

/// The roster key of a folder of keys, an authority's or a supernode's.
///
/// # Errors
/// When there is none, others can read it, or it is no key.
pub(crate) fn roster_key(keys: &Path) -> anyhow::Result<SigningKey> {
    Ok(SigningKey::from_bytes(&bytes(keys, ROSTER_KEY)?))
}

/// What the authority has given to this supernode, verified.
pub(crate) struct Membership {
    folder: PathBuf,
    root: VerifyingKey,
    signing_tokens: Vec<String>,
    /// Verified by the root key.
    pub(crate) signing_keys: Vec<VerifyingKey>,
    /// The fleet's.
    pub(crate) call_token_key: CallTokenKey,
    /// It may have expired: see [`is_current`](Self::is_current).
    pub(crate) certificate: Signed<SupernodeCertificate>,
}

impl Membership {
    /// Reads what an earlier enrolment left; `None` when there was none.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub(crate) fn load(own: &OwnKeys, now: UnixTime) -> anyhow::Result<Option<Self>> {
        let folder = &own.folder;
        if !folder.join(CERTIFICATE).exists() {
            return Ok(None);
        }
        let root = VerifyingKey::from_bytes(&bytes(folder, ROOT_PUBLIC)?);
        let root = root.with_context(|| folder.join(ROOT_PUBLIC).display().to_string())?;
        let signing_tokens = text(folder, SIGNING_KEYS)?.lines().map(str::to_owned).collect();
        let call_token_key = CallTokenKey::new(bytes(folder, CALL_TOKEN)?);
        let certificate = text(folder, CERTIFICATE)?;
        let place = folder.join(CERTIFICATE);
        Self::verified(own, root, signing_tokens, call_token_key, certificate, now)
            .with_context(|| place.display().to_string())
            .map(Some)
    }

    /// What the authority answers to an enrolment or a renewal. `known` is the network that this machine is of already.
    ///
    /// # Errors
    /// When the answer is not of that network, not for this supernode, or not good now.
    pub(crate) fn of_answer(
        own: &OwnKeys,
        known: Option<NetworkId>,
        answer: SupernodeEnrolled,
        secret: &ReplySecret,
        now: UnixTime,
    ) -> anyhow::Result<Self> {
        let root = answer.root_key.verifying_key().context("the root key is none")?;
        if known.is_some_and(|known| known != NetworkId::of_root_key(root.as_bytes())) {
            bail!("the authority is another network's than this supernode's: a network never changes its root key");
        }
        let key = secret.open(&answer.sealed_call_token_key.0, own.id()).context("the call-token key does not open")?;
        let call_token_key = CallTokenKey::new(*key);
        let membership = Self::verified(own, root, answer.signing_keys, call_token_key, answer.certificate, now)?;
        if !membership.is_current(now) {
            bail!("the certificate has expired: is this machine's clock right?");
        }
        Ok(membership)
    }

    fn verified(
        own: &OwnKeys,
        root: VerifyingKey,
        signing_tokens: Vec<String>,
        call_token_key: CallTokenKey,
        certificate: String,
        now: UnixTime,
    ) -> anyhow::Result<Self> {
        let network = NetworkId::of_root_key(root.as_bytes());
        let verified = |token: &String| document::verify::<SigningKeyCertificate>(token, &[root], network, now).ok();
        let signing_keys: Vec<_> =
            signing_tokens.iter().filter_map(verified).filter_map(|signing| signing.key.verifying_key()).collect();
        if signing_keys.is_empty() {
            bail!("no signing key is vouched for by the network's root key at this time");
        }
        // It may be time to renew it; whether it is still good is looked at where that counts.
        let document: SupernodeCertificate =
            document::verify_late(&certificate, &signing_keys, network, now, CERTIFICATE_GRACE).map_err(refused)?;
        let key = own.roster.verifying_key();
        if (document.supernode, document.confirmation.jwk.bytes()) != (own.id(), key.as_bytes()) {
            bail!("the certificate is another supernode's: enrol this one");
        }
        let certificate = Signed { document, token: certificate };
        let folder = own.folder.clone();
        Ok(Self { folder, root, signing_tokens, signing_keys, call_token_key, certificate })
    }

    /// The network.
    pub(crate) fn network(&self) -> NetworkId {
        NetworkId::of_root_key(self.root.as_bytes())
    }

    /// Whether others take the certificate at this time.
    pub(crate) fn is_current(&self, now: UnixTime) -> bool {
        now <= self.certificate.document.expires
    }

    /// Writes it to the disk; an interruption leaves what was there before.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn keep(&self) -> anyhow::Result<()> {
        write(&self.folder, ROOT_PUBLIC, self.root.as_bytes())?;
        write(&self.folder, SIGNING_KEYS, self.signing_tokens.join("\n").as_bytes())?;
        write(&self.folder, CALL_TOKEN, self.call_token_key.as_bytes())?;
        write(&self.folder, CERTIFICATE, self.certificate.token.as_bytes())
    }

    /// A document of the authority's, if it is good now.
    ///
    /// # Errors
    /// Says why it is not.
    pub(crate) fn verify<D: Document>(&self, token: String, now: UnixTime) -> Result<Signed<D>, DocumentError> {
        let document = document::verify(&token, &self.signing_keys, self.network(), now)?;
        Ok(Signed { document, token })
    }

    /// A list as it was last seen, if it is still good.
    pub(crate) fn last_seen<L: List>(&self, now: UnixTime) -> Option<Signed<L>> {
        self.verify(text(&self.folder, L::FILE).ok()?, now).ok()
    }

    /// Writes a list to the disk.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn keep_list<L: List>(&self, list: &Signed<L>) -> anyhow::Result<()> {
        write(&self.folder, L::FILE, list.token.as_bytes())
    }
}

/// A list that the authority signs and publishes.
pub(crate) trait List: Document {
    /// Where a copy lies.
    const FILE: &'static str;
    /// Goes up with every change, and is the same when it is only signed anew.
    fn serial(&self) -> u64;
}

impl List for Roster {
    const FILE: &'static str = ROSTER;
    fn serial(&self) -> u64 {
        self.serial
    }
}

impl List for Revocations {
    const FILE: &'static str = REVOCATIONS;
    fn serial(&self) -> u64 {
        self.serial
    }
}

fn refused(error: DocumentError) -> anyhow::Error {
    match error {
        DocumentError::Expired => {
            anyhow::anyhow!(
                "the certificate expired too long ago: make a token with `ahoyd enrol` and run `ahoyd join` again"
            )
        }
        DocumentError::Malformed => anyhow::anyhow!("this is no certificate of a supernode: enrol this machine"),
        error => anyhow::anyhow!("{error}: only its own authority's word makes this machine a supernode"),
    }
}

fn write(keys: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let path = keys.join(name);
    folder::write_secret(&path, bytes).with_context(|| format!("can't write {}", path.display()))
}

fn read(keys: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    let path = keys.join(name);
    private_key(&path)?;
    let mut bytes = Vec::new();
    let read = fs::File::open(&path).and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes));
    read.map(|_| bytes).with_context(|| path.display().to_string())
}

fn bytes(keys: &Path, name: &str) -> anyhow::Result<[u8; 32]> {
    let wrong = |_| anyhow::anyhow!("{} does not hold a key", keys.join(name).display());
    read(keys, name)?.try_into().map_err(wrong)
}

fn text(keys: &Path, name: &str) -> anyhow::Result<String> {
    let text = String::from_utf8(read(keys, name)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
    Ok(text.with_context(|| keys.join(name).display().to_string())?.trim().to_owned())
}
