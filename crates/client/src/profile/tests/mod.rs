mod history;
mod kill;

use ahoy_proto::{ConversationId, DeviceId};
use rusqlite::Connection;
use tempfile::TempDir;

pub(crate) use super::identity::tests::sample;
use super::*;
use crate::member::{Batch, Change, Message, MessageBody, MessageRef};

const OWN: AccountId = AccountId([3; 16]);
const OTHER: AccountId = AccountId([7; 16]);
const CONVERSATION: ConversationId = ConversationId([9; 16]);
const SECRET_TEXT: &str = "meet me at the lighthouse";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn text(account: AccountId, number: u64, sequence: Option<u64>, text: &str) -> Message {
    Message {
        reference: MessageRef { device: DeviceId(account.0), number },
        account,
        sequence,
        at_ms: 1_700_000_000_000 + number,
        body: MessageBody::Text { text: text.to_owned(), reply_to: None },
    }
}

fn pairs(pairs: &[(&str, Option<&str>)]) -> Batch {
    let pairs =
        pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.map(|value| value.as_bytes().to_vec())));
    Batch { pairs: pairs.collect(), history: vec![] }
}

fn said(changes: impl IntoIterator<Item = Change>) -> Batch {
    Batch { pairs: vec![], history: changes.into_iter().map(|change| (CONVERSATION, change)).collect() }
}

/// A profile with an identity, a pair and a line in it.
fn filled(folder: &Path) -> Profile {
    let profile = Profile::open(folder).unwrap();
    profile.keep(&sample()).unwrap();
    let mut state = profile.state(OWN).unwrap();
    state.commit(&pairs(&[("pin/alice", Some("pinned"))])).unwrap();
    state.commit(&said([Change::Put(text(OTHER, 1, Some(1), SECRET_TEXT))])).unwrap();
    drop(state);
    profile
}

#[test]
fn an_identity_survives_and_is_forgotten_when_asked() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path().join("deep/er");
    assert!(Profile::open(&folder).unwrap().identity().unwrap().is_none());
    drop(filled(&folder));
    let profile = Profile::open(&folder).unwrap();
    assert_eq!(profile.identity().unwrap().unwrap(), sample());
    assert_eq!(read_identity(&folder).unwrap().unwrap(), sample());
    profile.forget().unwrap();
    assert!(profile.identity().unwrap().is_none());
    let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, [LOCK]);
    assert_eq!(profile.state(OWN).unwrap().load().unwrap(), []);
}

#[test]
fn nobody_else_can_read_a_profile() {
    let folder = TempDir::new().unwrap();
    let profile = filled(folder.path());
    let _state = profile.state(OWN).unwrap();
    assert_eq!(mode(folder.path()), 0o700);
    for file in fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn two_processes_do_not_use_one_profile() {
    let folder = TempDir::new().unwrap();
    let first = Profile::open(folder.path()).unwrap();
    assert!(matches!(Profile::open(folder.path()), Err(ProfileError::InUse(_))));
    drop(first);
    assert!(Profile::open(folder.path()).is_ok());
}

#[test]
fn who_a_profile_is_can_be_read_while_another_process_uses_it() {
    let folder = TempDir::new().unwrap();
    let profile = filled(folder.path());
    let mut state = profile.state(OWN).unwrap();
    state.commit(&pairs(&[("a", Some("1"))])).unwrap();
    assert!(read_identity(folder.path()).unwrap().is_some());
    state.commit(&pairs(&[("a", Some("2"))])).unwrap();
}

#[test]
fn a_batch_is_kept_and_the_last_write_of_a_key_counts() {
    let folder = TempDir::new().unwrap();
    let profile = Profile::open(folder.path()).unwrap();
    let mut state = profile.state(OWN).unwrap();
    state.commit(&pairs(&[("b", Some("1")), ("a", Some("1")), ("c", Some(""))])).unwrap();
    state.commit(&pairs(&[("a", None), ("b", Some("2")), ("b", Some("3"))])).unwrap();
    drop(state);
    let kept = profile.state(OWN).unwrap().load().unwrap();
    assert_eq!(kept, [(b"b".to_vec(), b"3".to_vec()), (b"c".to_vec(), vec![])]);
}

#[test]
fn what_the_member_loads_has_no_history_in_it() {
    let folder = TempDir::new().unwrap();
    let profile = filled(folder.path());
    assert_eq!(profile.state(OWN).unwrap().load().unwrap(), [(b"pin/alice".to_vec(), b"pinned".to_vec())]);
}

#[test]
fn nothing_on_the_disk_can_be_read() {
    let folder = TempDir::new().unwrap();
    let profile = filled(folder.path());
    // Both with the log beside the file, and after it went into the file.
    let open = profile.state(OWN).unwrap();
    assert_nothing_shows(folder.path());
    drop(open);
    assert_nothing_shows(folder.path());
}

fn assert_nothing_shows(folder: &Path) {
    let identity = sample();
    let hexadecimal = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut secrets: Vec<Vec<u8>> = [SECRET_TEXT, "pin/alice", "pinned", "alice", "example.org", &identity.credential]
        .map(|text| text.as_bytes().to_vec())
        .to_vec();
    for id in [OWN.0, OTHER.0, CONVERSATION.0] {
        secrets.extend([id.to_vec(), hexadecimal(&id).into_bytes()]);
    }
    let key: serde_json::Value = serde_json::from_slice(&fs::read(folder.join(KEY)).unwrap()).unwrap();
    secrets.extend(key["file"].as_str().map(|key| key.as_bytes().to_vec()));
    let mut looked_at = 0;
    for file in ["state.db", "state.db-wal"] {
        let Ok(bytes) = fs::read(folder.join(file)) else { continue };
        looked_at += bytes.len();
        for secret in &secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "{} shows in {file}", String::from_utf8_lossy(secret));
        }
    }
    assert!(looked_at > 4_096);
}

#[test]
fn a_wrong_key_is_an_error_and_not_an_empty_profile() {
    let folder = TempDir::new().unwrap();
    drop(filled(folder.path()));
    let other = TempDir::new().unwrap();
    drop(filled(other.path()));
    fs::copy(other.path().join(KEY), folder.path().join(KEY)).unwrap();
    let profile = Profile::open(folder.path()).unwrap();
    let identity = sample();
    for error in
        [profile.identity().unwrap_err(), profile.state(OWN).unwrap_err(), profile.keep(&identity).unwrap_err()]
    {
        assert!(matches!(error, ProfileError::NotOpened { .. }), "{error}");
    }
    profile.forget().unwrap();
    profile.keep(&identity).unwrap();
}

#[test]
fn a_missing_key_is_an_error_and_no_other_is_made() {
    let folder = TempDir::new().unwrap();
    drop(filled(folder.path()));
    fs::remove_file(folder.path().join(KEY)).unwrap();
    let profile = Profile::open(folder.path()).unwrap();
    assert!(matches!(profile.identity(), Err(ProfileError::NoKey(_))));
    assert!(matches!(profile.state(OWN), Err(ProfileError::NoKey(_))));
    assert!(!folder.path().join(KEY).exists());
}

#[test]
fn contents_that_were_swapped_or_changed_do_not_open() {
    let folder = TempDir::new().unwrap();
    let profile = filled(folder.path());
    let mut state = profile.state(OWN).unwrap();
    state.commit(&pairs(&[("pin/bob", Some("pinned"))])).unwrap();
    state.commit(&said([Change::Put(text(OTHER, 2, Some(2), "later"))])).unwrap();
    drop(state);
    let broken = |change: &str, does_open: &dyn Fn(&State) -> bool| {
        let copy = TempDir::new().unwrap();
        for file in [STATE, KEY] {
            fs::copy(folder.path().join(file), copy.path().join(file)).unwrap();
        }
        let profile = Profile::open(copy.path()).unwrap();
        assert!(does_open(&profile.state(OWN).unwrap()));
        Connection::open(copy.path().join(STATE)).unwrap().execute_batch(change).unwrap();
        assert!(!does_open(&profile.state(OWN).unwrap()), "{change}");
    };
    let pairs = |state: &State| state.load().is_ok();
    broken("UPDATE pairs SET sealed = (SELECT sealed FROM pairs AS other WHERE other.name != pairs.name)", &pairs);
    broken("UPDATE pairs SET sealed = substr(sealed, 1, length(sealed) - 1)", &pairs);
    broken("UPDATE pairs SET sealed = x''", &pairs);
    let lines = |state: &State| state.page(CONVERSATION, None, 10).is_ok();
    for column in ["sequence", "born", "local"] {
        broken(&format!("UPDATE lines SET {column} = {column} + 10"), &lines);
    }
    broken("UPDATE lines SET counts = 0", &lines);
    broken("UPDATE lines SET reference = randomblob(16)", &lines);
    broken("UPDATE lines SET sealed = (SELECT sealed FROM lines AS other WHERE other.local != lines.local)", &lines);
}

#[test]
fn a_file_of_a_later_version_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let profile = filled(folder.path());
    Connection::open(folder.path().join(STATE)).unwrap().execute_batch("PRAGMA user_version = 2").unwrap();
    let error = profile.identity().unwrap_err();
    assert!(error.to_string().contains("newer"), "{error}");
}

#[test]
fn a_file_that_is_no_profile_is_an_error() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join(STATE), [7; 8_192]).unwrap();
    let profile = Profile::open(folder.path()).unwrap();
    assert!(matches!(profile.identity(), Err(ProfileError::State { .. })));
    assert!(matches!(profile.state(OWN), Err(ProfileError::State { .. })));
    profile.forget().unwrap();
    assert_eq!(profile.identity().unwrap(), None);
}

/// What a first version of Ahoy left.
fn plain_profile(folder: &Path) {
    fs::write(folder.join(plain::IDENTITY), serde_json::to_vec_pretty(&sample()).unwrap()).unwrap();
    let state = Connection::open(folder.join(STATE)).unwrap();
    state
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE state (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT;",
        )
        .unwrap();
    for number in 0..100 {
        let pair = (format!("pin/alice/{number}").into_bytes(), b"pinned".to_vec());
        state.execute("INSERT INTO state (key, value) VALUES (?1, ?2)", pair).unwrap();
    }
}

#[test]
fn a_plain_profile_is_taken_over_once_and_nothing_of_it_stays_readable() {
    let folder = TempDir::new().unwrap();
    plain_profile(folder.path());
    assert_eq!(read_identity(folder.path()).unwrap(), Some(sample()));
    for _ in 0..2 {
        let profile = Profile::open(folder.path()).unwrap();
        assert_eq!(profile.identity().unwrap(), Some(sample()));
        assert_eq!(profile.state(OWN).unwrap().load().unwrap().len(), 100);
        assert!(!folder.path().join(plain::IDENTITY).exists());
        assert_nothing_shows(folder.path());
    }
}

#[test]
fn taking_over_that_was_cut_short_is_finished_later() {
    let folder = TempDir::new().unwrap();
    plain_profile(folder.path());
    drop(Profile::open(folder.path()).unwrap());
    // Died before the last step.
    fs::write(folder.path().join(plain::IDENTITY), serde_json::to_vec(&sample()).unwrap()).unwrap();
    let profile = Profile::open(folder.path()).unwrap();
    assert!(!folder.path().join(plain::IDENTITY).exists());
    assert_eq!(profile.identity().unwrap(), Some(sample()));
    assert_eq!(profile.state(OWN).unwrap().load().unwrap().len(), 100);
}

#[test]
fn a_damaged_plain_identity_is_named() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join(plain::IDENTITY), b"{").unwrap();
    let error = Profile::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("identity.json is damaged"), "{error}");
}
