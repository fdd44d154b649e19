//! `ahoyd restore`: a backup into a data folder that holds no database.
//!
//! Everything is checked before anything is written, and the database appears last, whole: until then no daemon would start
//! on anything but an empty folder.

use std::fs;
use std::io;
use std::path::Path;

use ahoy_authority::{Keys, wall_clock};
use ahoy_proto::NetworkId;
use ahoy_store::AfterRestore;
use anyhow::{Context as _, bail};
use serde_json::json;

use crate::args::RestoreArgs;
use crate::backup::{Manifest, copy_file, copy_keys, fingerprint, sync};
use crate::config::Config;
use crate::folder::{self, DataFolder};
use crate::operator::{Books, moment, say, size};

/// What the database is called until all of it is there, and what SQLite puts beside it.
const PARTIAL: [&str; 3] = ["ahoy.sqlite.partial", "ahoy.sqlite.partial-wal", "ahoy.sqlite.partial-shm"];

/// What the folder of keys is called until all of it is there.
const KEYS_PARTIAL: &str = "keys.partial";

/// What may lie in a data folder that counts as empty, beside what an interrupted restoration left: keys that were put there
/// for this, and the echo account's profile.
const MAY_BE_THERE: [&str; 4] = ["lock", "keys", "echo", KEYS_PARTIAL];

pub(crate) fn run(config: &Config, args: &RestoreArgs) -> anyhow::Result<()> {
    match (&config.store, &args.from) {
        (None, Some(from)) => from_backup(config, args, from),
        (Some(_), None) => after_pg_restore(config, args),
        (None, None) => bail!("say which backup: --from FOLDER"),
        (Some(_), Some(_)) => bail!(
            "`store` names PostgreSQL, and a backup is of SQLite: remove it from the configuration, restore, then `ahoyd migrate`"
        ),
    }
}

/// What PostgreSQL's own tools have put back is older than what clients remember.
fn after_pg_restore(config: &Config, args: &RestoreArgs) -> anyhow::Result<()> {
    let _data = DataFolder::claim(&config.data)?;
    Books::open(config)?.ask(AfterRestore)?;
    say(
        args.operator.json,
        &json!({ "restored": null }),
        "the database is ready for clients that remember more. Start `ahoyd serve`.",
    );
    Ok(())
}

fn from_backup(config: &Config, args: &RestoreArgs, from: &Path) -> anyhow::Result<()> {
    let manifest = Manifest::read(from)?;
    let backup = folder::database(from);
    if fingerprint(&backup)? != manifest.database {
        bail!("{} is not as it was when the backup was made: use another one", backup.display());
    }
    ahoy_store::backup::check(&backup).with_context(|| backup.display().to_string())?;
    // No daemon starts on this folder while we are at it.
    let data = DataFolder::claim(&config.data)?;
    check_empty(&config.data)?;
    let keys = data.keys();
    let brought = folder::keys(from);
    check_keys(&keys, &brought, manifest.network)?;
    if !keys.exists() {
        bring_keys(&brought, &keys, &config.data)?;
    }
    // All of them, and of use.
    Keys::load_or_create(&keys, wall_clock())?;
    bring_echo_password(from, &config.data)?;
    bring_database(&backup, &data.database(), &manifest)?;
    tell(args, from, &manifest);
    Ok(())
}

fn tell(args: &RestoreArgs, from: &Path, manifest: &Manifest) {
    let bytes = manifest.database.bytes;
    let object = json!({ "restored": from, "bytes": bytes, "made_at": manifest.made_at.0, "name": manifest.name });
    let text = format!(
        "{} is as it was at {}: {} of database. Start `ahoyd serve`.",
        manifest.name,
        moment(manifest.made_at.0),
        size(bytes)
    );
    say(args.operator.json, &object, &text);
    eprintln!("ahoyd: whoever was suspended, deleted or signed out after that time is not: see docs/operations.md");
}

fn check_empty(data: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(data).with_context(|| data.display().to_string())? {
        let name = entry?.file_name();
        if !MAY_BE_THERE.iter().chain(&PARTIAL).any(|may| name == *may) {
            bail!(
                "the data folder {} is not empty: {} lies in it; move it away first",
                data.display(),
                Path::new(&name).display()
            );
        }
    }
    Ok(())
}

/// Whether there are keys, of the network that the database is of.
fn check_keys(in_place: &Path, brought: &Path, network: NetworkId) -> anyhow::Result<()> {
    let keys = if in_place.exists() { in_place } else { brought };
    if !keys.exists() {
        bail!(
            "the backup holds no keys: put the network's keys/ at {} first (without them it would be another network)",
            in_place.display()
        );
    }
    if Keys::network_of(keys)? != network {
        bail!("{} holds the keys of another network than the backup's", keys.display());
    }
    Ok(())
}

fn bring_keys(brought: &Path, keys: &Path, data: &Path) -> anyhow::Result<()> {
    let partial = data.join(KEYS_PARTIAL);
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| partial.display().to_string())?;
    }
    copy_keys(brought, &partial)?;
    fs::rename(&partial, keys).with_context(|| keys.display().to_string())?;
    sync(data)
}

/// Without it the echo account could not sign in again, and its name is taken.
fn bring_echo_password(from: &Path, data: &Path) -> anyhow::Result<()> {
    let (brought, password) = (folder::echo_password(from), folder::echo_password(data));
    if !brought.exists() || password.exists() {
        return Ok(());
    }
    folder::make(password.parent().context("the password lies in a folder")?)?;
    let secret = fs::read(&brought).with_context(|| brought.display().to_string())?;
    folder::write_secret(&password, &secret).with_context(|| password.display().to_string())
}

fn bring_database(backup: &Path, database: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let data = database.parent().context("the database lies in a folder")?;
    for partial in PARTIAL.map(|name| data.join(name)) {
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| partial.display().to_string());
            }
            _ => {}
        }
    }
    let partial = data.join(PARTIAL[0]);
    if copy_file(backup, &partial)? != manifest.database {
        bail!("{} changed while it was copied", backup.display());
    }
    // Closed before it gets its name: then nothing of it lies in a journal.
    Books::at(&partial)?.ask(AfterRestore)?;
    fs::rename(&partial, database).with_context(|| database.display().to_string())?;
    sync(data)
}
