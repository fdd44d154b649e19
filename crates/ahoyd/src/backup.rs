//! `ahoyd backup`: a folder with a consistent copy of the database, made while the daemon runs.
//!
//! A folder is a backup when `backup.json` lies in it, which is written last and tells what the rest must be. Whatever ends
//! the process before that leaves files that neither `ahoyd restore` nor a reader takes for a backup.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use ahoy_authority::{Keys, wall_clock};
use ahoy_proto::{NetworkId, UnixTime};
use ahoy_store::backup::Progress;
use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::args::BackupArgs;
use crate::config::Config;
use crate::folder;
use crate::operator::{Books, say, size};

/// Version of [`Manifest`].
const VERSION: u32 = 1;

/// The manifest's file.
const MANIFEST: &str = "backup.json";

/// How much is copied at a time.
const PIECE: usize = 1024 * 1024;

/// How often progress is shown. Small networks are done before the first time.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// What makes a folder a backup.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// [`VERSION`] when it was written.
    version: u32,
    /// Whose database it is.
    pub(crate) network: NetworkId,
    /// What people call the network.
    pub(crate) name: String,
    /// When it was begun: what came later is not in it.
    pub(crate) made_at: UnixTime,
    /// The database's bytes.
    pub(crate) database: Fingerprint,
}

/// Tells whether a file is what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    /// Its length.
    pub(crate) bytes: u64,
    /// SHA-256, hexadecimal.
    sha256: String,
}

impl Manifest {
    /// The manifest of a folder that holds a finished backup.
    ///
    /// # Errors
    /// When there is none, or it is of another version of this program.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(MANIFEST);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bail!("{} holds no finished backup: {MANIFEST} is missing", folder.display())
            }
            read => read.with_context(|| path.display().to_string())?,
        };
        let manifest: Self = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        if manifest.version != VERSION {
            bail!("{} is of version {}, this program knows {VERSION}", path.display(), manifest.version);
        }
        Ok(manifest)
    }
}

pub(crate) fn run(config: &Config, args: &BackupArgs) -> anyhow::Result<()> {
    let books = Books::open(config)?;
    let network = Keys::network_of(&folder::keys(&config.data))?;
    let to = &args.to;
    claim_empty(to)?;
    let made_at = wall_clock();
    let copy = folder::database(to);
    let mut shown = Shown::new(args.operator.json);
    books.store().backup(&copy, |progress| shown.show(progress)).with_context(|| copy.display().to_string())?;
    let database = fingerprint(&copy)?;
    if args.with_keys {
        copy_secrets(&config.data, to)?;
    }
    sync(to)?;
    let manifest = Manifest { version: VERSION, network, name: config.network_name().to_owned(), made_at, database };
    let path = to.join(MANIFEST);
    folder::write_secret(&path, serde_json::to_string_pretty(&manifest)?.as_bytes())
        .with_context(|| path.display().to_string())?;
    tell(args, &manifest);
    Ok(())
}

fn tell(args: &BackupArgs, manifest: &Manifest) {
    let bytes = manifest.database.bytes;
    let object = json!({ "backup": args.to, "bytes": bytes, "made_at": manifest.made_at.0, "keys": args.with_keys });
    let text = format!("{}: {} of database", args.to.display(), size(bytes));
    say(args.operator.json, &object, &text);
    if args.with_keys {
        eprintln!("ahoyd: with keys: whoever has {} can speak for the network; encrypt it", args.to.display());
    } else {
        eprintln!("ahoyd: without keys: keep a copy of keys/ elsewhere, or the backup is of no use");
    }
}

/// Makes a folder of our own, or takes an empty one.
fn claim_empty(to: &Path) -> anyhow::Result<()> {
    folder::make(to)?;
    let mut entries = fs::read_dir(to).with_context(|| to.display().to_string())?;
    if entries.next().is_none() {
        return Ok(());
    }
    if to.join(MANIFEST).exists() {
        bail!("{} holds a backup already: name another folder", to.display());
    }
    if folder::database(to).exists() {
        bail!("{} holds a backup that was never finished: remove it", to.display());
    }
    bail!("{} is not empty: name another folder", to.display());
}

/// Copies `keys/` and the echo account's password, each file readable by its owner only.
fn copy_secrets(data: &Path, to: &Path) -> anyhow::Result<()> {
    copy_keys(&folder::keys(data), &folder::keys(to))?;
    let password = folder::echo_password(data);
    if password.exists() {
        let copy = folder::echo_password(to);
        folder::make(copy.parent().context("the password lies in a folder")?)?;
        copy_file(&password, &copy)?;
    }
    Ok(())
}

/// Copies a folder of keys to a place where there is none.
///
/// # Errors
/// When a file can't be read or written.
pub(crate) fn copy_keys(from: &Path, to: &Path) -> anyhow::Result<()> {
    folder::make(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let path = entry?.path();
        // A draft of a file that is being written.
        let draft = path.extension().is_some_and(|extension| extension == "new");
        if let (true, false, Some(name)) = (path.is_file(), draft, path.file_name()) {
            copy_file(&path, &to.join(name))?;
        }
    }
    sync(to)
}

/// Copies a file to where there is none, to the disk, and tells what it was.
///
/// # Errors
/// When it can't be read or written.
pub(crate) fn copy_file(from: &Path, to: &Path) -> anyhow::Result<Fingerprint> {
    let mut copy = File::options().write(true).create_new(true).mode(0o600).open(to);
    let written = |copy: &mut File| -> anyhow::Result<Fingerprint> {
        let fingerprint = read_through(from, |piece| copy.write_all(piece))?;
        copy.sync_all()?;
        Ok(fingerprint)
    };
    copy.as_mut()
        .map_or_else(|error| Err(anyhow::anyhow!("{error}")), written)
        .with_context(|| to.display().to_string())
}

/// What a file is.
///
/// # Errors
/// When it can't be read.
pub(crate) fn fingerprint(path: &Path) -> anyhow::Result<Fingerprint> {
    read_through(path, |_| Ok(()))
}

fn read_through(path: &Path, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> anyhow::Result<Fingerprint> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    let (mut piece, mut bytes, mut sha256) = (vec![0; PIECE], 0, Sha256::new());
    loop {
        let read = file.read(&mut piece).with_context(|| path.display().to_string())?;
        if read == 0 {
            let sha256 = sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok(Fingerprint { bytes, sha256 });
        }
        bytes += read as u64;
        sha256.update(&piece[..read]);
        take(&piece[..read])?;
    }
}

/// Puts names of files on the disk.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn sync(folder: &Path) -> anyhow::Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(|| folder.display().to_string())
}

/// Shows how far a copy has come: a line now and then, for a person or a program.
struct Shown {
    json: bool,
    next: Instant,
}

impl Shown {
    fn new(json: bool) -> Self {
        Self { json, next: Instant::now() + SHOW_EVERY }
    }

    fn show(&mut self, Progress { copied, pages }: Progress) {
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + SHOW_EVERY;
        if self.json {
            say(true, &json!({ "copied": copied, "pages": pages }), "");
        } else {
            eprintln!("{} % copied", copied.saturating_mul(100).checked_div(pages).unwrap_or(100));
        }
    }
}
