//! The declaring macros, seen from a slice.

use crate::clock::Timestamp;
use crate::error::Error;
use crate::trpc::value::Value;
use crate::trpc::{Input, Issues, Nullable, Output, Path, Ts, choices, input, output};

choices! {
    /// What a show sends.
    pub(crate) enum Kind { Video = "video", Audio = "audio" }
}

input! {
    struct Nested {
        flag "flag": Option<bool> = boolean().optional(),
    }
}

input! {
    struct Create {
        title "title": String = text().min(1).max(5),
        kind "type": Kind = one_of(),
        count "count": i64 = integer().min(0).max(50).or(20),
        at "scheduledAt": Option<Timestamp> = date().optional(),
        nested "nested": Option<Nested> = object().optional(),
        tags "tags": Vec<String> = list(text().min(1)).min(1).max(2).or(Vec::new()),
    }
}

output! {
    struct View {
        kind "type": Kind,
        note "note": Option<String>,
        current "current": Nullable<String>,
        at "at": Timestamp,
        more "more": Vec<Kind>,
    }
}

fn object(members: &[(&str, Value)]) -> Value {
    Value::Object(members.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
}

fn read(value: Value) -> Result<Create, String> {
    let mut issues = Issues::default();
    Create::read(value, &Path::default(), &mut issues).ok_or_else(|| match Error::from(issues) {
        Error::Input(text) => text,
        other => panic!("{other}"),
    })
}

#[test]
fn defaults_fill_what_is_absent_and_unknown_keys_are_dropped() {
    let input = read(object(&[
        ("title", Value::Text("مرحبا".into())),
        ("type", Value::Text("audio".into())),
        ("scheduledAt", Value::Undefined),
        ("surprise", Value::Null),
        ("nested", object(&[("flag", Value::Bool(true))])),
    ]))
    .unwrap();
    assert_eq!((input.title.as_str(), input.kind, input.count), ("مرحبا", Kind::Audio, 20));
    assert!(input.at.is_none() && input.tags.is_empty());
    assert_eq!(input.nested.and_then(|nested| nested.flag), Some(true));
}

#[test]
fn issues_come_all_at_once_in_field_order() {
    let issues = read(object(&[
        ("title", Value::Text(String::new())),
        ("count", Value::Number(1.5)),
        ("scheduledAt", Value::Text("2026-01-02".into())),
        ("nested", object(&[("flag", Value::Null)])),
        ("tags", Value::Array(vec![Value::Number(1.0), Value::Text("a".into()), Value::Text("b".into())])),
    ]))
    .unwrap_err();
    let listed: serde_json::Value = serde_json::from_str(&issues).unwrap();
    let said: Vec<_> = listed.as_array().unwrap().iter().map(|issue| (&issue["path"], &issue["message"])).collect();
    let expected = serde_json::json!([
        [["title"], "Too small: expected string to have >=1 characters"],
        [["type"], "Invalid option: expected one of \"video\"|\"audio\""],
        [["count"], "Invalid input: expected int, received number"],
        [["scheduledAt"], "Invalid input: expected date, received string"],
        [["nested", "flag"], "Invalid input: expected boolean, received null"],
        [["tags", 0], "Invalid input: expected string, received number"],
        [["tags"], "Too big: expected array to have <=2 items"],
    ]);
    assert_eq!(serde_json::to_value(said).unwrap(), expected);
    assert!(
        issues.starts_with("[\n  {\n    \"origin\": \"string\",\n    \"code\": \"too_small\",\n    \"minimum\": 1,")
    );
}

#[test]
fn an_empty_list_is_not_an_absent_one() {
    let kind = ("type", Value::Text("video".into()));
    let issues = read(object(&[("title", Value::Text("t".into())), kind, ("tags", Value::Array(Vec::new()))]));
    assert!(issues.unwrap_err().contains("Too small: expected array to have >=1 items"));
}

#[test]
fn lengths_are_code_points() {
    let title =
        |text: &str| read(object(&[("title", Value::Text(text.into())), ("type", Value::Text("video".into()))]));
    assert!(title("😀😀😀😀😀").is_ok());
    assert!(title("😀😀😀😀😀😀").is_err());
}

#[test]
fn absent_members_are_left_out_and_nulls_stay() {
    let view = View {
        kind: Kind::Video,
        note: None,
        current: Nullable(None),
        at: Timestamp::from_unix_seconds(0),
        more: vec![Kind::Audio],
    };
    assert_eq!(
        serde_json::to_string(&view).unwrap(),
        r#"{"type":"video","current":null,"at":"1970-01-01T00:00:00.000Z","more":["audio"]}"#
    );
}

#[test]
fn typescript_comes_from_the_same_description() {
    let Ts::Named("Create", members) = Create::typescript() else { panic!("an interface") };
    let optional: Vec<_> = members.iter().filter(|member| member.optional).map(|member| member.name).collect();
    assert_eq!(optional, ["count", "scheduledAt", "nested", "tags"]);
    let Ts::Named("View", members) = View::typescript() else { panic!("an interface") };
    assert_eq!(members[1].name, "note");
    assert!(members[1].optional);
    assert_eq!(members[2].type_of, Ts::Nullable(Box::new(Ts::Plain("string"))));
}
