//! A folder of keys is whole, private and lasting, or refused.

use tempfile::TempDir;

use super::*;

const NOW: UnixTime = UnixTime(1_800_000_000);

const FILES: [&str; 9] = [ROOT, ROOT_PUBLIC, SIGNING, CERTIFICATE, OPAQUE, CALL_TOKEN, STATELESS_RESET, ROSTER, REPORT];

fn made() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let keys = folder.path().join("keys");
    Keys::load_or_create(&keys, NOW).unwrap();
    (folder, keys)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn keys_are_made_once_and_read_ever_after() {
    let (_folder, path) = made();
    let [first, second] = [(); 2].map(|()| Keys::load_or_create(&path, NOW).unwrap());
    assert_eq!(first.network(), second.network());
    assert_eq!(first.network(), Keys::network_of(&path).unwrap());
    assert_eq!(first.signing_key_certificate(), second.signing_key_certificate());
    assert_eq!(first.opaque_setup(), second.opaque_setup());
    assert_eq!(first.stateless_reset_key(), second.stateless_reset_key());
    assert_eq!(first.roster_key().to_bytes(), second.roster_key().to_bytes());
    assert_eq!(first.report_secret().as_bytes(), second.report_secret().as_bytes());
    assert_ne!(first.network(), Keys::load_or_create(&made().1.with_file_name("other"), NOW).unwrap().network());
}

#[test]
fn only_the_owner_can_read_them() {
    let (_folder, path) = made();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for file in FILES {
        assert_eq!(mode(&path.join(file)), 0o600, "{file}");
    }
    set_mode(&path.join(OPAQUE), 0o640);
    let error = Keys::load_or_create(&path, NOW).unwrap_err();
    assert!(matches!(&error, KeysError::Permissions { path } if path.ends_with(OPAQUE)), "{error}");
    set_mode(&path.join(OPAQUE), 0o600);
    set_mode(&path, 0o755);
    assert!(matches!(Keys::load_or_create(&path, NOW), Err(KeysError::Permissions { .. })));
}

#[test]
fn a_file_that_is_missing_cut_or_too_long_is_named() {
    for file in [ROOT_PUBLIC, SIGNING, OPAQUE, CALL_TOKEN, STATELESS_RESET, ROSTER] {
        let (_folder, path) = made();
        let file = path.join(file);
        let bytes = fs::read(&file).unwrap();
        for wrong in [&bytes[1..], &[&bytes[..], &[0]].concat(), &[]] {
            fs::write(&file, wrong).unwrap();
            let error = Keys::load_or_create(&path, NOW).unwrap_err();
            assert!(matches!(&error, KeysError::Malformed { path } if *path == file), "{error}");
        }
        fs::remove_file(&file).unwrap();
        let error = Keys::load_or_create(&path, NOW).unwrap_err();
        assert!(matches!(&error, KeysError::Missing { path } if *path == file), "{error}");
    }
}

#[test]
fn a_network_older_than_reports_gets_a_report_key_and_keeps_it() {
    let (_folder, path) = made();
    fs::remove_file(path.join(REPORT)).unwrap();
    let key = || Keys::load_or_create(&path, NOW).unwrap().report_secret().report_key();
    let made = key();
    assert_eq!(key(), made);
    assert_eq!(fs::metadata(path.join(REPORT)).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&path).unwrap().count(), FILES.len(), "no draft is left");
    fs::write(path.join(REPORT), [1; 31]).unwrap();
    assert!(matches!(Keys::load_or_create(&path, NOW), Err(KeysError::Malformed { .. })), "one that is there counts");
}

#[test]
fn of_two_report_keys_made_at_once_the_first_counts_for_both() {
    let (_folder, path) = made();
    let folder = Folder::open(&path).unwrap();
    let first = folder.bytes(REPORT).unwrap();
    folder.add(REPORT, &[9; 32]).unwrap();
    assert_eq!(folder.bytes(REPORT).unwrap(), first);
}

#[test]
fn an_interrupted_beginning_is_begun_again() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("keys.new")).unwrap();
    fs::write(folder.path().join("keys.new").join(ROOT), b"half").unwrap();
    Keys::load_or_create(&folder.path().join("keys"), NOW).unwrap();
    assert!(!folder.path().join("keys.new").exists());
}

#[test]
fn the_root_key_may_be_away_while_the_certificate_lasts() {
    let (_folder, path) = made();
    let before = Keys::load_or_create(&path, NOW).unwrap().certificate;
    let later = NOW.plus(CERTIFICATE_LIFE / 2);
    let renewed = Keys::load_or_create(&path, later).unwrap().certificate;
    assert_ne!(before, renewed, "renewed in the second half of its life");
    fs::rename(path.join(ROOT), path.with_file_name("safe")).unwrap();
    assert_eq!(Keys::load_or_create(&path, later.plus(CERTIFICATE_LIFE)).unwrap().certificate, renewed);
    let expired = later.plus(CERTIFICATE_LIFE).plus(Duration::from_secs(1));
    assert!(matches!(Keys::load_or_create(&path, expired), Err(KeysError::Certificate { .. })));
    fs::rename(path.with_file_name("safe"), path.join(ROOT)).unwrap();
    assert!(Keys::load_or_create(&path, expired).is_ok());
}

#[test]
fn a_root_key_of_another_network_certifies_nothing() {
    let ((_one, path), (_other, foreign)) = (made(), made());
    fs::copy(foreign.join(ROOT), path.join(ROOT)).unwrap();
    fs::remove_file(path.join(CERTIFICATE)).unwrap();
    assert!(matches!(Keys::load_or_create(&path, NOW), Err(KeysError::Malformed { .. })));
}

#[test]
fn debug_shows_no_secret() {
    let (_folder, path) = made();
    let shown = format!("{:?}", Keys::load_or_create(&path, NOW).unwrap());
    assert!(shown.len() < 32, "{shown}");
}
