//! What people ask the admin page about clients, routes and tags, and how it ends a router.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::Stdio;

use millrace_router::{Router, RouterHandle};
use serde_json::Value;

use crate::process::command;
use crate::reload::post;
use crate::world::{LONG, World, event, get, linked, publisher, receiver, tags, within};

fn with_admin(world: &World, name: &str, seed: Option<&RouterHandle>, cores: u16) -> RouterHandle {
    let mut config = world.config(name);
    config.admin = Some("127.0.0.1:0".parse().unwrap());
    config.cores = cores;
    config.mesh.seeds = seed.map(|other| other.addr().to_string()).into_iter().collect();
    Router::start(config).unwrap()
}

fn page(router: &RouterHandle, path: &str) -> Value {
    let (code, page) = get(router.admin_addr().unwrap(), path);
    assert_eq!(code, 200, "{path}: {page}");
    serde_json::from_str(&page).unwrap()
}

fn texts<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn why_names_who_would_get_an_event_and_what_keeps_it_from_others() {
    let world = World::new();
    let one = with_admin(&world, "one", None, 2);
    let two = with_admin(&world, "two", Some(&one), 1);
    linked(&[&one, &two]);
    let _here = receiver(&world.client(&one), &["host=web-1", "host=web-9,service=pay"]).await;
    let _pattern = receiver(&world.client(&one), &["host=web-1,payload ~ /panic/"]).await;
    let _there = receiver(&world.client(&two), &["service in (pay,shop)"]).await;

    let why = page(&one, "/why?tags=host%3Dweb-1,service%3Dpay");
    assert_eq!(why["schema"], "millrace-router-why/1");
    assert_eq!((&why["name"], &why["receivers_count"]), (&"one".into(), &2.into()));
    let mut by: Vec<(&str, bool)> = why["receivers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (one["selectors"][0]["selector"].as_str().unwrap(), one["selectors"][0]["by_payload"] == true)
        })
        .collect();
    by.sort_unstable();
    assert_eq!(by, [("host=web-1", false), ("host=web-1", true)]);
    assert_eq!((&why["peers"][0]["name"], &why["peers"][0]["wants"]), (&"two".into(), &true.into()));

    let why = page(&one, "/why?tags=host%3Dweb-9,service%3Dmail");
    assert_eq!(why["receivers_count"], 0);
    assert_eq!(texts(&why["nearest"], "selector")[0], "host=web-1");
    let missed = why["nearest"].as_array().unwrap();
    let missed = missed.iter().find(|miss| miss["selector"] == "host=web-9,service=pay").unwrap();
    assert_eq!(missed["unmet"][0]["requires"], "service=pay");
    assert_eq!(missed["unmet"][0]["has"], "mail");
    let peer = &why["peers"][0];
    assert_eq!(peer["wants"], false);
    assert!(peer["why_not"].as_str().unwrap().contains("none of its subscriptions"), "{peer}");
    assert_eq!(peer["nearest"][0]["unmet"][0]["requires"], "service in (pay,shop)");
    let (code, refusal) = get(one.admin_addr().unwrap(), "/why?tags=host");
    assert_eq!((code, refusal.starts_with("tags=host: ")), (400, true), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_are_the_directory_page_by_page() {
    let world = World::new();
    let one = with_admin(&world, "one", None, 1);
    let two = with_admin(&world, "two", Some(&one), 1);
    linked(&[&one, &two]);
    let _here = receiver(&world.client(&one), &["host=a", "host=b", "zone=x"]).await;
    let _there = receiver(&world.client(&two), &["host=b", "host=c,payload ~ /panic/"]).await;
    let all = page(&one, "/routes");
    assert_eq!(all["schema"], "millrace-router-routes/1");
    assert_eq!(texts(&all["routes"], "selector"), ["host=a", "host=b", "host=b", "host=c", "zone=x"]);
    assert_eq!((&all["routes"][0]["core"], &all["next"]), (&0.into(), &Value::Null));
    let there = all["routes"].as_array().unwrap().iter().find(|route| route["selector"] == "host=c").unwrap();
    assert_eq!((&there["router_name"], &there["by_payload"]), (&"two".into(), &true.into()));
    let first = page(&one, "/routes?contains=host&top=1");
    assert_eq!((&first["count"], &first["next"]), (&4.into(), &"host=a".into()));
    let rest = page(&one, "/routes?contains=host&after=host%3Da");
    assert_eq!(texts(&rest["routes"], "selector"), ["host=b", "host=b", "host=c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_ranked_over_all_cores() {
    let world = World::new();
    let router = with_admin(&world, "one", None, 2);
    router.wait_until(LONG, |seen| seen.status.ready()).unwrap();
    let client = world.client(&router);
    let mut receiver = receiver(&client, &["host=a"]).await;
    let publishing = world.client(&router);
    let publisher = publisher(&publishing).await;
    within(publisher.publish(&tags(&["host=a"]), "hello")).await.unwrap();
    event(&mut receiver).await;
    let sessions = page(&router, "/sessions?order=published&top=5");
    assert_eq!(sessions["schema"], "millrace-router-sessions/1");
    assert_eq!((&sessions["count"], &sessions["silent_cores"]), (&2.into(), &0.into()));
    let first = &sessions["sessions"][0];
    assert!(first["publishes"] == true && first["published_bytes"].as_u64() > Some(0), "{first}");
    let second = &sessions["sessions"][1];
    assert_eq!((&second["receivers"], &second["selectors"]), (&1.into(), &1.into()));
    assert!(second["remote"].as_str().unwrap().parse::<SocketAddr>().is_ok(), "{second}");
    assert_eq!(page(&router, "/sessions?top=1")["sessions"].as_array().unwrap().len(), 1);
    for wrong in ["order=size", "top=0", "top=1001", "tops=3"] {
        assert_eq!(get(router.admin_addr().unwrap(), &format!("/sessions?{wrong}")).0, 400, "{wrong}");
    }
}

#[test]
fn drain_ends_the_process_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = command(&folder)
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--ready-json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    let admin: SocketAddr = line["admin"].as_str().unwrap().parse().unwrap();
    assert!(post(admin, "/drain?grace=soon", "").starts_with("HTTP/1.1 400 "));
    for browser in [
        "Origin: http://evil.example",
        "Origin: null",
        "Sec-Fetch-Site: cross-site",
        "Referer: http://evil.example/",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:60.0) Gecko/20100101 Firefox/60.0",
    ] {
        for path in ["/drain", "/reload", "/move?clients=1&to=127.0.0.1:1", "/standby/hand-over?set=a"] {
            let answer = post(admin, path, &format!("{browser}\r\n"));
            assert!(answer.starts_with("HTTP/1.1 403 "), "{path}, {browser}: {answer}");
        }
    }
    let answer = post(admin, "/drain?grace=100ms", "User-Agent: curl/8.5.0\r\nAccept: */*\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"grace_s\": 0.1"), "{answer}");
    assert!(child.wait().unwrap().success());
}
