//! Laying file, environment and command line over the defaults, naming the place of every mistake.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use toml::{Table, Value};

use super::{Config, SAMPLE};

/// What lies over the defaults, from the bottom up.
#[derive(Debug, Default)]
pub(crate) struct Layers<'a> {
    /// What `ahoyd dev` presumes.
    pub(crate) preset: Table,
    /// `--config`
    pub(crate) file: Option<&'a Path>,
    /// Environment variables; those that name no key are other programs'.
    pub(crate) environment: Vec<(String, String)>,
    /// `--set key=value`
    pub(crate) settings: &'a [String],
}

/// The configuration in force, every value of the right type and every key known. See [`Config::check`] for the rest.
///
/// # Errors
/// One line that names file, line and column, or the variable, or the flag, and what is wrong with it.
pub(crate) fn load(layers: Layers<'_>) -> anyhow::Result<Config> {
    let known = every_key();
    let mut table = defaults();
    lay(&mut table, layers.preset);
    if let Some(file) = layers.file {
        let text = std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
        lay(&mut table, parse_file(file, &text)?);
    }
    for (variable, text) in layers.environment {
        if let Some(path) = key_of(&known, &variable) {
            set(&mut table, &known, &path, &text).with_context(|| variable)?;
        }
    }
    for setting in layers.settings {
        let Some((key, text)) = setting.split_once('=') else { bail!("--set {setting}: write --set key=value") };
        let path: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
        set(&mut table, &known, &path, text.trim()).with_context(|| format!("--set {setting}"))?;
    }
    read(table)
}

/// What the sample says outright.
fn defaults() -> Table {
    SAMPLE.parse().expect("the sample is compiled in and tested")
}

/// Every key there is, with a value of its type: the sample with the keys that have no default made to count.
pub(super) fn every_key() -> Table {
    let commented = |line: &str| {
        let key = line.strip_prefix("# ").and_then(|rest| rest.split_once(" = ")).map(|(key, _)| key);
        key.is_some_and(|key| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
    };
    let lines: Vec<&str> =
        SAMPLE.lines().map(|line| if commented(line) { line.trim_start_matches("# ") } else { line }).collect();
    lines.join("\n").parse().expect("the sample is compiled in and tested")
}

fn parse_file(file: &Path, text: &str) -> anyhow::Result<Table> {
    // Types and unknown keys are checked on the text itself, where places are known.
    toml::from_str::<Config>(text)
        .and_then(|_| text.parse())
        .map_err(|error| anyhow!("{}{}: {}", file.display(), place(text, error.span()), one_line(&error)))
}

/// `:line:column`, counted from 1.
fn place(text: &str, span: Option<Range<usize>>) -> String {
    let Some(before) = span.and_then(|span| text.get(..span.start)) else { return String::new() };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!(":{line}:{column}")
}

fn one_line(error: &toml::de::Error) -> String {
    error.message().replace('\n', "; ")
}

fn read(table: Table) -> anyhow::Result<Config> {
    Config::deserialize_from(table).map_err(|error| anyhow!("{}", one_line(&error)))
}

impl Config {
    fn deserialize_from(table: Table) -> Result<Self, toml::de::Error> {
        table.try_into()
    }
}

/// Lays one table over another, tables key by key, all else whole.
fn lay(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => lay(below, above),
            (_, value) => _ = below.insert(key, value),
        }
    }
}

/// The key that an environment variable names: `AHOY_LOG_FORMAT` is `log.format`.
fn key_of(known: &Table, variable: &str) -> Option<Vec<String>> {
    let wanted = variable.strip_prefix("AHOY_")?.to_ascii_lowercase();
    known.iter().find_map(|(key, value)| match value {
        Value::Table(section) => {
            let inner = wanted.strip_prefix(key.as_str())?.strip_prefix('_')?;
            section.contains_key(inner).then(|| vec![key.clone(), inner.to_owned()])
        }
        _ => (*key == wanted).then(|| vec![key.clone()]),
    })
}

/// Sets one key to a value given as text, and checks that the whole still reads.
fn set(table: &mut Table, known: &Table, path: &[String], text: &str) -> anyhow::Result<()> {
    let model = match path {
        [key] => known.get(key).filter(|value| !value.is_table()),
        [section, key] => known.get(section).and_then(Value::as_table).and_then(|section| section.get(key)),
        _ => None,
    };
    let model = model.with_context(|| format!("there is no key `{}`", path.join(".")))?;
    let mut above = Table::new();
    let (key, sections) = path.split_last().context("a key has a name")?;
    above.insert(key.clone(), value_like(model, text));
    for section in sections.iter().rev() {
        above = Table::from_iter([(section.clone(), Value::Table(above))]);
    }
    lay(table, above);
    read(table.clone()).map(|_| ())
}

/// Text as a value of the model's type: strings need no quotes, and a list may be written with commas alone.
fn value_like(model: &Value, text: &str) -> Value {
    let parsed = || format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    let plain = || Value::String(text.to_owned());
    match model {
        Value::String(_) => parsed().filter(Value::is_str).unwrap_or_else(plain),
        Value::Array(_) => parsed().filter(Value::is_array).unwrap_or_else(|| {
            Value::Array(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect())
        }),
        _ => parsed().unwrap_or_else(plain),
    }
}
