//! Which layer of a simulcast a viewer is sent.
//!
//! In: the layers as they are measured, the viewer's estimate, the clock. Out: an index. Pure. Down at once, since a picture
//! that stalls is worse than a coarse one; up only after the better layer has fit for a while, and for longer each time that
//! going up was a mistake.

use std::time::{Duration, Instant};

/// One layer, best first in a slice of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layer {
    /// Bits per second as measured, with what else the viewer is sent beside it.
    pub(crate) bps: u64,
    /// The publisher sends it and the viewer wants it.
    pub(crate) alive: bool,
}

#[derive(Debug)]
pub(crate) struct Selector {
    current: Option<usize>,
    /// Since when each layer has fit with headroom.
    fits: [Option<Instant>; LAYERS_MAX],
    /// How long a layer must have fit.
    patience: Duration,
    /// When it last went up, until that has proven right or wrong.
    raised: Option<Instant>,
}

/// Browsers send three; worse ones than these are not looked at.
pub(crate) const LAYERS_MAX: usize = 8;
/// A better layer must fit this many times, or the first keyframe fills the network.
const HEADROOM: f64 = 1.2;
/// The layer that is sent may exceed the estimate by a tenth: rates swing with the picture. A full network shows as 0.85 of
/// what arrives and is below.
const TOLERATED: f64 = 0.9;
const PATIENCE_MIN: Duration = Duration::from_secs(8);
const PATIENCE_MAX: Duration = Duration::from_secs(60);
/// Going down within this after going up says that going up was wrong.
const PROVEN_AFTER: Duration = Duration::from_secs(10);

impl Default for Selector {
    fn default() -> Self {
        Self { current: None, fits: [None; LAYERS_MAX], patience: PATIENCE_MIN, raised: None }
    }
}

impl Selector {
    /// The layer to send from now on. `None`: there are no layers.
    pub(crate) fn select(&mut self, now: Instant, layers: &[Layer], estimate_bps: u64) -> Option<usize> {
        let layers = &layers[..layers.len().min(LAYERS_MAX)];
        self.note_fits(now, layers, estimate_bps);
        if self.raised.is_some_and(|raised| now.duration_since(raised) >= PROVEN_AFTER) {
            (self.raised, self.patience) = (None, PATIENCE_MIN);
        }
        let current = self.current.filter(|current| *current < layers.len());
        let next = match current {
            Some(current) if !layers.iter().any(|layer| layer.alive) => current,
            Some(current) if layers[current].alive => {
                if exceeds(&layers[current], estimate_bps) {
                    self.lower(now, layers, current, estimate_bps)
                } else {
                    self.higher(now, layers, current)
                }
            }
            // The first time, or the layer has gone: what fits now.
            Some(_) | None => Self::fitting(layers, 0, estimate_bps)?,
        };
        self.current = Some(next);
        self.current
    }

    /// The viewer asked for something else: a better layer is taken as soon as it fits, this once. If that was wrong, it waits
    /// as after every mistake.
    pub(crate) fn hurry(&mut self) {
        (self.patience, self.raised) = (Duration::ZERO, None);
    }

    /// What the estimate must reach for the next better layer: to be probed for. `None`: there is no better one.
    pub(crate) fn wanted_bps(&self, layers: &[Layer]) -> Option<u64> {
        let current = self.current?.min(layers.len());
        let better = (0..current).rev().find(|&at| layers[at].alive)?;
        Some(with_headroom(&layers[better]))
    }

    fn note_fits(&mut self, now: Instant, layers: &[Layer], estimate_bps: u64) {
        for (at, since) in self.fits.iter_mut().enumerate() {
            let fits = layers.get(at).is_some_and(|layer| layer.alive && with_headroom(layer) <= estimate_bps);
            *since = if fits { since.or(Some(now)) } else { None };
        }
    }

    /// The best from `from` on that fits, else the last that lives; when none does, the last of all.
    fn fitting(layers: &[Layer], from: usize, estimate_bps: u64) -> Option<usize> {
        let alive = |at: &usize| layers[*at].alive;
        (from..layers.len())
            .filter(alive)
            .find(|at| layers[*at].bps <= estimate_bps)
            .or_else(|| (0..layers.len()).rev().find(alive))
            .or(layers.len().checked_sub(1))
    }

    fn lower(&mut self, now: Instant, layers: &[Layer], current: usize, estimate_bps: u64) -> usize {
        let next = Self::fitting(layers, current + 1, estimate_bps).unwrap_or(current);
        if next != current && self.raised.take().is_some_and(|raised| now.duration_since(raised) < PROVEN_AFTER) {
            self.patience = (self.patience * 2).clamp(PATIENCE_MIN, PATIENCE_MAX);
        }
        next
    }

    fn higher(&mut self, now: Instant, layers: &[Layer], current: usize) -> usize {
        let has_fit = |at: usize| self.fits[at].is_some_and(|since| now.duration_since(since) >= self.patience);
        let Some(next) = (0..current).find(|&at| layers[at].alive && has_fit(at)) else { return current };
        self.raised = Some(now);
        next
    }
}

fn with_headroom(layer: &Layer) -> u64 {
    (layer.bps as f64 * HEADROOM) as u64
}

fn exceeds(layer: &Layer, estimate_bps: u64) -> bool {
    (estimate_bps as f64) < layer.bps as f64 * TOLERATED
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LAYERS: [Layer; 3] = [alive(2_500_000), alive(800_000), alive(200_000)];

    const fn alive(bps: u64) -> Layer {
        Layer { bps, alive: true }
    }

    /// A selector on its clock in milliseconds.
    struct Scene {
        selector: Selector,
        start: Instant,
    }

    impl Scene {
        fn new() -> Self {
            Self { selector: Selector::default(), start: Instant::now() }
        }

        fn at(&mut self, ms: u64, estimate: u64) -> usize {
            self.with(ms, estimate, &LAYERS)
        }

        fn with(&mut self, ms: u64, estimate: u64, layers: &[Layer]) -> usize {
            self.selector.select(self.start + Duration::from_millis(ms), layers, estimate).unwrap()
        }

        /// The first millisecond from `from` on at which another layer is sent.
        fn changes(&mut self, from: u64, estimate: u64) -> u64 {
            let before = self.at(from, estimate);
            (from..).step_by(100).find(|ms| self.at(*ms, estimate) != before).unwrap()
        }
    }

    #[test]
    fn it_starts_with_the_best_layer_that_fits() {
        for (estimate, layer) in [(2_500_000, 0), (2_400_000, 1), (799_999, 2), (0, 2)] {
            assert_eq!(Scene::new().at(0, estimate), layer, "{estimate}");
        }
        assert_eq!(Selector::default().select(Instant::now(), &[], 1), None);
    }

    #[test]
    fn it_goes_down_at_once_and_as_far_as_is_needed() {
        let mut scene = Scene::new();
        assert_eq!(scene.at(0, 3_000_000), 0);
        assert_eq!(scene.at(100, 2_250_000), 0, "rates swing");
        assert_eq!(scene.at(200, 2_249_999), 1);
        assert_eq!(scene.at(300, 150_000), 2);
        assert_eq!(scene.at(400, 1), 2, "there is none below");
    }

    #[test]
    fn it_goes_up_after_eight_seconds_of_headroom_without_a_break() {
        let mut scene = Scene::new();
        assert_eq!(scene.at(0, 900_000), 1);
        assert_eq!(scene.selector.wanted_bps(&LAYERS), Some(3_000_000));
        assert_eq!(scene.at(1_000, 3_000_000), 1);
        assert_eq!(scene.at(8_000, 2_999_999), 1, "a break");
        assert_eq!(scene.at(8_100, 3_000_000), 1);
        assert_eq!(scene.at(16_000, 3_000_000), 1);
        assert_eq!(scene.at(16_100, 3_000_000), 0);
        assert_eq!(scene.selector.wanted_bps(&LAYERS), None);
    }

    #[test]
    fn every_time_that_going_up_was_wrong_it_waits_longer_and_a_success_makes_up_for_it() {
        let mut scene = Scene::new();
        let (mut now, mut waits) = (0, Vec::new());
        assert_eq!(scene.at(now, 900_000), 1);
        for _ in 0..5 {
            let up = scene.changes(now + 100, 3_000_000);
            waits.push((up - now - 100) / 1_000);
            now = up + 9_900;
            assert_eq!(scene.at(now, 900_000), 1);
        }
        assert_eq!(waits, [8, 16, 32, 60, 60]);
        let up = scene.changes(now + 100, 3_000_000);
        assert_eq!(scene.at(up + 10_000, 3_000_000), 0);
        now = up + 11_000;
        assert_eq!(scene.at(now, 900_000), 1);
        assert_eq!(scene.changes(now + 100, 3_000_000), now + 8_100);
    }

    #[test]
    fn a_dead_layer_is_left_at_once_and_taken_again_when_it_has_lived_for_a_while() {
        let mut scene = Scene::new();
        let with = |dead: &[usize]| {
            let mut layers = LAYERS;
            dead.iter().for_each(|at| layers[*at].alive = false);
            layers
        };
        assert_eq!(scene.with(0, 5_000_000, &LAYERS), 0);
        assert_eq!(scene.with(100, 5_000_000, &with(&[0])), 1);
        assert_eq!(scene.with(200, 5_000_000, &with(&[0, 1])), 2);
        assert_eq!(scene.with(300, 5_000_000, &with(&[0, 1, 2])), 2, "all are gone: it waits where it is");
        assert_eq!(scene.with(400, 100, &with(&[1, 2])), 0, "the only one, though it does not fit");
        assert_eq!(scene.with(500, 5_000_000, &with(&[0])), 1);
        assert_eq!(scene.with(600, 5_000_000, &LAYERS), 1);
        assert_eq!(scene.with(8_600, 5_000_000, &LAYERS), 0);
    }

    #[test]
    fn another_wish_is_fulfilled_as_soon_as_it_fits_and_a_mistake_is_paid_for_as_ever() {
        let mut scene = Scene::new();
        assert_eq!(scene.at(0, 900_000), 1);
        scene.selector.hurry();
        assert_eq!(scene.at(100, 900_000), 1, "it does not fit");
        assert_eq!(scene.at(200, 3_000_000), 0);
        assert_eq!(scene.at(300, 900_000), 1);
        assert_eq!(scene.changes(400, 3_000_000), 8_400, "once");
        scene.selector.hurry();
        let mut unwanted = LAYERS;
        unwanted[..2].iter_mut().for_each(|layer| layer.alive = false);
        assert_eq!(scene.with(8_500, 3_000_000, &unwanted), 2, "down to a layer that was chosen");
        assert_eq!(scene.selector.wanted_bps(&unwanted), None, "and nothing is probed for");
        scene.selector.hurry();
        assert_eq!(scene.at(8_600, 3_000_000), 0);
        assert_eq!(scene.at(18_600, 900_000), 1, "it had proven right");
        assert_eq!(scene.changes(18_700, 3_000_000), 26_700);
    }

    proptest! {
        /// Whatever happens: no dead layer while one lives, no layer above the estimate while there is a
        /// smaller one, and no step up that had not fit for eight seconds.
        #[test]
        fn the_rules_hold_whatever_happens(
            steps in proptest::collection::vec((1..4_000_u64, 0..4_000_000_u64, 0..8_u8), 1..120)
        ) {
            let (mut scene, mut ms, mut history) = (Scene::new(), 0, Vec::<(u64, u64, [Layer; 3])>::new());
            let mut before = None;
            for (pause, estimate, dead) in steps {
                ms += pause;
                let mut layers = LAYERS;
                // Mostly all of them live.
                layers.iter_mut().enumerate().for_each(|(at, layer)| layer.alive = dead & 5 != 5 || at != usize::from(dead) % 3);
                let chosen = scene.with(ms, estimate, &layers);
                history.push((ms, estimate, layers));
                let lives = |range: std::ops::Range<usize>| range.into_iter().any(|at| layers[at].alive);
                if lives(0..3) {
                    prop_assert!(layers[chosen].alive);
                    let smaller = lives(chosen + 1..3);
                    prop_assert!(!smaller || estimate as f64 >= layers[chosen].bps as f64 * TOLERATED, "too big");
                }
                if let Some(before) = before && chosen < before && layers[before].alive {
                    let fits = |(_, estimate, layers): &(u64, u64, [Layer; 3])| {
                        layers[chosen].alive && with_headroom(&layers[chosen]) <= *estimate
                    };
                    let first = history.iter().rev().take_while(|seen| fits(seen)).last();
                    prop_assert!(first.is_some_and(|(since, ..)| ms - since >= 8_000), "too early");
                }
                before = Some(chosen);
            }
        }
    }
}
