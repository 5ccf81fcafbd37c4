//! Flushing with a router that reads and answers by itself.

use std::time::{Duration, Instant};

use millrace_client::{Client, Config, PublisherOptions, Trust};
use millrace_router::{DevAuthority, Router, RouterConfig};

use crate::router::{soon, tags};

/// What a router would wait with `Received` if nobody asked.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn flush_and_close_ask_what_was_received_however_long_the_publisher_could_wait() {
    let authority = DevAuthority::new().unwrap();
    let router = Router::start(RouterConfig::new(authority.router("one", &[]).unwrap())).unwrap();
    let config = Config::new([router.addr().to_string().parse().unwrap()])
        .trust(Trust::Pem(authority.ca_pem().as_bytes().to_vec()));
    let client = Client::new(config).unwrap();
    // More than routers allow: they and the session count on the same 10 s.
    let options = PublisherOptions::default().received_within(PATIENCE * 6);
    let publisher = soon("a publisher", client.publisher(options)).await.unwrap();
    // The router gives its first credit when it has met its cluster.
    publisher.publish(&tags(), "first").await.unwrap();
    soon("credit", publisher.flush()).await;
    let begin = Instant::now();
    for _ in 0..3 {
        publisher.publish(&tags(), "again").await.unwrap();
        soon("flush", publisher.flush()).await;
    }
    publisher.publish(&tags(), "last").await.unwrap();
    let stats = soon("close", publisher.close()).await;
    assert!(begin.elapsed() < PATIENCE / 2, "{:?}", begin.elapsed());
    assert_eq!((stats.published, stats.received, stats.unknown, stats.connections), (5, 5, 0, 1));
    client.close().await;
    router.stop(Duration::ZERO);
}
