//! The whole binary against its real counterparts, one walk per file: ffmpeg and GStreamer publish, the app's own client
//! calls, Chromium, aiortc and GStreamer watch, and the server knows nothing of being tested.

mod harness;

mod bad_input;
mod bench;
mod co_hosts;
mod codecs;
mod configuration;
mod drain;
mod encoders;
mod firefox;
mod full_house;
mod interop;
mod moves;
mod networks;
mod pages;
mod players;
mod publish_to_hls;
mod quality;
mod reconnect;
mod removal;
mod replays;
mod restart;
mod rewind;
mod silence;
mod startup;
mod storage;
mod str0m_peer;
mod strangers;
mod studio;
mod thumbnails;
mod tls;
mod webrtc;
