//! History in files: what came before a restart of the router is there behind it, once and in
//! order.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millrace_client::{Client, Cursor, GapReason, Item, Receiver, ReceiverOptions};
use millrace_router::{Router, RouterConfig, RouterHandle, StartError};

use crate::world::{LONG, World, get, linked, publisher, tags, within};

const HOSTS: u64 = 7;

/// A router whose history is kept in files.
fn config(world: &World, folder: &Path) -> RouterConfig {
    let mut config = world.config("one");
    // Its id is the same in each life.
    config.advertise = Some("one.test:7400".to_owned());
    config.cores = 2;
    config.history.bytes = 16 << 20;
    config.history.dir = Some(folder.to_owned());
    config.history.free_percent = 0;
    config
}

/// Publishes numbers, each under the tag of its host, and waits until all are received.
async fn publish(client: &Client, numbers: std::ops::Range<u64>) {
    let publisher = publisher(client).await;
    for number in numbers {
        let host = format!("host=h{}", number % HOSTS);
        publisher.publish(&tags(&[&host]), number.to_be_bytes().to_vec()).await.unwrap();
    }
    within(publisher.flush()).await;
}

/// A receiver of everything from a place of the past on.
async fn past(client: &Client, since: Option<Duration>, cursor: Option<Cursor>) -> Receiver {
    let mut options = ReceiverOptions::default();
    (options.since, options.cursor) = (since, cursor);
    let receiver = within(client.receiver(options)).await.unwrap();
    let mut subscription = receiver.subscribe(["*"]).unwrap();
    assert!(within(subscription.in_cluster()).await.unwrap().is_whole());
    receiver
}

/// Receives until each host has a number that is not below `last`: the numbers, which have come
/// once and in order for each host, and the gaps, each with how many numbers came before it.
async fn until(receiver: &mut Receiver, last: u64) -> (Vec<u64>, Vec<(usize, GapReason)>) {
    let (mut numbers, mut gaps) = (Vec::new(), Vec::new());
    let mut newest = vec![None; usize::try_from(HOSTS).unwrap()];
    while newest.iter().any(|&newest| newest < Some(last)) {
        match within(receiver.next()).await.unwrap() {
            Item::Event(event) => {
                let number = u64::from_be_bytes(event.payload[..].try_into().unwrap());
                let before = &mut newest[usize::try_from(number % HOSTS).unwrap()];
                assert!(*before < Some(number), "{number} behind {before:?}");
                *before = Some(number);
                numbers.push(number);
            }
            Item::Gap(gap) => gaps.push((numbers.len(), gap.reason)),
            other => panic!("{other:?}"),
        }
    }
    (numbers, gaps)
}

fn sorted(mut numbers: Vec<u64>) -> Vec<u64> {
    numbers.sort_unstable();
    numbers
}

/// A number for each host stands behind all others, so that a receiver knows when it has them.
async fn publish_last(world: &World, router: &RouterHandle, first: u64) {
    publish(&world.client(router), first..first + HOSTS).await;
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "history")).collect();
    files.sort();
    files
}

/// Waits until files hold this many bytes beside their heads.
async fn written(folder: &Path, bytes: u64) {
    let held = || segments(folder).iter().map(|path| fs::metadata(path).unwrap().len()).sum::<u64>();
    within(async {
        while held() < bytes {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_restart_is_there_for_who_asks_by_time_and_by_cursor() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let router = Router::start(config(&world, folder.path())).unwrap();
    let client = world.client(&router);
    let mut early = past(&client, Some(Duration::from_secs(60)), None).await;
    publish(&client, 0..100).await;
    let mut had = Vec::new();
    while had.len() < 100 {
        let Item::Event(event) = within(early.next()).await.unwrap() else { panic!("a gap") };
        had.push(u64::from_be_bytes(event.payload[..].try_into().unwrap()));
    }
    let cursor = early.cursor();
    drop(early);
    publish(&client, 100..300).await;
    drop(client);
    router.stop(Duration::ZERO);

    // Two more lives, the first of which has little.
    for life in 0..2 {
        let router = Router::start(config(&world, folder.path())).unwrap();
        publish(&world.client(&router), 300 + 10 * life..310 + 10 * life).await;
        router.stop(Duration::ZERO);
    }
    let router = Router::start(config(&world, folder.path())).unwrap();
    let client = world.client(&router);
    publish(&client, 320..350).await;
    publish_last(&world, &router, 350).await;
    let mut by_time = past(&client, Some(Duration::from_secs(3600)), None).await;
    let mut by_cursor = past(&client, None, Some(cursor)).await;
    let (numbers, gaps) = until(&mut by_time, 350).await;
    assert_eq!((sorted(numbers), gaps), ((0..350 + HOSTS).collect(), vec![]));
    let (numbers, gaps) = until(&mut by_cursor, 350).await;
    assert_eq!((sorted(numbers), gaps), ((100..350 + HOSTS).collect(), vec![]));
    // Live events come behind the past, and a cursor of the present life goes on in it.
    let later = by_cursor.cursor();
    publish_last(&world, &router, 350 + HOSTS).await;
    let mut behind = past(&client, None, Some(later)).await;
    for receiver in [&mut by_time, &mut by_cursor, &mut behind] {
        let (numbers, gaps) = until(receiver, 350 + HOSTS).await;
        assert_eq!((sorted(numbers), gaps), ((350 + HOSTS..350 + 2 * HOSTS).collect(), vec![]));
    }
    router.stop(Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_router_asks_for_the_lives_of_the_one_that_was_restarted() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let one = Router::start(config(&world, folder.path())).unwrap();
    let early = past(&world.client(&one), Some(Duration::ZERO), None).await;
    publish(&world.client(&one), 0..200).await;
    one.stop(Duration::ZERO);
    drop(early);

    let mut here = world.config("two");
    here.history.bytes = 16 << 20;
    here.cores = 2;
    let two = Router::start(here).unwrap();
    let mut there = config(&world, folder.path());
    there.advertise = Some("one.test:7400".to_owned());
    there.mesh.seeds = vec![two.addr().to_string()];
    let one = Router::start(there).unwrap();
    linked(&[&one, &two]);
    publish(&world.client(&one), 200..240).await;
    publish_last(&world, &one, 240).await;
    let client = world.client(&two);
    let mut all = past(&client, Some(Duration::from_secs(3600)), None).await;
    let (numbers, gaps) = until(&mut all, 240).await;
    assert_eq!((sorted(numbers), gaps), ((0..240 + HOSTS).collect(), vec![]));
    one.stop(Duration::ZERO);
    two.stop(Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_costs_what_was_not_handed_over_and_a_gap_says_so_first() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let router = Router::start(config(&world, folder.path())).unwrap();
    publish(&world.client(&router), 0..100).await;
    // Both cores have handed over: each payload has 8 bytes, each run 56 more.
    written(folder.path(), 100 * 64).await;
    router.kill();
    // What the process had begun to write is torn.
    let segment = segments(folder.path()).pop().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes.extend_from_slice(b"mrec, and no more than that");
    fs::write(&segment, bytes).unwrap();

    let mut renamed = config(&world, folder.path());
    // Another address is another router: its files serve what the earlier one has left.
    renamed.advertise = Some("two.test:7400".to_owned());
    let router = Router::start(renamed).unwrap();
    publish_last(&world, &router, 100).await;
    let mut all = past(&world.client(&router), Some(Duration::from_secs(3600)), None).await;
    let (numbers, gaps) = until(&mut all, 100).await;
    assert_eq!(sorted(numbers), (0..100 + HOSTS).collect::<Vec<_>>());
    assert!(!gaps.is_empty() && gaps.iter().all(|&(_, reason)| reason == GapReason::Evicted), "{gaps:?}");
    assert_eq!(gaps[0].0, 0, "it comes first");
    router.stop(Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_set_aside_and_shown_and_the_rest_is_there() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let router = Router::start(config(&world, folder.path())).unwrap();
    publish(&world.client(&router), 0..50).await;
    written(folder.path(), 50 * 64).await;
    publish(&world.client(&router), 50..100).await;
    router.stop(Duration::ZERO);
    let segment = segments(folder.path()).pop().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    // In the body of the first record.
    bytes[64 + 80 + 40] ^= 4;
    fs::write(&segment, bytes).unwrap();

    let mut config = config(&world, folder.path());
    config.admin = Some(([127, 0, 0, 1], 0).into());
    let router = Router::start(config).unwrap();
    publish_last(&world, &router, 100).await;
    let mut all = past(&world.client(&router), Some(Duration::from_secs(3600)), None).await;
    let (numbers, gaps) = until(&mut all, 100).await;
    assert!((50..100 + 7).contains(&numbers.len()), "{} events", numbers.len());
    assert!(gaps.iter().any(|&(_, reason)| reason == GapReason::Evicted), "{gaps:?}");
    let admin = router.admin_addr().unwrap();
    let is_shown = || get(admin, "/metrics").1.contains("millrace_history_file_damaged_total 1");
    within(async {
        while !is_shown() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(get(admin, "/status").1.contains("\"history_file_damaged\""));
    router.stop(Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_keep_within_their_bytes_and_the_gap_comes_first() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let mut small = config(&world, folder.path());
    small.history.file_bytes = 1 << 20;
    let router = Router::start(small.clone()).unwrap();
    let client = world.client(&router);
    let publisher = publisher(&client).await;
    for number in 0..6000_u64 {
        let host = format!("host=h{}", number % HOSTS);
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(400, 0);
        publisher.publish(&tags(&[&host]), payload).await.unwrap();
    }
    within(publisher.flush()).await;
    router.stop(Duration::ZERO);
    let held: u64 = segments(folder.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!((1 << 18..=1 << 20).contains(&held), "{held} bytes");

    let router = Router::start(small).unwrap();
    let mut all = past(&world.client(&router), Some(Duration::from_secs(3600)), None).await;
    let Item::Gap(gap) = within(all.next()).await.unwrap() else { panic!("an event comes first") };
    assert_eq!(gap.reason, GapReason::Evicted);
    let mut newest = None;
    while newest != Some(5999) {
        if let Item::Event(event) = within(all.next()).await.unwrap() {
            newest = newest.max(Some(u64::from_be_bytes(event.payload[..8].try_into().unwrap())));
        }
    }
    router.stop(Duration::ZERO);
}

#[test]
fn a_folder_serves_one_router_at_a_time() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let router = Router::start(config(&world, folder.path())).unwrap();
    let error = Router::start(config(&world, folder.path())).unwrap_err();
    assert!(matches!(error, StartError::HistoryFiles { .. }), "{error}");
    assert!(error.to_string().contains("another router uses it"), "{error}");
    router.stop(LONG);
    Router::start(config(&world, folder.path())).unwrap().stop(Duration::ZERO);
    let mut without = config(&world, folder.path());
    without.history.bytes = 0;
    assert!(Router::start(without).unwrap_err().to_string().contains("history.bytes is 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_more_than_a_window_of_small_runs_comes_to_its_end() {
    let world = World::new();
    let mut config = world.config("one");
    config.history.bytes = 16 << 20;
    let router = Router::start(config).unwrap();
    let client = world.client(&router);
    let publisher = publisher(&client).await;
    for number in 0..6000_u64 {
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(400, 0);
        let host = format!("host=h{}", number % HOSTS);
        publisher.publish(&tags(&[&host]), payload).await.unwrap();
    }
    within(publisher.flush()).await;
    let mut all = past(&client, Some(Duration::from_secs(3600)), None).await;
    for _ in 0..6000 {
        let item = within(all.next()).await.unwrap();
        assert!(matches!(item, Item::Event(_)), "{item:?}");
    }
}
