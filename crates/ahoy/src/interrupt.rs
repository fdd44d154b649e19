//! Ctrl-C and termination: the first asks to end, the second ends at once.

use std::process::exit;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Exit, Failure};

/// As shells report a program that was interrupted.
pub(crate) const INTERRUPTED: i32 = 130;

/// The wish to end, from the terminal or from whoever runs this program.
#[derive(Debug)]
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    asked: bool,
}

impl Interrupts {
    pub(crate) fn new() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new(Exit::Other, "signals", error.to_string(), "");
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            asked: false,
        })
    }

    /// Waits for the next one. The second of a run ends the process: who asks twice does not want to wait. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        if self.asked {
            exit(INTERRUPTED);
        }
        self.asked = true;
    }

    /// What was asked for is done; the next one counts as a first again.
    pub(crate) fn settle(&mut self) {
        self.asked = false;
    }
}
