//! Being told to stop: politely once, then at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code of a process that was interrupted before it could end cleanly: 128 + SIGINT, as shells have it.
const EXIT_AT_ONCE: i32 = 130;

/// SIGTERM and SIGINT, caught from the moment this is made.
#[derive(Debug)]
pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// Catches both from now on.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Returns when either arrives. From then on another one ends the process at once.
    pub(crate) async fn asked(mut self) {
        self.either().await;
        tokio::spawn(async move {
            self.either().await;
            std::process::exit(EXIT_AT_ONCE);
        });
    }

    async fn either(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
