//! What is done to the network in the middle of a load, such as to kill a supernode.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use tokio::process::Command;
use tokio::time::{sleep_until, timeout_at};

use super::crowd::Crowd;
use crate::cli::Load;
use crate::tell::Tell;

/// Runs the operator's command at its moment, and has the figures count from there. The load does not wait for one that outlasts it.
pub(super) async fn strike(crowd: &Arc<Crowd>, begin: Instant, end: Instant, arguments: &Load, tell: Tell) {
    let Some(command) = &arguments.strike else { return };
    sleep_until((begin + arguments.strike_after).into()).await;
    crowd.struck_now();
    let ended = Command::new("sh").arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::null()).status();
    match timeout_at(end.into(), ended).await {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => crowd.strike_failed(format!("--strike ended with {status}")),
        Ok(Err(error)) => crowd.strike_failed(format!("--strike can't be run: {error}")),
        Err(_) => tell.note("--strike has not ended"),
    }
}
