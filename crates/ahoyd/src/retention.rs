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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ahoy_proto::limits::{REPORTS_PER_DAY_MAX, RETENTION};
    use ahoy_proto::{AccountId, DeviceId, Name, UnixTime};
    use ahoy_store::{AddAccount, Admission, Device, ListReports, NewAccount, Recovery, Report};

    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    /// More than two steps take.
    const OLD: u64 = 1_100;

    fn account(number: u8) -> AddAccount {
        let account = NewAccount {
            account: AccountId([number; 16]),
            name: Name::parse(&format!("name{number}")).unwrap(),
            account_key: [number; 32],
            opaque_record: Vec::new(),
            sealed_account_key: Vec::new(),
            recovery: Recovery { verifier: [0; 32], sealed_account_key: Vec::new() },
            request_key: None,
        };
        let device = DeviceId([number; 16]);
        let device = Device { device, name: String::new(), device_key: [number; 32], binding: Vec::new() };
        AddAccount { account, device, admission: Admission::Anyone, invite: None, at: NOW }
    }

    #[test]
    fn what_has_had_its_time_goes_step_by_step_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("ahoy.sqlite")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let report = |at| Report { account: AccountId([1; 16]), about: AccountId([2; 16]), sealed: vec![1].into(), at };
        let left = runtime.block_on(async {
            store.call(account(1)).await.unwrap();
            store.call(account(2)).await.unwrap();
            for number in 0..OLD {
                store.submit(report(UnixTime(number / REPORTS_PER_DAY_MAX as u64 * 100_000)), |result| result.unwrap());
            }
            for at in [NOW.0 - RETENTION.as_secs() + 1, NOW.0] {
                store.call(report(UnixTime(at))).await.unwrap();
            }
            let clock: Clock = Arc::new(|| NOW);
            sweep(&store, &clock, Duration::ZERO).await.unwrap();
            store.call(ListReports { after: 0 }).await.unwrap()
        });
        assert_eq!(left.len(), 2);
    }
}
