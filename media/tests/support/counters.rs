//! A metrics recorder that tests can read.

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use tokio::sync::OwnedMutexGuard;

#[derive(Default)]
struct Counters {
    counters: Mutex<HashMap<String, Arc<AtomicU64>>>,
}

static COUNTERS: OnceLock<&'static Counters> = OnceLock::new();

/// The recorder belongs to the whole process, so one test at a time counts, from zero.
static TURN: LazyLock<Arc<Turn>> = LazyLock::new(Arc::default);

type Turn = tokio::sync::Mutex<()>;

/// Installs the recorder if need be, and waits until no other test of this process counts.
pub async fn take_turn() -> OwnedMutexGuard<()> {
    let turn = Arc::clone(&TURN).lock_owned().await;
    let counters = COUNTERS.get_or_init(|| {
        let counters: &'static Counters = Box::leak(Box::default());
        metrics::set_global_recorder(counters).expect("nobody else installs a recorder");
        counters
    });
    counters.counters.lock().unwrap().values().for_each(|counter| counter.store(0, Ordering::Relaxed));
    turn
}

/// What a counter shows, e.g. `read("chobi_rtmp_connections_closed_total", "reason", "idle")`.
pub fn read(name: &str, label: &str, value: &str) -> u64 {
    let counters = COUNTERS.get().expect("counters are installed first").counters.lock().unwrap();
    counters.get(&format!("{name} {label}={value}")).map_or(0, |counter| counter.load(Ordering::Relaxed))
}

/// What a counter without labels shows.
pub fn total(name: &str) -> u64 {
    let counters = COUNTERS.get().expect("counters are installed first").counters.lock().unwrap();
    counters.get(&format!("{name} ")).map_or(0, |counter| counter.load(Ordering::Relaxed))
}

fn text(key: &Key) -> String {
    let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
    format!("{} {}", key.name(), labels.join(" "))
}

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::clone(self.counters.lock().unwrap().entry(text(key)).or_default()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
