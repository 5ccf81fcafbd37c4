//! Publishers on a spool: without a router, behind a restart, on another router, and when it is
//! full.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millrace_client::spool::{Full, OnFull, SpoolConfig, SyncPolicy};
use millrace_client::{
    Acknowledge, Client, Config, ConfirmLevel, ConnectError, GivenUp, Item, Outcome, PublishError, Publisher,
    PublisherOptions, Receiver, ReceiverOptions, SpoolOptions, Trust,
};
use millrace_proto::CloseCode;
use millrace_router::{DevAuthority, Router, RouterConfig, RouterHandle};

use crate::router::{Authority, soon, tags};

/// A payload of which ten fill the smallest spool.
fn large() -> Vec<u8> {
    vec![0; 1_000_000]
}

fn options(folder: &Path, change: impl FnOnce(&mut SpoolConfig)) -> PublisherOptions {
    let mut config = SpoolConfig { max_bytes: 10 << 20, free_percent: 0, ..SpoolConfig::default() };
    change(&mut config);
    PublisherOptions::default().linger(Duration::ZERO).spool(SpoolOptions::new(folder).config(config))
}

/// Routers that come and go at one address, and a client of them.
struct Place {
    authority: Arc<DevAuthority>,
    config: RouterConfig,
}

impl Place {
    /// No router is there.
    fn new() -> Self {
        let authority = Arc::new(DevAuthority::new().unwrap());
        let mut config = RouterConfig::new(authority.router("one", &[]).unwrap());
        let first = Router::start(config.clone()).unwrap();
        config.listen = first.addr();
        first.stop(Duration::ZERO);
        Self { authority, config }
    }

    fn start(&self) -> RouterHandle {
        Router::start(self.config.clone()).unwrap()
    }

    /// Another place of the same authority.
    fn beside(&self) -> Self {
        let authority = self.authority.clone();
        let mut config = RouterConfig::new(authority.router("two", &[]).unwrap());
        let first = Router::start(config.clone()).unwrap();
        config.listen = first.addr();
        first.stop(Duration::ZERO);
        Self { authority, config }
    }

    fn client(&self) -> Client {
        self.client_with(&[])
    }

    /// A client of this place and others.
    fn client_with(&self, others: &[&Self]) -> Client {
        let places = std::iter::once(self).chain(others.iter().copied());
        let config = Config::new(places.map(|place| place.config.listen.to_string().parse().unwrap()))
            .trust(Trust::Pem(self.authority.ca_pem().as_bytes().to_vec()))
            .backoff_max(Duration::from_millis(100));
        Client::new(config).unwrap()
    }
}

async fn publish(publisher: &Publisher, texts: impl IntoIterator<Item = u64>) {
    for text in texts {
        soon("room", publisher.publish(&tags(), text.to_string())).await.unwrap();
    }
}

/// The next event's payload.
async fn next(receiver: &mut Receiver) -> String {
    match soon("an event", receiver.next()).await {
        Some(Item::Event(event)) => String::from_utf8(event.payload.to_vec()).unwrap(),
        other => panic!("no event: {other:?}"),
    }
}

#[tokio::test]
async fn events_wait_on_disk_until_there_is_a_router() {
    let (folder, place) = (tempfile::tempdir().unwrap(), Place::new());
    let spool = folder.path().join("spool");
    for sync in [SyncPolicy::EachBatch, SyncPolicy::default(), SyncPolicy::Never] {
        let options = options(&spool, |config| config.sync = sync).level(ConfirmLevel::Routed);
        let client = place.client();
        let publisher = soon("no router", client.publisher(options.clone())).await.unwrap();
        publish(&publisher, 0..100).await;
        let stats = soon("stop", publisher.stop()).await;
        assert_eq!((stats.published, stats.pending, stats.connections), (100, 100, 0));

        let router = place.start();
        let mut receiver = soon("a receiver", client.receiver(ReceiverOptions::default())).await.unwrap();
        let mut subscription = receiver.subscribe(["host"]).unwrap();
        soon("a subscription", subscription.in_cluster()).await.unwrap();
        let publisher = client.publisher(options.report_settled(true));
        let publisher = soon("a router", publisher).await.unwrap();
        publish(&publisher, 100..150).await;
        soon("outcomes", publisher.flush()).await;
        let ends: Vec<_> = std::iter::from_fn(|| publisher.try_settled()).collect();
        assert!(ends.iter().all(|end| end.outcome == Outcome::Confirmed { receivers: 1 }), "{ends:?}");
        let mut seqs: Vec<u64> = ends.into_iter().flat_map(|end| end.seqs).collect();
        seqs.sort_unstable();
        assert_eq!(seqs.len(), 150, "{seqs:?}");
        assert_eq!(seqs, (seqs[0]..seqs[0] + 150).collect::<Vec<_>>(), "those of the earlier process, too");
        let stats = soon("close", publisher.close()).await;
        assert_eq!((stats.found, stats.published, stats.confirmed, stats.pending), (100, 50, 150, 0));
        for expected in 0..150 {
            let Some(Item::Event(event)) = soon("an event", receiver.next()).await else {
                panic!("no event")
            };
            assert_eq!(event.payload, expected.to_string().as_bytes(), "{sync}");
        }
        router.stop(Duration::ZERO);
    }
}

#[tokio::test]
async fn what_is_pending_goes_out_behind_a_restart_with_its_ids_on_another_router() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let (one, two) = (authority.router(), authority.router());
    let options = options(&folder.path().join("spool"), |_| {});
    let client = authority.client(&[&one], |_| {});
    let publisher = client.publisher(options.clone()).await.unwrap();
    let key = publisher.key();
    publish(&publisher, 0..6).await;
    let mut peer = one.accept().await;
    peer.credit(1 << 40).await;
    for seq in 0..6 {
        assert_eq!(peer.event().await, (seq, seq.to_string().into_bytes()));
    }
    peer.received(4).await;
    while publisher.stats().received < 4 {
        tokio::task::yield_now().await;
    }
    peer.close(CloseCode::Done);
    assert_eq!(soon("stop", publisher.stop()).await.pending, 2);

    let client = authority.client(&[&two], |_| {});
    let publisher = client.publisher(options).await.unwrap();
    assert_eq!(publisher.key(), key);
    publish(&publisher, 6..8).await;
    let mut peer = two.accept().await;
    peer.credit(1 << 40).await;
    for seq in 4..8 {
        assert_eq!(peer.event().await, (seq, seq.to_string().into_bytes()));
    }
    peer.received(8).await;
    let stats = soon("close", publisher.close()).await;
    assert_eq!((stats.found, stats.published, stats.received, stats.pending), (2, 2, 4, 0));
}

#[tokio::test]
async fn what_goes_out_again_on_another_router_arrives_once() {
    let (folder, one) = (tempfile::tempdir().unwrap(), Place::new());
    let two = one.beside();
    let (client, router) = (one.client_with(&[&two]), one.start());
    let explicit = ReceiverOptions::default().acknowledge(Acknowledge::Explicit);
    let mut receiver = soon("a receiver", client.receiver(explicit)).await.unwrap();
    let mut subscription = receiver.subscribe(["host"]).unwrap();
    soon("a subscription", subscription.in_cluster()).await.unwrap();
    let options = options(&folder.path().join("spool"), |_| {}).level(ConfirmLevel::Delivered);
    let publisher = client.publisher(options.clone()).await.unwrap();
    publish(&publisher, 0..20).await;
    for expected in 0..20 {
        assert_eq!(next(&mut receiver).await, expected.to_string());
    }
    // The application has taken all, and acknowledged none, when both routers' lives change.
    assert_eq!(soon("stop", publisher.stop()).await.pending, 20);
    router.stop(Duration::ZERO);
    let router = two.start();
    let gap = soon("a gap", receiver.next()).await;
    assert!(matches!(gap, Some(Item::Gap(_))), "{gap:?}");
    soon("a subscription", subscription.in_cluster()).await.unwrap();

    let publisher = client.publisher(options).await.unwrap();
    publish(&publisher, 20..21).await;
    assert_eq!(next(&mut receiver).await, "20", "what came before comes not again");
    assert_eq!(receiver.duplicates_removed(), 20);
    receiver.acknowledge();
    let stats = soon("close", publisher.close()).await;
    assert_eq!((stats.found, stats.published, stats.confirmed, stats.pending), (20, 1, 21, 0));
    router.stop(Duration::ZERO);
}

#[tokio::test]
async fn a_full_spool_blocks_sheds_or_refuses() {
    let (folder, place) = (tempfile::tempdir().unwrap(), Place::new());
    let client = place.client();
    let open = |on_full: OnFull| {
        let folder = folder.path().join(on_full.to_string());
        client.publisher(options(&folder, |config| config.on_full = on_full))
    };
    let full = Full::Bound { max_bytes: 10 << 20 };

    let publisher = open(OnFull::Refuse).await.unwrap();
    let refused = (0..20).find_map(|_| publisher.try_publish(&tags(), large()).err());
    assert_eq!(refused, Some(PublishError::Refused(full)));
    soon("stop", publisher.stop()).await;

    for on_full in [OnFull::ShedOldest, OnFull::ShedNewest] {
        let publisher = open(on_full).await.unwrap();
        for _ in 0..20 {
            publisher.try_publish(&tags(), large()).unwrap();
        }
        let mut shed = 0;
        while let Some(report) = publisher.try_unconfirmed() {
            assert_eq!(report.outcome, Outcome::GivenUp { why: GivenUp::Shed });
            let first = if on_full == OnFull::ShedOldest { 0 } else { 20 - publisher.stats().shed };
            assert_eq!(report.seqs.start, first + shed, "{on_full}");
            shed += report.seqs.end - report.seqs.start;
        }
        let stats = soon("stop", publisher.stop()).await;
        assert!(shed > 0);
        assert_eq!((stats.published, stats.shed, stats.pending), (20, shed, 20 - shed), "{on_full}");
    }

    let publisher = open(OnFull::Block).await.unwrap();
    let taken = (0..20).take_while(|_| publisher.try_publish(&tags(), large()).is_ok()).count() as u64;
    assert_eq!(
        (publisher.try_publish(&tags(), large()), publisher.spool_full()),
        (Err(PublishError::WouldBlock), Some(full))
    );
    let router = place.start();
    let waited = soon("room", publisher.publish(&tags(), large())).await;
    assert_eq!(waited.unwrap().seq, taken);
    let stats = soon("close", publisher.close()).await;
    assert_eq!((stats.published, stats.received, stats.pending), (taken + 1, taken + 1, 0));
    router.stop(Duration::ZERO);
}

#[tokio::test]
async fn what_has_waited_too_long_expires() {
    let (folder, place) = (tempfile::tempdir().unwrap(), Place::new());
    let client = place.client();
    let options = options(&folder.path().join("spool"), |_| {}).ttl(Duration::from_secs(60));
    let publisher = client.publisher(options).await.unwrap();
    let old = std::time::SystemTime::now() - Duration::from_secs(61);
    for _ in 0..3 {
        publisher.publish_at(&tags(), old, "old").await.unwrap();
    }
    publish(&publisher, 0..2).await;
    let report = soon("the end of their time", publisher.unconfirmed()).await;
    assert_eq!((report.seqs, report.outcome), (0..3, Outcome::GivenUp { why: GivenUp::Expired }));
    let router = place.start();
    let stats = soon("close", publisher.close()).await;
    assert_eq!((stats.published, stats.expired, stats.received, stats.pending), (5, 3, 2, 0));
    router.stop(Duration::ZERO);
}

#[tokio::test]
async fn a_spool_belongs_to_one_publisher() {
    let (folder, place) = (tempfile::tempdir().unwrap(), Place::new());
    let client = place.client();
    let spool = folder.path().join("spool");
    let _publisher = client.publisher(options(&spool, |_| {})).await.unwrap();
    let second = client.publisher(options(&spool, |_| {})).await.unwrap_err();
    assert!(matches!(second, ConnectError::Spool(_)));
    assert!(second.to_string().contains("in use by another process"), "{second}");
}
