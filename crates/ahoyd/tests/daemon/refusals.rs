use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;

use crate::harness::{Daemon, free_port, refused};

/// One line for people: no backtrace, no `Error:` dump.
fn assert_one_line(text: &str) {
    assert!(text.starts_with("ahoyd: ") && text.trim_end().lines().count() == 1, "{text}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for taken in ["tcp", "udp"] {
        let port = free_port();
        let address = ("127.0.0.1", port);
        let _tcp = (taken == "tcp").then(|| std::net::TcpListener::bind(address).unwrap());
        let _udp = (taken == "udp").then(|| std::net::UdpSocket::bind(address).unwrap());
        let data = folder.path().join(taken);
        // By default the admin listener takes the next port, which may be another test's.
        let admin = format!("admin.listen=127.0.0.1:{}", free_port());
        let port_text = port.to_string();
        let (code, said) = refused(&["dev", "--port", &port_text, "--data", data.to_str().unwrap(), "--set", &admin]);
        assert_eq!(code, Some(1));
        assert_one_line(&said.lines().last().map(|line| format!("{line}\n")).unwrap_or_default());
        assert!(said.contains(&format!("127.0.0.1:{port} ({})", taken.to_uppercase())), "{said}");
        assert!(said.contains("choose another port"), "{said}");
    }
}

#[test]
fn a_data_folder_is_for_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let _daemon = Daemon::dev(folder.path(), &["echo="]);
    let port = free_port().to_string();
    let (code, said) = refused(&["dev", "--port", &port, "--data", folder.path().to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert_one_line(&said);
    assert!(said.contains("another ahoyd runs"), "{said}");
}

#[test]
fn a_data_folder_that_can_not_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let data = file.path().join("data");
    let (code, said) = refused(&["dev", "--port", &free_port().to_string(), "--data", data.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert_one_line(&said);
    assert!(said.contains("can't make the folder"), "{said}");
}

#[test]
fn a_key_that_others_can_read_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    Daemon::dev(folder.path(), &["echo="]).end(Signal::TERM);
    let key = folder.path().join("keys/signing.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, said) = refused(&["dev", "--port", &free_port().to_string(), "--data", folder.path().to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert_one_line(&said);
    assert!(said.contains("signing.key") && said.contains("chmod"), "{said}");
}

#[test]
fn a_mistake_in_the_configuration_is_shown_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ahoy.toml");
    std::fs::write(&file, "name = \"example.org\"\nlissen = []\n").unwrap();
    for verb in [&["serve"] as &[_], &["config", "check"], &["config", "show"], &["invite"]] {
        let (code, said) = refused(&[verb, &["--config", file.to_str().unwrap()]].concat());
        assert_eq!(code, Some(2), "{verb:?}");
        assert_one_line(&said);
        assert!(said.contains("ahoy.toml:2:1: unknown field `lissen`"), "{said}");
    }
}
