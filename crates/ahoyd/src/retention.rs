//! What has had its time goes, a little at a time: nobody waits for it.

use std::time::Duration;

use ahoy_authority::Clock;
use ahoy_store::{Expire, Expired, Store, StoreError};

/// How often the store is looked through. Things are kept for 30 days; an hour more is nobody's loss.
const EVERY: Duration = Duration::from_secs(3_600);

/// Pause between two steps: a step takes some 10 ms, so at most a tenth of the store's time goes here, and a million entries go in
/// less than ten minutes.
const PAUSE: Duration = Duration::from_millis(100);

/// Forgets what has had its time, every hour, for ever.
pub(crate) async fn run(store: Store, clock: Clock) {
    let mut interval = tokio::time::interval(EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if let Err(error) = sweep(&store, &clock, PAUSE).await {
            tracing::warn!(%error, "what has had its time could not be forgotten; trying again in an hour");
        }
    }
}

/// Forgets all that has had its time.
async fn sweep(store: &Store, clock: &Clock, pause: Duration) -> Result<(), StoreError> {
    while store.call(Expire { now: clock() }).await? == Expired::Some {
        tokio::time::sleep(pause).await;
    }
    Ok(())
}
