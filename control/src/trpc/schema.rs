//! Descriptions of inputs: each parses a value, says what is wrong with it, and knows its TypeScript type.
//!
//! In: a [`Value`]. Out: the typed value, or issues that name the path. Lengths of text are counted in Unicode code
//! points. All issues of an input are reported together, in the order of its fields.

use std::marker::PhantomData;

use super::issue::{Bounded, Issues, Path};
use super::typescript::Ts;
use super::value::Value;
use crate::clock::Timestamp;
use crate::secret::Secret;

/// One description.
pub(crate) trait Schema: Sized {
    type Output;

    /// `None` when an issue was added.
    fn read(&self, value: Value, path: &Path, issues: &mut Issues) -> Option<Self::Output>;

    fn typescript(&self) -> Ts;

    /// Whether the caller may leave it out.
    fn may_be_absent(&self) -> bool {
        false
    }

    /// Absent or `undefined` is fine and becomes `None`; `null` is not.
    fn optional(self) -> Optional<Self> {
        Optional(self)
    }

    /// Absent or `undefined` becomes this value.
    fn or(self, default: Self::Output) -> OrDefault<Self>
    where
        Self::Output: Clone,
    {
        OrDefault(self, default)
    }

    /// Parses on into a type of ours, with the sentence for what it does not take.
    fn parsed<T>(self, parse: fn(&Self::Output) -> Option<T>, sentence: &'static str) -> Parsed<Self, T> {
        Parsed { inner: self, parse, sentence }
    }
}

/// Text without bounds; add some.
pub(crate) const fn text() -> Text {
    Text { min: None, max: None }
}

/// `true` or `false`.
pub(crate) const fn boolean() -> Boolean {
    Boolean
}

/// A whole number.
pub(crate) const fn integer() -> Integer {
    Integer { min: None, max: None }
}

/// A superjson `Date`; ISO text is refused, as the app's validator does.
pub(crate) const fn date() -> Date {
    Date
}

/// One of the texts of a [`Choice`].
pub(crate) const fn one_of<C: Choice>() -> OneOf<C> {
    OneOf(PhantomData)
}

/// An array.
#[cfg_attr(not(test), expect(dead_code, reason = "no input has a list yet; the tests prove it"))]
pub(crate) const fn list<S: Schema>(item: S) -> List<S> {
    List { item, min: None, max: None }
}

/// Another input type as a field.
#[cfg_attr(not(test), expect(dead_code, reason = "no input has an object yet; the tests prove it"))]
pub(crate) const fn object<I: super::Input>() -> Nested<I> {
    Nested(PhantomData)
}

/// An enumeration on the wire. Made by [`choices!`](super::choices).
pub(crate) trait Choice: Sized + Copy + 'static {
    const VALUES: &'static [&'static str];
    fn from_wire(text: &str) -> Option<Self>;
}

/// See [`text`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text {
    min: Option<u32>,
    max: Option<u32>,
}

impl Text {
    pub(crate) const fn min(mut self, characters: u32) -> Self {
        self.min = Some(characters);
        self
    }

    pub(crate) const fn max(mut self, characters: u32) -> Self {
        self.max = Some(characters);
        self
    }

    /// A password or token: the struct that receives it can be printed without showing it.
    pub(crate) const fn secret(self) -> SecretText {
        SecretText(self)
    }
}

impl Schema for Text {
    type Output = String;

    fn read(&self, value: Value, path: &Path, issues: &mut Issues) -> Option<String> {
        let Value::Text(text) = value else {
            issues.wrong_type(path, "string", &value);
            return None;
        };
        let mut fits = true;
        let length = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        if let Some(min) = self.min.filter(|min| length < *min) {
            issues.too_small(path, Bounded::Text, min.into());
            fits = false;
        }
        if let Some(max) = self.max.filter(|max| length > *max) {
            issues.too_big(path, Bounded::Text, max.into());
            fits = false;
        }
        fits.then_some(text)
    }

    fn typescript(&self) -> Ts {
        Ts::Plain("string")
    }
}

/// See [`boolean`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Boolean;

impl Schema for Boolean {
    type Output = bool;

    fn read(&self, value: Value, path: &Path, issues: &mut Issues) -> Option<bool> {
        let Value::Bool(flag) = value else {
            issues.wrong_type(path, "boolean", &value);
            return None;
        };
        Some(flag)
    }

    fn typescript(&self) -> Ts {
        Ts::Plain("boolean")
    }
}

/// See [`integer`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Integer {
    min: Option<i64>,
    max: Option<i64>,
}

impl Integer {
    pub(crate) const fn min(mut self, least: i64) -> Self {
        self.min = Some(least);
        self
    }

    pub(crate) const fn max(mut self, most: i64) -> Self {
        self.max = Some(most);
        self
    }
}

impl Schema for Integer {
    type Output = i64;

    fn read(&self, value: Value, path: &Path, issues: &mut Issues) -> Option<i64> {
        const SAFE: f64 = 9_007_199_254_740_991.0;
        let number = match value {
            Value::Number(number) if number.is_finite() => number,
            other => {
                issues.wrong_type(path, "number", &other);
                return None;
            }
        };
        if number.fract() != 0.0 {
            issues.not_whole(path);
            return None;
        }
        // Clamped before the cast: what lies beyond the safe integers breaks any bound and any of our columns.
        #[expect(clippy::cast_possible_truncation, reason = "clamped to 53 bits")]
        let whole = number.clamp(-SAFE, SAFE) as i64;
        let mut fits = true;
        if let Some(min) = self.min.filter(|min| whole < *min) {
            issues.too_small(path, Bounded::Number, min);
            fits = false;
        }
        if let Some(max) = self.max.filter(|max| whole > *max) {
            issues.too_big(path, Bounded::Number, max);
            fits = false;
        }
        fits.then_some(whole)
    }

    fn typescript(&self) -> Ts {
        Ts::Plain("number")
    }
}

/// See [`date`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Date;

impl Schema for Date {
    type Output = Timestamp;

    fn read(&self, value: Value, path: &Path, issues: &mut Issues) -> Option<Timestamp> {
        let Value::Date(Some(time)) = value else {
            issues.wrong_type(path, "date", &value);
            return None;
        };
        Some(time)
    }

    fn typescript(&self) -> Ts {
        Ts::Plain("Date")
    }
}

/// See [`one_of`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct OneOf<C>(PhantomData<fn() -> C>);

impl<C: Choice> Schema for OneOf<C> {
    type Output = C;

    fn read(&self, value: Value, path: &Path, issues: &mut Issues) -> Option<C> {
        let choice = match &value {
            Value::Text(text) => C::from_wire(text),
            _ => None,
        };
        if choice.is_none() {
            issues.no_such_choice(path, C::VALUES);
        }
        choice
    }

    fn typescript(&self) -> Ts {
        Ts::Choice(C::VALUES)
    }
}

/// See [`list`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct List<S> {
    item: S,
    min: Option<u32>,
    max: Option<u32>,
}

#[cfg_attr(not(test), expect(dead_code, reason = "no input has a list yet; the tests prove it"))]
impl<S: Schema> List<S> {
    pub(crate) const fn min(mut self, items: u32) -> Self {
        self.min = Some(items);
        self
    }

    pub(crate) const fn max(mut self, items: u32) -> Self {
        self.max = Some(items);
        self
    }
}

impl<S: Schema> Schema for List<S> {
    type Output = Vec<S::Output>;

    fn read(&self, value: Value, path: &Path, issues: &mut Issues) -> Option<Vec<S::Output>> {
        let Value::Array(items) = value else {
            issues.wrong_type(path, "array", &value);
            return None;
        };
        let length = u32::try_from(items.len()).unwrap_or(u32::MAX);
        // Items first, as the app's validator orders them; beyond the bound they are not looked at one by one.
        let looked_at = self.max.map_or(items.len(), |max| items.len().min(max as usize + 1));
        let read: Option<Vec<_>> = {
            let each = items.into_iter().take(looked_at).enumerate();
            let all: Vec<_> = each.map(|(index, item)| self.item.read(item, &path.index(index), issues)).collect();
            all.into_iter().collect()
        };
        let mut fits = true;
        if let Some(min) = self.min.filter(|min| length < *min) {
            issues.too_small(path, Bounded::Items, min.into());
            fits = false;
        }
        if let Some(max) = self.max.filter(|max| length > *max) {
            issues.too_big(path, Bounded::Items, max.into());
            fits = false;
        }
        read.filter(|_| fits)
    }

    fn typescript(&self) -> Ts {
        Ts::List(Box::new(self.item.typescript()))
    }
}

/// See [`object`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nested<I>(PhantomData<fn() -> I>);

impl<I: super::Input> Schema for Nested<I> {
    type Output = I;

    fn read(&self, value: Value, path: &Path, issues: &mut Issues) -> Option<I> {
        I::read(value, path, issues)
    }

    fn typescript(&self) -> Ts {
        I::typescript()
    }
}

/// See [`Schema::optional`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Optional<S>(S);

impl<S: Schema> Schema for Optional<S> {
    type Output = Option<S::Output>;

    fn read(&self, value: Value, path: &Path, issues: &mut Issues) -> Option<Option<S::Output>> {
        match value {
            Value::Undefined => Some(None),
            present => self.0.read(present, path, issues).map(Some),
        }
    }

    fn typescript(&self) -> Ts {
        self.0.typescript()
    }

    fn may_be_absent(&self) -> bool {
        true
    }
}

/// See [`Schema::or`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct OrDefault<S: Schema>(S, S::Output);

impl<S: Schema<Output: Clone>> Schema for OrDefault<S> {
    type Output = S::Output;

    fn read(&self, value: Value, path: &Path, issues: &mut Issues) -> Option<S::Output> {
        match value {
            Value::Undefined => Some(self.1.clone()),
            present => self.0.read(present, path, issues),
        }
    }

    fn typescript(&self) -> Ts {
        self.0.typescript()
    }

    fn may_be_absent(&self) -> bool {
        true
    }
}

/// See [`Schema::parsed`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parsed<S: Schema, T> {
    inner: S,
    parse: fn(&S::Output) -> Option<T>,
    sentence: &'static str,
}

impl<S: Schema, T> Schema for Parsed<S, T> {
    type Output = T;

    fn read(&self, value: Value, path: &Path, issues: &mut Issues) -> Option<T> {
        let plain = self.inner.read(value, path, issues)?;
        let parsed = (self.parse)(&plain);
        if parsed.is_none() {
            issues.custom(path, self.sentence);
        }
        parsed
    }

    fn typescript(&self) -> Ts {
        self.inner.typescript()
    }

    fn may_be_absent(&self) -> bool {
        self.inner.may_be_absent()
    }
}

/// Text that must not be seen: see [`Text::secret`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct SecretText(Text);

impl Schema for SecretText {
    type Output = Secret;

    fn read(&self, value: Value, path: &Path, issues: &mut Issues) -> Option<Secret> {
        self.0.read(value, path, issues).map(Secret::new)
    }

    fn typescript(&self) -> Ts {
        self.0.typescript()
    }
}
