//! Descriptions made of others: lists, objects, and values that may be absent or are parsed on.

use std::marker::PhantomData;

use super::Schema;
use crate::trpc::Input;
use crate::trpc::issue::{Bounded, Issues, Path};
use crate::trpc::typescript::Ts;
use crate::trpc::value::Value;

/// See [`list`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct List<S> {
    pub(super) item: S,
    pub(super) min: Option<u32>,
    pub(super) max: Option<u32>,
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
pub(crate) struct Nested<I>(pub(super) PhantomData<fn() -> I>);

impl<I: Input> Schema for Nested<I> {
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
pub(crate) struct Optional<S>(pub(super) S);

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
pub(crate) struct OrDefault<S: Schema>(pub(super) S, pub(super) S::Output);

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
    pub(super) inner: S,
    pub(super) parse: fn(&S::Output) -> Option<T>,
    pub(super) sentence: &'static str,
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
