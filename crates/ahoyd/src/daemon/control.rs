//! The operator's socket: in the data folder, where only the daemon's own account can open it.

use std::fs;
use std::io;
use std::time::Duration;

use ahoy_proto::control::{LINE_MAX, Reply, Request};
use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::control::REPLY_MAX;
use crate::folder::DataFolder;

/// How long to wait when no connection can be accepted, for want of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// A request that waits for its reply.
pub(super) struct Asked {
    pub(super) request: Request,
    reply: oneshot::Sender<Reply>,
}

impl Asked {
    pub(super) fn reply(self, reply: Reply) {
        // Whoever asked may have gone.
        let _ = self.reply.send(reply);
    }
}

/// Opens the socket. Requests are taken one after the other, each within [`REPLY_MAX`].
///
/// # Errors
/// When it can't be made in the data folder.
pub(super) fn open(folder: &DataFolder, tasks: &mut JoinSet<()>) -> anyhow::Result<mpsc::Receiver<Asked>> {
    let path = folder.control();
    // One that is there is of a process that was killed: the folder is ours.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| path.display().to_string());
        }
        _ => {}
    }
    let (asks, asked) = mpsc::channel(1);
    match UnixListener::bind(&path) {
        Ok(listener) => _ = tasks.spawn(listen(listener, asks)),
        // The path of a socket has 107 bytes at most. That is no reason not to serve.
        Err(error) => {
            tracing::warn!(%error, "`ahoyd drain`, `undrain` and `fleet` can't reach this daemon: the data folder takes no socket");
        }
    }
    Ok(asked)
}

async fn listen(listener: UnixListener, asks: mpsc::Sender<Asked>) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                if let Ok(Err(error)) = tokio::time::timeout(REPLY_MAX, serve(socket, &asks)).await {
                    tracing::debug!(%error, "a request of the operator came to nothing");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the operator's socket takes no connection");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

async fn serve(mut socket: UnixStream, asks: &mpsc::Sender<Asked>) -> anyhow::Result<()> {
    let mut line = String::new();
    BufReader::new((&mut socket).take(LINE_MAX)).read_line(&mut line).await?;
    let reply = match serde_json::from_str(&line) {
        Ok(request) => {
            let (reply, answer) = oneshot::channel();
            asks.send(Asked { request, reply }).await?;
            answer.await?
        }
        Err(error) => Reply::Refused { why: format!("that is no request: {error}") },
    };
    let mut line = serde_json::to_string(&reply)?;
    line.push('\n');
    socket.write_all(line.as_bytes()).await?;
    Ok(())
}
