//! One key with its value and where it was said.

use super::{Fault, Flags};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) path: Vec<String>,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    File { path: PathBuf, line: usize },
    Variable(String),
    Flag(&'static str),
}

const PREFIX: &str = "CHOBI_";

/// Every leaf of the file, with its line.
pub(super) fn from_toml(path: &Path, text: &str, settings: &mut Vec<Setting>, faults: &mut Vec<Fault>) {
    let line_of = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
    match DeTable::parse(text) {
        Ok(table) => {
            let origin = |offset| Origin::File { path: path.to_owned(), line: line_of(offset) };
            leaves(&mut Vec::new(), table.get_ref(), &origin, settings);
        }
        Err(error) => {
            let line = error.span().map_or(1, |span| line_of(span.start));
            faults.push(Fault::syntax(path, line, error.message()));
        }
    }
}

fn leaves(
    above: &mut Vec<String>,
    table: &DeTable<'_>,
    origin: &impl Fn(usize) -> Origin,
    settings: &mut Vec<Setting>,
) {
    for (key, value) in table.iter() {
        above.push(key.get_ref().to_string());
        match value.get_ref() {
            DeValue::Table(inner) if !inner.is_empty() => leaves(above, inner, origin, settings),
            _ => settings.push(Setting { path: above.clone(), value: json(value), origin: origin(key.span().start) }),
        }
        above.pop();
    }
}

fn json(value: &Spanned<DeValue<'_>>) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::from(number.as_str()), Value::from),
        DeValue::Float(number) => {
            number.as_str().parse::<f64>().map_or_else(|_| Value::from(number.as_str()), Value::from)
        }
        DeValue::Boolean(truth) => Value::from(*truth),
        DeValue::Datetime(at) => Value::from(at.to_string()),
        DeValue::Array(items) => items.iter().map(json).collect(),
        DeValue::Table(table) => {
            table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value))).collect::<Map<_, _>>().into()
        }
    }
}

/// What other commands and tests of ours take from the environment, and the file's own name: no settings of the server.
const OF_OTHERS: [&str; 5] = ["CONFIG_FILE", "BENCH_", "TEST_", "WHIP_", "WHEP_"];

/// `CHOBI_HTTP__LISTEN=…` is `http.listen`.
pub(super) fn from_environment(environment: &[(String, String)], settings: &mut Vec<Setting>) {
    for (name, text) in environment {
        let Some(key) = name.strip_prefix(PREFIX) else { continue };
        if OF_OTHERS.iter().any(|other| key.starts_with(other)) {
            continue;
        }
        let path = key.split("__").map(str::to_ascii_lowercase).collect();
        settings.push(Setting { path, value: Value::from(text.as_str()), origin: Origin::Variable(name.clone()) });
    }
}

pub(super) fn from_flags(flags: Flags, settings: &mut Vec<Setting>) {
    if flags.self_signed {
        let path = ["tls", "self_signed"].map(str::to_owned).into();
        settings.push(Setting { path, value: Value::Bool(true), origin: Origin::Flag("--self-signed") });
    }
}

/// Puts a value where the path says. Only called for paths that the tree has.
pub(super) fn place(tree: &mut Map<String, Value>, path: &[String], value: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        tree.insert(first.clone(), value);
    } else if let Some(Value::Object(inner)) = tree.get_mut(first) {
        place(inner, rest, value);
    }
}

impl Setting {
    /// The value in the form its key wants: what a variable says is text, and the default knows what it should be.
    pub(super) fn fitted(&self, defaults: &Map<String, Value>) -> Result<Value, Fault> {
        let Some(default) = lookup(defaults, &self.path) else {
            return Err(Fault::unknown(self, nearest(defaults, &self.path).as_deref()));
        };
        let Value::String(text) = &self.value else { return Ok(self.value.clone()) };
        if matches!(self.origin, Origin::File { .. }) {
            return Ok(self.value.clone());
        }
        let value = match default {
            Value::Bool(_) => text.parse().ok().map(Value::Bool),
            Value::Number(_) => {
                text.parse::<i64>().ok().map(Value::from).or_else(|| text.parse::<f64>().ok().map(Value::from))
            }
            // As in the file, or without its brackets and quotes.
            Value::Array(_) if text.trim_start().starts_with('[') => serde_json::from_str(text).ok(),
            Value::Array(_) => Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()),
            Value::Object(_) => None,
            Value::Null | Value::String(_) => Some(self.value.clone()),
        };
        // What does not convert is left as it is; trying it names the type that was expected.
        Ok(value.unwrap_or_else(|| self.value.clone()))
    }
}

pub(super) fn lookup<'tree>(tree: &'tree Map<String, Value>, path: &[String]) -> Option<&'tree Value> {
    let (first, rest) = path.split_first()?;
    let value = tree.get(first)?;
    match value {
        _ if rest.is_empty() => Some(value),
        Value::Object(inner) => lookup(inner, rest),
        _ => None,
    }
}

/// The valid key most like this one, if any is.
fn nearest(defaults: &Map<String, Value>, path: &[String]) -> Option<String> {
    let wanted = path.join(".");
    let mut keys = Vec::new();
    all_keys(&mut Vec::new(), defaults, &mut keys);
    let score = |key: &String| strsim::jaro_winkler(key, &wanted);
    let best = keys.into_iter().max_by(|a, b| score(a).total_cmp(&score(b)))?;
    (score(&best) > 0.8).then_some(best)
}

pub(super) fn all_keys(above: &mut Vec<String>, tree: &Map<String, Value>, keys: &mut Vec<String>) {
    for (key, value) in tree {
        above.push(key.clone());
        keys.push(above.join("."));
        if let Value::Object(inner) = value {
            all_keys(above, inner, keys);
        }
        above.pop();
    }
}
