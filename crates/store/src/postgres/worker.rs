//! The threads: each has a connection, or waits for the time to try again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::address::Address;
use super::connection::{ConnectError, Connection, Failure, describe};
use crate::StoreError;
use crate::verb::Job;

/// Attempts at a verb that others are in the way of. Of those that meet one succeeds each time, and each of our threads takes one
/// verb: 64 are enough for two machines all of whose threads meet. Their pauses come to some four seconds.
const ATTEMPTS_MAX: u32 = 64;

/// The longest pause before the second attempt; it doubles with each up to the maximum. About what a verb takes.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(128);

/// The longest time between the first two attempts to reach a lost server; it doubles with each up to the maximum. Each thread
/// waits some random part of it: after a second or so one of them knows that the server is back.
const AWAY_MIN: Duration = Duration::from_millis(100);
const AWAY_MAX: Duration = Duration::from_secs(5);

/// What all threads know of the server.
pub(super) struct Server {
    address: Address,
    /// The log has been told that it is away.
    is_away: AtomicBool,
}

impl Server {
    pub(super) fn new(address: Address) -> Self {
        Self { address, is_away: AtomicBool::new(false) }
    }

    fn open(&self) -> Result<Connection, ConnectError> {
        let opened = Connection::open(&self.address);
        let was_away = self.is_away.swap(opened.is_err(), Ordering::Relaxed);
        match &opened {
            Ok(_) if was_away => tracing::info!("PostgreSQL is back"),
            Err(ConnectError::Server(error)) if !was_away => {
                tracing::error!(error = describe(error), "PostgreSQL is away");
            }
            Err(error) if !was_away => tracing::error!(?error, "PostgreSQL is away"),
            _ => {}
        }
        opened
    }
}

/// Serves the queue until every sender is gone and it is empty.
pub(super) fn run(server: Arc<Server>, queue: &Receiver<Box<dyn Job>>) {
    let mut link = Link { server, state: State::Apart { failures: 0, again: Instant::now() } };
    while let Ok(mut job) = queue.recv() {
        let outcome = link.carry_out(&mut *job);
        job.reply(outcome);
    }
}

struct Link {
    server: Arc<Server>,
    state: State,
}

enum State {
    Connected(Box<Connection>),
    /// So many attempts in a row have failed, and there is none before a time.
    Apart {
        failures: u32,
        again: Instant,
    },
}

impl Link {
    fn carry_out(&mut self, job: &mut dyn Job) -> Result<(), StoreError> {
        let deadline = Instant::now() + job.time_max();
        let (mut was_lost, mut broke_constraint) = (false, false);
        for attempt in 0..ATTEMPTS_MAX {
            match self.connection()?.transact(deadline, |transaction| job.run(transaction)) {
                Ok(()) => return Ok(()),
                Err(Failure::Verb(error)) => return Err(error),
                Err(Failure::Contended) => pause(attempt),
                Err(Failure::Constraint(error)) if broke_constraint => return Err(error),
                Err(Failure::Constraint(_)) => broke_constraint = true,
                Err(Failure::NotBegun) if !was_lost => {
                    was_lost = true;
                    self.part();
                }
                Err(Failure::NotBegun | Failure::Lost) => {
                    self.part();
                    return Err(StoreError::Unavailable);
                }
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        Err(StoreError::Busy)
    }

    /// The connection, which is made where there is none and it is time.
    fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        if let State::Apart { failures, again } = self.state {
            if Instant::now() < again {
                return Err(StoreError::Unavailable);
            }
            self.state = match self.server.open() {
                Ok(connection) => State::Connected(Box::new(connection)),
                Err(_) => {
                    let again = Instant::now() + part_of(doubled(AWAY_MIN, failures, AWAY_MAX));
                    State::Apart { failures: failures.saturating_add(1), again }
                }
            };
        }
        match &mut self.state {
            State::Connected(connection) => Ok(connection),
            State::Apart { .. } => Err(StoreError::Unavailable),
        }
    }

    /// Gives the connection up. The next verb makes another.
    fn part(&mut self) {
        self.state = State::Apart { failures: 0, again: Instant::now() };
    }
}

/// Lets those pass who are in the way.
fn pause(attempt: u32) {
    thread::sleep(part_of(doubled(PAUSE_MIN, attempt, PAUSE_MAX)));
}

fn doubled(min: Duration, times: u32, max: Duration) -> Duration {
    min.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(max)
}

/// Any part of it, so that those who wait don't come back together.
fn part_of(time: Duration) -> Duration {
    time.mul_f64(rand::random_range(0.0..1.0))
}
