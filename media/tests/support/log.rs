//! Everything this process logs, at every level, as one text.

use std::fmt::{Debug, Write};
use std::sync::{Mutex, OnceLock};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static LOG: OnceLock<Mutex<String>> = OnceLock::new();

/// Starts to keep the log; the first call of a process does.
pub fn keep() {
    if LOG.set(Mutex::default()).is_ok() {
        tracing::subscriber::set_global_default(Keeper).expect("nobody else subscribes");
    }
}

pub fn text() -> String {
    LOG.get().expect("the log is kept first").lock().unwrap().clone()
}

struct Keeper;

struct Fields;

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut log = LOG.get().expect("the log is kept first").lock().unwrap();
        let _ = writeln!(log, "{}={value:?}", field.name());
    }
}

impl Subscriber for Keeper {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut Fields);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Fields);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Fields);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
