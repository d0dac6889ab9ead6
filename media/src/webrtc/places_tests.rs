//! Places for peers: what one address may take of them, and what a publisher without one leaves alone. Over HTTP,
//! against the real desk and workers.

use super::WebrtcConfig;
use super::ejection_tests::{SHOW, Stage, Viewer};
use http::{Method, StatusCode};
use std::net::SocketAddr;
use std::time::Duration;

const WATCHES: &str = include_str!("../rtc/negotiate/testdata/chromium-156-receives.sdp");
const PUBLISHES: &str = include_str!("../rtc/negotiate/testdata/aiortc-1.16-sends.sdp");
/// Longer than anything a test waits for on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

async fn offer(stage: &Stage, from: &str, kind: &str, offer: &str) -> Result<String, (StatusCode, String)> {
    let client = SocketAddr::new(from.parse().unwrap(), 4_000);
    let path = if kind == "whip" { "/whip".to_owned() } else { format!("/whep/{SHOW}") };
    let who = if kind == "whip" { Viewer::Bearer("key") } else { Viewer::Nobody };
    let (status, location, body) = stage.send_from(client, Method::POST, &path, who, offer).await;
    if status == StatusCode::CREATED { Ok(location) } else { Err((status, body)) }
}

/// Ends what 192.0.2.7 watches: its place is another's of the same address.
async fn give_back(stage: &Stage, resource: &str) {
    let (status, ..) =
        stage.send_from(SocketAddr::from(([192, 0, 2, 7], 1)), Method::DELETE, resource, Viewer::Nobody, "").await;
    assert_eq!(status, StatusCode::OK);
    let again = async {
        while offer(stage, "192.0.2.7", "whep", WATCHES).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, again).await.expect("a place that is given back is another's");
}

#[tokio::test]
async fn one_address_takes_only_its_share_of_the_places_until_it_is_connected() {
    let stage = Stage::with(WebrtcConfig { max_peers: 7, max_connecting_per_ip: 2, ..WebrtcConfig::default() }).await;
    let _show = stage.publish(SHOW).await;
    let watch = async |from| offer(&stage, from, "whep", WATCHES).await;
    let first = watch("192.0.2.7").await.unwrap();
    watch("192.0.2.7").await.unwrap();
    for same in ["192.0.2.7", "::ffff:192.0.2.7"] {
        let (status, why) = watch(same).await.unwrap_err();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(why.contains("your address"), "{why}");
    }
    watch("192.0.2.8").await.expect("others find theirs");
    watch("2001:db8::1").await.unwrap();
    watch("2001:db8::ffff").await.unwrap();
    watch("2001:db8::2").await.expect_err("one customer has a whole network");
    watch("2001:db8:0:1::1").await.unwrap();

    give_back(&stage, &first).await;
    stage.stop().await;
}

#[tokio::test]
async fn who_takes_a_show_over_without_a_place_does_not_interrupt_it() {
    let stage = Stage::with(WebrtcConfig { max_connecting_per_ip: 1, ..WebrtcConfig::default() }).await;
    let publish = async |from| offer(&stage, from, "whip", PUBLISHES).await;
    let on_air = publish("192.0.2.7").await.unwrap();
    let (status, why) = publish("192.0.2.7").await.unwrap_err();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{why}");
    assert!(stage.is_there(&on_air, Viewer::Bearer("key")).await, "nobody has cut it");
    publish("192.0.2.8").await.expect("with a place it is another matter");
    assert!(!stage.is_there(&on_air, Viewer::Bearer("key")).await, "it was taken over");
    stage.stop().await;
}

#[tokio::test]
async fn viewers_leave_places_for_publishers_and_who_takes_over_has_the_place_of_who_was_there() {
    let stage = Stage::with(WebrtcConfig { max_peers: 3, ..WebrtcConfig::default() }).await;
    let show = stage.publish(SHOW).await;
    let watch = async |from| offer(&stage, from, "whep", WATCHES).await;
    let publish = async |from| offer(&stage, from, "whip", PUBLISHES).await;
    watch("192.0.2.1").await.unwrap();
    watch("192.0.2.2").await.unwrap();
    let (status, why) = watch("192.0.2.3").await.unwrap_err();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{why}");
    // The host was elsewhere, and comes back.
    drop(show);
    let first = publish("192.0.2.8").await.expect("a place was kept for it");
    // Its network is lost; it does not know yet that the server has not noticed.
    publish("192.0.2.9").await.expect("the place of the connection that it replaces");
    assert!(!stage.is_there(&first, Viewer::Bearer("key")).await, "it was taken over");
    stage.stop().await;
}

#[tokio::test]
async fn one_address_has_only_its_share_of_the_viewers() {
    let config = WebrtcConfig { max_viewers_per_ip: 2, ..WebrtcConfig::default() };
    let stage = Stage::with(config).await;
    let show = stage.publish(SHOW).await;
    let watch = async |from| offer(&stage, from, "whep", WATCHES).await;
    let first = watch("192.0.2.7").await.unwrap();
    watch("192.0.2.7").await.unwrap();
    let (status, why) = watch("192.0.2.7").await.unwrap_err();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(why.contains("watch from your address"), "{why}");
    watch("192.0.2.8").await.expect("others find theirs");
    give_back(&stage, &first).await;
    drop(show);
    offer(&stage, "192.0.2.7", "whip", PUBLISHES).await.expect("who publishes is none of them");
    stage.stop().await;
}
