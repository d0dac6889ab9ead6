//! The command sequences of real encoders, message by message.

use super::*;
use crate::ingest::rtmp::chunk::{ChunkLimits, ChunkReader};

/// Reads our own answers back.
struct Dialogue {
    net: NetConnection,
    reader: ChunkReader,
}

impl Dialogue {
    fn new() -> Self {
        let limits = ChunkLimits {
            media_message_max_bytes: 1 << 20,
            command_message_max_bytes: 1 << 16,
            unfinished_max_bytes: 1 << 20,
            chunk_streams_max: 8,
        };
        Self { net: NetConnection::new("live"), reader: ChunkReader::new(limits) }
    }

    fn send(&mut self, type_id: u8, stream_id: u32, values: Vec<Amf0Value>) -> Result<Option<Event>, ConnectionEnd> {
        let mut payload = rml_amf0::serialize(&values).unwrap();
        if type_id == message_type::COMMAND_AMF3 {
            payload.insert(0, 0);
        }
        self.net.handle_message(Message { timestamp: 0, type_id, stream_id, payload: payload.into() })
    }

    fn call(&mut self, name: &str, transaction: f64, rest: Vec<Amf0Value>) -> Result<Option<Event>, ConnectionEnd> {
        let values = [vec![text(name), Amf0Value::Number(transaction)], rest].concat();
        self.send(message_type::COMMAND_AMF0, 1, values)
    }

    fn connect(&mut self, properties: &[(&str, Amf0Value)]) -> Result<Option<Event>, ConnectionEnd> {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        self.call("connect", 1.0, vec![Amf0Value::Object(properties.collect())])
    }

    /// What we said: command names with their values, and the types of other messages.
    fn heard(&mut self) -> Vec<(String, Vec<Amf0Value>)> {
        let output = self.net.take_output();
        let mut input = &output[..];
        let mut heard = Vec::new();
        while let Some(message) = self.reader.next(&mut input).unwrap() {
            if message.type_id != message_type::COMMAND_AMF0 {
                heard.push((format!("type {}", message.type_id), Vec::new()));
                continue;
            }
            let mut values = amf0::decode(&message.payload).unwrap();
            let Amf0Value::Utf8String(name) = values.remove(0) else { panic!("a command has a name") };
            heard.push((name, values));
        }
        heard
    }

    fn names(&mut self) -> Vec<String> {
        self.heard().into_iter().map(|(name, _)| name).collect()
    }
}

fn code(values: &[Amf0Value]) -> &str {
    values
        .iter()
        .find_map(|value| match value {
            Amf0Value::Object(properties) => properties.get("code"),
            _ => None,
        })
        .map_or("", |code| match code {
            Amf0Value::Utf8String(code) => code,
            _ => "",
        })
}

fn live() -> [(&'static str, Amf0Value); 2] {
    [("app", text("live")), ("tcUrl", text("rtmp://host/live"))]
}

#[test]
fn every_encoder_gets_to_publish_in_its_own_order() {
    const NULL: Amf0Value = Amf0Value::Null;
    let obs: &[&str] = &["releaseStream", "FCPublish", "createStream", "_checkbw"];
    let ffmpeg: &[&str] = &["releaseStream", "FCPublish", "createStream"];
    let gstreamer: &[&str] = &["releaseStream", "FCPublish", "createStream", "getStreamLength"];
    let librtmp: &[&str] = &["_checkbw", "createStream"];
    for order in [obs, ffmpeg, gstreamer, librtmp] {
        let mut dialogue = Dialogue::new();
        dialogue.connect(&live()).unwrap();
        assert_eq!(dialogue.names(), ["type 5", "type 6", "type 1", "_result"]);
        for (index, name) in order.iter().enumerate() {
            let event = dialogue.call(name, index as f64 + 2.0, vec![NULL, text("k3y")]).unwrap();
            assert!(event.is_none());
            let answers = dialogue.heard();
            assert_eq!(answers[0].0, "_result", "{name} is answered");
            assert_eq!(answers[0].1[0], Amf0Value::Number(index as f64 + 2.0));
            if *name == "FCPublish" {
                assert_eq!(answers[1].0, "onFCPublish");
            }
        }
        let event = dialogue.call("publish", 6.0, vec![NULL, text("k3y"), text("live")]).unwrap();
        let Some(Event::PublishRequested(name)) = event else { panic!("publish asks") };
        assert_eq!(name.key.expose(), "k3y");
        assert!(dialogue.heard().is_empty(), "the answer waits for admission");
        dialogue.net.accept();
        let answers = dialogue.heard();
        assert_eq!(answers[0].0, "type 4");
        assert_eq!(code(&answers[1].1), "NetStream.Publish.Start");
        dialogue.call("FCUnpublish", 7.0, vec![NULL, text("k3y")]).unwrap();
        assert!(matches!(dialogue.call("publish", 8.0, vec![NULL, text("k3y")]), Ok(Some(Event::PublishRequested(_)))));
    }
}

#[test]
fn flash_shaped_commands_are_understood() {
    let mut dialogue = Dialogue::new();
    let mut properties = live().to_vec();
    properties.push(("objectEncoding", Amf0Value::Number(3.0)));
    dialogue.connect(&properties).unwrap();
    let answers = dialogue.heard();
    let Amf0Value::Object(status) = &answers[3].1[2] else { panic!("a status") };
    assert_eq!(status["objectEncoding"], Amf0Value::Number(3.0));
    let values = vec![text("createStream"), Amf0Value::Number(2.0), Amf0Value::Null];
    dialogue.send(message_type::COMMAND_AMF3, 0, values).unwrap();
    assert_eq!(dialogue.heard()[0].1[2], Amf0Value::Number(1.0));
    let values = vec![text("publish"), Amf0Value::Number(3.0), Amf0Value::Null, text("k3y"), text("live")];
    assert!(matches!(dialogue.send(message_type::COMMAND_AMF3, 1, values), Ok(Some(Event::PublishRequested(_)))));
}

#[test]
fn enhanced_rtmp_is_offered_to_those_who_ask() {
    let mut plain = Dialogue::new();
    plain.connect(&live()).unwrap();
    let Amf0Value::Object(server) = &plain.heard()[3].1[1] else { panic!("properties") };
    assert!(!server.contains_key("fourCcList"));
    let mut enhanced = Dialogue::new();
    let mut properties = live().to_vec();
    properties.push(("fourCcList", Amf0Value::StrictArray(vec![text("hvc1")])));
    enhanced.connect(&properties).unwrap();
    let Amf0Value::Object(server) = &enhanced.heard()[3].1[1] else { panic!("properties") };
    let Amf0Value::StrictArray(list) = &server["fourCcList"] else { panic!("a list") };
    assert!(list.contains(&text("hvc1")) && list.contains(&text("Opus")));
    assert_eq!(server["capsEx"], Amf0Value::Number(6.0));
}

#[test]
fn what_is_not_served_is_refused_in_words() {
    let mut other = Dialogue::new();
    assert!(matches!(other.connect(&[("app", text("vod"))]), Err(ConnectionEnd::UnknownApplication)));
    assert_eq!(code(&other.heard()[0].1), "NetConnection.Connect.Rejected");
    let mut player = Dialogue::new();
    player.connect(&live()).unwrap();
    player.heard();
    let played = player.call("play", 0.0, vec![Amf0Value::Null, text("show")]);
    assert!(matches!(played, Err(ConnectionEnd::PlayRefused)));
    assert_eq!(code(&player.heard()[0].1), "NetStream.Play.Failed");
    for (refusal, expected) in [
        (Refusal::BadCredentials, "NetStream.Publish.BadName"),
        (Refusal::Unavailable, "NetStream.Publish.Failed"),
        (Refusal::Stopping, "NetStream.Publish.Failed"),
    ] {
        let mut refused = Dialogue::new();
        refused.connect(&live()).unwrap();
        refused.call("publish", 2.0, vec![Amf0Value::Null, text("k3y")]).unwrap();
        refused.heard();
        refused.net.refuse(&refusal);
        assert_eq!(code(&refused.heard()[0].1), expected);
    }
}

#[test]
fn commands_out_of_turn_end_the_connection() {
    assert!(Dialogue::new().call("publish", 1.0, vec![]).is_err());
    assert!(Dialogue::new().call("createStream", 1.0, vec![]).is_err());
    assert!(Dialogue::new().send(message_type::COMMAND_AMF0, 0, vec![Amf0Value::Null]).is_err());
    assert!(Dialogue::new().call("connect", 1.0, vec![]).is_err());
    let mut twice = Dialogue::new();
    twice.connect(&live()).unwrap();
    assert!(twice.connect(&live()).is_err());
    assert!(twice.call("publish", 2.0, vec![Amf0Value::Null]).is_err(), "no name");
}

#[test]
fn media_before_publishing_is_ignored_and_bytes_are_acknowledged_in_total() {
    let mut dialogue = Dialogue::new();
    let body = Message { timestamp: 0, type_id: message_type::VIDEO, stream_id: 1, payload: Bytes::from_static(&[0]) };
    assert!(matches!(dialogue.net.handle_message(body), Ok(None)));
    let window = Bytes::from_static(&[0, 2, 0, 0]);
    let message = Message { timestamp: 0, type_id: message_type::WINDOW_ACK_SIZE, stream_id: 0, payload: window };
    dialogue.net.handle_message(message).unwrap();
    for total in [131_072_u32, 262_144] {
        dialogue.net.count_received(131_071);
        assert!(dialogue.heard().is_empty());
        dialogue.net.count_received(1);
        let output = dialogue.net.take_output();
        let message = dialogue.reader.next(&mut &output[..]).unwrap().unwrap();
        assert_eq!((message.type_id, &message.payload[..]), (3, &total.to_be_bytes()[..]));
    }
}

#[test]
fn pings_are_answered() {
    let mut dialogue = Dialogue::new();
    let payload = Bytes::from_static(&[0, 6, 1, 2, 3, 4]);
    let ping = Message { timestamp: 0, type_id: message_type::USER_CONTROL, stream_id: 0, payload };
    dialogue.net.handle_message(ping).unwrap();
    let output = dialogue.net.take_output();
    let message = dialogue.reader.next(&mut &output[..]).unwrap().unwrap();
    assert_eq!((message.type_id, &message.payload[..]), (4, &[0, 7, 1, 2, 3, 4][..]));
}

#[test]
fn aggregates_are_split_with_their_own_times() {
    let mut payload = vec![8, 0, 0, 1, 0, 3, 0xe8, 0, 0, 0, 0, 0xaf, 0, 0, 0, 12];
    payload.extend([9, 0, 0, 2, 0, 3, 0xfc, 0, 0, 0, 0, 0x17, 1, 0, 0, 0, 13]);
    payload.extend([9, 0, 0, 99, 0, 4, 0, 0, 0, 0, 0, 1]);
    let aggregate = Message { timestamp: 5_000, type_id: 22, stream_id: 1, payload: payload.into() };
    let messages = split_aggregate(aggregate);
    let told: Vec<_> =
        messages.iter().map(|message| (message.type_id, message.timestamp, message.payload.len())).collect();
    assert_eq!(told, [(8, 5_000, 1), (9, 5_020, 2)]);
}
