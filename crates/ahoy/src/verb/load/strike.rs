//! What is done to the network in the middle of a load, such as to kill a supernode.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use tokio::process::Command;
use tokio::time::sleep_until;

use super::crowd::Crowd;
use crate::cli::Load;

/// Runs the operator's command at its moment, and has the figures count from there.
pub(super) async fn strike(crowd: &Arc<Crowd>, begin: Instant, arguments: &Load) {
    let Some(command) = &arguments.strike else { return };
    sleep_until((begin + arguments.strike_after).into()).await;
    crowd.struck_now();
    let ended = Command::new("sh").arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::null()).status().await;
    match ended {
        Ok(status) if status.success() => {}
        Ok(status) => eprintln!("ahoy: --strike ended with {status}"),
        Err(error) => eprintln!("ahoy: --strike can't be run: {error}"),
    }
}
