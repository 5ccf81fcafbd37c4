//! `POST /events`.

use serde_json::json;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::world::{LONG, World, event, get, post};

const STRUCTURED: &str = "Content-Type: application/cloudevents+json; charset=utf-8";
const BATCH: &str = "Content-Type: application/cloudevents-batch+json";
/// What `curl -d` says.
const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

fn cloud_event(id: &str) -> serde_json::Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/test", "type": "com.example.test",
        "datacontenttype": "text/plain", "data": format!("payload {id}"), "rack": "r7"
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_event_is_answered_when_it_is_at_all_receivers() {
    let world = World::new().await;
    let mut stream = world.subscribe("service=web").await;
    let answer = post(world.http, "/events?tag=service=web", &[FORM], "hello").await;
    assert_eq!((answer.status, &answer.json()["outcome"]), (202, &json!("confirmed")), "{}", answer.body);
    assert_eq!(answer.json()["receivers"], 1);
    assert_eq!(event(&mut stream).await, ("service=web".to_owned(), "hello".to_owned()));
    let answer = post(world.http, "/events?tag=service=web&level=none", &[FORM], "again").await;
    assert_eq!((answer.status, &answer.json()["outcome"]), (202, &json!("accepted")));
    assert_eq!(event(&mut stream).await.1, "again");
    let path = "/events?tag=service=web&level=delivered";
    let (answer, taken) = tokio::join!(post(world.http, path, &[FORM], "taken"), event(&mut stream));
    assert_eq!((answer.status, &answer.json()["receivers"], taken.1.as_str()), (202, &json!(1), "taken"));
}

#[tokio::test(flavor = "multi_thread")]
async fn cloud_events_come_in_three_modes_and_become_tags() {
    let world = World::new().await;
    let mut stream = world.subscribe("ce_type=com.example.test").await;
    let tags = "ce_datacontenttype=text/plain,ce_id=1,ce_source=/test,ce_type=com.example.test,rack=r7";
    let headers = [
        "ce-specversion: 1.0",
        "ce-id: 1",
        "ce-source: /test",
        "ce-type: com.example.test",
        "ce-rack: r7",
        "Content-Type: text/plain",
    ];
    assert_eq!(post(world.http, "/events", &headers, "payload 1").await.status, 202);
    assert_eq!(event(&mut stream).await, (tags.to_owned(), "payload 1".to_owned()));
    assert_eq!(post(world.http, "/events", &[STRUCTURED], cloud_event("1").to_string()).await.status, 202);
    assert_eq!(event(&mut stream).await, (tags.to_owned(), "payload 1".to_owned()));
    let batch = json!([cloud_event("1"), cloud_event("2"), cloud_event("3")]).to_string();
    let answer = post(world.http, "/events", &[BATCH], batch).await;
    assert_eq!((answer.status, answer.json()["events"].as_array().unwrap().len()), (202, 3));
    // Each has tags of its own, and events of different tags may pass each other.
    let mut payloads = [event(&mut stream).await.1, event(&mut stream).await.1, event(&mut stream).await.1];
    payloads.sort();
    assert_eq!(payloads, ["payload 1", "payload 2", "payload 3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_all_or_nothing_and_names_the_event() {
    let world = World::new().await;
    let mut stream = world.subscribe("*").await;
    let mut wrong = cloud_event("2");
    wrong["time"] = "yesterday".into();
    let batch = json!([cloud_event("1"), cloud_event("2"), wrong]).to_string();
    let answer = post(world.http, "/events", &[BATCH], batch).await;
    assert_eq!((answer.status, &answer.json()["index"]), (400, &json!(2)), "{}", answer.body);
    let long: Vec<_> = (0..1001).map(|_| 0).collect();
    assert_eq!(post(world.http, "/events", &[BATCH], json!(long).to_string()).await.status, 413);
    assert_eq!(post(world.http, "/events", &[BATCH], "[]").await.status, 202);
    assert_eq!(post(world.http, "/events?tag=a=last", &[FORM], "last").await.status, 202);
    assert_eq!(event(&mut stream).await.1, "last", "nothing of the batch was published");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_published_is_refused_by_its_own_status() {
    let world = World::new().await;
    let status =
        async |path: &str, header: &str, body: &[u8]| post(world.http, path, &[header], body).await.status;
    assert_eq!(status("/events?tag=a=b", "Content-Type: application/xml", b"x").await, 415);
    assert_eq!(status("/events", "Content-Type: application/json", b"{}").await, 415);
    assert_eq!(status("/events", "Content-Type: application/cloudevents+avro", b"").await, 415);
    assert_eq!(status("/events", FORM, b"no tags").await, 400);
    assert_eq!(status("/events?tag=a", FORM, b"no value").await, 400);
    assert_eq!(status("/events?tag=millrace/x=1", FORM, b"routers' own").await, 400);
    assert_eq!(status("/events?tag=a=b&level=high", FORM, b"").await, 400);
    assert_eq!(status("/events", STRUCTURED, b"{").await, 400);
    assert_eq!(status("/events?tag=a=b", FORM, &vec![b'x'; (1 << 20) + 1]).await, 413);
    assert_eq!(status("/events?tag=a=b", FORM, &vec![b'x'; 1 << 20]).await, 202);
    assert_eq!(status("/events?tag=a=b", "Origin: https://evil.example", b"").await, 403);
    let nowhere = post(world.http, "/event?tag=a=b", &[FORM], "x").await;
    assert_eq!((nowhere.status, &nowhere.json()["error"]), (404, &"path".into()), "{}", nowhere.body);
    assert!(nowhere.json()["message"].as_str().is_some_and(|message| message.contains("POST /events")));
    let on_a_page = post(world.http, "/", &[FORM], "x").await;
    assert_eq!((on_a_page.status, on_a_page.header("allow")), (405, Some("GET,HEAD")), "{}", on_a_page.body);
    assert_eq!(on_a_page.json()["error"], "method");
    let admin = world.gateway.addresses().admin.unwrap();
    let metrics = get(admin, "/metrics").await.body;
    for line in [
        "millrace_gateway_refused_total{door=\"http\",reason=\"content_type\"} 3\n",
        "millrace_gateway_refused_total{door=\"http\",reason=\"too_large\"} 1\n",
        "millrace_gateway_refused_total{door=\"http\",reason=\"origin\"} 1\n",
        "millrace_gateway_confirmed_events_total{door=\"http\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_router_a_client_is_told_when_to_try_again() {
    let world = World::new().await;
    world.stop_router();
    let lost = async { while get(world.http, "/readyz").await.status == 200 {} };
    timeout(LONG, lost).await.unwrap();
    let answer = post(world.http, "/events?tag=a=b", &[FORM], "x").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.body);
    assert_eq!(answer.json()["error"], "no_router");
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_say_who_may_publish_and_with_which_tags() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "0123456789abcdef0123\n").unwrap();
    let settings = format!(
        "[[http.identity]]\nname = 'deploy'\ntoken_file = '{}'\nrights = ['publish']\ntags = {{ team = 'red' }}\n",
        token.display()
    );
    let world = World::with(&settings).await;
    let mut stream = world.subscribe("a=b").await;
    let path = "/events?tag=a=b&tag=team=blue";
    assert_eq!(post(world.http, path, &[FORM], "").await.status, 401);
    assert_eq!(post(world.http, path, &[FORM, "Authorization: Bearer no"], "").await.status, 401);
    let bearer = "Authorization: Bearer 0123456789abcdef0123";
    assert_eq!(post(world.http, path, &[FORM, bearer], "x").await.status, 202);
    assert_eq!(event(&mut stream).await.0, "a=b,team=red");
    let answer = get(world.http, "/events?select=a&access_token=0123456789abcdef0123").await;
    assert_eq!(answer.status, 403, "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large_too_slow_or_no_http_are_counted_and_idle_clients_are_not() {
    let world = World::new().await;
    let admin = world.gateway.addresses().admin.unwrap();
    // Half a request, nothing at all, and a client that keeps its connection open behind an answer.
    let mut half = TcpStream::connect(world.http).await.unwrap();
    half.write_all(b"POST /events HTTP/1.1\r\nHost: ").await.unwrap();
    let mut silent = TcpStream::connect(world.http).await.unwrap();
    let mut idle = BufReader::new(TcpStream::connect(world.http).await.unwrap());
    let head = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", world.http);
    idle.get_mut().write_all(head.as_bytes()).await.unwrap();
    let mut line = String::new();
    idle.read_line(&mut line).await.unwrap();
    assert_eq!(line, "HTTP/1.1 200 OK\r\n");
    let large = format!("X-Large: {}", "x".repeat(65_536));
    assert_eq!(post(world.http, "/events", &[&large], "").await.status, 431);
    let right = format!("X-Large: {}", "x".repeat(65_000));
    assert_eq!(post(world.http, "/events?tag=a=b", &[&right, FORM], "x").await.status, 202);
    let mut nonsense = TcpStream::connect(world.http).await.unwrap();
    nonsense.write_all(b"\x16\x03\x01 no HTTP\r\n\r\n").await.unwrap();
    for client in [&mut half, &mut silent, idle.get_mut(), &mut nonsense] {
        // The door ends each of them.
        let _ = timeout(LONG, client.read_to_end(&mut Vec::new())).await.unwrap();
    }
    let counted = async |reason: &str, count: u64| {
        let line = format!("millrace_gateway_refused_total{{door=\"http\",reason=\"{reason}\"}} {count}\n");
        let asking = async { while !get(admin, "/metrics").await.body.contains(&line) {} };
        if timeout(LONG, asking).await.is_err() {
            panic!("no {line}{}", get(admin, "/metrics").await.body);
        }
    };
    counted("slow", 2).await;
    counted("too_large", 1).await;
    counted("malformed", 1).await;
}
