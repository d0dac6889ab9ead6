//! Formats that no encoder on this machine sends.

use crate::support::rtmp_client::RtmpClient;
use crate::support::rtmp_server::{Server, frames, next_epoch};
use bytes::Bytes;
use chobi_media::model::{AudioCodec, Epoch, TrackId, VideoCodec};
use std::sync::Arc;

static CLIP: &[u8] = include_bytes!("../fixtures/ffmpeg-5.1-h264-aac.flv");

/// From x265, 1280x720.
const HVCC: &[u8] = &[
    0x01, 0x01, 0x60, 0x00, 0x00, 0x00, 0x90, 0x00, 0x00, 0x00, 0x00, 0x00, 0x5d, 0xf0, 0x00, 0xfc, 0xfd, 0xf8, 0xf8,
    0x00, 0x00, 0x0f, 0x03, 0xa0, 0x00, 0x01, 0x00, 0x18, 0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0x00, 0x00,
    0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x5d, 0x95, 0x94, 0x09, 0xa1, 0x00, 0x01, 0x00, 0x2b,
    0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x5d, 0xa0,
    0x02, 0x80, 0x80, 0x2d, 0x16, 0x59, 0x59, 0x52, 0x93, 0x0b, 0xc0, 0x5a, 0x02, 0x00, 0x00, 0x03, 0x00, 0x02, 0x00,
    0x00, 0x03, 0x00, 0x3c, 0x10, 0xa2, 0x00, 0x01, 0x00, 0x06, 0x44, 0x01, 0xc0, 0x73, 0xc1, 0x89,
];
/// From SVT-AV1, 1280x720.
const AV1C: &[u8] =
    &[0x81, 0x05, 0x0c, 0x00, 0x0a, 0x0b, 0x00, 0x00, 0x00, 0x2d, 0x4c, 0xff, 0xb3, 0xc0, 0x2f, 0x80, 0x04];
const VPCC: &[u8] = &[0, 31, 0x82, 1, 1, 1, 0, 0];
const VP9_KEYFRAME: &[u8] = &[0x82, 0x49, 0x83, 0x42, 0x20, 0x4f, 0xf0, 0x2c, 0xf0, 0, 0];
const OPUS_HEAD: &[u8] = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00";

/// Publishes one configuration and a few frames of each track; returns the epoch and the first frames.
async fn publish(
    configuration: &[&[u8]],
    keyframe: &[&[u8]],
    sound: &'static [u8],
    sound_configuration: &[&[u8]],
) -> (Arc<Epoch>, Vec<Arc<chobi_media::model::Frame>>) {
    let server = Server::start().await;
    let mut client = RtmpClient::publish(server.address, "live", "key-1").await.unwrap();
    let mut subscriber = server.next_broadcast().await;
    client.metadata(&[("videocodecid", 12.0), ("audiocodecid", 10.0), ("framerate", 25.0)]).await;
    client.video(0, configuration.concat()).await;
    client.audio(0, sound_configuration.concat()).await;
    for index in 0..10 {
        client.video(index * 40, keyframe.concat()).await;
        client.audio(index * 40, sound).await;
        client.audio(index * 40 + 20, sound).await;
    }
    let epoch = next_epoch(&mut subscriber).await;
    let frames = frames(&mut subscriber, 20).await;
    server.stop().await;
    (epoch, frames)
}

#[tokio::test]
async fn hevc_and_opus_by_enhanced_rtmp() {
    let keyframe: &[&[u8]] = &[&[0x91], b"hvc1", &[0, 0, 40, 0, 0, 0, 3, 0x26, 1, 0xaf]];
    let (epoch, frames) =
        publish(&[&[0x90], b"hvc1", HVCC], keyframe, b"\x91Opus\xfc\x01", &[b"\x90Opus", OPUS_HEAD]).await;
    let video = epoch.tracks[0].video().unwrap();
    assert_eq!((video.codec, video.width, video.height), (VideoCodec::H265, 1_280, 720));
    assert_eq!(video.rfc6381, "hvc1.1.6.L93.90");
    assert_eq!(&video.configuration[..], HVCC);
    let audio = epoch.tracks[1].audio().unwrap();
    assert_eq!((audio.codec, audio.sample_rate), (AudioCodec::Opus, 48_000));
    let picture = frames.iter().find(|frame| frame.track == TrackId(0)).unwrap();
    assert_eq!((picture.dts, picture.pts), (0, 40 * 90), "the composition time is kept");
    assert_eq!(&picture.payload[..], [0, 0, 0, 3, 0x26, 1, 0xaf]);
    let sounds: Vec<_> = frames.iter().filter(|frame| frame.track == TrackId(1)).map(|frame| frame.dts).collect();
    assert!(sounds.windows(2).all(|pair| pair[1] - pair[0] == 960));
}

#[tokio::test]
async fn av1_vp9_and_aac_by_enhanced_rtmp() {
    let asc: &[&[u8]] = &[b"\x90mp4a", &[0x11, 0x90]];
    let keyframe: &[&[u8]] = &[b"\x91av01", &[0x12, 0, 0x32, 1, 0x10]];
    let (epoch, frames) = publish(&[b"\x90av01", AV1C], keyframe, b"\x91mp4a\x21", asc).await;
    let video = epoch.tracks[0].video().unwrap();
    assert_eq!((video.codec, video.width, video.height), (VideoCodec::Av1, 1_280, 720));
    assert_eq!(&frames[0].payload[..], [0x32, 1, 0x10], "without its temporal delimiter");
    assert_eq!(epoch.tracks[1].audio().unwrap().rfc6381, "mp4a.40.2");
    let (epoch, _) = publish(&[b"\x90vp09", VPCC], &[b"\x91vp09", VP9_KEYFRAME], b"\x91mp4a\x21", asc).await;
    let video = epoch.tracks[0].video().unwrap();
    assert_eq!((video.codec, video.width, video.height), (VideoCodec::Vp9, 1_280, 720));
    assert_eq!(video.rfc6381, "vp09.00.31.08");
}

#[tokio::test]
async fn of_several_tracks_the_first_is_carried() {
    // Multitrack, many tracks of one codec; track 1 comes first in the body.
    let configuration =
        [&[0x96, 0x10], &b"hvc1"[..], &[1, 0, 0, 1, 9, 0], &(HVCC.len() as u32).to_be_bytes()[1..], HVCC];
    let keyframe: &[&[u8]] = &[&[0x96, 0x13], b"hvc1", &[1, 0, 0, 1, 9, 0, 0, 0, 4, 0, 0, 0, 0]];
    let (epoch, frames) = publish(&configuration, keyframe, b"\x91Opus\xfc\x01", &[b"\x90Opus", OPUS_HEAD]).await;
    assert_eq!(epoch.tracks.len(), 2);
    assert_eq!(&frames[0].payload[..], [0, 0, 0, 0]);
}

#[tokio::test]
async fn parameters_may_change_in_mid_show() {
    let server = Server::start().await;
    let clip = Bytes::from_static(CLIP);
    let mut client = RtmpClient::publish(server.address, "live", "key-1").await.unwrap();
    let mut subscriber = server.next_broadcast().await;
    client.clip(&clip, 0).await;
    let first = next_epoch(&mut subscriber).await;
    client.video(2_000, [&[0x90], &b"hvc1"[..], HVCC].concat()).await;
    client.video(2_000, [&[0x93], &b"hvc1"[..], &[0, 0, 0, 3, 0x26, 1, 0xaf]].concat()).await;
    client.audio(2_000, &[0xaf, 1, 0x21][..]).await;
    let second = next_epoch(&mut subscriber).await;
    assert_eq!(second.video().unwrap().video().unwrap().codec, VideoCodec::H265);
    assert_eq!(second.tracks[1].audio(), first.tracks[1].audio(), "the sound goes on as it was");
    server.stop().await;
}

#[tokio::test]
async fn a_show_steps_over_both_wraps_on_a_real_socket() {
    for start in [0x00ff_ffff - 1_000, u32::MAX - 1_000] {
        let server = Server::start().await;
        let mut client = RtmpClient::publish(server.address, "live", "key-1").await.unwrap();
        let mut subscriber = server.next_broadcast().await;
        client.clip(&Bytes::from_static(CLIP), start).await;
        next_epoch(&mut subscriber).await;
        let frames = frames(&mut subscriber, 150).await;
        let last = frames.iter().rev().find(|frame| frame.track == TrackId(0)).unwrap();
        assert!(last.dts > 1_800 * 90, "the clock goes on to {} ticks", last.dts);
        server.stop().await;
    }
}
