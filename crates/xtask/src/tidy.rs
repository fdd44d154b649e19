//! Style that no compiler checks: file lengths, names, paths. Function lengths are clippy's.

use std::process::Command;

use anyhow::bail;

use crate::{shell, workspace};

/// Lines of code, neither blank nor comment, that one source file may have.
const CODE_LINES_MAX: usize = 800;

/// Words that say nothing about what a thing is. In names of files, types, traits, modules and functions.
const EMPTY_WORDS: [&str; 6] = ["manager", "helper", "helpers", "util", "utils", "misc"];

/// Starts of function names that say nothing.
const EMPTY_STARTS: [&str; 2] = ["get_", "process_"];

/// Starts of paths that exist on one machine only.
const MACHINE_PATHS: [&str; 3] = [concat!("/", "work/"), concat!("/", "root/"), concat!("/", "home/")];

pub(crate) fn run() -> anyhow::Result<()> {
    let mut broken = Vec::new();
    for file in workspace::files()? {
        let name = file.to_string_lossy();
        let Ok(text) = std::fs::read_to_string(workspace::root().join(&file)) else { continue };
        broken.extend(machine_paths(&name, &text));
        if name.ends_with(".rs") {
            broken.extend(too_long(&name, &text));
            broken.extend(empty_names(&name, &text));
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!("untidy:\n  {}", broken.join("\n  "));
}

/// Fails when a step has left tracked files other than they were committed. Outside CI one may be in mid-change, so only
/// CI insists.
pub(crate) fn unchanged() -> anyhow::Result<()> {
    let mut status = Command::new("git");
    status.current_dir(workspace::root()).args(["status", "--porcelain", "--untracked-files=no"]);
    let changes = shell::output(&mut status)?;
    if changes.is_empty() {
        return Ok(());
    }
    if shell::strict() {
        bail!("tracked files differ from what is committed:\n{changes}");
    }
    eprintln!("tracked files differ from what is committed (CI would refuse):\n{changes}");
    Ok(())
}

fn too_long(file: &str, text: &str) -> Option<String> {
    let code = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count();
    (code > CODE_LINES_MAX).then(|| format!("{file}: {code} lines of code, {CODE_LINES_MAX} at most"))
}

fn machine_paths(file: &str, text: &str) -> Vec<String> {
    let found = |line: &str| MACHINE_PATHS.iter().any(|path| line.contains(path));
    let lines = text.lines().enumerate().filter(|(_, line)| found(line));
    lines.map(|(number, _)| format!("{file}:{}: a path of one machine", number + 1)).collect()
}

fn empty_names(file: &str, text: &str) -> Vec<String> {
    let stem = file.rsplit('/').next().unwrap_or(file).trim_end_matches(".rs");
    let mut broken = Vec::new();
    if is_empty_name(stem) {
        broken.push(format!("{file}: the file's name says nothing"));
    }
    for (number, line) in text.lines().enumerate() {
        if let Some(name) = defined(line).filter(|name| is_empty_name(name)) {
            broken.push(format!("{file}:{}: `{name}` says nothing", number + 1));
        }
    }
    broken
}

/// The name that a line of Rust defines.
fn defined(line: &str) -> Option<&str> {
    const KEYWORDS: [&str; 6] = ["fn", "struct", "enum", "trait", "mod", "type"];
    let mut words = line.split_whitespace();
    words.find(|word| KEYWORDS.contains(word) && !line.trim_start().starts_with("//"))?;
    words.next()?.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

fn is_empty_name(name: &str) -> bool {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    EMPTY_STARTS.iter().any(|start| snake.starts_with(start))
        || snake.split('_').any(|word| EMPTY_WORDS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_say_nothing_are_found() {
        let text = concat!("pub struct Call", "Manager {\nfn get_", "name() {\n// fn helper\nfn ring() {}\n");
        let broken = empty_names("crates/x/src/utils.rs", text);
        assert_eq!(broken.len(), 3, "{broken:?}");
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        let text = concat!("fine\nsee /", "home/me/ahoy\n");
        assert_eq!(machine_paths("README.md", text), ["README.md:2: a path of one machine"]);
    }

    #[test]
    fn only_code_counts_towards_the_length_of_a_file() {
        let long = "x();\n".repeat(CODE_LINES_MAX);
        assert!(too_long("a.rs", &format!("{long}\n\n// note\n")).is_none());
        assert!(too_long("a.rs", &format!("{long}y();\n")).is_some());
    }
}
