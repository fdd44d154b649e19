//! Threads that carry verbs out, each from a bounded queue of its own.

use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use crate::StoreError;
use crate::verb::Job;

/// A thread and its queue. When it is dropped, everything in the queue is carried out first.
pub(crate) struct Worker {
    sender: Option<SyncSender<Box<dyn Job>>>,
    handle: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread that serves a queue of so many verbs until it is closed and empty.
    pub(crate) fn start(
        name: String,
        queue_max: usize,
        serve: impl FnOnce(&Receiver<Box<dyn Job>>) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, queue) = sync_channel(queue_max);
        let handle = thread::Builder::new().name(name).spawn(move || serve(&queue))?;
        Ok(Self { sender: Some(sender), handle: Some(handle) })
    }

    /// Queues a job, or replies at once that it can't.
    pub(crate) fn submit(&self, job: Box<dyn Job>) {
        let sender = self.sender.as_ref().expect("the sender is only taken when the last handle is dropped");
        match sender.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => job.reply(Err(StoreError::Busy)),
            Err(TrySendError::Disconnected(job)) => job.reply(Err(StoreError::Unavailable)),
        }
    }

    /// Takes no more; the thread ends when its queue is empty.
    pub(crate) fn close(&mut self) {
        self.sender.take();
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Worker")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.close();
        let Some(handle) = self.handle.take() else { return };
        // A reply may hold the last handle; the thread can't wait for itself and ends right after.
        if handle.thread().id() != thread::current().id() && handle.join().is_err() {
            tracing::error!("a thread of the store panicked");
        }
    }
}
