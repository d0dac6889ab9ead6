//! Stories of videos, on both engines: the rules first, then `videos.*` as the app calls it.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde_json::{Value, json};

use super::model::{Recorded, VideoState};
use super::store::{self, Filter, Order};
use crate::admission::{Admission, DownloadPermit, WatchAttempt, WatchRefusal};
use crate::both_engines;
use crate::caller::SignedIn;
use crate::error::Error;
use crate::id::{SessionId, VideoId};
use crate::presence::LiveFact;
use crate::secret::Secret;
use crate::session::{Details, Role};
use crate::testing::served::{Person, Served};
use crate::testing::stage::{Stage, caller, details, guest};

const KEPT: Recorded = Recorded::Kept { duration: Duration::from_micros(12_345_678), has_video: true };

fn reason<T: std::fmt::Debug>(outcome: Result<T, Error>) -> &'static str {
    outcome.expect_err("a refusal").reason().expect("a reason")
}

async fn state(stage: &Stage, id: &SessionId) -> Option<VideoState> {
    store::state_of(&mut stage.db.reader().await.unwrap(), id).await.unwrap()
}

/// A show of these details, live and over, and what media said of it.
async fn show(stage: &Stage, host: &SignedIn, details: Details, recorded: Recorded) -> SessionId {
    let id = stage.sessions.create(&host.user_id, details).await.unwrap().session.id;
    stage.presence.tell(LiveFact::WentLive { session_id: id.clone(), at: stage.now() }).await;
    stage.presence.settle(&id).await;
    stage.clock.advance(Duration::from_secs(20));
    stage.sessions.end(host, id.as_str()).await.unwrap();
    recording_ended(stage, &id, recorded).await;
    id
}

async fn recording_ended(stage: &Stage, id: &SessionId, recorded: Recorded) {
    stage.presence.tell(LiveFact::RecordingEnded { session_id: id.clone(), recorded, at: stage.now() }).await;
    stage.presence.settle(id).await;
}

async fn video_of(stage: &Stage, id: &SessionId) -> VideoId {
    store::find_of(&mut stage.db.reader().await.unwrap(), id).await.unwrap().expect("a video").0.id
}

/// What a link gives, as media asks about it.
async fn follow(stage: &Stage, id: &SessionId, link: Option<&str>) -> Result<DownloadPermit, WatchRefusal> {
    let ticket = link.map(|link| Secret::new(link.split_once("?ticket=").expect("a link with a ticket").1));
    let attempt = WatchAttempt { session_id: id.to_string(), ticket };
    Admission::new(stage.sessions.clone()).admit_download(attempt).await
}

async fn watch(stage: &Stage, id: &SessionId, ticket: Option<&Secret>) -> Result<(), WatchRefusal> {
    let attempt = WatchAttempt { session_id: id.to_string(), ticket: ticket.cloned() };
    Admission::new(stage.sessions.clone()).admit_viewer(attempt).await.map(drop)
}

both_engines! {
    async fn show_that_ends_has_a_video_once_media_says_what_it_kept(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let host = stage.user("host").await;
        let id = stage.live_session(&host).await.session.id;
        assert_eq!(state(&stage, &id).await, None);
        stage.sessions.end(&host, id.as_str()).await.unwrap();
        assert_eq!(state(&stage, &id).await, Some(VideoState::Processing), "in the transaction of the end");
        assert_eq!(reason(stage.videos.play(&guest(), None, Some(id.as_str())).await), "video_not_ready");
        recording_ended(&stage, &id, KEPT).await;
        recording_ended(&stage, &id, Recorded::Nothing).await;
        assert_eq!(state(&stage, &id).await, Some(VideoState::Ready), "told again it stays");
        let (video, owner) = stage.videos.play(&guest(), None, Some(id.as_str())).await.unwrap().video;
        assert_eq!((video.duration, owner.name.as_str()), (Duration::from_micros(12_345_678), "host"));
        assert_eq!(stage.videos.play(&guest(), Some(video.id.as_str()), None).await.unwrap().video.0.id, video.id);
    }

    async fn recording_that_is_told_of_before_the_end_is_one_video_too(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let host = stage.user("host").await;
        let id = stage.live_session(&host).await.session.id;
        recording_ended(&stage, &id, KEPT).await;
        let first = video_of(&stage, &id).await;
        stage.sessions.end(&host, id.as_str()).await.unwrap();
        assert_eq!((state(&stage, &id).await, video_of(&stage, &id).await), (Some(VideoState::Ready), first));
    }

    async fn nothing_recorded_is_no_video_and_a_loss_is_told_to_the_owner(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan) = (stage.user("host").await, stage.user("fan").await);
        let never_live = stage.session(&host).await.session.id;
        stage.sessions.end(&host, never_live.as_str()).await.unwrap();
        recording_ended(&stage, &never_live, Recorded::Nothing).await;
        assert_eq!(state(&stage, &never_live).await, None);

        let nothing = show(&stage, &host, details("a codec HLS cannot carry"), Recorded::Nothing).await;
        let off = Details { is_recorded: false, ..details("off the record") };
        let off = show(&stage, &host, off, Recorded::Nothing).await;
        let lost = show(&stage, &host, details("the disk was full"), Recorded::Lost).await;
        for (id, now) in [(&nothing, VideoState::Gone), (&off, VideoState::Gone), (&lost, VideoState::Failed)] {
            assert_eq!(state(&stage, id).await, Some(now));
            assert_eq!(watch(&stage, id, None).await, Err(WatchRefusal::Ended));
        }
        assert_eq!(reason(stage.videos.play(&caller(&host), None, Some(nothing.as_str())).await), "no_such_video");
        assert_eq!(reason(stage.videos.play(&caller(&host), None, Some(lost.as_str())).await), "video_failed");
        let listed = async |by: Option<&SignedIn>| {
            let filter = Filter { caller: by.map(|user| user.user_id.clone()), ..Filter::default() };
            let page = stage.videos.list(&filter, Order::Recent, 20, 0).await.unwrap();
            (page.videos.into_iter().map(|(video, _)| video.session_id).collect::<Vec<_>>(), page.total)
        };
        assert_eq!(listed(Some(&host)).await, (vec![lost], 1));
        assert_eq!(listed(Some(&fan)).await, (vec![], 0));
        assert_eq!(listed(None).await, (vec![], 0));
    }

    async fn replay_is_open_to_whom_the_show_was(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, invited, stranger) =
            (stage.user("host").await, stage.user("invited").await, stage.user("stranger").await);
        let open = show(&stage, &host, details("open"), KEPT).await;
        assert_eq!(watch(&stage, &open, None).await, Ok(()));
        let hidden = Details { is_private: true, max_viewers: Some(1), ..details("hidden") };
        let id = stage.sessions.create(&host.user_id, hidden).await.unwrap().session.id;
        stage.presence.tell(LiveFact::WentLive { session_id: id.clone(), at: stage.now() }).await;
        stage.presence.settle(&id).await;
        stage.co_hosts.invite(&host, id.as_str(), invited.user_id.as_str()).await.unwrap();
        stage.sessions.end(&host, id.as_str()).await.unwrap();
        recording_ended(&stage, &id, KEPT).await;

        assert_eq!(reason(stage.sessions.join(&caller(&host), id.as_str(), Role::Viewer, None).await), "session_over");
        for by in [guest(), caller(&stranger)] {
            assert_eq!(reason(stage.videos.play(&by, None, Some(id.as_str())).await), "private_video");
        }
        assert_eq!(watch(&stage, &id, None).await, Err(WatchRefusal::Forbidden));
        let elsewhere = stage.videos.play(&caller(&stranger), None, Some(open.as_str())).await.unwrap().token;
        assert_eq!(watch(&stage, &id, Some(&elsewhere)).await, Err(WatchRefusal::BadTicket));
        for by in [&host, &invited] {
            let token = stage.videos.play(&caller(by), None, Some(id.as_str())).await.unwrap().token;
            assert_eq!(watch(&stage, &id, Some(&token)).await, Ok(()));
        }
        for (video_id, session_id) in [(None, None), (Some("video_1"), Some("session_1"))] {
            assert_eq!(reason(stage.videos.play(&guest(), video_id, session_id).await), "name_one_video");
        }
        assert_eq!(reason(stage.videos.play(&guest(), Some("'"), None).await), "no_such_video");
    }

    async fn replay_is_taken_home_by_its_owner_and_by_others_when_let(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan) = (stage.user("host").await, stage.user("fan").await);
        let id = show(&stage, &host, details("mine"), KEPT).await;
        let link = async |by| stage.videos.download(&by, None, Some(id.as_str())).await;
        for by in [guest(), caller(&fan)] {
            assert_eq!(reason(link(by).await), "download_not_allowed");
        }
        assert_eq!(follow(&stage, &id, None).await, Err(WatchRefusal::Forbidden));
        let own = link(caller(&host)).await.unwrap();
        assert!(own.starts_with(&format!("http://127.0.0.1:3000/hls/{id}/replay/video.mp4?ticket=")), "{own}");
        let permit = |is_private| DownloadPermit { title: "mine".into(), is_private };
        assert_eq!(follow(&stage, &id, Some(&own)).await, Ok(permit(true)));

        // The link opens nothing else, and no other ticket opens it.
        let ticket = Secret::new(own.split_once("?ticket=").unwrap().1);
        assert!(stage.sessions.any_ticket(&ticket).is_none());
        let playing = stage.videos.play(&caller(&host), None, Some(id.as_str())).await.unwrap().token;
        let as_link = format!("x?ticket={}", playing.reveal());
        assert_eq!(follow(&stage, &id, Some(&as_link)).await, Err(WatchRefusal::BadTicket));
        let other = show(&stage, &host, details("other"), KEPT).await;
        assert_eq!(follow(&stage, &other, Some(&own)).await, Err(WatchRefusal::BadTicket));

        // Let by the owner, and no longer: what a link is worth is looked up when it is followed.
        let video_id = video_of(&stage, &id).await;
        assert_eq!(reason(stage.videos.update(&fan, video_id.as_str(), true).await), "not_owner");
        assert!(stage.videos.update(&host, video_id.as_str(), true).await.unwrap().0.allow_download);
        let given = link(guest()).await.unwrap();
        assert_eq!(follow(&stage, &id, Some(&given)).await, Ok(permit(false)));
        assert_eq!(follow(&stage, &id, None).await, Ok(permit(false)));
        stage.videos.update(&host, video_id.as_str(), false).await.unwrap();
        assert_eq!(follow(&stage, &id, Some(&given)).await, Err(WatchRefusal::Forbidden));

        let ends = stage.clock.now();
        stage.clock.advance(Duration::from_secs(7 * 86_400));
        assert!(stage.clock.now() > ends);
        assert_eq!(follow(&stage, &id, Some(&own)).await, Err(WatchRefusal::BadTicket), "links end");
        let own = link(caller(&host)).await.unwrap();
        stage.videos.delete(&host, video_id.as_str()).await.unwrap();
        assert_eq!(follow(&stage, &id, Some(&own)).await, Err(WatchRefusal::NotFound));
        assert_eq!(reason(link(caller(&host)).await), "no_such_video");
        assert_eq!(reason(stage.videos.update(&host, video_id.as_str(), true).await), "no_such_video");
    }

    async fn private_replay_is_taken_home_by_those_it_is_open_to_only(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan) = (stage.user("host").await, stage.user("fan").await);
        let hidden = Details { is_private: true, allow_download: true, ..details("hidden") };
        let id = show(&stage, &host, hidden, KEPT).await;
        for by in [guest(), caller(&fan)] {
            assert_eq!(reason(stage.videos.download(&by, None, Some(id.as_str())).await), "private_video");
        }
        assert_eq!(follow(&stage, &id, None).await, Err(WatchRefusal::Forbidden));
        let own = stage.videos.download(&caller(&host), None, Some(id.as_str())).await.unwrap();
        assert!(follow(&stage, &id, Some(&own)).await.unwrap().is_private);
        let going_on = stage.live_session(&host).await.session.id;
        assert_eq!(follow(&stage, &going_on, None).await, Err(WatchRefusal::NotFound));
        let lost = show(&stage, &host, details("lost"), Recorded::Lost).await;
        assert_eq!(follow(&stage, &lost, None).await, Err(WatchRefusal::NotFound));
    }

    async fn view_is_counted_once_and_not_the_owners(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan) = (stage.user("host").await, stage.user("fan").await);
        let id = show(&stage, &host, details("seen"), KEPT).await;
        for by in [caller(&host), caller(&fan), guest(), caller(&fan), guest()] {
            stage.videos.play(&by, None, Some(id.as_str())).await.unwrap();
        }
        let (video, _) = stage.videos.play(&caller(&host), None, Some(id.as_str())).await.unwrap().video;
        assert_eq!(video.counters.views, 2);
    }

    async fn deleted_video_is_closed_at_once_and_gone_when_media_says_so(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan) = (stage.user("host").await, stage.user("fan").await);
        let id = stage.live_session(&host).await.session.id;
        stage.co_hosts.invite(&host, id.as_str(), fan.user_id.as_str()).await.unwrap();
        stage.co_hosts.accept(&fan, id.as_str()).await.unwrap();
        stage.sessions.end(&host, id.as_str()).await.unwrap();
        let video_id = video_of(&stage, &id).await;
        assert_eq!(reason(stage.videos.delete(&host, video_id.as_str()).await), "video_not_ready");
        recording_ended(&stage, &id, KEPT).await;
        assert_eq!(reason(stage.videos.delete(&fan, video_id.as_str()).await), "not_owner");
        stage.videos.delete(&host, video_id.as_str()).await.unwrap();
        stage.videos.delete(&host, video_id.as_str()).await.unwrap();
        assert_eq!(state(&stage, &id).await, Some(VideoState::Deleting));
        assert_eq!(watch(&stage, &id, None).await, Err(WatchRefusal::Ended));
        assert_eq!(reason(stage.videos.play(&caller(&host), None, Some(id.as_str())).await), "no_such_video");
        recording_ended(&stage, &id, KEPT).await;
        assert_eq!(state(&stage, &id).await, Some(VideoState::Deleting), "a late word brings nothing back");

        // As after a restart: the order was never given.
        stage.videos.sweep(&mut Default::default()).await.unwrap();
        assert_eq!(*stage.plane.deleted.lock(), [(id.clone(), vec![fan.user_id.clone()])]);
        stage.presence.tell(LiveFact::RecordingDeleted { session_id: id.clone(), at: stage.now() }).await;
        stage.presence.settle(&id).await;
        assert_eq!(state(&stage, &id).await, Some(VideoState::Gone));
        stage.videos.sweep(&mut Default::default()).await.unwrap();
        assert_eq!(stage.plane.deleted.lock().len(), 1);
        assert_eq!(reason(stage.videos.delete(&fan, video_id.as_str()).await), "no_such_video");
    }

    async fn what_media_never_answered_is_asked_again(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let host = stage.user("host").await;
        let (kept, off) = (stage.live_session(&host).await.session.id, Details { is_recorded: false, ..details("off") });
        let off = stage.sessions.create(&host.user_id, off).await.unwrap().session.id;
        stage.presence.tell(LiveFact::WentLive { session_id: off.clone(), at: stage.now() }).await;
        stage.presence.settle(&off).await;
        for id in [&kept, &off] {
            stage.sessions.end(&host, id.as_str()).await.unwrap();
        }
        stage.videos.sweep(&mut Default::default()).await.unwrap();
        assert_eq!(*stage.plane.settled.lock(), [kept.clone(), off.clone()]);
        recording_ended(&stage, &kept, KEPT).await;
        recording_ended(&stage, &off, KEPT).await;
        assert_eq!(state(&stage, &kept).await, Some(VideoState::Ready));
        assert_eq!(state(&stage, &off).await, Some(VideoState::Deleting), "kept against its host's will");
    }

    async fn old_replays_go_when_their_days_are_over(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let host = stage.user("host").await;
        let old = show(&stage, &host, details("old"), KEPT).await;
        stage.clock.advance(Duration::from_secs(29 * 86_400));
        let young = show(&stage, &host, details("young"), KEPT).await;
        stage.videos.sweep(&mut Default::default()).await.unwrap();
        assert_eq!(state(&stage, &old).await, Some(VideoState::Ready));
        stage.clock.advance(Duration::from_secs(86_400));
        stage.videos.sweep(&mut Default::default()).await.unwrap();
        assert_eq!(*stage.plane.deleted.lock(), [(old.clone(), vec![])]);
        assert_eq!(state(&stage, &young).await, Some(VideoState::Ready));
    }

    async fn list_is_filtered_searched_and_ordered(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, other) = (stage.user("host").await, stage.user("other").await);
        let music = Some("music".to_owned());
        let asked = Details { description: Some("100% عود".into()), category: music.clone(), ..details("Évening") };
        show(&stage, &host, asked, KEPT).await;
        let hidden = Details { is_private: true, ..details("hidden_one") };
        show(&stage, &host, hidden, KEPT).await;
        let third = show(&stage, &other, Details { category: music.clone(), ..details("third") }, KEPT).await;
        let seen = show(&stage, &host, details("seen"), KEPT).await;
        stage.videos.play(&guest(), None, Some(seen.as_str())).await.unwrap();
        let mut tx = stage.db.begin().await.unwrap();
        LIKE.on(&mut tx).bind(&third).execute().await.unwrap();
        tx.commit().await.unwrap();

        let titles = async |filter: &Filter, order, limit, offset| {
            let page = stage.videos.list(filter, order, limit, offset).await.unwrap();
            let titles: Vec<_> = page.videos.into_iter().map(|(video, _)| video.title).collect();
            (titles.join(" "), page.total)
        };
        let all = Filter::default();
        assert_eq!(titles(&all, Order::Recent, 20, 0).await, ("seen third Évening".into(), 3));
        assert_eq!(titles(&all, Order::Recent, 1, 1).await, ("third".into(), 3));
        assert_eq!(titles(&all, Order::MostViewed, 20, 0).await, ("seen third Évening".into(), 3));
        assert_eq!(titles(&all, Order::MostLiked, 20, 0).await, ("third seen Évening".into(), 3));
        let own = Filter { caller: Some(host.user_id.clone()), ..all.clone() };
        assert_eq!(titles(&own, Order::Recent, 20, 0).await, ("seen third hidden_one Évening".into(), 4));
        let of_host = Filter { owner: Some(host.user_id.to_string()), ..all.clone() };
        assert_eq!(titles(&of_host, Order::MostLiked, 20, 0).await, ("seen Évening".into(), 2));
        let by_category = Filter { category: music, ..all.clone() };
        assert_eq!(titles(&by_category, Order::Recent, 20, 0).await, ("third Évening".into(), 2));
        for (search, found) in [("évening", 1), ("100% ع", 1), ("1%", 0), ("s_en", 0), ("!", 0), ("'", 0), ("", 3)] {
            let filter = Filter { search: Some(search.into()), ..all.clone() };
            assert_eq!(titles(&filter, Order::Recent, 20, 0).await.1, found, "{search}");
        }
    }

    async fn app_finds_plays_and_deletes_a_replay(db: TestDatabase) {
        let served = Served::on(db).await;
        let (host, fan) = (served.person("host").await, served.person("fan").await);
        let id = served.session(&host).await;
        let session_id = SessionId::parse(&id).unwrap();
        let tell = async |fact| {
            served.control.ingress().tell(fact).await;
            served.control.ingress().settle(&session_id).await;
        };
        tell(LiveFact::WentLive { session_id: session_id.clone(), at: SystemTime::now() }).await;
        served.mutate(Some(&host), "streaming.endSession", json!({"sessionId": id})).await;
        let list = async |by: Option<&Person>| {
            let (status, answer) = served.query(by, "videos.getVideos", json!({})).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            answer
        };
        assert_eq!(list(Some(&host)).await["videos"][0]["status"], "processing");
        assert_eq!(list(Some(&fan)).await, json!({"videos": [], "total": 0, "hasMore": false}));
        let at = SystemTime::now();
        tell(LiveFact::RecordingEnded { session_id: session_id.clone(), recorded: KEPT, at }).await;

        let video = list(None).await["videos"][0].take();
        let shown = json!({
            "userId": host.user.user_id, "userName": "host", "userAvatar": "https://cdn.test/host.png",
            "title": "A show", "category": "", "tags": [], "thumbnail": "",
            "videoUrl": format!("http://127.0.0.1:3000/hls/{id}/index.m3u8"),
            "duration": 12, "durationMs": 12345, "isPrivate": false, "allowComments": false, "allowDownload": false,
            "status": "ready", "views": 0, "likes": 0, "dislikes": 0, "comments": 0, "shares": 0,
            "sessionId": id, "type": "video",
        });
        for (key, value) in shown.as_object().unwrap() {
            assert_eq!(&video[key], value, "{key}");
        }
        assert!(video["id"].as_str().is_some_and(|id| id.starts_with("video_")));
        assert!(video["createdAt"].is_string() && video["updatedAt"].is_string());
        // A show that was over before its only picture was made.
        tell(LiveFact::ThumbnailMade { session_id: session_id.clone() }).await;
        let poster = json!(format!("http://127.0.0.1:3000/hls/{id}/thumbnail.jpg"));
        assert_eq!(list(None).await["videos"][0]["thumbnail"], poster);

        let (status, playing) = served.mutate(None, "videos.playVideo", json!({"sessionId": id})).await;
        assert_eq!(status, StatusCode::OK, "{playing}");
        assert_eq!(playing["playbackUrl"], video["videoUrl"]);
        assert!(playing["token"].is_string() && playing["video"]["id"] == video["id"]);
        let download = async |by: Option<&Person>| {
            let (status, answer) = served.mutate(by, "videos.downloadVideo", json!({"videoId": video["id"]})).await;
            (status.as_u16(), answer["data"]["reason"].clone(), answer["downloadUrl"].is_string())
        };
        assert_eq!(download(Some(&fan)).await, (403, json!("download_not_allowed"), false));
        assert_eq!(download(Some(&host)).await, (200, Value::Null, true));
        let allowed = json!({"videoId": video["id"], "allowDownload": true});
        let (status, updated) = served.mutate(Some(&host), "videos.updateVideo", allowed).await;
        assert_eq!((status, &updated["video"]["allowDownload"]), (StatusCode::OK, &json!(true)), "{updated}");
        assert_eq!(download(None).await, (200, Value::Null, true));
        let delete = async |by: Option<&Person>| {
            let (status, answer) = served.mutate(by, "videos.deleteVideo", json!({"videoId": video["id"]})).await;
            (status.as_u16(), answer["data"]["reason"].clone())
        };
        assert_eq!(delete(Some(&fan)).await, (403, json!("not_owner")));
        assert_eq!(delete(Some(&host)).await, (200, Value::Null));
        assert_eq!(list(Some(&host)).await["total"], 0);
        let ordered = async {
            while served.plane.deleted.lock().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(crate::testing::served::LIMIT, ordered).await.expect("the order in time");
    }
}

crate::db::statements! {
    LIKE = "update video set likes = likes + 1 where session_id = $1";
}
