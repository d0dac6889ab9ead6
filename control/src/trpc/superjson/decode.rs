//! In: an envelope as the client sent it. Out: a [`Value`] with its annotations applied.
//!
//! Bounded: nesting to 32 levels and 10 000 annotations. An annotation whose path leads nowhere marks nothing.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::clock::Timestamp;
use crate::error::{Code, Error};
use crate::trpc::value::Value;

/// Deeper than any input of ours by far; a validator recursing over more is only ever an attack.
const DEPTH_MAX: usize = 32;
/// An input of 256 KiB holds fewer honest ones.
const ANNOTATIONS_MAX: usize = 10_000;

/// Undoes the transformer. Anything that is no envelope is `undefined` for the validator, as with the original.
pub(crate) fn decode(envelope: &Json) -> Result<Value, Error> {
    let Some(json) = envelope.get("json") else { return Ok(Value::Undefined) };
    let mut value = plain(json, 0)?;
    if let Some(values) = envelope.get("meta").and_then(|meta| meta.get("values")) {
        let mut annotations = 0;
        annotate_tree(&mut value, values, &mut annotations, 0)?;
    }
    Ok(value)
}

fn plain(json: &Json, depth: usize) -> Result<Value, Error> {
    if depth > DEPTH_MAX {
        return Err(refuse("Input is nested too deeply"));
    }
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::Array(items.iter().map(|item| plain(item, depth + 1)).collect::<Result<_, _>>()?),
        Json::Object(members) => Value::Object(
            members
                .iter()
                .map(|(key, member)| Ok((key.clone(), plain(member, depth + 1)?)))
                .collect::<Result<BTreeMap<_, _>, Error>>()?,
        ),
    })
}

/// superjson keeps annotations as a tree: an object maps paths to subtrees; an array is an annotation for this very
/// place, optionally followed by the subtree of its members.
fn annotate_tree(value: &mut Value, tree: &Json, count: &mut usize, depth: usize) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(refuse("Input is nested too deeply"));
    }
    match tree {
        Json::Object(members) => annotate_members(value, members, count, depth),
        Json::Array(parts) => {
            if let Some(Json::Object(members)) = parts.get(1) {
                annotate_members(value, members, count, depth)?;
            }
            apply(value, parts.first().unwrap_or(&Json::Null))
        }
        _ => Err(refuse("Malformed annotation")),
    }
}

fn annotate_members(
    value: &mut Value,
    members: &Map<String, Json>,
    count: &mut usize,
    depth: usize,
) -> Result<(), Error> {
    *count += members.len();
    if *count > ANNOTATIONS_MAX {
        return Err(refuse("Input has too many annotations"));
    }
    for (path, subtree) in members {
        let steps = split(path)?;
        if let Some(inner) = walk(value, &steps) {
            annotate_tree(inner, subtree, count, depth + 1)?;
        }
    }
    Ok(())
}

/// Splits at dots that are not escaped.
fn split(path: &str) -> Result<Vec<String>, Error> {
    let (mut steps, mut step, mut characters) = (Vec::new(), String::new(), path.chars());
    while let Some(character) = characters.next() {
        match character {
            '\\' => step.extend(characters.next()),
            '.' => steps.push(std::mem::take(&mut step)),
            other => step.push(other),
        }
    }
    steps.push(step);
    if let Some(forbidden) =
        steps.iter().find(|step| matches!(step.as_str(), "__proto__" | "constructor" | "prototype"))
    {
        return Err(refuse(&format!("{forbidden} is not allowed as a property")));
    }
    Ok(steps)
}

fn walk<'v>(mut value: &'v mut Value, steps: &[String]) -> Option<&'v mut Value> {
    for step in steps {
        value = match value {
            Value::Object(members) => members.get_mut(step)?,
            Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

/// Turns the JSON at a place into what the annotation says it is.
fn apply(value: &mut Value, annotation: &Json) -> Result<(), Error> {
    let name = match annotation {
        Json::String(name) => name.as_str(),
        // `["typed-array", "Uint8Array"]`, `["custom", …]`, `["class", …]`, `["symbol", …]`
        Json::Array(compound) => match compound.first().and_then(Json::as_str) {
            Some("typed-array") => "typed-array",
            other => return Err(unknown(other.unwrap_or_default())),
        },
        _ => return Err(unknown("")),
    };
    *value = match name {
        "undefined" => Value::Undefined,
        "Date" => match &*value {
            Value::Text(text) => Value::Date(Timestamp::parse_iso(text)),
            // `new Date(null)` is 1970 and `new Date(5)` works too; no client of ours means either.
            _ => Value::Date(None),
        },
        "number" => match &*value {
            Value::Text(text) => Value::Number(match text.as_str() {
                "NaN" => f64::NAN,
                "Infinity" => f64::INFINITY,
                "-Infinity" => f64::NEG_INFINITY,
                "-0" => -0.0,
                other => other.parse().unwrap_or(f64::NAN),
            }),
            other => other.clone(),
        },
        "bigint" => Value::Foreign("bigint"),
        "regexp" => Value::Foreign("RegExp"),
        "set" => Value::Foreign("Set"),
        "map" => Value::Foreign("Map"),
        "URL" => Value::Foreign("URL"),
        "Error" => Value::Foreign("Error"),
        "typed-array" => Value::Foreign("Uint8Array"),
        other => return Err(unknown(other)),
    };
    Ok(())
}

fn unknown(name: &str) -> Error {
    // Only a short, printable part of what was sent comes back.
    let name: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
    refuse(&format!("Unknown transformation: {name}"))
}

fn refuse(message: &str) -> Error {
    Error::Request { code: Code::BadRequest, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn annotations_reach_nested_places() {
        let envelope = json!({
            "json": {"a": {"b.c": "1970-01-01T00:00:01.000Z"}, "list": [null, 5], "n": "NaN"},
            "meta": {"values": {"a.b\\.c": ["Date"], "list.0": ["undefined"], "n": ["number"]}, "v": 1},
        });
        let Value::Object(decoded) = decode(&envelope).unwrap() else { panic!("an object") };
        let second = Value::Date(Some(Timestamp::from_unix_seconds(1)));
        assert_eq!(decoded["a"], Value::Object(BTreeMap::from([("b.c".to_owned(), second)])));
        assert_eq!(decoded["list"], Value::Array(vec![Value::Undefined, Value::Number(5.0)]));
        assert!(matches!(decoded["n"], Value::Number(n) if n.is_nan()));
    }

    #[test]
    fn members_of_a_set_are_annotated_within_it() {
        let envelope = json!({"json": ["1970-01-01T00:00:01.000Z"], "meta": {"values": ["set", {"0": ["Date"]}]}});
        assert_eq!(decode(&envelope).unwrap(), Value::Foreign("Set"));
    }

    #[test]
    fn what_is_no_envelope_is_undefined() {
        for envelope in [json!(null), json!(5), json!([]), json!({}), json!({"meta": {"values": ["Date"]}})] {
            assert_eq!(decode(&envelope).unwrap(), Value::Undefined, "{envelope}");
        }
    }

    /// JSON of keys and texts that mean something to this module, and of some that do not.
    fn any_json() -> impl Strategy<Value = Json> {
        let text = prop_oneof![
            Just("Date".to_owned()),
            Just("undefined".to_owned()),
            Just("set".to_owned()),
            Just("number".to_owned()),
            Just("a.0".to_owned()),
            Just("\\".to_owned()),
            ".{0,6}",
        ];
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            text.clone().prop_map(Json::from),
        ];
        leaf.prop_recursive(6, 64, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
                proptest::collection::btree_map(text.clone(), inner, 0..6)
                    .prop_map(|members| Json::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_envelope_is_survived(json in any_json(), values in any_json()) {
            let _ = decode(&json!({"json": json, "meta": {"values": values}}));
        }

        #[test]
        fn without_annotations_json_stays_what_it_is(json in any_json()) {
            prop_assert_eq!(decode(&json!({"json": json.clone()})).unwrap(), plain(&json, 0).unwrap());
        }
    }
}
