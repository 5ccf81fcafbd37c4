//! One router: publishers to receivers.

use std::time::Duration;

use millrace_proto::control::{ControlFrame, OpenReceiver, Subscribe};
use millrace_proto::data::{self, DataFrame, GapReason};
use millrace_proto::frame::FrameReader;
use millrace_proto::stream::stream_kind;
use millrace_proto::{DecodeError, SubscriptionNumber};

use crate::raw::Raw;
use crate::world::{LONG, World, event, publisher, receiver, tags, within};

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_the_receivers_whose_selectors_match() {
    let world = World::new();
    let router = world.router("one");
    let client = world.client(&router);
    let mut web = receiver(&client, &["host=web-*,severity!=debug"]).await;
    let mut errors = receiver(&client, &["payload ~ /timed? out/"]).await;
    let publisher = publisher(&client).await;
    for (host, payload) in [("web-1", "up"), ("db-1", "query timed out"), ("web-2", "time out")] {
        publisher.publish(&tags(&[&format!("host={host}")]), payload).await.unwrap();
    }
    within(publisher.flush()).await;
    let mut seen = vec![event(&mut web).await.payload, event(&mut web).await.payload];
    seen.sort();
    assert_eq!(seen, ["time out", "up"]);
    let mut seen = vec![event(&mut errors).await.payload, event(&mut errors).await.payload];
    seen.sort();
    assert_eq!(seen, ["query timed out", "time out"]);
    let seen = router.wait_until(LONG, |seen| seen.sum(|core| core.engine.events_out) == 4).unwrap();
    assert_eq!(seen.sum(|core| core.engine.events_in), 3);
    assert_eq!(seen.sum(|core| core.engine.dropped.iter().sum()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn order_of_one_tag_set_is_kept_over_many_events() {
    let world = World::new();
    let router = world.router("one");
    let client = world.client(&router);
    let mut all = receiver(&client, &["*"]).await;
    let publisher = publisher(&client).await;
    let tags = tags(&["host=a", "kind=count"]);
    let publish = async {
        for number in 0..20_000_u32 {
            publisher.publish(&tags, number.to_be_bytes().to_vec()).await.unwrap();
        }
        within(publisher.flush()).await;
    };
    let receive = async {
        for number in 0..20_000_u32 {
            assert_eq!(event(&mut all).await.payload[..], number.to_be_bytes());
        }
    };
    tokio::join!(publish, receive);
}

/// Events of a deliver stream before its one overflow gap, those that the gap says are missing, and
/// those behind it.
fn around_the_gap(stream: &[u8]) -> Option<(u64, u64, u64)> {
    let (mut before, mut gap, mut behind) = (0, None, 0);
    let mut frame = |kind: u64, body: &[u8]| {
        if kind == stream_kind::DELIVER {
            return Ok(());
        }
        match data::decode(kind, body)? {
            DataFrame::Run { body, .. } if gap.is_none() => before += body.count(),
            DataFrame::Run { body, .. } => behind += body.count(),
            DataFrame::Gap(found) => {
                assert_eq!((found.reason, gap.replace(found.events)), (GapReason::Overflow, None));
            }
            _ => {}
        }
        Ok(())
    };
    FrameReader::new().feed::<DecodeError>(stream, data::FRAME_BYTES_MAX, &mut frame).unwrap();
    gap.map(|gap| (before, gap, behind))
}

#[tokio::test(flavor = "multi_thread")]
async fn receiver_whose_host_is_silent_has_little_in_its_stream_and_drops_the_oldest_of_its_queue() {
    const EVENTS: u64 = 4000;
    let world = World::new();
    let router = world.router("one");
    let mut raw = Raw::welcomed(&router);
    let mut bytes = Vec::new();
    let grant = 1 << 30;
    OpenReceiver { grant, queue_bytes: 256 << 10, ..OpenReceiver::default() }.encode(&mut bytes);
    let selectors = vec!["*".to_owned()];
    let subscription = SubscriptionNumber(0);
    Subscribe { subscription, selectors, receiver: OpenReceiver::default().receiver, ..Subscribe::default() }
        .encode(&mut bytes);
    raw.say(&bytes);
    raw.frame("subscribed", |frame| matches!(frame, ControlFrame::Subscribed(_)));
    // From here on its connection is not driven: nothing is acknowledged.
    let publisher = publisher(&world.client(&router)).await;
    for _ in 0..EVENTS {
        publisher.publish(&tags(&["host=a"]), vec![0; 1000]).await.unwrap();
    }
    within(publisher.flush()).await;
    let dropped = |core: &millrace_router::CoreSnapshot| core.engine.dropped[0];
    let seen = router.wait_until(LONG, |seen| seen.sum(|core| core.engine.events_in) == EVENTS).unwrap();
    let ahead = seen.sum(|core| core.queued.ahead_bytes);
    assert!((1..=66 << 10).contains(&ahead), "{ahead} bytes in a stream on a path that is hardly known");
    assert!((100 << 10..=256 << 10).contains(&seen.sum(|core| core.queued.bytes)));
    assert!(seen.sum(dropped) > EVENTS / 2, "{}", seen.sum(dropped));
    let gap = seen.sum(dropped);
    let all = |stream: &[u8]| {
        around_the_gap(stream).is_some_and(|(before, _, behind)| before + gap + behind >= EVENTS)
    };
    let (before, told, behind) = around_the_gap(&raw.stream("the rest", 3, all)).unwrap();
    assert_eq!((told, before + gap + behind), (gap, EVENTS));
    assert!(before * 1000 < 66 << 10, "{before}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_router_says_goodbye_and_ends_within_its_grace() {
    let world = World::new();
    let router = world.router("one");
    let client = world.client(&router);
    let mut all = receiver(&client, &["*"]).await;
    let publisher = publisher(&client).await;
    publisher.publish(&tags(&["a=b"]), "last").await.unwrap();
    within(publisher.flush()).await;
    assert_eq!(event(&mut all).await.payload, "last");
    let begin = std::time::Instant::now();
    tokio::task::spawn_blocking(move || router.stop(Duration::from_millis(300))).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_router_under_the_same_address_is_found_again() {
    let world = World::new();
    let first = world.router("one");
    let addr = first.addr();
    let client = world.client(&first);
    let mut all = receiver(&client, &["*"]).await;
    first.kill();
    drop(first);
    let mut config = world.config("one");
    config.listen = addr;
    let second = millrace_router::Router::start(config).unwrap();
    second.wait_until(LONG, |seen| seen.sum(|core| core.engine.receivers) == 1).unwrap();
    crate::world::gap(&mut all, &[GapReason::SessionLost]).await;
}
