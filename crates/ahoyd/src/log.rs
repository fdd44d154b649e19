//! Logs: to standard error, as text or as JSON.
//!
//! Ids print only their first bytes (their types see to it) and nobody logs an address of a client; `tests/logs.rs` looks.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Libraries that log the addresses of clients below this level, whatever level the operator asks for.
const TELL_ADDRESSES: [&str; 4] = ["quinn", "quinn_proto", "quinn_udp", "hyper_util"];

/// Starts logging for the whole process.
///
/// # Errors
/// When the level is neither a level nor a filter.
pub(crate) fn start(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.level).with_context(|| format!("`log.level` is {:?}", log.level))?;
    let filter = TELL_ADDRESSES.iter().fold(filter, |filter, part| {
        filter.add_directive(format!("{part}=error").parse().expect("a module's name and a level are a directive"))
    });
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => subscriber.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => subscriber.json().init(),
    }
    Ok(())
}
