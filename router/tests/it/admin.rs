//! The admin page.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use millrace_router::{CoreSnapshot, Ending, Router, RouterHandle};

use crate::raw::Raw;
use crate::world::{LONG, World, get, get_as, get_with};

fn ready(world: &World, name: &str) -> (RouterHandle, SocketAddr) {
    let mut config = world.config(name);
    config.admin = Some("127.0.0.1:0".parse().unwrap());
    let router = Router::start(config).unwrap();
    let admin = router.admin_addr().unwrap();
    router.wait_until(LONG, |seen| seen.status.ready()).unwrap();
    (router, admin)
}

#[test]
fn pages_show_what_the_router_knows() {
    let world = World::new();
    let mut config = world.config("shown");
    config.admin = Some("127.0.0.1:0".parse().unwrap());
    let router = Router::start(config).unwrap();
    let admin = router.admin_addr().unwrap();
    router.wait_until(LONG, |seen| seen.status.ready()).unwrap();
    assert_eq!(get(admin, "/livez"), (200, "live\n".to_owned()));
    assert_eq!(get(admin, "/readyz"), (200, "ready\n".to_owned()));
    let (code, page) = get(admin, "/status");
    assert!(page.contains("\n  \"name\": \"shown\""), "indented for people: {page}");
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!((code, page["name"].as_str()), (200, Some("shown")));
    assert_eq!(page["schema"], "millrace-router-status/1");
    assert_eq!(page["cores"][0]["metrics"]["ingress_events"], 0, "what `/metrics` has is here, too");
    assert!(page["cores"][0]["metrics"]["dropped_events"].is_object());
    let (code, page) = get(admin, "/metrics");
    assert_eq!(code, 200);
    for line in [
        "millrace_ingress_events_total{core=\"0\"} 0",
        "millrace_dropped_events_total{core=\"0\",reason=\"lane_overflow\"} 0",
        "millrace_closed_connections_total{core=\"0\",code=\"malformed\"} 0",
        "millrace_ended_connections_total{core=\"0\",reason=\"timed_out\"} 0",
        "millrace_mesh_peers{state=\"linked\"} 0",
        "millrace_ready 1",
        "# TYPE millrace_ingress_events_total counter",
        "millrace_subscription_in_cluster_seconds_count 0",
    ] {
        assert!(page.lines().any(|found| found == line), "no `{line}` in\n{page}");
    }
    assert_eq!(get(admin, "/nothing").0, 404);
}

#[test]
fn connections_that_end_without_a_word_are_counted_by_how_they_ended() {
    let world = World::new();
    let mut config = world.config("silent");
    config.admin = Some("127.0.0.1:0".parse().unwrap());
    let router = Router::start(config).unwrap();
    let _silent = Raw::patient(&router, Duration::from_millis(50));
    let ended = |core: &CoreSnapshot| core.shell.ended[Ending::TimedOut as usize];
    router.wait_until(LONG, |seen| seen.sum(ended) == 1).unwrap();
    let (_, page) = get(router.admin_addr().unwrap(), "/metrics");
    let line = "millrace_ended_connections_total{core=\"0\",reason=\"timed_out\"} 1";
    assert!(page.lines().any(|found| found == line), "{page}");
}

#[test]
fn router_that_cannot_reach_its_seed_is_not_ready_before_its_join_timeout() {
    let world = World::new();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut config = world.config("lonely");
    config.admin = Some("127.0.0.1:0".parse().unwrap());
    config.mesh.seeds = vec![silent.local_addr().unwrap().to_string()];
    config.mesh.join_timeout = LONG * 100;
    let router = Router::start(config).unwrap();
    router.wait_until(LONG, |seen| seen.control.dials >= 1).unwrap();
    let (code, why) = get(router.admin_addr().unwrap(), "/readyz");
    assert_eq!(code, 503);
    assert!(why.contains("not all known routers"), "{why}");
}

#[test]
fn root_lists_every_path_as_text_or_json() {
    let world = World::new();
    let mut config = world.config("listed");
    config.admin = Some("127.0.0.1:0".parse().unwrap());
    let router = Router::start(config).unwrap();
    let admin = router.admin_addr().unwrap();
    router.wait_until(LONG, |seen| seen.status.ready()).unwrap();
    let (code, text) = get(admin, "/");
    assert_eq!(code, 200);
    let (code, json) = get_as(admin, "/", "application/json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, json["schema"].as_str()), (200, Some("millrace-router-admin/1")));
    let paths: Vec<&str> =
        json["paths"].as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(
        paths,
        [
            "/",
            "/livez",
            "/readyz",
            "/metrics",
            "/status",
            "/sessions",
            "/routes",
            "/tags",
            "/groups",
            "/forwards",
            "/names",
            "/rules",
            "/standby",
            "/why",
            "/reload",
            "/drain",
            "/standby/hand-over",
            "/move",
        ]
    );
    assert_eq!(text.lines().count(), paths.len());
    for (line, path) in text.lines().zip(paths) {
        assert!(line.starts_with(path) && line.len() > 30, "{line}");
        // What changes something is not had by looking.
        let code =
            if ["/reload", "/drain", "/standby/hand-over", "/move"].contains(&path) { 405 } else { 200 };
        assert_eq!(get(admin, path).0, code, "{path}");
    }
}

#[test]
fn metrics_have_the_form_that_is_asked_for() {
    let world = World::new();
    let (_router, admin) = ready(&world, "forms");
    let form = |accept: &str| {
        let (status, head, body) =
            get_with(admin, "/metrics", &format!("Host: localhost\r\nAccept: {accept}\r\n"));
        assert_eq!(status, 200);
        (head.contains("application/openmetrics-text"), body.ends_with("# EOF\n"))
    };
    assert_eq!(form("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"), (true, true));
    assert_eq!(form("text/plain"), (false, false));
    assert_eq!(form("*/*"), (false, false));
    let (_, page) = get(admin, "/metrics");
    for name in ["process_resident_memory_bytes ", "process_open_fds ", "millrace_build_info{version="] {
        assert!(page.lines().any(|line| line.starts_with(name)), "no `{name}` in\n{page}");
    }
}

#[test]
fn on_loopback_only_names_of_loopback_are_answered() {
    let world = World::new();
    let (_router, admin) = ready(&world, "hosts");
    let ask = |host: &str| get_with(admin, "/status", &format!("Host: {host}\r\n")).0;
    for host in ["localhost", "127.0.0.1", "[::1]", &admin.to_string(), "localhost:9900"] {
        assert_eq!(ask(host), 200, "{host}");
    }
    for host in ["evil.example", "evil.example:9900", "localhost.evil.example"] {
        assert_eq!(ask(host), 421, "{host}");
    }
    assert_eq!(get_with(admin, "/status", "").0, 421, "no host at all");
}

#[test]
fn clients_that_say_nothing_keep_nobody_out() {
    let world = World::new();
    let (_router, admin) = ready(&world, "besieged");
    let idle: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(admin).unwrap();
            stream.write_all(b"GET /status HTTP/1.1\r\nHost: local").unwrap();
            stream
        })
        .collect();
    assert_eq!(get(admin, "/livez"), (200, "live\n".to_owned()));
    // The oldest made room: its end of the connection reads an end, or a reset.
    let mut oldest = &idle[0];
    oldest.set_read_timeout(Some(LONG)).unwrap();
    let mut rest = Vec::new();
    let ended = oldest.read_to_end(&mut rest);
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
}

#[test]
fn a_browser_finds_links() {
    let world = World::new();
    let (_router, admin) = ready(&world, "linked");
    let (_, page) = get_as(admin, "/", "text/html,application/xhtml+xml");
    for path in ["/livez", "/readyz", "/metrics", "/status"] {
        assert!(page.contains(&format!("<a href=\"{path}\">")), "{page}");
    }
    assert!(page.contains("ready: clients should come"), "{page}");
}
