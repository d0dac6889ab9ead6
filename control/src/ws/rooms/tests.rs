//! Rooms without sockets: who is woken when, and what they read.

use tokio::time::timeout;

use super::*;
use crate::bus::{Bus, DomainEvent};
use crate::clock::Timestamp;

const AT: Timestamp = Timestamp::from_micros(0);

fn rooms() -> Arc<Rooms> {
    Rooms::new(RoomLimits {
        log: LogLimits { max_frames: 100, max_bytes: 100_000, max_age: Duration::from_secs(300), min_frames: 10 },
        max_replay: 50,
        keep_empty: Duration::from_secs(300),
        max_presence_per_second: 3,
    })
}

fn resumed(session_id: &SessionId) -> DomainEvent {
    DomainEvent::SessionResumed { session_id: session_id.clone(), at: AT }
}

fn status(session_id: &SessionId) -> Announcement {
    Announcement::of(resumed(session_id)).unwrap()
}

fn joined(session_id: &SessionId) -> Announcement {
    let (viewer, viewer_count) = ("v".to_owned(), 1);
    Announcement::of(DomainEvent::ViewerJoined { session_id: session_id.clone(), viewer, viewer_count, at: AT })
        .unwrap()
}

fn read(member: &mut Membership) -> Vec<Utf8Bytes> {
    let mut out = Vec::new();
    assert_eq!(member.read(None, 100, &mut out), Read::Complete);
    out
}

fn is_woken(wake: &Notify) -> bool {
    futures_util::FutureExt::now_or_never(wake.notified()).is_some()
}

#[test]
fn members_share_one_encoding() {
    let (rooms, session_id, wake) = (rooms(), SessionId::generate(), Arc::new(Notify::new()));
    let mut members: Vec<_> = (0..2).map(|_| rooms.join(session_id.clone(), Arc::clone(&wake), None, now())).collect();
    assert_eq!(rooms.announce(&status(&session_id), now()), None);
    assert!(is_woken(&wake));
    let texts: Vec<_> = members.iter_mut().map(|member| read(member).remove(0)).collect();
    assert_eq!(texts[0].as_ptr(), texts[1].as_ptr());
    assert!(texts[0].contains("session_status"));
}

#[test]
fn other_rooms_hear_nothing() {
    let (rooms, session_id, wake) = (rooms(), SessionId::generate(), Arc::new(Notify::new()));
    let mut member = rooms.join(SessionId::generate(), Arc::clone(&wake), None, now());
    rooms.announce(&status(&session_id), now());
    assert!(!is_woken(&wake));
    assert!(read(&mut member).is_empty());
}

#[test]
fn big_room_merges_wake_ups_but_no_frames() {
    let (rooms, session_id, start) = (rooms(), SessionId::generate(), now());
    let wake = Arc::new(Notify::new());
    let mut members: Vec<_> =
        (0..201).map(|_| rooms.join(session_id.clone(), Arc::clone(&wake), None, start)).collect();
    let event = status(&session_id);
    assert_eq!(rooms.announce(&event, start), None, "after a quiet time there is nothing to wait for");
    assert!(is_woken(&wake));
    let ms = Duration::from_millis(1);
    assert_eq!(rooms.announce(&event, start + 10 * ms), Some(start + 50 * ms));
    assert_eq!(rooms.announce(&event, start + 20 * ms), None, "that wake-up is on its way");
    assert!(!is_woken(&wake));
    rooms.wake(&session_id, start + 50 * ms);
    assert!(is_woken(&wake));
    assert_eq!(read(&mut members[7]).len(), 3);
    assert_eq!(rooms.announce(&event, start + 100 * ms), None);
}

#[test]
fn storm_of_joins_is_cut_and_the_count_told_after() {
    let (rooms, session_id, start) = (rooms(), SessionId::generate(), now());
    let mut member = rooms.join(session_id.clone(), Arc::new(Notify::new()), None, start);
    let count =
        Announcement::of(DomainEvent::AudienceChanged { session_id: session_id.clone(), viewer_count: 5, at: AT })
            .unwrap();
    rooms.announce(&count, start);
    assert!(read(&mut member).is_empty(), "joins carry the count");
    (0..5).for_each(|_| assert_eq!(rooms.announce(&joined(&session_id), start), None));
    rooms.announce(&count, start);
    let heard = read(&mut member);
    assert_eq!(heard.len(), 4);
    assert!(heard[3].contains("viewer_count"));
    rooms.announce(&joined(&session_id), start + Duration::from_secs(1));
    assert_eq!(read(&mut member).len(), 1);
}

#[test]
fn member_who_comes_back_in_time_misses_nothing() {
    let (rooms, session_id, start) = (rooms(), SessionId::generate(), now());
    let mut first = rooms.join(session_id.clone(), Arc::new(Notify::new()), None, start);
    rooms.announce(&status(&session_id), start);
    assert_eq!(read(&mut first).len(), 1);
    let seen = first.position();
    drop(first);
    rooms.announce(&status(&session_id), start);
    rooms.sweep(start);
    let mut again = rooms.join(session_id.clone(), Arc::new(Notify::new()), Some(seen), start);
    assert!(again.resumed());
    assert_eq!(read(&mut again).len(), 1);
    let stranger = rooms.join(session_id, Arc::new(Notify::new()), Some(Position { epoch: 1, seq: 1 }), start);
    assert!(!stranger.resumed());
}

#[test]
fn empty_room_is_forgotten_in_the_end() {
    let (rooms, session_id, start) = (rooms(), SessionId::generate(), now());
    drop(rooms.join(session_id.clone(), Arc::new(Notify::new()), None, start));
    rooms.sweep(start);
    rooms.sweep(start + Duration::from_secs(299));
    assert!(rooms.room(&session_id).is_some());
    rooms.sweep(start + Duration::from_secs(300));
    assert!(rooms.room(&session_id).is_none());
}

#[tokio::test(start_paused = true)]
async fn events_of_the_bus_reach_the_members() {
    let (rooms, session_id, bus, stop) = (rooms(), SessionId::generate(), Bus::new(), CancellationToken::new());
    let task = tokio::spawn(Arc::clone(&rooms).run(bus.subscribe(), stop.clone()));
    let wake = Arc::new(Notify::new());
    let mut member = rooms.join(session_id.clone(), Arc::clone(&wake), None, now());
    let _crowd: Vec<_> = (0..300).map(|_| rooms.join(session_id.clone(), Arc::default(), None, now())).collect();
    for _ in 0..3 {
        bus.publish(resumed(&session_id));
        timeout(Duration::from_millis(60), wake.notified()).await.expect("woken within the tick");
        assert_eq!(read(&mut member).len(), 1);
    }
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn missed_events_are_a_hole_and_never_hidden() {
    let (rooms, session_id) = (rooms(), SessionId::generate());
    let wake = Arc::new(Notify::new());
    let mut member = rooms.join(session_id.clone(), Arc::clone(&wake), None, now());
    rooms.restart_all();
    assert!(is_woken(&wake));
    assert_eq!(member.read(None, 10, &mut Vec::new()), Read::Lost);
}

#[tokio::test(start_paused = true)]
async fn seats_of_somebody_who_is_put_out_are_taken_away_and_no_others() {
    let (rooms, session_id, bus, stop) = (rooms(), SessionId::generate(), Bus::new(), CancellationToken::new());
    let task = tokio::spawn(Arc::clone(&rooms).run(bus.subscribe(), stop.clone()));
    let (ann, bob) = (UserId::generate(), UserId::generate());
    let seat = |session_id: &SessionId, owner: Option<&UserId>| {
        let wake = Arc::new(Notify::new());
        let mut seat = rooms.join(session_id.clone(), Arc::clone(&wake), None, now());
        owner.cloned().into_iter().for_each(|user_id| seat.only_for(user_id));
        (seat, wake)
    };
    let (hers, woken) = seat(&session_id, Some(&ann));
    let others = [seat(&session_id, Some(&bob)), seat(&session_id, None), seat(&SessionId::generate(), Some(&ann))];
    bus.publish(DomainEvent::ViewerEjected { session_id: session_id.clone(), user_id: ann });
    timeout(Duration::from_secs(1), woken.notified()).await.expect("woken to go");
    assert!(hers.is_out());
    assert!(others.iter().all(|(seat, wake)| !seat.is_out() && !is_woken(wake)));
    drop((hers, others));
    assert!(rooms.room(&session_id).unwrap().members.lock().owners.is_empty());
    stop.cancel();
    task.await.unwrap();
}
