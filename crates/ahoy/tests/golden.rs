//! What `ahoy` prints where no network is needed, word for word: help, usage errors, and errors that say what to do.
//!
//! `AHOY_GOLDEN=write cargo test -p ahoy --test golden` writes the files anew.

// All of this file is a test; clippy sees only the functions marked so.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

/// The same text, whenever it was said.
fn without_time(said: &str) -> String {
    let Some((before, after)) = said.split_once("\"at_ms\":") else { return said.to_owned() };
    format!("{before}\"at_ms\":0{}", without_time(after.trim_start_matches(|c: char| c.is_ascii_digit())))
}

/// Runs `ahoy` with an empty home and compares exit code and both outputs with the file.
fn check(file: &str, arguments: &[&str]) {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ahoy"))
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .env("COLUMNS", "100")
        .current_dir(home.path())
        .output()
        .unwrap();
    let said = format!(
        "$ ahoy {}\n{}{}exit code {}\n",
        arguments.join(" "),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
        output.status.code().unwrap()
    );
    let said = without_time(&said.replace(home.path().to_str().unwrap(), "~"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("AHOY_GOLDEN").is_some_and(|value| value == "write") {
        fs::write(&path, &said).unwrap();
    }
    let wanted = fs::read_to_string(&path).unwrap();
    assert_eq!(said, wanted, "{file} differs; if it should, write it anew");
}

#[test]
fn help_teaches_by_example() {
    check("help.txt", &["--help"]);
}

#[test]
fn each_verb_has_its_own_help() {
    for verb in [
        "call",
        "contacts",
        "delete-account",
        "devices",
        "group",
        "history",
        "inbox",
        "listen",
        "load",
        "password",
        "pipe",
        "presence",
        "receipts",
        "recover",
        "report",
        "rings",
        "search",
        "send",
        "sign-in",
        "sign-out",
        "sign-up",
        "status",
        "verify",
        "whoami",
    ] {
        check(&format!("help-{verb}.txt"), &[verb, "--help"]);
    }
}

#[test]
fn who_is_not_signed_in_is_told_how() {
    check("not-signed-in.txt", &["whoami"]);
    check("not-signed-in-call.txt", &["call", "echo"]);
    check("not-signed-in-inbox.txt", &["inbox", "--follow"]);
}

#[test]
fn without_a_terminal_there_is_help_in_place_of_the_full_screen() {
    check("no-terminal.txt", &[]);
}

#[test]
fn a_network_that_is_not_there_is_named_with_the_way_to_start_one() {
    // Port 1 needs privileges to listen on, and nothing ever does.
    check("not-running.txt", &["--network", "http://127.0.0.1:1", "sign-in", "alice"]);
}

#[test]
fn http_to_another_machine_is_refused() {
    check("not-protected.txt", &["--network", "http://example.org", "whoami"]);
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    check("usage-time.txt", &["call", "echo", "--for", "soon"]);
    check("usage-rings.txt", &["rings", "friends"]);
    check("usage-search.txt", &["search"]);
    check("usage-group.txt", &["group", "create", "Crew"]);
    check("usage-reply.txt", &["send", "bob", "--reply-to", "0", "yes"]);
}
