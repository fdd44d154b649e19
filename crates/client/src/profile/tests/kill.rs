//! What was acknowledged survives a `kill -9`, and state and history stay together.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

/// Set in the process that writes until it is killed: where to.
const WRITE_TO: &str = "AHOY_PROFILE_TEST_WRITE_TO";

/// Acknowledgements to wait for.
const ACKNOWLEDGED: u64 = 100;

#[test]
fn whatever_was_acknowledged_survives_kill_9() {
    if let Some(folder) = env::var_os(WRITE_TO) {
        write_for_ever(Path::new(&folder));
    }
    let folder = TempDir::new().unwrap();
    let mut writer = Command::new(env::current_exe().unwrap())
        .args(["--exact", "profile::tests::kill::whatever_was_acknowledged_survives_kill_9", "--nocapture"])
        .env(WRITE_TO, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = 0;
    for line in BufReader::new(writer.stdout.take().unwrap()).lines() {
        // A line that the kill cut short does not count.
        let line = line.unwrap();
        let batch = line.strip_prefix("batch ").and_then(|line| line.strip_suffix('.')?.parse().ok());
        acknowledged = batch.unwrap_or(acknowledged);
        if acknowledged == ACKNOWLEDGED {
            writer.kill().unwrap();
        }
    }
    writer.wait().unwrap();
    assert!(acknowledged >= ACKNOWLEDGED);

    let profile = Profile::open(folder.path()).unwrap();
    assert_eq!(profile.identity().unwrap(), Some(sample()));
    let mut state = profile.state(OWN).unwrap();
    let kept = state.load().unwrap();
    let count = |key: &[u8]| {
        let value = kept.iter().find(|(kept, _)| kept == key).map(|(_, value)| value.as_slice());
        u64::from_be_bytes(value.unwrap().try_into().unwrap())
    };
    let head = count(b"head");
    assert!(head >= acknowledged, "acknowledged {acknowledged}, kept {head}");
    assert_eq!(count(b"ratchet"), head, "the pairs of a batch stay together");
    assert_eq!(state.last_change(), head, "state and history stay together");
    let last = state.last(CONVERSATION).unwrap().unwrap();
    assert_eq!((last.message.sequence, last.local), (Some(head), head));
    assert_eq!(state.unread(CONVERSATION, 0).unwrap(), head);
    assert_eq!(state.commit(&batch(head + 1)).unwrap(), [Some(head + 1)], "the counter goes on");
}

fn batch(number: u64) -> Batch {
    let value = Some(number.to_be_bytes().to_vec());
    Batch {
        pairs: vec![(b"head".to_vec(), value.clone()), (b"ratchet".to_vec(), value)],
        history: vec![(CONVERSATION, Change::Put(text(OTHER, number, Some(number), SECRET_TEXT)))],
    }
}

/// Commits one batch after the other, and says so once each is acknowledged.
fn write_for_ever(folder: &Path) -> ! {
    let profile = Profile::open(folder).unwrap();
    profile.keep(&sample()).unwrap();
    let mut state = profile.state(OWN).unwrap();
    for number in 1.. {
        state.commit(&batch(number)).unwrap();
        writeln!(io::stdout(), "batch {number}.").unwrap();
    }
    unreachable!("u64 does not run out")
}
