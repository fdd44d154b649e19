//! Certificates that nobody vouches for, by which browsers find a supernode of this machine: each is told them by hash beforehand.
//!
//! Browsers take none that is valid for more than 14 days. So there are always two, kept in `keys/`: one in force, and the next, which is
//! published for as long as the present one serves before it takes over. A page that knows both finds its supernode for six days at least.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ahoy_net::{SelfSigned, WebCertificate};
use ahoy_proto::UnixTime;
use ahoy_proto::api::Base64Url;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::folder::write_secret;

/// How long a certificate is in force; before that it is published for as long.
const SERVES: Duration = Duration::from_secs(6 * 86_400);

/// From before it is made to its end: clocks that are an hour slow, twice six days, and a day to be late in, below the 14 that browsers allow.
const LASTS: Duration = Duration::from_secs(13 * 86_400 + 3_600);

/// How much earlier than now a certificate begins.
const SLOW_CLOCKS: Duration = Duration::from_secs(3_600);

/// How often it is looked whether the next one is due.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// The file in `keys/`.
const FILE: &str = "web.json";

/// SHA-256 of certificates that browsers are to take.
pub(crate) type Hashes = Vec<[u8; 32]>;

/// Both certificates, and where they lie.
pub(crate) struct OwnCertificates {
    path: PathBuf,
    names: Vec<String>,
    kept: Kept,
}

#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    present: Own,
    next: Own,
}

#[derive(Clone, Serialize, Deserialize)]
struct Own {
    certificate: Base64Url,
    key: Base64Url,
    made_at: UnixTime,
}

impl Own {
    fn new(names: &[String], now: UnixTime) -> anyhow::Result<Self> {
        let from = SystemTime::UNIX_EPOCH + Duration::from_secs(now.0) - SLOW_CLOCKS;
        let made = SelfSigned::new(names.to_vec(), from, LASTS)?;
        Ok(Self { certificate: Base64Url(made.certificate), key: Base64Url(made.key), made_at: now })
    }

    fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.certificate.0).into()
    }
}

impl Kept {
    fn new(names: &[String], now: UnixTime) -> anyhow::Result<Self> {
        Ok(Self { present: Own::new(names, now)?, next: Own::new(names, now)? })
    }

    /// What is to be in force now, if it is something else: the present one has served for as long as the next one is old.
    fn due(&self, names: &[String], now: UnixTime) -> anyhow::Result<Option<Self>> {
        let age = now.0.checked_sub(self.next.made_at.0).map(Duration::from_secs);
        match age {
            Some(age) if age < SERVES => Ok(None),
            Some(age) if age < SERVES + Duration::from_secs(86_400) => {
                Ok(Some(Self { present: self.next.clone(), next: Own::new(names, now)? }))
            }
            // Nobody was here for long, or the clock was wrong: whoever knew these knows nothing that serves.
            _ => Self::new(names, now).map(Some),
        }
    }
}

impl OwnCertificates {
    /// Reads what is kept, or makes it.
    ///
    /// # Errors
    /// When the file can't be read or written.
    pub(crate) fn load_or_create(keys: &Path, names: Vec<String>, now: UnixTime) -> anyhow::Result<Self> {
        let path = keys.join(FILE);
        let kept = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is damaged: remove it, and there will be a new one", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Kept::new(&names, now)?,
            Err(error) => return Err(error).with_context(|| format!("can't read {}", path.display())),
        };
        let mut own = Self { path, names, kept };
        own.renew(now)?;
        own.keep()?;
        Ok(own)
    }

    /// Makes the next one take over, if that is due. Says whether it was.
    fn renew(&mut self, now: UnixTime) -> anyhow::Result<bool> {
        let Some(due) = self.kept.due(&self.names, now)? else { return Ok(false) };
        self.kept = due;
        Ok(true)
    }

    fn keep(&self) -> anyhow::Result<()> {
        let bytes = serde_json::to_vec(&self.kept)?;
        write_secret(&self.path, &bytes).with_context(|| format!("can't write {}", self.path.display()))
    }

    fn hashes(&self) -> Hashes {
        vec![self.kept.present.hash(), self.kept.next.hash()]
    }

    fn put_into_force(&self, web: &WebCertificate) -> anyhow::Result<()> {
        let Own { certificate, key, .. } = &self.kept.present;
        Ok(web.set_own(&SelfSigned { certificate: certificate.0.clone(), key: key.0.clone() })?)
    }

    /// Puts the present one into force and publishes both, now and whenever they change.
    ///
    /// # Errors
    /// When it can't be used; never after the first time.
    pub(crate) fn serve(
        mut self,
        web: WebCertificate,
        published: watch::Sender<Hashes>,
    ) -> anyhow::Result<impl Future<Output = ()>> {
        self.put_into_force(&web)?;
        published.send_replace(self.hashes());
        Ok(async move {
            let mut look = tokio::time::interval(LOOK_EVERY);
            loop {
                look.tick().await;
                let renewed = self.renew(SystemTime::now().into()).and_then(|renewed| {
                    if renewed {
                        // On the disk first: what is published outlives a restart.
                        self.keep()?;
                        self.put_into_force(&web)?;
                        published.send_replace(self.hashes());
                    }
                    Ok(())
                });
                if let Err(error) = renewed {
                    tracing::error!(error = format!("{error:#}"), "the certificate for browsers can't be renewed");
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn names() -> Vec<String> {
        vec!["localhost".to_owned(), "127.0.0.1".to_owned()]
    }

    #[test]
    fn certificates_outlive_a_restart_and_are_ours_alone() {
        let folder = tempfile::tempdir().unwrap();
        let first = OwnCertificates::load_or_create(folder.path(), names(), NOW).unwrap();
        let again = OwnCertificates::load_or_create(folder.path(), names(), NOW.plus(SERVES / 2)).unwrap();
        assert_eq!(first.hashes(), again.hashes());
        assert_eq!(folder.path().join(FILE).metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_next_one_takes_over_and_was_known_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut own = OwnCertificates::load_or_create(folder.path(), names(), NOW).unwrap();
        let before = own.hashes();
        assert!(!own.renew(UnixTime(NOW.0 + SERVES.as_secs() - 1)).unwrap());
        assert!(own.renew(NOW.plus(SERVES)).unwrap());
        let after = own.hashes();
        assert_eq!(after[0], before[1]);
        assert!(!before.contains(&after[1]));
        // It serves to the end of the next six days, and the same again.
        assert!(!own.renew(NOW.plus(SERVES + SERVES / 2)).unwrap());
        assert!(own.renew(NOW.plus(2 * SERVES)).unwrap());
        assert_eq!(own.hashes()[0], after[1]);
    }

    #[test]
    fn none_serves_beyond_its_end() {
        assert!(SLOW_CLOCKS + 2 * SERVES + Duration::from_secs(86_400) <= LASTS);
        assert!(LASTS <= Duration::from_secs(14 * 86_400));
    }

    #[test]
    fn after_a_long_absence_or_a_wrong_clock_both_are_new() {
        let folder = tempfile::tempdir().unwrap();
        for now in [NOW.plus(3 * SERVES), UnixTime(NOW.0 - 1)] {
            let mut own = OwnCertificates::load_or_create(&folder.path().join("."), names(), NOW).unwrap();
            let before = own.hashes();
            assert!(own.renew(now).unwrap());
            assert!(own.hashes().iter().all(|hash| !before.contains(hash)));
            std::fs::remove_file(folder.path().join(FILE)).unwrap();
        }
    }
}
