//! What is asked of the person at the terminal, and read from files where nobody sits there.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::Path;

use ahoy_proto::sealing::RecoveryCode;

use crate::failure::{Exit, Failure};

/// Longest file that a secret is read from, in bytes: more than a password may have.
const SECRET_FILE_MAX: u64 = 4096;

/// A password that exists.
pub(crate) fn password(file: Option<&Path>, prompt: &str) -> Result<String, Failure> {
    match file {
        Some(file) => first_line(file),
        None => hidden(prompt, "--password-file FILE"),
    }
}

/// A password that is being chosen: asked twice.
pub(crate) fn new_password(file: Option<&Path>, option: &str) -> Result<String, Failure> {
    if let Some(file) = file {
        return first_line(file);
    }
    let first = hidden("New password: ", option)?;
    if first != hidden("The same again: ", option)? {
        return Err(Failure::new(Exit::Refused, "password-differs", "the two passwords differ", "Try again."));
    }
    Ok(first)
}

/// Something that may be seen while it is typed.
pub(crate) fn line(prompt: &str, option: &str) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return Err(no_terminal(&unasked(prompt), option));
    }
    eprint!("{prompt}");
    let mut line = String::new();
    io::stdin()
        .read_line(&mut line)
        .map_err(|error| no_terminal(&format!("the terminal can't be read: {error}"), option))?;
    Ok(line.trim().to_owned())
}

/// The recovery code.
pub(crate) fn recovery_code(file: Option<&Path>) -> Result<RecoveryCode, Failure> {
    let text = match file {
        Some(file) => first_line(file)?,
        None => hidden("Recovery code: ", "--code-file FILE")?,
    };
    text.parse().map_err(|error: ahoy_proto::sealing::InvalidRecoveryCode| {
        Failure::new(
            Exit::Refused,
            "recovery-code",
            error.to_string(),
            "It was shown at sign-up. Hyphens and case do not matter; every other character does.",
        )
    })
}

/// What to say where nobody can type what a prompt asks for.
fn unasked(prompt: &str) -> String {
    format!("`{}` can't be asked for: there is no terminal", prompt.trim_end_matches([':', ' ']))
}

fn hidden(prompt: &str, option: &str) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return Err(no_terminal(&unasked(prompt), option));
    }
    rpassword::prompt_password(prompt)
        .map_err(|error| no_terminal(&format!("the terminal can't be read: {error}"), option))
}

fn no_terminal(cause: &str, option: &str) -> Failure {
    Failure::new(Exit::Other, "no-terminal", cause, format!("Where nobody can type it, use {option}."))
}

fn first_line(file: &Path) -> Result<String, Failure> {
    let failed = |cause: String| {
        Failure::new(
            Exit::Other,
            "secret-file",
            format!("{}: {cause}", file.display()),
            "The file holds the secret in its first line and nothing else.",
        )
    };
    let length = fs::metadata(file).map_err(|error| failed(error.to_string()))?.len();
    if length > SECRET_FILE_MAX {
        return Err(failed("the file is too long to hold a secret".to_owned()));
    }
    let text = fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(failed("the first line is empty".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_first_line_of_its_file_without_the_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        fs::write(&file, "correct horse \r\nmore").unwrap();
        assert_eq!(first_line(&file).unwrap(), "correct horse ");
        fs::write(&file, "\n").unwrap();
        assert!(first_line(&file).is_err());
        assert!(first_line(&folder.path().join("none")).is_err());
    }
}
