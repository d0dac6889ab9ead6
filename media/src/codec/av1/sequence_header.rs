//! The sequence header (AV1 specification section 5.5).

use crate::codec::CodecError;
use crate::codec::bits::Bits;
use crate::model::FrameRate;

/// What stands in front of everything that a decoder needs only once it has the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SequenceHeader {
    pub(super) profile: u8,
    /// Only a still picture: no frame says what kind it is.
    pub(super) reduced: bool,
    /// Of the first operating point, which is the whole stream.
    pub(super) level: u8,
    pub(super) tier: u8,
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) frame_rate: Option<FrameRate>,
}

/// Section 5.5.2, as far as `av1C` repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ColorConfig {
    pub(super) high_bitdepth: bool,
    pub(super) twelve_bit: bool,
    pub(super) monochrome: bool,
    pub(super) subsampling: (bool, bool),
    pub(super) sample_position: u8,
}

impl SequenceHeader {
    /// Up to the frame size.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, CodecError> {
        Self::read(&mut Bits::new("AV1 sequence header", payload))
    }

    /// Up to the colours.
    pub(super) fn parse_with_colors(payload: &[u8]) -> Result<(Self, ColorConfig), CodecError> {
        let mut bits = Bits::new("AV1 sequence header", payload);
        let header = Self::read(&mut bits)?;
        tools(&mut bits, header.reduced)?;
        let colors = ColorConfig::read(&mut bits, header.profile)?;
        Ok((header, colors))
    }

    fn read(bits: &mut Bits<'_>) -> Result<Self, CodecError> {
        let profile = bits.bits(3, "seq_profile")? as u8;
        bits.skip(1, "still_picture")?;
        let mut frame_rate = None;
        let reduced = bits.flag("reduced_still_picture_header")?;
        let (level, tier) = if reduced {
            (bits.bits(5, "seq_level_idx")? as u8, 0)
        } else {
            let mut delay_length = None;
            if bits.flag("timing_info_present_flag")? {
                frame_rate = timing_info(bits)?;
                if bits.flag("decoder_model_info_present_flag")? {
                    delay_length = Some(bits.bits(5, "buffer_delay_length_minus_1")? as usize + 1);
                    bits.skip(32 + 5 + 5, "decoder_model_info")?;
                }
            }
            operating_points(bits, delay_length)?
        };
        let width_bits = bits.bits(4, "frame_width_bits_minus_1")? + 1;
        let height_bits = bits.bits(4, "frame_height_bits_minus_1")? + 1;
        let width = bits.bits(width_bits, "max_frame_width_minus_1")?;
        let height = bits.bits(height_bits, "max_frame_height_minus_1")?;
        // Sixteen bits of "minus one": 65536 alone does not fit.
        let side = |minus_one: u32| (minus_one as u16).saturating_add(1);
        Ok(Self { profile, reduced, level, tier, width: side(width), height: side(height), frame_rate })
    }
}

/// Section 5.5.3. A rate only when pictures are evenly spaced.
fn timing_info(bits: &mut Bits<'_>) -> Result<Option<FrameRate>, CodecError> {
    let tick = bits.bits(32, "num_units_in_display_tick")?;
    let time_scale = bits.bits(32, "time_scale")?;
    if !bits.flag("equal_picture_interval")? {
        return Ok(None);
    }
    let ticks = bits.exp_golomb("num_ticks_per_picture_minus_1")?.checked_add(1);
    let denominator = ticks.and_then(|ticks| ticks.checked_mul(tick)).filter(|denominator| *denominator > 0);
    Ok(denominator.map(|denominator| FrameRate { numerator: time_scale, denominator }))
}

/// Level and tier of the first.
fn operating_points(bits: &mut Bits<'_>, delay_length: Option<usize>) -> Result<(u8, u8), CodecError> {
    let delay_present = bits.flag("initial_display_delay_present_flag")?;
    let mut first = None;
    for _ in 0..=bits.bits(5, "operating_points_cnt_minus_1")? {
        bits.skip(12, "operating_point_idc")?;
        let level = bits.bits(5, "seq_level_idx")? as u8;
        let tier = if level > 7 { bits.bits(1, "seq_tier")? as u8 } else { 0 };
        first.get_or_insert((level, tier));
        if let Some(length) = delay_length
            && bits.flag("decoder_model_present_for_this_op")?
        {
            bits.skip(2 * length + 1, "operating_parameters_info")?;
        }
        if delay_present && bits.flag("initial_display_delay_present_for_this_op")? {
            bits.skip(4, "initial_display_delay_minus_1")?;
        }
    }
    Ok(first.unwrap_or_default())
}

/// What stands between the frame size and the colours (section 5.5.1).
fn tools(bits: &mut Bits<'_>, reduced: bool) -> Result<(), CodecError> {
    if !reduced && bits.flag("frame_id_numbers_present_flag")? {
        bits.skip(4 + 3, "frame_id_length")?;
    }
    bits.skip(3, "use_128x128_superblock")?;
    if !reduced {
        bits.skip(4, "enable_interintra_compound")?;
        let order_hint = bits.flag("enable_order_hint")?;
        if order_hint {
            bits.skip(2, "enable_jnt_comp")?;
        }
        let chooses = bits.flag("seq_choose_screen_content_tools")?;
        let forced = chooses || bits.flag("seq_force_screen_content_tools")?;
        if forced && !bits.flag("seq_choose_integer_mv")? {
            bits.skip(1, "seq_force_integer_mv")?;
        }
        if order_hint {
            bits.skip(3, "order_hint_bits_minus_1")?;
        }
    }
    bits.skip(3, "enable_superres")
}

impl ColorConfig {
    fn read(bits: &mut Bits<'_>, profile: u8) -> Result<Self, CodecError> {
        /// BT.709, sRGB, identity.
        const SRGB: (u32, u32, u32) = (1, 13, 0);
        const UNSPECIFIED: (u32, u32, u32) = (2, 2, 2);
        let high_bitdepth = bits.flag("high_bitdepth")?;
        let twelve_bit = profile == 2 && high_bitdepth && bits.flag("twelve_bit")?;
        let monochrome = profile != 1 && bits.flag("mono_chrome")?;
        let mut colors = UNSPECIFIED;
        if bits.flag("color_description_present_flag")? {
            let mut byte = |field| bits.bits(8, field);
            colors = (byte("color_primaries")?, byte("transfer_characteristics")?, byte("matrix_coefficients")?);
        }
        let mut found = Self { high_bitdepth, twelve_bit, monochrome, ..Self::default() };
        if monochrome {
            bits.skip(1, "color_range")?;
            found.subsampling = (true, true);
        } else if colors != SRGB {
            bits.skip(1, "color_range")?;
            found.subsampling = match profile {
                0 => (true, true),
                1 => (false, false),
                _ if !twelve_bit => (true, false),
                _ => {
                    let horizontal = bits.flag("subsampling_x")?;
                    (horizontal, horizontal && bits.flag("subsampling_y")?)
                }
            };
            if found.subsampling == (true, true) {
                found.sample_position = bits.bits(2, "chroma_sample_position")? as u8;
            }
        }
        Ok(found)
    }
}
