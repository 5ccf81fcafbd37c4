//! What a core does while its sibling does nothing at all: the sibling's thread is held inside a
//! picture that is taken of it.

use std::sync::mpsc;

use millrace_client::{Client, Config, PublisherOptions, Trust};
use millrace_proto::TagSet;

use super::*;
use crate::mail::BATCHES_MAX;
use crate::{DevAuthority, Router, RouterConfig};

const LONG: Duration = Duration::from_secs(20);

/// Holds a core until the sender is dropped.
fn hold(router: &RouterHandle, core: usize) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (begun, begins) = mpsc::channel();
    let wait = move |_| {
        begun.send(()).unwrap();
        // Ends with the sender.
        let _ = held.recv();
    };
    router.view.cores[core].post.send(Command::Inspect(Box::new(wait)));
    begins.recv_timeout(LONG).unwrap();
    release
}

fn picture(router: &RouterHandle, core: usize) -> CoreSnapshot {
    let (sender, answer) = mpsc::channel();
    let take = move |snapshot| drop(sender.send(snapshot));
    router.view.cores[core].post.send(Command::Inspect(Box::new(take)));
    answer.recv_timeout(LONG).unwrap()
}

/// A picture of a core of which the condition is true.
fn seen(router: &RouterHandle, core: usize, condition: impl Fn(&CoreSnapshot) -> bool) -> CoreSnapshot {
    let end = Instant::now() + LONG;
    loop {
        let picture = picture(router, core);
        if condition(&picture) {
            return picture;
        }
        assert!(Instant::now() < end, "it did not come true: {picture:?}");
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// A tag set that belongs to a core of two.
fn tags_of(core: u16) -> TagSet {
    let mut sets = (0..).map(|host| TagSet::from_texts([format!("host={host}")]).unwrap());
    sets.find(|tags| tags.shard().owner(2) == core).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_are_left_unread_while_a_mailbox_is_above_half_and_pings_are_answered() {
    const EVENTS: usize = 40_000;
    const SILENCE: Duration = Duration::from_secs(1);
    let authority = DevAuthority::new().unwrap();
    let mut config = RouterConfig::new(authority.router("held", &[]).unwrap());
    config.cores = 2;
    let router = Router::start(config).unwrap();
    // A session whose pings are not answered would be given up within the test.
    let client = Config::new([router.addr().to_string().parse().unwrap()])
        .trust(Trust::Pem(router.ca_pem().as_bytes().to_vec()))
        .silence(SILENCE);
    let client = Client::new(client).unwrap();
    let options = PublisherOptions::default().shard(tags_of(0).shard());
    let publisher = client.publisher(options).await.unwrap();
    let release = hold(&router, 1);
    let loading = tokio::spawn(async move {
        let tags = tags_of(1);
        for _ in 0..EVENTS {
            publisher.publish(&tags, [0; 1000]).await.unwrap();
        }
        publisher.close().await
    });
    let half = BATCHES_MAX as u64 / 2;
    let (before, after) = tokio::task::block_in_place(|| {
        let before = seen(&router, 0, |core| core.engine.paused_turns > 0);
        // Twice the silence by the core's own clock: so long it has turned, and answered pings.
        let after = seen(&router, 0, |core| core.uptime >= before.uptime + SILENCE * 2);
        (before, after)
    });
    assert!(after.engine.paused_turns > before.engine.paused_turns);
    assert_eq!(after.engine.events_in, before.engine.events_in, "nothing is read meanwhile");
    assert!((half + 1..BATCHES_MAX as u64).contains(&after.mailbox_depth), "{}", after.mailbox_depth);
    drop(release);
    let stats = tokio::time::timeout(LONG, loading).await.unwrap().unwrap();
    assert_eq!((stats.received, stats.unknown, stats.connections), (EVENTS as u64, 0, 1));
    let seen = router.look().unwrap();
    assert_eq!(seen.sum(|core| core.engine.dropped.iter().sum()), 0);
    assert_eq!(seen.sum(|core| core.engine.events_from_siblings), EVENTS as u64);
}
