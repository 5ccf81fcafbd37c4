//! Confirm levels against a real router: what publishers are told, and what receivers do for it.

use std::time::Duration;

use millrace_client::{
    Acknowledge, Client, Config, ConfirmLevel, Item, Outcome, OutcomeReason, PublisherOptions, Receiver,
    ReceiverConnection, ReceiverOptions, Trust,
};
use millrace_router::{DevAuthority, Router, RouterConfig, RouterHandle};

use crate::router::{soon, tags};

/// A router and a client of it.
struct World {
    router: RouterHandle,
    client: Client,
}

impl World {
    fn new(change: impl FnOnce(&mut RouterConfig)) -> Self {
        let authority = DevAuthority::new().unwrap();
        let mut config = RouterConfig::new(authority.router("one", &[]).unwrap());
        change(&mut config);
        let router = Router::start(config).unwrap();
        let config = Config::new([router.addr().to_string().parse().unwrap()])
            .trust(Trust::Pem(authority.ca_pem().as_bytes().to_vec()));
        Self { router, client: Client::new(config).unwrap() }
    }

    async fn receiver(&self, options: ReceiverOptions) -> Receiver {
        let receiver = soon("a receiver", self.client.receiver(options)).await.unwrap();
        let mut subscription = receiver.subscribe(["host"]).unwrap();
        soon("a subscription", subscription.in_cluster()).await.unwrap();
        receiver
    }

    fn stop(self) {
        self.router.stop(Duration::ZERO);
    }
}

async fn event(receiver: &mut Receiver) -> Vec<u8> {
    loop {
        if let Some(Item::Event(event)) = soon("an event", receiver.next()).await {
            return event.payload.to_vec();
        }
    }
}

#[tokio::test]
async fn routed_events_are_confirmed_with_their_receivers() {
    let world = World::new(|_| {});
    let options = PublisherOptions::default().level(ConfirmLevel::Routed).min_receivers(1);
    let publisher = soon("a publisher", world.client.publisher(options)).await.unwrap();
    let nobody = soon("publish", publisher.publish_confirmed(&tags(), "for nobody")).await.unwrap();
    assert_eq!(soon("an outcome", nobody).await, Outcome::Dropped { reason: OutcomeReason::FewReceivers });

    let _one = world.receiver(ReceiverOptions::default()).await;
    let _two = world.receiver(ReceiverOptions::default().connection(ReceiverConnection::Own)).await;
    let some = soon("publish", publisher.publish_confirmed(&tags(), "for two")).await.unwrap();
    assert_eq!(soon("an outcome", some).await, Outcome::Confirmed { receivers: 2 });
    for _ in 0..100 {
        publisher.publish(&tags(), "more").await.unwrap();
    }
    soon("flush", publisher.flush()).await;
    let report = publisher.try_unconfirmed().unwrap();
    assert_eq!((report.seqs, publisher.try_unconfirmed()), (0..1, None));
    let stats = soon("close", publisher.close()).await;
    assert_eq!((stats.published, stats.confirmed, stats.dropped, stats.unknown), (102, 101, 1, 0));
    world.stop();
}

#[tokio::test]
async fn delivered_events_are_confirmed_when_applications_have_taken_them() {
    let world = World::new(|_| {});
    let own = ReceiverOptions::default().connection(ReceiverConnection::Own);
    let mut taking = world.receiver(own).await;
    let mut explicit = world.receiver(ReceiverOptions::default().acknowledge(Acknowledge::Explicit)).await;
    let options = PublisherOptions::default().level(ConfirmLevel::Delivered);
    let publisher = soon("a publisher", world.client.publisher(options)).await.unwrap();
    for round in 0..3 {
        let text = format!("round {round}");
        let mut outcome = soon("publish", publisher.publish_confirmed(&tags(), &text)).await.unwrap();
        assert_eq!(event(&mut taking).await, text.as_bytes());
        assert_eq!(event(&mut explicit).await, text.as_bytes());
        let early = tokio::time::timeout(Duration::from_millis(100), &mut outcome).await;
        assert!(early.is_err(), "one application has not acknowledged: {early:?}");
        explicit.acknowledge();
        assert_eq!(soon("an outcome", outcome).await, Outcome::Confirmed { receivers: 2 });
    }
    world.stop();
}

#[tokio::test]
async fn who_does_not_acknowledge_is_missed() {
    let world = World::new(|config| config.limits.confirm_timeout = Duration::from_millis(300));
    let mut receiver = world.receiver(ReceiverOptions::default().acknowledge(Acknowledge::Explicit)).await;
    let options = PublisherOptions::default().level(ConfirmLevel::Delivered);
    let publisher = soon("a publisher", world.client.publisher(options)).await.unwrap();
    let missed = |reason| Outcome::Partial { receivers: 0, missed: 1, reasons: vec![reason] };
    let late = soon("publish", publisher.publish_confirmed(&tags(), "late")).await.unwrap();
    event(&mut receiver).await;
    assert_eq!(soon("an outcome", late).await, missed(OutcomeReason::Timeout));
    let left = soon("publish", publisher.publish_confirmed(&tags(), "left")).await.unwrap();
    event(&mut receiver).await;
    drop(receiver);
    assert_eq!(soon("an outcome", left).await, missed(OutcomeReason::Departed));
    world.stop();
}
