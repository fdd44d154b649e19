//! The secrets of a network: a folder `keys/`, mode 0700, of files with mode 0600.
//!
//! The folder is made whole or not at all, and a file that is missing from it is an error: an authority that quietly
//! made itself a new OPAQUE key would void every password. `root.key` alone may be taken away once `signing.cert` is
//! there; it is needed again when that is about to expire. `report.key` alone is made where it is missing: networks that are
//! older than reports have none, and a new one costs no more than the reports that nobody has read yet.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ahoy_proto::call_token::CallTokenKey;
use ahoy_proto::document::{self, Jwk, SigningKeyCertificate};
use ahoy_proto::report::ReportSecret;
use ahoy_proto::{NetworkId, UnixTime};
use ed25519_dalek::{SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::opaque;

/// Life of a signing key's certificate; it is renewed at a start in the second half of it.
const CERTIFICATE_LIFE: Duration = Duration::from_secs(2 * 365 * 86_400);

/// Longest file that is read: a certificate is about 400 bytes.
const FILE_MAX: u64 = 4096;

const ROOT: &str = "root.key";
const ROOT_PUBLIC: &str = "root.pub";
const SIGNING: &str = "signing.key";
const CERTIFICATE: &str = "signing.cert";
const OPAQUE: &str = "opaque.key";
const CALL_TOKEN: &str = "call-token.key";
const STATELESS_RESET: &str = "stateless-reset.key";
const ROSTER: &str = "roster.key";
const REPORT: &str = "report.key";

/// Why the keys can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The file system refuses.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file of the folder is gone.
    #[error("{path} is missing: put it back from a backup (a new network begins only in an empty place)", path = path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Others than the owner may read it.
    #[error("{path} holds secrets and is open to others: chmod go= {path}", path = path.display())]
    Permissions {
        /// The file or folder.
        path: PathBuf,
    },
    /// Not the number of bytes that this key has, or not a key.
    #[error("{path} does not hold the key expected: put it back from a backup", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The certificate is not the root key's word for the signing key, or has expired while the root key is away.
    #[error("{path} does not certify the signing key: put root.key back and start again", path = path.display())]
    Certificate {
        /// The certificate.
        path: PathBuf,
    },
}

/// All keys of a network.
pub struct Keys {
    root: VerifyingKey,
    signing: SigningKey,
    certificate: String,
    opaque: Zeroizing<Vec<u8>>,
    call_token: CallTokenKey,
    stateless_reset: [u8; 32],
    roster: SigningKey,
    report: ReportSecret,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({:?})", self.network())
    }
}

impl Keys {
    /// Reads the keys of a folder, or makes a new network's if there is no such folder.
    ///
    /// # Errors
    /// When a file is missing, open to others or not a key, or the file system refuses.
    pub fn load_or_create(folder: &Path, now: UnixTime) -> Result<Self, KeysError> {
        if !folder.try_exists().map_err(io_error(folder))? {
            create(folder)?;
        }
        let folder = Folder::open(folder)?;
        let signing = folder.signing_key(SIGNING)?;
        let (root, certificate) = folder.certificate(&signing, now)?;
        let opaque = folder.read(OPAQUE)?;
        if !opaque::is_setup(&opaque) {
            return Err(KeysError::Malformed { path: folder.0.join(OPAQUE) });
        }
        Ok(Self {
            root,
            signing,
            certificate,
            opaque,
            call_token: CallTokenKey::new(folder.bytes(CALL_TOKEN)?),
            stateless_reset: folder.bytes(STATELESS_RESET)?,
            roster: folder.signing_key(ROSTER)?,
            report: folder.report_secret()?,
        })
    }

    /// The network that a folder of keys is of, by what is public in it. Says nothing of the rest.
    ///
    /// # Errors
    /// When that file is missing, open to others or not a key, or the file system refuses.
    pub fn network_of(folder: &Path) -> Result<NetworkId, KeysError> {
        Ok(NetworkId::of_root_key(&Folder::open(folder)?.bytes(ROOT_PUBLIC)?))
    }

    /// The network: made from the root key.
    pub fn network(&self) -> NetworkId {
        NetworkId::of_root_key(self.root.as_bytes())
    }

    /// The root key's public half, which clients pin.
    pub fn root_key(&self) -> &VerifyingKey {
        &self.root
    }

    /// The public halves of all signing keys in force: what supernodes verify credentials and lists with.
    pub fn signing_keys(&self) -> Vec<VerifyingKey> {
        vec![self.signing.verifying_key()]
    }

    /// What call tokens are sealed with, on every supernode of the fleet.
    pub fn call_token_key(&self) -> &CallTokenKey {
        &self.call_token
    }

    /// What QUIC stateless resets are made with.
    pub fn stateless_reset_key(&self) -> &[u8; 32] {
        &self.stateless_reset
    }

    /// What this process's supernode proves itself with.
    pub fn roster_key(&self) -> &SigningKey {
        &self.roster
    }

    /// What reports are opened with.
    pub fn report_secret(&self) -> &ReportSecret {
        &self.report
    }

    pub(crate) fn signing_key(&self) -> &SigningKey {
        &self.signing
    }

    pub(crate) fn signing_key_certificate(&self) -> &str {
        &self.certificate
    }

    pub(crate) fn opaque_setup(&self) -> &[u8] {
        &self.opaque
    }
}

/// Makes the folder of a new network under another name, then gives it its own: a crash leaves nothing half done.
fn create(folder: &Path) -> Result<(), KeysError> {
    let draft = folder.with_extension("new");
    if draft.try_exists().map_err(io_error(&draft))? {
        fs::remove_dir_all(&draft).map_err(io_error(&draft))?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(&draft).map_err(io_error(&draft))?;
    let root = SigningKey::from_bytes(&rand::random());
    write(&draft, ROOT, root.as_bytes())?;
    write(&draft, ROOT_PUBLIC, root.verifying_key().as_bytes())?;
    for name in [SIGNING, CALL_TOKEN, STATELESS_RESET, ROSTER, REPORT] {
        write(&draft, name, &*Zeroizing::new(rand::random::<[u8; 32]>()))?;
    }
    write(&draft, OPAQUE, &opaque::new_setup())?;
    sync(&draft)?;
    fs::rename(&draft, folder).map_err(io_error(folder))?;
    // A relative path of one component has the empty path as its parent.
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    sync(parent)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), KeysError> {
    let path = folder.join(name);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(io_error(&path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error(&path))
}

fn sync(folder: &Path) -> Result<(), KeysError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error(folder))
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> KeysError {
    let path = path.to_path_buf();
    move |error| match error.kind() {
        io::ErrorKind::NotFound => KeysError::Missing { path },
        _ => KeysError::Io { path, error },
    }
}

fn check_private(path: &Path) -> Result<(), KeysError> {
    let mode = fs::metadata(path).map_err(io_error(path))?.permissions().mode();
    if mode & 0o077 == 0 { Ok(()) } else { Err(KeysError::Permissions { path: path.to_path_buf() }) }
}

/// A folder of keys that only its owner can look into.
struct Folder(PathBuf);

impl Folder {
    fn open(path: &Path) -> Result<Self, KeysError> {
        check_private(path)?;
        Ok(Self(path.to_path_buf()))
    }

    fn read(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeysError> {
        let path = self.0.join(name);
        check_private(&path)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_MAX as usize));
        let file = File::open(&path).map_err(io_error(&path))?;
        file.take(FILE_MAX).read_to_end(&mut bytes).map_err(io_error(&path))?;
        Ok(bytes)
    }

    fn bytes(&self, name: &str) -> Result<[u8; 32], KeysError> {
        let bytes = self.read(name)?;
        bytes.as_slice().try_into().map_err(|_| KeysError::Malformed { path: self.0.join(name) })
    }

    fn signing_key(&self, name: &str) -> Result<SigningKey, KeysError> {
        Ok(SigningKey::from_bytes(&Zeroizing::new(self.bytes(name)?)))
    }

    /// Made if it is missing. Two processes that find it missing at once end up with the same one.
    fn report_secret(&self) -> Result<ReportSecret, KeysError> {
        let path = self.0.join(REPORT);
        if !path.try_exists().map_err(io_error(&path))? {
            self.add(REPORT, &*Zeroizing::new(rand::random::<[u8; 32]>()))?;
        }
        Ok(ReportSecret::new(*Zeroizing::new(self.bytes(REPORT)?)))
    }

    /// Writes a file that appears whole, unless there is one of this name by then.
    fn add(&self, name: &str, bytes: &[u8]) -> Result<(), KeysError> {
        let draft = format!("{name}.{}.new", std::process::id());
        let (from, to) = (self.0.join(&draft), self.0.join(name));
        write(&self.0, &draft, bytes)?;
        let linked = fs::hard_link(&from, &to);
        fs::remove_file(&from).map_err(io_error(&from))?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(io_error(&to)(error)),
            _ => sync(&self.0),
        }
    }

    /// The root key's public half and the certificate of the signing key, renewed if it is old and the root key at hand.
    fn certificate(&self, signing: &SigningKey, now: UnixTime) -> Result<(VerifyingKey, String), KeysError> {
        let path = self.0.join(ROOT_PUBLIC);
        let root = VerifyingKey::from_bytes(&self.bytes(ROOT_PUBLIC)?).map_err(|_| KeysError::Malformed { path })?;
        let path = self.0.join(CERTIFICATE);
        let network = NetworkId::of_root_key(root.as_bytes());
        let verify = |token: &str| {
            let certificate = document::verify::<SigningKeyCertificate>(token, &[root], network, now).ok()?;
            (certificate.key.bytes() == signing.verifying_key().as_bytes()).then_some(certificate)
        };
        let present = match self.read(CERTIFICATE) {
            Err(KeysError::Missing { .. }) => None,
            read => String::from_utf8(read?.to_vec()).ok(),
        };
        let valid = present.and_then(|token| Some((verify(&token)?, token)));
        let fresh = |at: UnixTime| at.distance(now) < CERTIFICATE_LIFE / 2;
        if let Some((_, token)) = valid.as_ref().filter(|(certificate, _)| fresh(certificate.issued_at)) {
            return Ok((root, token.clone()));
        }
        let root_key = match self.signing_key(ROOT) {
            Err(KeysError::Missing { .. }) => {
                let (_, token) = valid.ok_or(KeysError::Certificate { path })?;
                return Ok((root, token));
            }
            read => read?,
        };
        if root_key.verifying_key() != root {
            return Err(KeysError::Malformed { path: self.0.join(ROOT) });
        }
        let key = Jwk::ed25519(*signing.verifying_key().as_bytes());
        let certificate = SigningKeyCertificate { network, key, issued_at: now, expires: now.plus(CERTIFICATE_LIFE) };
        let token = document::sign(&certificate, &root_key);
        self.replace(CERTIFICATE, token.as_bytes())?;
        Ok((root, token))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), KeysError> {
        let draft = format!("{name}.new");
        let path = self.0.join(&draft);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(KeysError::Io { path, error }),
            _ => {}
        }
        write(&self.0, &draft, bytes)?;
        let to = self.0.join(name);
        fs::rename(&path, &to).map_err(io_error(&to))?;
        sync(&self.0)
    }
}

#[cfg(test)]
mod tests;
