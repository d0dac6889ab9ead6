//! Descriptions of inputs: each parses a value, says what is wrong with it, and knows its TypeScript type.
//!
//! In: a [`Value`]. Out: the typed value, or issues that name the path. Lengths of text are counted in Unicode code
//! points. All issues of an input are reported together, in the order of its fields.

mod compound;
mod leaf;

use std::marker::PhantomData;

use self::compound::{List, Nested, Optional, OrDefault, Parsed};
use self::leaf::{Boolean, Date, Integer, OneOf, Text};
use super::issue::{Issues, Path};
use super::typescript::Ts;
use super::value::Value;

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
