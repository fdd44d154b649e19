//! Licences, sources and banned crates, by the rules of `deny.toml`.
//!
//! cargo-deny reads the same file in `cargo xtask nightly`; compiling it takes longer than the rest of CI, and these
//! three questions need no more than `cargo metadata`.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use cargo_metadata::Package;
use serde::Deserialize;

use crate::workspace;

#[derive(Deserialize)]
struct Rules {
    licenses: Licences,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

/// What one crate may have beside what all may have.
#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Banned>,
}

#[derive(Deserialize)]
struct Banned {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

#[derive(Deserialize)]
struct LockFile {
    packages: BTreeMap<String, LockedPackage>,
}

#[derive(Deserialize)]
struct LockedPackage {
    license: Option<String>,
    #[serde(default)]
    dev: bool,
}

impl Rules {
    /// What is wrong with a package, if anything.
    fn judge(&self, package: &Package) -> Option<String> {
        if let Some(ban) = self.bans.deny.iter().find(|ban| ban.name == package.name.as_str()) {
            return Some(format!("{} is banned: {}", package.name, ban.reason));
        }
        let source = package.source.as_ref().map(|source| source.repr.trim_start_matches("registry+"));
        if source.is_some_and(|source| !self.sources.allow_registry.iter().any(|allowed| allowed == source)) {
            return Some(format!("{} comes from a source that deny.toml does not allow", package.name));
        }
        let licence = package.license.as_deref().unwrap_or_default();
        match self.permits(package.name.as_str(), licence) {
            Ok(true) => None,
            Ok(false) => Some(format!("{} {} is under `{licence}`", package.name, package.version)),
            Err(error) => Some(format!("{} {} has no licence to read: {error}", package.name, package.version)),
        }
    }

    /// What is wrong with the packages that the browser client is made of; tools do not ship.
    fn judge_web(&self) -> anyhow::Result<Vec<String>> {
        let text = std::fs::read_to_string(workspace::root().join("web/package-lock.json"))?;
        let lock: LockFile = serde_json::from_str(&text).context("web/package-lock.json")?;
        let shipped = lock.packages.iter().filter(|(path, package)| !path.is_empty() && !package.dev);
        let judge = |(path, package): (&String, &LockedPackage)| {
            let licence = package.license.as_deref().unwrap_or_default();
            let permitted = self.permits(path, licence).unwrap_or(false);
            (!permitted).then(|| format!("web/{path} is under `{licence}`"))
        };
        Ok(shipped.filter_map(judge).collect())
    }

    fn permits(&self, package: &str, licence: &str) -> anyhow::Result<bool> {
        let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX)?;
        let Licences { allow, exceptions } = &self.licenses;
        let own =
            exceptions.iter().filter(|exception| exception.name == package).flat_map(|exception| &exception.allow);
        let allowed: Vec<&String> = allow.iter().chain(own).collect();
        Ok(expression.evaluate(|wanted| allowed.contains(&&wanted.to_string())))
    }
}

pub(crate) fn run() -> anyhow::Result<()> {
    let text = std::fs::read_to_string(workspace::root().join("deny.toml")).context("can't read deny.toml")?;
    let rules: Rules = toml::from_str(&text).context("can't read deny.toml")?;
    let metadata = workspace::metadata()?;
    let mut broken: Vec<String> = metadata.packages.iter().filter_map(|package| rules.judge(package)).collect();
    broken.extend(rules.judge_web()?);
    if broken.is_empty() {
        return Ok(());
    }
    bail!("deny.toml is broken:\n  {}", broken.join("\n  "));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allow: &[&str]) -> Rules {
        Rules {
            licenses: Licences { allow: allow.iter().map(|&name| name.to_owned()).collect(), exceptions: vec![] },
            bans: Bans { deny: vec![] },
            sources: Sources { allow_registry: vec![] },
        }
    }

    #[test]
    fn one_side_of_an_or_is_enough_and_an_and_wants_both() {
        let rules = rules(&["MIT", "Apache-2.0 WITH LLVM-exception"]);
        assert!(rules.permits("a", "MIT OR GPL-3.0-only").unwrap());
        assert!(rules.permits("a", "Apache-2.0/MIT").unwrap());
        assert!(rules.permits("a", "Apache-2.0 WITH LLVM-exception").unwrap());
        assert!(!rules.permits("a", "MIT AND GPL-3.0-only").unwrap());
        assert!(!rules.permits("a", "Apache-2.0").unwrap());
    }

    #[test]
    fn an_exception_is_for_its_crate_alone() {
        let mut rules = rules(&["MIT"]);
        rules.licenses.exceptions.push(Exception { name: "a".to_owned(), allow: vec!["BSL-1.0".to_owned()] });
        assert!(rules.permits("a", "BSL-1.0").unwrap());
        assert!(!rules.permits("b", "BSL-1.0").unwrap());
    }
}
