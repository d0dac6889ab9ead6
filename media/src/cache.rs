//! A table of what was asked for lately, bounded by what its values weigh: what is asked for rarely goes first.

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use std::hash::Hash;

/// `usual`: what a value weighs as a rule, to size the table by.
pub(crate) fn by_weight<K: Eq + Hash, V: Clone, W: Weighter<K, V> + Clone>(
    weight: W,
    most: u64,
    usual: u64,
) -> Cache<K, V, W> {
    // One shard: several would share out the room, and a large value might fit into none of the shares.
    let options = OptionsBuilder::new()
        .estimated_items_capacity((most / usual).max(1) as usize)
        .weight_capacity(most)
        .shards(1)
        .build()
        .expect("both capacities are given");
    Cache::with_options(options, weight, DefaultHashBuilder::default(), DefaultLifecycle::default())
}
