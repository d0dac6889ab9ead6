//! Single values: text, flags, numbers, dates, choices.

use std::marker::PhantomData;

use super::{Choice, Schema};
use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::trpc::issue::{Bounded, Issues, Path};
use crate::trpc::typescript::Ts;
use crate::trpc::value::Value;

/// See [`text`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text {
    pub(super) min: Option<u32>,
    pub(super) max: Option<u32>,
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
    pub(super) min: Option<i64>,
    pub(super) max: Option<i64>,
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
pub(crate) struct OneOf<C>(pub(super) PhantomData<fn() -> C>);

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

/// Text that must not be seen: see [`Text::secret`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct SecretText(pub(super) Text);

impl Schema for SecretText {
    type Output = Secret;

    fn read(&self, value: Value, path: &Path, issues: &mut Issues) -> Option<Secret> {
        self.0.read(value, path, issues).map(Secret::new)
    }

    fn typescript(&self) -> Ts {
        self.0.typescript()
    }
}
