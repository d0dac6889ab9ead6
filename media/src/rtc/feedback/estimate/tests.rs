//! The estimate over a network that is not there, with the reports that our own recorder writes.

use super::*;
use crate::allocations;
use crate::rtc::feedback::network::{Conditions, Link, Loss};
use crate::rtc::feedback::twcc::TwccRecorder;
use crate::rtc::rtcp::blocks;
use ::rtc::shared::marshal::Marshal;

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A sender that makes frames at the estimated rate, or at a fixed one, and a viewer who reports.
struct Path {
    now: Instant,
    start: Instant,
    /// Without the queue.
    rtt: Duration,
    estimate: SendEstimate,
    there: Link<(u16, usize)>,
    back: Link<Vec<u8>>,
    recorder: TwccRecorder,
    /// The rate of the media: a share of the estimate up to a limit.
    media: Media,
    /// What is wanted, and therefore probed for.
    wanted_bps: u64,
    next_frame: Instant,
    frames: u32,
    probed_bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct Media {
    share: f64,
    bps_max: f64,
    /// Size of a keyframe, which comes every two seconds, in other frames.
    keyframe: f64,
}

const FOLLOWS: Media = Media { share: 1.0, bps_max: f64::MAX, keyframe: 1.0 };
const TICK: Duration = Duration::from_millis(5);
const PACKET_BYTES: usize = 1_200;
const FRAMES_PER_SECOND: u32 = 30;
const GOP: u32 = 60;

impl Path {
    fn new(seed: u64, conditions: Conditions, media: Media) -> Self {
        let start = Instant::now() + Duration::from_secs(3_600 * 24 * 13);
        let back = Conditions { delay: conditions.delay, jitter: conditions.jitter, ..Conditions::default() };
        Self {
            now: start,
            start,
            rtt: conditions.delay * 2,
            estimate: SendEstimate::new(start, START_BPS),
            there: Link::new(start, seed, conditions),
            back: Link::new(start, seed ^ 1, back),
            // Its clock wraps after ten seconds.
            recorder: TwccRecorder::new(start - 64 * millis(1 << 24) + Duration::from_secs(10), 1),
            media,
            wanted_bps: 0,
            next_frame: start,
            frames: 0,
            probed_bytes: 0,
        }
    }

    /// Runs so long, and gives back the estimates of every 100 ms.
    fn run(&mut self, length: Duration) -> Vec<f64> {
        let (end, mut estimates) = (self.now + length, Vec::new());
        while self.now < end {
            self.turn();
            if (self.now - self.start).as_millis().is_multiple_of(100) {
                estimates.push(self.estimate.bitrate() as f64);
            }
            self.now += TICK;
        }
        estimates
    }

    fn turn(&mut self) {
        while let Some((_, report)) = self.back.receive(self.now) {
            let body = blocks(&report).next().unwrap().body;
            self.estimate.feedback(self.now, body).unwrap();
        }
        self.estimate.tick(self.now);
        if self.now >= self.next_frame {
            self.next_frame += Duration::from_secs(1) / FRAMES_PER_SECOND;
            self.frame();
        }
        while let Some(probe) = self.estimate.poll_probe(self.now, self.wanted_bps) {
            let bytes = probe.bytes.clamp(100, PACKET_BYTES);
            self.probed_bytes += bytes;
            self.send(bytes);
        }
        while let Some((at, (sequence, _))) = self.there.receive(self.now) {
            self.recorder.received(at, 2, sequence);
        }
        while let Some(report) = self.recorder.poll(self.now) {
            let report = report.marshal().unwrap().to_vec();
            self.back.send(self.now, report.len(), report);
        }
    }

    fn frame(&mut self) {
        self.estimate.round_trip(self.rtt + self.there.waiting(self.now));
        let bps = (self.estimate.bitrate() as f64 * self.media.share).min(self.media.bps_max);
        let usual =
            bps / 8.0 / f64::from(FRAMES_PER_SECOND) * f64::from(GOP) / (f64::from(GOP - 1) + self.media.keyframe);
        let keyframe = self.frames.is_multiple_of(GOP);
        let mut rest = (usual * if keyframe { self.media.keyframe } else { 1.0 }) as usize;
        while rest > 0 {
            let bytes = rest.min(PACKET_BYTES);
            self.send(bytes);
            rest -= bytes;
        }
        self.frames += 1;
    }

    fn send(&mut self, bytes: usize) {
        let sequence = self.estimate.sent(self.now, bytes);
        self.there.send(self.now, bytes, (sequence, bytes));
    }
}

fn bottleneck(bps: u64, rtt: Duration) -> Conditions {
    // A quarter of a second, as access links have it.
    Conditions {
        rates: vec![(Duration::ZERO, bps)],
        queue_bytes: bps as usize / 32,
        delay: rtt / 2,
        ..Conditions::default()
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::MAX, f64::min)
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// Runs a scenario for several seeds; what fails names its seed.
fn for_seeds(scenario: impl Fn(u64)) {
    for seed in 1..=3 {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scenario(seed)));
        if let Err(panic) = outcome {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn it_converges_to_the_bottleneck() {
    for (bps, within) in [(300_000, 15), (1_000_000, 5), (2_000_000, 3), (4_000_000, 3), (8_000_000, 10)] {
        for rtt in [20, 100, 400] {
            let mut path = Path::new(1, bottleneck(bps, millis(rtt)), FOLLOWS);
            path.run(seconds(within));
            let estimates = path.run(seconds(30));
            let share = |estimate: f64| estimate / bps as f64;
            let case = format!("{bps} bit/s, round trip {rtt} ms, seed 1");
            assert!(share(least(&estimates)) > 0.5, "{case}: least {}", share(least(&estimates)));
            assert!((0.8..1.05).contains(&share(mean(&estimates))), "{case}: mean {}", share(mean(&estimates)));
            let over = estimates.iter().filter(|estimate| share(**estimate) > 1.1).count();
            assert!(over <= estimates.len() / 8, "{case}: above 110 % for {over} of {}", estimates.len());
            assert!(share(most(&estimates)) < 1.2, "{case}: most {}", share(most(&estimates)));
        }
    }
}

#[test]
fn a_step_down_is_followed_within_two_seconds_and_a_probe_finds_the_way_back() {
    for rtt in [20, 100, 400] {
        let rates = vec![(Duration::ZERO, 4_000_000), (seconds(10), 1_000_000), (seconds(25), 4_000_000)];
        let mut path = Path::new(1, Conditions { rates, ..bottleneck(4_000_000, millis(rtt)) }, FOLLOWS);
        path.run(seconds(12));
        let low = path.run(seconds(13));
        assert!(most(&low) <= 1.1e6, "round trip {rtt} ms: {}", most(&low));
        assert!(least(&low) >= 0.4e6, "round trip {rtt} ms: {}", least(&low));
        path.wanted_bps = 3_500_000;
        path.run(seconds(10));
        let high = path.run(seconds(10));
        assert!(mean(&high) > 2.8e6, "round trip {rtt} ms: {}", mean(&high));
    }
}

#[test]
fn losses_of_a_radio_do_not_starve_it() {
    for_seeds(|seed| {
        for (loss, floor) in [
            (Loss::Random(0.02), 1.5e6),
            (Loss::Random(0.05), 1.4e6),
            (Loss::Bursts { share: 0.05, length: 5.0 }, 0.7e6),
        ] {
            let mut path = Path::new(seed, Conditions { loss, ..bottleneck(2_000_000, millis(100)) }, FOLLOWS);
            let estimates = path.run(seconds(40));
            let late = mean(&estimates[300..]);
            assert!(late > floor, "{loss:?}: {late}");
        }
    });
}

#[test]
fn a_network_that_throws_a_fifth_away_is_sent_less_and_less() {
    for_seeds(|seed| {
        let conditions = Conditions { loss: Loss::Random(0.2), ..bottleneck(2_000_000, millis(100)) };
        let mut path = Path::new(seed, conditions, FOLLOWS);
        let estimates = path.run(seconds(20));
        assert!(estimates[199] < 0.6e6, "{}", estimates[199]);
        assert!((0.1..0.35).contains(&path.estimate.loss()), "{}", path.estimate.loss());
    });
}

#[test]
fn jitter_and_reordering_alone_do_not_collapse_it() {
    for_seeds(|seed| {
        for (jitter, reordered) in [(10, 0.0), (30, 0.02), (60, 0.02), (100, 0.0)] {
            let (jitter, wide) = (millis(jitter), bottleneck(4_000_000, millis(60)));
            let mut path = Path::new(seed, Conditions { jitter, reordered, ..wide }, FOLLOWS);
            path.run(seconds(10));
            let estimates = path.run(seconds(30));
            let (least, mean) = (least(&estimates) / 4e6, mean(&estimates) / 4e6);
            assert!(least > 0.7 && mean > 0.85, "jitter {jitter:?}, reordered {reordered}: {least} {mean}");
        }
    });
}

#[test]
fn what_is_not_sent_is_not_claimed() {
    let media = Media { share: 1e3, bps_max: 1e6, keyframe: 1.0 };
    let mut path = Path::new(1, bottleneck(8_000_000, millis(60)), media);
    path.estimate.rate = RateControl::new(path.now, 0.5e6);
    let estimates = path.run(seconds(60));
    assert!((1.4e6..1.65e6).contains(&most(&estimates)), "{}", most(&estimates));
}

#[test]
fn a_probe_shows_that_more_would_pass_at_the_cost_of_a_few_packets() {
    for_seeds(|seed| {
        let media = Media { share: 1e3, bps_max: 1e6, keyframe: 4.0 };
        let mut path = Path::new(seed, bottleneck(8_000_000, millis(60)), media);
        path.estimate.rate = RateControl::new(path.now, 1e6);
        path.wanted_bps = 3_600_000;
        let estimates = path.run(seconds(20));
        assert!(estimates[50] >= 3.6e6, "after five seconds {}", estimates[50]);
        assert!(path.probed_bytes < 60_000, "{}", path.probed_bytes);
    });
}

#[test]
fn a_probe_that_does_not_fit_costs_the_media_nothing() {
    for_seeds(|seed| {
        let media = Media { share: 1e3, bps_max: 1e6, keyframe: 1.0 };
        let mut path = Path::new(seed, bottleneck(1_500_000, millis(60)), media);
        path.wanted_bps = 4_000_000;
        let estimates = path.run(seconds(120));
        let late = &estimates[100..];
        assert!(least(late) > 1.0e6, "the layer that is sent still fits: {}", least(late));
        assert!(most(late) < 2.0e6, "and what was shown not to fit is not claimed: {}", most(late));
        assert!(path.probed_bytes < 150_000, "{} bytes in two minutes", path.probed_bytes);
        assert_eq!(path.there.lost, 0);
    });
}

#[test]
fn keyframes_of_six_frames_are_no_full_network() {
    for_seeds(|seed| {
        let media = Media { share: 1e3, bps_max: 1e6, keyframe: 6.0 };
        let mut path = Path::new(seed, bottleneck(1_300_000, millis(60)), media);
        let estimates = path.run(seconds(60));
        assert!(least(&estimates) > 0.9e6, "{}", least(&estimates));
    });
}

#[test]
fn numbers_and_reference_times_wrap() {
    // The reference time wraps after ten seconds, the numbers after eighty.
    let mut path = Path::new(1, bottleneck(8_000_000, millis(40)), FOLLOWS);
    path.estimate.rate = RateControl::new(path.now, 7e6);
    let estimates = path.run(seconds(100));
    assert!(path.estimate.history.next() > 70_000, "{}", path.estimate.history.next());
    assert!(least(&estimates) > 6e6, "{}", least(&estimates));
}

#[test]
fn silence_of_a_viewer_who_reported_takes_the_rate_down() {
    let mut path = Path::new(1, bottleneck(4_000_000, millis(40)), FOLLOWS);
    path.run(seconds(5));
    let before = path.estimate.bitrate();
    let (mut now, step) = (path.now, seconds(1));
    for _ in 0..10 {
        path.estimate.sent(now, 1_000);
        now += step + millis(50);
        path.estimate.tick(now);
    }
    assert!(path.estimate.bitrate() < before / 5, "{before} → {}", path.estimate.bitrate());
    let mut mute = SendEstimate::new(now, START_BPS);
    mute.sent(now, 1_000);
    assert!(!mute.tick(now + step * 60), "who never reported is sent what the start says");
}

#[test]
fn reports_that_lie_leave_it_within_its_bounds() {
    let start = Instant::now();
    let mut estimate = SendEstimate::new(start, START_BPS);
    let mut random = 7_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as u8
    };
    let mut read = 0;
    for turn in 0..50_000_u64 {
        let now = start + millis(turn * 3);
        estimate.sent(now, usize::from(next()) * 300);
        let length = usize::from(next() % 90);
        let mut body: Vec<u8> = (0..length).map(|_| next()).collect();
        if let Some(count) = body.get_mut(10) {
            *count = 0;
        }
        read += u32::from(estimate.feedback(now, &body).is_ok());
        estimate.tick(now);
        estimate.poll_probe(now, u64::from(next()) << 20);
        assert!((50_000..=50_000_000).contains(&estimate.bitrate()), "{}", estimate.bitrate());
        assert!((0.0..=1.0).contains(&estimate.loss()), "{}", estimate.loss());
    }
    assert!(read > 1_000, "{read} were whole");
    for reference in [0_u32, 0x7f_ffff, 0xff_ffff] {
        let mut body = vec![0; 12];
        body[10..12].copy_from_slice(&3_u16.to_be_bytes());
        body.extend_from_slice(&(reference << 8_u32).to_be_bytes());
        body.extend_from_slice(&[0x40, 3, 0x80, 0, 0x7f, 0xff, 0x80, 0]);
        estimate.feedback(start + seconds(1_000), &body).unwrap();
    }
}

/// Of a few dozen bytes that tell of so many packets from the first on: all of them arrived, nobody says when.
fn untimed(told: u16) -> Vec<u8> {
    let mut body = vec![0; 10];
    body.extend_from_slice(&told.to_be_bytes());
    body.extend_from_slice(&[0; 4]);
    (0..told.div_ceil(0x1fff)).for_each(|_| body.extend_from_slice(&0x7fff_u16.to_be_bytes()));
    body
}

#[test]
fn reports_of_more_packets_than_were_sent_or_of_the_same_over_and_over_are_not_walked_through() {
    let now = Instant::now();
    let mut estimate = SendEstimate::new(now, START_BPS);
    for _ in 0..1_000 {
        estimate.sent(now, PACKET_BYTES);
    }
    let told = 65_528;
    assert_eq!(estimate.feedback(now, &untimed(told)), Err(ReportError::Unsent { told, known: 1_000 }));
    assert_eq!((estimate.reported, estimate.credit.0), (None, 0), "nothing is believed of it");
    let mut arrived = 0;
    let walked =
        (0..50).filter(|_| estimate.feedback(now, &untimed(1_000)).map(|acked| arrived += acked.arrived).is_ok());
    assert_eq!(walked.count(), 8);
    assert_eq!(arrived, 1_000);
    for _ in 0..250 {
        estimate.sent(now, PACKET_BYTES);
    }
    assert!(estimate.feedback(now, &untimed(1_250)).is_ok(), "what is sent may be told of");
    assert_eq!(estimate.feedback(now, &untimed(1_250)), Err(ReportError::Again { told: 1_250 }));
}

#[test]
fn it_takes_sixteen_kilobytes_once() {
    let start = Instant::now();
    let mut estimate = SendEstimate::new(start, START_BPS);
    let mut recorder = TwccRecorder::new(start, 1);
    let reports: Vec<_> = (0..2_000_u64)
        .filter_map(|packet| {
            let now = start + millis(packet);
            recorder.received(now, 2, packet as u16);
            recorder.poll(now).map(|report| (packet, report.marshal().unwrap()))
        })
        .collect();
    let mut reports = reports.iter().peekable();
    let allocated = allocations::during(|| {
        for packet in 0..2_000_u64 {
            let now = start + millis(packet);
            estimate.sent(now, PACKET_BYTES);
            while let Some((_, report)) = reports.next_if(|(at, _)| *at == packet) {
                estimate.feedback(now, &report[4..]).unwrap();
            }
            estimate.tick(now);
            estimate.poll_probe(now, 50_000_000);
        }
    });
    assert_eq!(allocated, 0);
    assert!(estimate.reported.is_some_and(|reported| reported > 1_800), "{:?}", estimate.reported);
    estimate.round_trip(seconds(60));
    assert_eq!(estimate.rtt(), RTT_MAX, "a clock that is off makes nonsense");
    let bytes = size_of::<SendEstimate>() + estimate.history.heap_bytes();
    assert!(bytes <= 16 << 10, "{bytes}");
}
