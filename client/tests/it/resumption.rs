//! Going on with the TLS session of an earlier connection, at any router of the cluster.

use std::time::Duration;

use millrace_client::{Client, Config, PublisherOptions, Trust};
use millrace_router::{CoreSnapshot, DevAuthority, Router, RouterConfig, RouterHandle};

use crate::router::{soon, tags};

/// Connects a client of its own, which has spoken with its router when this returns.
async fn speak(router: &RouterHandle, authority: &DevAuthority) -> Client {
    let config = Config::new([router.addr().to_string().parse().unwrap()])
        .trust(Trust::Pem(authority.ca_pem().as_bytes().to_vec()));
    let client = Client::new(config).unwrap();
    let publisher = soon("a publisher", client.publisher(PublisherOptions::default())).await.unwrap();
    publisher.publish(&tags(), "event").await.unwrap();
    soon("its receipt", publisher.flush()).await;
    soon("close", publisher.close()).await;
    client
}

#[tokio::test]
async fn clients_of_a_process_resume_their_session_at_the_next_router() {
    let authority = DevAuthority::new().unwrap();
    let start = |name: &str| Router::start(RouterConfig::new(authority.router(name, &[]).unwrap())).unwrap();
    let [one, two] = [start("one"), start("two")];
    let first = speak(&one, &authority).await;
    assert_eq!(one.look().unwrap().sum(resumptions), 0, "nobody had a ticket");
    let second = speak(&two, &authority).await;
    let is_resumed = two.wait_until(Duration::from_secs(20), |seen| seen.sum(resumptions) > 0);
    assert!(is_resumed.is_ok(), "the ticket of the first router counts at the second");
    for client in [first, second] {
        client.close().await;
    }
    for router in [one, two] {
        router.stop(Duration::ZERO);
    }
}

fn resumptions(core: &CoreSnapshot) -> u64 {
    core.quic.resumptions_accepted
}
