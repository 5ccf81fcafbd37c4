//! A publisher on two real routers: what each gets, and what receivers see of it.

use std::time::Duration;

use millrace_client::{
    Change, Client, Config, ConfirmLevel, Event, Item, Outcome, PublishError, PublisherOptions, Receiver,
    ReceiverOptions, Trust,
};
use millrace_router::{DevAuthority, Router, RouterConfig};

use crate::router::{soon, tags};

async fn event(receiver: &mut Receiver) -> Event {
    loop {
        if let Some(Item::Event(event)) = soon("an event", receiver.next()).await {
            return event;
        }
    }
}

#[tokio::test]
async fn copies_of_two_routers_come_once_and_unmarked() {
    let authority = DevAuthority::new().unwrap();
    let start = |name, seeds| {
        let mut config = RouterConfig::new(authority.router(name, &[]).unwrap());
        config.mesh.seeds = seeds;
        Router::start(config).unwrap()
    };
    let one = start("one", Vec::new());
    let other = start("other", vec![one.addr().to_string()]);
    let reach = [&one, &other].map(|router| router.addr().to_string().parse().unwrap());
    let config = Config::new(reach).trust(Trust::Pem(authority.ca_pem().as_bytes().to_vec()));
    let client = Client::new(config).unwrap();
    let mut receiver = soon("a receiver", client.receiver(ReceiverOptions::default())).await.unwrap();
    let mut subscription = receiver.subscribe(["host"]).unwrap();
    soon("a subscription", subscription.in_cluster()).await.unwrap();
    for level in [ConfirmLevel::Routed, ConfirmLevel::None] {
        let mut changes = client.changes();
        let options = PublisherOptions::default().level(level).redundant(true);
        let publisher = soon("a publisher", client.publisher(options)).await.unwrap();
        let mut attached = 0;
        while attached < 2 {
            let change = soon("both routers", changes.next()).await.unwrap();
            attached += usize::from(matches!(change, Change::Attached { .. }));
        }
        let (removed, mut published) = (receiver.duplicates_removed(), 0_u64);
        // Until both have brought something.
        while published < 100 || receiver.duplicates_removed() == removed {
            let payload = published.to_string();
            if level == ConfirmLevel::Routed {
                let told = soon("publish", publisher.publish_confirmed(&tags(), &payload)).await.unwrap();
                assert_eq!(soon("an outcome", told).await, Outcome::Confirmed { receivers: 1 });
            } else {
                soon("publish", publisher.publish(&tags(), &payload)).await.unwrap();
            }
            let event = event(&mut receiver).await;
            assert_eq!(event.payload[..], *payload.as_bytes());
            assert!(!event.maybe_duplicate);
            published += 1;
        }
        let refused = publisher.publish_to(&tags(), ["desk"], "x").await.unwrap_err();
        let expected = if level == ConfirmLevel::None {
            PublishError::NoConfirmLevel
        } else {
            PublishError::AddressedTwice
        };
        assert_eq!(refused, expected);
        let stats = soon("the end", publisher.close()).await;
        assert_eq!((stats.published, stats.received), (published, published));
        assert_eq!((stats.unknown, stats.connections), (0, 2));
    }
    one.stop(Duration::ZERO);
    other.stop(Duration::ZERO);
}
