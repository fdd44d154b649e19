//! The dependency law of ARCHITECTURE.md: which crate may see which, and what the pure ones never reach.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::bail;
use cargo_metadata::{DependencyKind, Metadata, Package};

use crate::{shell, workspace};

/// Which of our crates each of our crates may depend on, tests aside.
const ARROWS: [(&str, &[&str]); 14] = [
    ("ahoy-proto", &[]),
    ("ahoy-core", &["ahoy-proto"]),
    ("ahoy-voice", &["ahoy-proto"]),
    ("ahoy-net", &["ahoy-proto"]),
    ("ahoy-store", &["ahoy-proto"]),
    ("ahoy-fabric", &["ahoy-proto"]),
    ("ahoy-supernode", &["ahoy-proto", "ahoy-core", "ahoy-net", "ahoy-store"]),
    ("ahoy-authority", &["ahoy-proto", "ahoy-store"]),
    ("ahoy-client", &["ahoy-proto", "ahoy-core", "ahoy-voice", "ahoy-net"]),
    (
        "ahoyd",
        &["ahoy-proto", "ahoy-net", "ahoy-store", "ahoy-fabric", "ahoy-supernode", "ahoy-authority", "ahoy-client"],
    ),
    ("ahoy", &["ahoy-proto", "ahoy-voice", "ahoy-client"]),
    ("ahoy-sim", &["ahoy-proto", "ahoy-core", "ahoy-voice", "ahoy-client"]),
    ("ahoy-trials", &["ahoy-proto", "ahoy-fabric"]),
    ("xtask", &[]),
];

/// Crates whose code runs in virtual time. `ahoy-client` counts without its driver.
const PURE: [&str; 5] = ["ahoy-proto", "ahoy-core", "ahoy-voice", "ahoy-client", "ahoy-sim"];

/// Crates that open sockets, start tasks or wait: never reached from a pure crate.
const IMPURE: [&str; 16] = [
    "ahoy-fabric",
    "ahoy-net",
    "ahoy-store",
    "async-io",
    "axum",
    "hyper",
    "mio",
    "polling",
    "quinn",
    "quinn-udp",
    "redis",
    "rusqlite",
    "socket2",
    "tokio",
    "tokio-postgres",
    "ureq",
];

/// Calls that read a clock or wait for one: never written in a pure crate.
const CLOCKS: [&str; 4] = ["Instant::now", "SystemTime::now", "thread::sleep", "std::net::UdpSocket"];

/// Virtual time starts somewhere, and an instant can't be made from nothing: the one reading, for tests and the simulator.
const ORIGIN: &str = "core/src/testing.rs";

/// Pure crates all of whose source is pure; the client's driver is behind a feature and may read the clock.
const CLOCKLESS: [&str; 4] = ["proto", "core", "voice", "sim"];

pub(crate) fn run() -> anyhow::Result<()> {
    let metadata = workspace::metadata()?;
    let mut broken = arrows(&metadata);
    broken.extend(crossings(&metadata));
    for package in PURE {
        broken.extend(impure(package)?);
    }
    for name in CLOCKLESS {
        broken.extend(clocks(&workspace::root().join("crates").join(name).join("src"))?);
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!("the dependency law is broken:\n  {}", broken.join("\n  "));
}

/// Direct dependencies that `ARROWS` does not have.
fn arrows(metadata: &Metadata) -> Vec<String> {
    let members = metadata.workspace_packages();
    let names: BTreeSet<&str> = members.iter().map(|package| package.name.as_str()).collect();
    let mut broken = Vec::new();
    for package in &members {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name.as_str()) else {
            broken.push(format!("{} is not in the table of crates/xtask/src/deps.rs", package.name));
            continue;
        };
        for dependency in ours(package, &names).filter(|dependency| !allowed.contains(dependency)) {
            broken.push(format!("{} depends on {dependency}", package.name));
        }
    }
    broken
}

fn ours<'a>(package: &'a Package, names: &'a BTreeSet<&str>) -> impl Iterator<Item = &'a str> {
    let normal = package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
    normal.map(|dependency| dependency.name.as_str()).filter(|name| names.contains(name))
}

/// Crates other than `ahoyd` that depend on supernode and authority both, tests included.
fn crossings(metadata: &Metadata) -> Vec<String> {
    let sees = |package: &Package, name: &str| package.dependencies.iter().any(|dependency| dependency.name == name);
    let members = metadata.workspace_packages();
    let both = members.iter().filter(|package| {
        package.name.as_str() != "ahoyd" && sees(package, "ahoy-supernode") && sees(package, "ahoy-authority")
    });
    both.map(|package| format!("{} sees supernode and authority together", package.name)).collect()
}

/// What a pure crate reaches and must not. `cargo tree` knows which features this one package turns on.
fn impure(package: &str) -> anyhow::Result<Vec<String>> {
    let mut tree = shell::cargo("tree");
    tree.args(["--package", package, "--no-default-features", "--edges", "normal", "--prefix", "none"])
        .args(["--format", "{p}"])
        .env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION");
    let tree = shell::output(&mut tree)?;
    let reached: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    let broken = IMPURE.iter().filter(|name| reached.contains(*name));
    Ok(broken.map(|name| format!("{package} reaches {name}")).collect())
}

/// Where the source under a folder reads a clock. Tests may: an `Instant` to count from comes from nowhere else.
fn clocks(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut broken = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default();
        if stem == "tests" || stem == "testing" {
            continue;
        }
        if path.is_dir() {
            broken.extend(clocks(&path)?);
            continue;
        }
        if path.ends_with(ORIGIN) {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        for (number, line) in text.lines().enumerate().take_while(|(_, line)| line.trim() != "#[cfg(test)]") {
            let code = line.split("//").next().unwrap_or_default();
            if let Some(call) = CLOCKS.iter().find(|call| code.contains(*call)) {
                broken.push(format!("{}:{}: {call} in a pure crate", path.display(), number + 1));
            }
        }
    }
    Ok(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_in_pure_code_is_found_and_one_in_a_comment_or_test_is_not() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.rs"), "// Instant::now()\nlet t = Instant::now();\n").unwrap();
        std::fs::write(folder.path().join("b.rs"), "#[cfg(test)]\nmod tests { Instant::now(); }\n").unwrap();
        let broken = clocks(folder.path()).unwrap();
        assert_eq!(broken.len(), 1);
        assert!(broken[0].contains("a.rs:2"), "{}", broken[0]);
    }

    #[test]
    fn the_daemon_does_reach_what_pure_crates_must_not() {
        let broken = impure("ahoyd").unwrap();
        assert!(broken.contains(&"ahoyd reaches tokio".to_owned()), "{broken:?}");
    }
}
