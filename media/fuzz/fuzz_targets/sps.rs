//! Any configuration record of any codec: no panic.
#![no_main]

use bytes::Bytes;
use chobi_media::codec::{aac, av1, h264, h265, opus, vp9};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let record = Bytes::copy_from_slice(bytes);
    let _ = h264::Sps::parse(bytes);
    if let Ok(configuration) = h264::Configuration::parse(&record) {
        let _ = configuration.format(configuration.write());
    }
    if let Ok(configuration) = h265::Configuration::parse(&record) {
        let _ = configuration.format(configuration.write());
    }
    let _ = h265::Configuration::from_parameter_sets(&[(h265::SPS, record.clone())], 4);
    let _ = h264::has_b_slice(bytes, 4);
    let _ = av1::format(record.clone());
    let _ = vp9::keyframe_size(bytes);
    let _ = vp9::format(&record, (1, 1));
    let _ = aac::format(record);
    let _ = opus::format(bytes);
    let _ = opus::packet_samples(bytes);
});
