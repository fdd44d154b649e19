//! The store that the configuration names, and its move from SQLite to PostgreSQL.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use ahoy_store::{MoveError, MoveProgress, MoveStep, Store};
use anyhow::{Context as _, bail};
use serde_json::json;

use crate::args::MigrateArgs;
use crate::config::Config;
use crate::folder::{self, DataFolder};
use crate::operator::say;

/// How often it is shown how far a move has come.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// Opens the store: PostgreSQL where `store` says so, else the file in the data folder.
///
/// # Errors
/// When it can't be opened.
pub(crate) fn open(config: &Config) -> anyhow::Result<Store> {
    let Some(address) = &config.store else {
        let database = folder::database(&config.data);
        return Store::open(&database).with_context(|| database.display().to_string());
    };
    Store::connect(address).context("`store`")
}

/// `ahoyd migrate`
pub(crate) fn migrate(config: &Config, args: &MigrateArgs) -> anyhow::Result<()> {
    let Some(to) = args.to.as_ref().or(config.store.as_ref()) else {
        bail!("where to? Set `store` in the configuration, or say --to postgres://…");
    };
    let database = folder::database(&config.data);
    if !database.exists() {
        bail!("there is no {} to move", database.display());
    }
    // No daemon runs on it while we are at it.
    let _data = DataFolder::claim(&config.data)?;
    let json = args.operator.json;
    let mut next = Instant::now() + SHOW_EVERY;
    let moved = ahoy_store::migrate(&database, to, &mut |progress| {
        if Instant::now() >= next {
            next = Instant::now() + SHOW_EVERY;
            show(json, progress);
        }
        ControlFlow::Continue(())
    });
    let rows = match moved {
        Err(error @ (MoveError::Postgres(_) | MoveError::Sqlite(_))) => {
            return Err(error).context("not moved; run the same again, and it goes on from there");
        }
        moved => moved.context("not moved")?,
    };
    let text = format!(
        "moved: {rows} rows, all compared. Set `store` in the configuration and start `ahoyd serve`. \
         {} is no store any more; keep it until you have a backup of the other.",
        database.display()
    );
    say(json, &json!({ "rows": rows }), &text);
    Ok(())
}

fn show(json: bool, MoveProgress { step, table, done, rows }: MoveProgress) {
    let step = match step {
        MoveStep::Copy => "copied",
        MoveStep::Compare => "compared",
    };
    if json {
        say(true, &json!({ "table": table, "step": step, "done": done, "rows": rows }), "");
    } else {
        eprintln!("{table}: {done} of {rows} rows {step}");
    }
}
