//! Rights of identities, over real connections: who gets what, who may publish what, and what a
//! reload does to those who stand.

use millrace_client::{
    Client, CloseCode, Config, ConfirmLevel, ConnectError, Disconnect, Identity, Outcome, OutcomeReason,
    Publisher, PublisherOptions, ReceiverOptions, RefusedReason, SubscribeError, Trust,
};
use millrace_router::config::{IdentityEntry, Quota};
use millrace_router::{Router, RouterConfig, RouterHandle};

use crate::world::{World, event, receiver, tags, within};

/// Tenants `a` and `b`, each with what is its own, and whoever else with everything.
fn tenants() -> Vec<IdentityEntry> {
    let tenant = |name: &str| {
        let mut entry = IdentityEntry::new(name);
        entry.publish = Some(vec![format!("tenant={name}")]);
        entry.subscribe = Some(vec![format!("tenant={name}")]);
        entry
    };
    vec![tenant("a"), tenant("b"), IdentityEntry::new("*")]
}

fn config(world: &World, name: &str, identities: Vec<IdentityEntry>) -> RouterConfig {
    let mut config = world.config(name);
    config.cores = 2;
    config.identities = identities;
    config
}

/// A client with a certificate of this name.
fn client(world: &World, router: &RouterHandle, name: &str) -> Client {
    let (certificate, key) = world.authority.client(name).unwrap();
    let identity = Identity { certificate_pem: certificate.into_bytes(), key_pem: key.into_bytes() };
    let config = Config::new([router.addr().to_string().parse().unwrap()])
        .trust(Trust::Pem(router.ca_pem().as_bytes().to_vec()))
        .identity(identity);
    Client::new(config).unwrap()
}

async fn confirming(client: &Client) -> Publisher {
    let options = PublisherOptions::default().level(ConfirmLevel::Routed);
    within(client.publisher(options)).await.unwrap()
}

async fn outcome(publisher: &Publisher, texts: &[&str]) -> Outcome {
    let confirmation = within(publisher.publish_confirmed(&tags(texts), "x")).await.unwrap();
    within(confirmation).await
}

#[tokio::test]
async fn tenants_see_their_own_across_routers_and_nobody_elses() {
    let world = World::new();
    let one = Router::start(config(&world, "one", tenants())).unwrap();
    let mut second = config(&world, "two", tenants());
    second.mesh.seeds = vec![one.addr().to_string()];
    let two = Router::start(second).unwrap();
    crate::world::linked(&[&one, &two]);
    let (a, b, auditor) =
        (client(&world, &one, "a"), client(&world, &two, "b"), client(&world, &two, "auditor"));
    let (mut of_a, mut of_b) = (receiver(&a, &["*"]).await, receiver(&b, &["*"]).await);
    let mut all = receiver(&auditor, &["*"]).await;
    let (from_a, from_b) = (confirming(&a).await, confirming(&b).await);
    assert!(matches!(outcome(&from_a, &["tenant=a", "x=1"]).await, Outcome::Confirmed { receivers: 2 }));
    assert!(matches!(outcome(&from_b, &["tenant=b", "x=2"]).await, Outcome::Confirmed { receivers: 2 }));
    for (receiver, tenants) in [(&mut of_a, &["a"][..]), (&mut of_b, &["b"]), (&mut all, &["a", "b"])] {
        for &tenant in tenants {
            let event = event(receiver).await;
            assert_eq!(event.tags.borrow().get("tenant"), Some(tenant));
            assert_eq!(event.tags.borrow().get("millrace/identity"), Some(tenant));
        }
    }
}

#[tokio::test]
async fn what_is_outside_of_the_lists_is_refused_with_the_reason() {
    let world = World::new();
    let router = Router::start(config(&world, "one", tenants())).unwrap();
    let client = client(&world, &router, "b");
    let publisher = confirming(&client).await;
    let forbidden = Outcome::Dropped { reason: OutcomeReason::Forbidden };
    assert_eq!(outcome(&publisher, &["tenant=a"]).await, forbidden);
    assert_eq!(outcome(&publisher, &["tenant=b", "millrace/identity=a"]).await, forbidden);
    let receiver = within(client.receiver(ReceiverOptions::default())).await.unwrap();
    let mut subscription = receiver.subscribe(["tenant=a"]).unwrap();
    match within(subscription.in_cluster()).await.unwrap_err() {
        SubscribeError::Refused { reason, message } => {
            assert_eq!(reason, RefusedReason::Forbidden);
            assert!(message.contains("identity \"b\" may not receive this"), "{message}");
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn who_has_no_entry_is_refused_and_told_why() {
    let world = World::new();
    let router = Router::start(config(&world, "one", tenants()[..2].to_vec())).unwrap();
    for (client, words) in [
        (client(&world, &router, "stranger"), "\"stranger\""),
        (world.client(&router), "certificate or token"),
    ] {
        match within(client.publisher(PublisherOptions::default())).await.unwrap_err() {
            ConnectError::Failed { reason: Disconnect::Closed { code, reason }, .. } => {
                assert_eq!(code, Some(CloseCode::Forbidden));
                assert!(reason.contains(words), "{reason}");
            }
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_reload_closes_who_lost_a_right_on_all_cores_with_the_reason_and_nobody_else() {
    let world = World::new();
    let start = |tenants| {
        let mut config = config(&world, "one", tenants);
        config.cores = 3;
        config
    };
    let router = Router::start(start(tenants())).unwrap();
    let a = client(&world, &router, "a");
    let mut of_a = receiver(&a, &["*"]).await;
    // Connections fall to cores by chance.
    let many_b: Vec<_> = (0..24).map(|_| client(&world, &router, "b")).collect();
    let (mut of_b, mut changes_b) = (Vec::new(), Vec::new());
    for b in &many_b {
        of_b.push(receiver(b, &["*"]).await);
        changes_b.push(b.changes());
    }

    let used = router.cores().iter().filter(|core| core.engine.clients > 0).count();
    assert!(used >= 2, "all clients are on one core");
    let from_a = confirming(&a).await;
    assert!(matches!(outcome(&from_a, &["tenant=a"]).await, Outcome::Confirmed { receivers: 1 }));
    let mut changes_a = a.changes();
    let mut narrowed = tenants();
    narrowed[1].subscribe = Some(vec![]);
    let mut reloaded = start(narrowed);
    reloaded.listen = router.addr();
    router.reload(&reloaded).unwrap();
    for changes in &mut changes_b {
        match within(changes.next()).await.unwrap() {
            millrace_client::Change::Lost { reason: Disconnect::Closed { code, reason } } => {
                assert_eq!(code, Some(CloseCode::Forbidden));
                assert!(reason.starts_with("a right was withdrawn"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(outcome(&from_a, &["tenant=a", "x=2"]).await, Outcome::Confirmed { receivers: 1 }));
    for _ in 0..2 {
        event(&mut of_a).await;
    }
    assert_eq!(changes_a.try_next(), None);
}

#[tokio::test]
async fn a_publisher_beyond_its_quota_waits_over_all_cores_and_loses_nothing() {
    let world = World::new();
    let mut limited = IdentityEntry::new("a");
    limited.quota = Quota { events_per_second: Some(1000), sessions: Some(3), ..Quota::default() };
    let router = Router::start(config(&world, "one", vec![limited, IdentityEntry::new("*")])).unwrap();
    let all = client(&world, &router, "auditor");
    let mut all = receiver(&all, &["*"]).await;
    let begin = std::time::Instant::now();
    let publish = || {
        let client = client(&world, &router, "a");
        async move {
            let publisher = within(client.publisher(PublisherOptions::default())).await.unwrap();
            for _ in 0..10 {
                for _ in 0..50 {
                    within(publisher.publish(&tags(&["x=1"]), "x")).await.unwrap();
                }
                within(publisher.flush()).await;
            }
            (client, publisher)
        }
    };
    let (_one, _two, _three) = tokio::join!(publish(), publish(), publish());
    // 1,500 events, of which a tenth of a second's and a read of each session may come at once.
    let took = begin.elapsed();
    assert!(took > std::time::Duration::from_secs(1), "{took:?}");
    for _ in 0..1500 {
        event(&mut all).await;
    }
    match within(client(&world, &router, "a").publisher(PublisherOptions::default())).await.unwrap_err() {
        ConnectError::Failed { reason: Disconnect::Closed { code, reason }, .. } => {
            assert_eq!(code, Some(CloseCode::Limit));
            assert!(reason.contains("identity \"a\" has 3 sessions"), "{reason}");
        }
        other => panic!("{other}"),
    }
}
