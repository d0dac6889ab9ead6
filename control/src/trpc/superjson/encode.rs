//! In: any serialisable answer. Out: its JSON text and the paths of the dates in it.
//!
//! The answer is written straight to text by `serde_json`, with a layer around it that knows the path and notices
//! [`Timestamp`] by the newtype name it serialises under.

use std::cell::RefCell;
use std::fmt::Write as _;

use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::error::Error;

/// An answer ready for the wire.
#[derive(Debug, Clone)]
pub(crate) struct Encoded {
    json: Box<RawValue>,
    /// Where dates are, in superjson's path notation.
    dates: Vec<String>,
    /// The answer is `()`: JavaScript's `undefined`.
    is_undefined: bool,
}

impl Encoded {
    pub(crate) fn of(answer: &impl Serialize) -> Result<Self, Error> {
        let dates = RefCell::new(Vec::new());
        let mut text = Vec::with_capacity(256);
        answer
            .serialize(Annotating { inner: &mut serde_json::Serializer::new(&mut text), at: &At::Root, dates: &dates })
            .map_err(|cause| Error::Internal(format!("answer cannot be serialised: {cause}").into()))?;
        let text = String::from_utf8(text).expect("serde_json writes UTF-8");
        let json = RawValue::from_string(text).expect("serde_json writes JSON");
        Ok(Self { json, dates: dates.into_inner(), is_undefined: false })
    }

    /// The answer of a procedure that has none.
    pub(crate) fn undefined() -> Self {
        let json = RawValue::from_string("null".to_owned()).expect("null is JSON");
        Self { json, dates: Vec::new(), is_undefined: true }
    }

    /// The envelope.
    pub(crate) fn write(&self, out: &mut String) {
        out.push_str("{\"json\":");
        out.push_str(self.json.get());
        self.write_meta("", out);
        out.push('}');
    }

    /// The bare JSON, for envelopes that hold more than this answer.
    pub(crate) fn json(&self) -> &str {
        self.json.get()
    }

    /// `,"meta":…` with the answer standing at `place` of the JSON, which is empty for its root; or nothing.
    pub(crate) fn write_meta(&self, place: &str, out: &mut String) {
        let marks = self.dates.iter().map(|path| (path.as_str(), "Date"));
        let marks: Vec<(&str, &str)> = marks.chain(self.is_undefined.then_some(("", "undefined"))).collect();
        match marks.as_slice() {
            [] => {}
            [("", kind)] if place.is_empty() => {
                let _ = write!(out, ",\"meta\":{{\"values\":[\"{kind}\"]}}");
            }
            marks => {
                out.push_str(",\"meta\":{\"values\":{");
                for (index, (path, kind)) in marks.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    let dot = if place.is_empty() || path.is_empty() { "" } else { "." };
                    let key = serde_json::Value::from(format!("{place}{dot}{path}"));
                    let _ = write!(out, "{comma}{key}:[\"{kind}\"]");
                }
                out.push_str("}}");
            }
        }
    }
}

/// Where in the answer the serializer is; borrowed from the frames above.
enum At<'p> {
    Root,
    Key(&'p Self, &'p str),
    Index(&'p Self, usize),
}

impl At<'_> {
    /// Steps joined by dots; a dot or backslash inside a key is escaped.
    fn path(&self) -> String {
        let mut path = match self {
            Self::Root => return String::new(),
            Self::Key(above, _) | Self::Index(above, _) => above.path(),
        };
        if !path.is_empty() {
            path.push('.');
        }
        match self {
            Self::Key(_, key) => key.chars().for_each(|c| {
                if matches!(c, '.' | '\\') {
                    path.push('\\');
                }
                path.push(c);
            }),
            Self::Index(_, index) => path.push_str(&index.to_string()),
            Self::Root => {}
        }
        path
    }
}

/// A serializer, or a value on its way to one, together with its path.
struct Annotating<'a, T> {
    inner: T,
    at: &'a At<'a>,
    dates: &'a RefCell<Vec<String>>,
}

impl<T: Serialize + ?Sized> Serialize for Annotating<'_, &T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner.serialize(Annotating { inner: serializer, at: self.at, dates: self.dates })
    }
}

/// Scalars pass through unchanged.
macro_rules! pass {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            self.inner.$method(value)
        })*
    };
}

impl<'a, S: Serializer> Serializer for Annotating<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Compound<'a, S::SerializeSeq>;
    type SerializeTuple = Compound<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Compound<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Compound<'a, S::SerializeTupleVariant>;
    type SerializeMap = Compound<'a, S::SerializeMap>;
    type SerializeStruct = Compound<'a, S::SerializeStruct>;
    type SerializeStructVariant = Compound<'a, S::SerializeStructVariant>;

    pass! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_f32: f32,
        serialize_f64: f64, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
        serialize_unit_struct: &'static str,
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_none()
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_some(&Annotating { inner: value, at: self.at, dates: self.dates })
    }

    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        if name == Timestamp::MARKER {
            self.dates.borrow_mut().push(self.at.path());
            return value.serialize(self.inner);
        }
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let at = At::Key(self.at, variant);
        self.inner.serialize_newtype_variant(
            name,
            index,
            variant,
            &Annotating { inner: value, at: &at, dates: self.dates },
        )
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        Ok(Compound::new(self.inner.serialize_seq(len)?, self.at, self.dates))
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        Ok(Compound::new(self.inner.serialize_tuple(len)?, self.at, self.dates))
    }

    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeTupleStruct, S::Error> {
        Ok(Compound::new(self.inner.serialize_tuple_struct(name, len)?, self.at, self.dates))
    }

    /// The wire types are objects, arrays and scalars; a variant that nests two levels has no place on it.
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        Err(S::Error::custom(format!("{name}: tuple variants have no path")))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        Ok(Compound::new(self.inner.serialize_map(len)?, self.at, self.dates))
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        Ok(Compound::new(self.inner.serialize_struct(name, len)?, self.at, self.dates))
    }

    /// See [`Self::serialize_tuple_variant`].
    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        Err(S::Error::custom(format!("{name}: struct variants have no path")))
    }
}

/// A container being written: knows which key or index comes next.
struct Compound<'a, C> {
    inner: C,
    at: &'a At<'a>,
    dates: &'a RefCell<Vec<String>>,
    index: usize,
    key: String,
}

impl<'a, C> Compound<'a, C> {
    const fn new(inner: C, at: &'a At<'a>, dates: &'a RefCell<Vec<String>>) -> Self {
        Self { inner, at, dates, index: 0, key: String::new() }
    }

    fn next_index(&mut self) -> At<'a> {
        self.index += 1;
        At::Index(self.at, self.index - 1)
    }
}

macro_rules! sequence {
    ($($trait:ident :: $method:ident),*) => {
        $(impl<C: $trait> $trait for Compound<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
                let at = self.next_index();
                self.inner.$method(&Annotating { inner: value, at: &at, dates: self.dates })
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        })*
    };
}

sequence! {
    SerializeSeq::serialize_element, SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field, SerializeTupleVariant::serialize_field
}

macro_rules! structure {
    ($($trait:ident),*) => {
        $(impl<C: $trait> $trait for Compound<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), C::Error> {
                let at = At::Key(self.at, key);
                self.inner.serialize_field(key, &Annotating { inner: value, at: &at, dates: self.dates })
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        })*
    };
}

structure!(SerializeStruct, SerializeStructVariant);

impl<C: SerializeMap> SerializeMap for Compound<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        let text = serde_json::to_value(key).map_err(C::Error::custom)?;
        self.key = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
        self.inner.serialize_key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        let at = At::Key(self.at, &self.key);
        self.inner.serialize_value(&Annotating { inner: value, at: &at, dates: self.dates })
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.inner.end()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(serde::Serialize)]
    struct Item {
        at: Timestamp,
        ended: Option<Timestamp>,
    }

    fn envelope(answer: &impl Serialize) -> String {
        let mut out = String::new();
        Encoded::of(answer).unwrap().write(&mut out);
        out
    }

    const TIME: Timestamp = Timestamp::from_micros(1_767_323_045_678_000);

    #[test]
    fn dates_are_annotated_where_they_stand() {
        let items =
            BTreeMap::from([("items", vec![Item { at: TIME, ended: None }, Item { at: TIME, ended: Some(TIME) }])]);
        let iso = TIME.to_iso();
        assert_eq!(
            envelope(&items),
            format!(
                "{{\"json\":{{\"items\":[{{\"at\":\"{iso}\",\"ended\":null}},{{\"at\":\"{iso}\",\"ended\":\"{iso}\"}}]}},\
                 \"meta\":{{\"values\":{{\"items.0.at\":[\"Date\"],\"items.1.at\":[\"Date\"],\"items.1.ended\":[\"Date\"]}}}}}}"
            )
        );
    }

    #[test]
    fn nothing_to_mark_means_no_meta() {
        assert_eq!(envelope(&None::<Timestamp>), "{\"json\":null}");
        assert_eq!(envelope(&"2026-01-02T03:04:05.678Z"), "{\"json\":\"2026-01-02T03:04:05.678Z\"}");
    }

    #[test]
    fn a_date_at_the_root_is_annotated_bare() {
        assert_eq!(envelope(&TIME), format!("{{\"json\":\"{TIME}\",\"meta\":{{\"values\":[\"Date\"]}}}}"));
    }

    #[test]
    fn dots_in_keys_are_escaped() {
        let map = BTreeMap::from([("a.b\\c", TIME)]);
        assert!(envelope(&map).contains(r#"{"values":{"a\\.b\\\\c":["Date"]}}"#), "{}", envelope(&map));
    }

    #[test]
    fn plain_json_knows_no_dates() {
        assert_eq!(serde_json::to_string(&TIME).unwrap(), format!("\"{TIME}\""));
    }
}
