//! Requests and replies across routers: nobody is said to be missing who is there, and who asks may
//! lose its router.

use std::time::Duration;

use millrace_client::{
    Client, Config, ConfirmLevel, Item, Publisher, PublisherOptions, ReceiverOptions, RecipientFate, Request,
    RequestEnd, RouterLevels, Trust, Wanted,
};

use crate::world::{LONG, World, linked, receiver, tags, within};

/// How often a responder comes, is asked and goes. `MILLRACE_REQUEST_ROUNDS` asks for more.
const ROUNDS: u32 = 100;

async fn replier(client: &Client) -> Publisher {
    let options = PublisherOptions::default().level(ConfirmLevel::Routed).linger(Duration::ZERO);
    within(client.publisher(options)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_there_for_the_cluster_is_found_from_every_router() {
    let rounds = std::env::var("MILLRACE_REQUEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let world = World::new();
    let first = world.router("one");
    let second = world.joining("two", &first);
    linked(&[&first, &second]);
    let (here, there) = (world.client(&first), world.client(&second));
    let replies = replier(&here).await;
    let requester = within(there.requester()).await.unwrap();
    for round in 0..rounds.unwrap_or(ROUNDS) {
        let text = format!("round={round}");
        let mut responder = receiver(&here, &[&text]).await;
        let request = Request::default().replies(Wanted::All).timeout(LONG);
        let mut asked = within(requester.request(&tags(&[&text]), "?", request)).await.unwrap();
        let Some(Item::Event(event)) = within(responder.next()).await else { panic!("no request") };
        let reply_to = event.reply_to.as_ref().unwrap();
        let sent = within(replies.reply(reply_to, "!")).await.unwrap();
        let reply = within(asked.next()).await;
        let reply = reply.unwrap_or_else(|| panic!("round {round}: {:?}", asked.end()));
        assert_eq!((&reply.payload[..], within(asked.next()).await), (&b"!"[..], None));
        assert_eq!((asked.end(), asked.receivers()), (Some(RequestEnd::Complete), Some(1)));
        assert!(within(sent).await.is_confirmed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_loses_its_router_asks_again_and_gets_the_reply() {
    let world = World::new();
    let first = world.router("one");
    let second = world.joining("two", &first);
    linked(&[&first, &second]);
    let there = world.client(&second);
    let mut responder = receiver(&there, &["service=price"]).await;
    let replies = replier(&there).await;
    let routers: RouterLevels = format!("{};{}", first.addr(), second.addr()).parse().unwrap();
    let config = Config::new([first.addr().to_string().parse().unwrap()])
        .router_levels(routers)
        .trust(Trust::Pem(first.ca_pem().as_bytes().to_vec()));
    let requester = within(Client::new(config).unwrap().requester()).await.unwrap();
    let request = Request::default().timeout(LONG);
    let mut asked = within(requester.request(&tags(&["service=price"]), "?", request)).await.unwrap();
    let Some(Item::Event(event)) = within(responder.next()).await else { panic!("no request") };
    let before = event.reply_to.unwrap();
    first.stop(Duration::ZERO);
    // It asks again through the other router; who has its first token finds nobody.
    let again = loop {
        match within(responder.next()).await {
            Some(Item::Event(event)) => break event.reply_to.unwrap(),
            Some(_) => {}
            None => panic!("the responder is gone"),
        }
    };
    let late = within(replies.reply(&before, "late")).await.unwrap();
    assert!(within(late).await.is_requester_gone());
    let sent = within(replies.reply(&again, "42")).await.unwrap();
    let reply = within(asked.next()).await.unwrap();
    assert_eq!(&reply.payload[..], b"42");
    assert!(within(sent).await.is_confirmed());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_found_from_every_router_and_core() {
    let world = World::new();
    let mut config = world.config("one");
    config.cores = 2;
    let first = millrace_router::Router::start(config).unwrap();
    let mut config = world.config("two");
    config.cores = 2;
    config.mesh.seeds = vec![first.addr().to_string()];
    let second = millrace_router::Router::start(config).unwrap();
    linked(&[&first, &second]);
    let mut named = Vec::new();
    for (number, router) in (0..8).zip([&first, &second].into_iter().cycle()) {
        let options = ReceiverOptions::default().name(format!("n{number}"));
        let receiver = within(world.client(router).receiver(options)).await.unwrap();
        let mut subscription = receiver.subscribe([format!("never={number}")]).unwrap();
        within(subscription.in_cluster()).await.unwrap();
        named.push(receiver);
    }
    let options = PublisherOptions::default().level(ConfirmLevel::Delivered);
    for router in [&first, &second] {
        let publisher = within(world.client(router).publisher(options.clone())).await.unwrap();
        let to: Vec<String> = (0..9).map(|number| format!("n{number}")).collect();
        let sent = within(publisher.publish_to(&tags(&["a=1"]), &to, "hello")).await.unwrap();
        for receiver in &mut named {
            let Some(Item::Event(event)) = within(receiver.next()).await else { panic!("no event") };
            assert_eq!(&event.payload[..], b"hello");
        }
        let millrace_client::Outcome::AtRecipients { recipients } = within(sent).await else {
            panic!("no recipients")
        };
        let delivered = recipients.iter().filter(|one| one.fate == RecipientFate::Delivered).count();
        let nobody: Vec<_> = recipients.iter().filter(|one| one.fate == RecipientFate::NoReceiver).collect();
        assert_eq!((delivered, nobody.len(), nobody[0].name.as_str()), (8, 1, "n8"));
    }
}
