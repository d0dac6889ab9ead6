//! AAC: AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2.1).

use super::CodecError;
use super::bits::Bits;
use crate::model::{AudioCodec, AudioFormat};
use bytes::Bytes;

const WHAT: &str = "AudioSpecificConfig";
const SAMPLE_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

const OBJECT_LC: u32 = 2;
const OBJECT_SBR: u32 = 5;
const OBJECT_PS: u32 = 29;

/// The decoded sound's rate and shape. Spectral band replication that is signalled doubles both the rate and the
/// samples of a frame.
pub fn format(record: Bytes) -> Result<AudioFormat, CodecError> {
    let mut bits = Bits::new(WHAT, &record);
    let stated = object_type(&mut bits)?;
    let core_rate = sample_rate(&mut bits)?;
    let channel_configuration = bits.bits(4, "channelConfiguration")?;
    let mut sample_rate_out = core_rate;
    let mut object = stated;
    if matches!(stated, OBJECT_SBR | OBJECT_PS) {
        sample_rate_out = sample_rate(&mut bits)?;
        object = object_type(&mut bits)?;
    }
    let short_frames = bits.flag("frameLengthFlag")?;
    let mut shown = stated;
    if stated == OBJECT_LC
        && let Some((rate, kind)) = late_extension(&mut bits)
    {
        (sample_rate_out, shown) = (rate, kind);
    }
    if !matches!(object, 1..=4) {
        return Err(CodecError::Unsupported { what: WHAT, field: "audioObjectType", value: object });
    }
    let core_samples = if short_frames { 960u64 } else { 1024 };
    let samples = core_samples * u64::from(sample_rate_out) / u64::from(core_rate);
    Ok(AudioFormat {
        codec: AudioCodec::Aac,
        rfc6381: format!("mp4a.40.{shown}"),
        sample_rate: sample_rate_out,
        channels: match channel_configuration {
            7 => 8,
            // The channels stand in a program_config_element; stereo is what encoders that do this send.
            0 => 2,
            count @ 1..=6 => count as u8,
            value => return Err(CodecError::Unsupported { what: WHAT, field: "channelConfiguration", value }),
        },
        samples_per_frame: samples as u32,
        configuration: record,
    })
}

fn object_type(bits: &mut Bits<'_>) -> Result<u32, CodecError> {
    match bits.bits(5, "audioObjectType")? {
        31 => Ok(32 + bits.bits(6, "audioObjectTypeExt")?),
        object => Ok(object),
    }
}

fn sample_rate(bits: &mut Bits<'_>) -> Result<u32, CodecError> {
    let index = bits.bits(4, "samplingFrequencyIndex")?;
    let rate = match index {
        15 => bits.bits(24, "samplingFrequency")?,
        index => *SAMPLE_RATES.get(index as usize).unwrap_or(&0),
    };
    if !(7_350..=96_000).contains(&rate) {
        return Err(CodecError::Unsupported { what: WHAT, field: "samplingFrequency", value: rate });
    }
    Ok(rate)
}

/// The backward compatible signalling of SBR and PS after the core configuration (section 1.6.6.2). Absent in most
/// streams, so an early end means "no".
fn late_extension(bits: &mut Bits<'_>) -> Option<(u32, u32)> {
    if bits.flag("dependsOnCoreCoder").ok()? {
        bits.skip(14, "coreCoderDelay").ok()?;
    }
    bits.skip(1, "extensionFlag").ok()?;
    if bits.bits(11, "syncExtensionType").ok()? != 0x2b7 || object_type(bits).ok()? != OBJECT_SBR {
        return None;
    }
    if !bits.flag("sbrPresentFlag").ok()? {
        return None;
    }
    let rate = sample_rate(bits).ok()?;
    let parametric_stereo =
        bits.bits(11, "syncExtensionType").ok() == Some(0x548) && bits.flag("psPresentFlag").unwrap_or_default();
    Some((rate, if parametric_stereo { OBJECT_PS } else { OBJECT_SBR }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(record: &'static [u8]) -> AudioFormat {
        format(Bytes::from_static(record)).unwrap()
    }

    #[test]
    fn low_complexity_is_read() {
        let stereo = parse(&[0x11, 0x90]);
        assert_eq!((stereo.sample_rate, stereo.channels, stereo.samples_per_frame), (48_000, 2, 1024));
        assert_eq!(stereo.rfc6381, "mp4a.40.2");
        // ffmpeg appends a late extension that says "no SBR".
        let mono = parse(&[0x12, 0x08, 0x56, 0xe5, 0x00]);
        assert_eq!((mono.sample_rate, mono.channels, mono.rfc6381.as_str()), (44_100, 1, "mp4a.40.2"));
    }

    #[test]
    fn explicit_and_late_band_replication_double_rate_and_frame() {
        // HE-AAC 44.1 kHz stereo, hierarchical: object 5, core 22.05 kHz.
        let hierarchical = parse(&[0x2b, 0x92, 0x08, 0x00]);
        assert_eq!((hierarchical.sample_rate, hierarchical.samples_per_frame), (44_100, 2048));
        assert_eq!(hierarchical.rfc6381, "mp4a.40.5");
        let late = parse(&[0x13, 0x90, 0x56, 0xe5, 0xa0]);
        assert_eq!((late.sample_rate, late.samples_per_frame, late.rfc6381.as_str()), (44_100, 2048, "mp4a.40.5"));
    }

    #[test]
    fn nonsense_is_refused() {
        for record in [&[][..], &[0x11], &[0xff, 0xff, 0xff, 0xff], &[0x17, 0x80, 0x00, 0x00, 0x10, 0x00]] {
            assert!(format(Bytes::copy_from_slice(record)).is_err(), "{record:02x?}");
        }
    }
}
