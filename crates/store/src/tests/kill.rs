//! What was acknowledged survives a `kill -9`.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

/// Set in the process that writes until it is killed: where to.
const WRITE_TO: &str = "AHOY_STORE_TEST_WRITE_TO";

/// Acknowledgements to wait for: some hundred batches.
const ACKNOWLEDGED: u64 = 1_000;

#[test]
fn whatever_was_acknowledged_survives_kill_9() {
    if let Some(path) = env::var_os(WRITE_TO) {
        write_for_ever(&PathBuf::from(path));
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ahoy.db");
    let mut writer = Command::new(env::current_exe().unwrap())
        .args(["--exact", "tests::kill::whatever_was_acknowledged_survives_kill_9", "--nocapture"])
        .env(WRITE_TO, &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut acknowledged = 0;
    for line in lines {
        // A line that the kill cut short does not count.
        let Some(epoch) = line.unwrap().strip_prefix("epoch ").and_then(|line| line.strip_suffix('.')?.parse().ok())
        else {
            continue;
        };
        acknowledged = epoch;
        if acknowledged == ACKNOWLEDGED {
            writer.kill().unwrap();
        }
    }
    writer.wait().unwrap();
    assert!(acknowledged >= ACKNOWLEDGED);

    check_kept(&path, acknowledged);
}

/// Everything acknowledged is there, and all tables agree.
pub(super) fn check_kept(path: &Path, acknowledged: u64) {
    let store = Store::open(path).unwrap();
    let (account, conversation) = (AccountId([1; 16]), ConversationId([9; 16]));
    let info = run(&store, FetchGroupInfo { account, conversation }).unwrap();
    assert!(info.epoch > acknowledged, "acknowledged {acknowledged}, kept {}", info.epoch);
    assert_eq!(info.head + 1, info.epoch, "state and log agree");
    assert_eq!(info.group_info, info.epoch.to_be_bytes().to_vec());
    let other = Connection::open(path).unwrap();
    let logged: u64 = other.query_row("SELECT count(*) FROM log", [], |row| row.get(0)).unwrap();
    let inbox: u64 = other.query_row("SELECT count(*) FROM inbox", [], |row| row.get(0)).unwrap();
    assert_eq!(logged, info.head);
    assert_eq!(inbox, info.head.min(ahoy_proto::limits::INBOX_MAX as u64));
}

/// Commits one epoch after the other, several in flight, and says so once each is acknowledged.
pub(super) fn write_for_ever(path: &Path) -> ! {
    let store = Store::open(path).unwrap();
    for number in [1, 2] {
        run(&store, sign_up(number, &format!("name{number}"), Admission::Anyone, None)).unwrap();
    }
    let (account, device, conversation) = (AccountId([1; 16]), DeviceId([1; 16]), ConversationId([9; 16]));
    let group_info = Bytes::from_static(&[0]);
    let ask = |account, peer| RequestContact { account, peer, note: Bytes::new(), at: NOW };
    run(&store, ask(account, AccountId([2; 16]))).unwrap();
    run(&store, ask(AccountId([2; 16]), account)).unwrap();
    let peer = Some(AccountId([2; 16]));
    let create = CreateConversation { account, device, conversation, peer, epoch: 1, group_info, welcomes: vec![] };
    run(&store, create).unwrap();
    let (reply, replies) = mpsc::channel();
    for epoch in 1_u64.. {
        let reply = reply.clone();
        let commit = Commit {
            account,
            device,
            conversation,
            generation: 1,
            epoch,
            commit: Bytes::from_static(b"commit"),
            group_info: (epoch + 1).to_be_bytes().to_vec().into(),
            welcomes: vec![Welcoming { devices: vec![DeviceId([2; 16])], welcome: Bytes::from_static(b"welcome") }],
            add: vec![],
            remove: vec![],
            at_ms: NOW.0 * 1_000,
        };
        store.submit(commit, move |result| _ = reply.send(result.map(|_| epoch)));
        if epoch > 8 {
            let acknowledged = replies.recv().unwrap().unwrap();
            writeln!(std::io::stdout(), "epoch {acknowledged}.").unwrap();
        }
    }
    unreachable!("u64 does not run out")
}
