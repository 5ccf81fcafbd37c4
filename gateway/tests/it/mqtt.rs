//! The MQTT door, packet by packet: MQTT 5 where it matters, 3.1.1 where it differs.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::world::{LONG, World, event, get, post};

const SETTINGS: &str = "[mqtt]\nlisten = '127.0.0.1:0'\n[[mqtt.topic]]\ntemplate = 'sensors/{room}/{kind}'\n";

fn byte(number: usize) -> u8 {
    u8::try_from(number).unwrap()
}

/// Text behind its length.
fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

/// A packet of fewer than 16,384 bytes.
fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let (low, high) = (body.len() % 128, body.len() / 128);
    let length = if high == 0 { vec![byte(low)] } else { vec![byte(low) | 0x80, byte(high)] };
    [vec![first], length, body].concat()
}

/// `CONNECT` of MQTT 5: flags, properties, and the texts behind them.
pub(crate) fn connect_5(flags: u8, properties: &[u8], texts: &[&str]) -> Vec<u8> {
    let texts: Vec<u8> = texts.iter().flat_map(|part| text(part)).collect();
    let head = [&text("MQTT")[..], &[5, flags, 0, 0, byte(properties.len())]].concat();
    packet(0x10, &[&head, properties, &texts])
}

fn publish_5(topic: &str, number: Option<u16>, properties: &[u8], payload: &str) -> Vec<u8> {
    let number = number.map(u16::to_be_bytes);
    let number: &[u8] = number.as_ref().map_or(&[], |number| number);
    let first = if number.is_empty() { 0x30 } else { 0x32 };
    packet(first, &[&text(topic), number, &[byte(properties.len())], properties, payload.as_bytes()])
}

fn subscribe_5(number: u8, filter: &str, options: u8) -> Vec<u8> {
    packet(0x82, &[&[0, number, 0], &text(filter), &[options]])
}

struct Client {
    stream: TcpStream,
}

impl Client {
    /// Connects, and returns what `CONNACK` says: whether a session is there, and the code.
    async fn open(at: SocketAddr, connect: &[u8]) -> (Self, u8, u8) {
        let mut client = Self { stream: TcpStream::connect(at).await.unwrap() };
        client.send(connect).await;
        let (first, body) = client.packet().await.unwrap();
        assert_eq!(first, 0x20);
        (client, body[0], body[1])
    }

    /// A client of MQTT 5 without anything special.
    async fn of(world: &World, name: &str) -> Self {
        let (client, _, code) = Self::open(at(world), &connect_5(2, &[], &[name])).await;
        assert_eq!(code, 0);
        client
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next packet: its first byte and its body; `None` when the door has closed.
    async fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let reading = async {
            let first = self.stream.read_u8().await.ok()?;
            let (mut length, mut shift) = (0, 0);
            loop {
                let byte = self.stream.read_u8().await.ok()?;
                length |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).await.ok()?;
            Some((first, body))
        };
        timeout(LONG, reading).await.unwrap()
    }

    /// Subscribes, and returns the code.
    async fn subscribe(&mut self, number: u8, filter: &str, options: u8) -> u8 {
        self.send(&subscribe_5(number, filter, options)).await;
        let (first, body) = self.packet().await.unwrap();
        assert_eq!((first, body[1]), (0x90, number));
        *body.last().unwrap()
    }

    /// The next message: its first byte, and what stands behind its topic, which is checked.
    async fn message(&mut self, topic: &str) -> (u8, Vec<u8>) {
        let (first, body) = self.packet().await.unwrap();
        let topic = text(topic);
        assert!(first & 0xf0 == 0x30 && body.starts_with(&topic), "{first:x} {body:?}");
        (first, body[topic.len()..].to_vec())
    }

    /// Everything sent so far has been done, and nothing else has come.
    async fn ping(&mut self) {
        self.send(&[0xc0, 0]).await;
        assert_eq!(self.packet().await, Some((0xd0, vec![])));
    }
}

fn at(world: &World) -> SocketAddr {
    world.gateway.addresses().mqtt.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_both_versions_reach_each_other_and_other_doors() {
    let world = World::with(SETTINGS).await;
    let mut stream = world.subscribe("room=kitchen").await;
    let mut new = Client::of(&world, "new").await;
    assert_eq!(new.subscribe(1, "sensors/+/temp", 1).await, 1);
    let (mut old, present, code) =
        Client::open(at(&world), b"\x10\x0f\0\x04MQTT\x04\x02\0\x3c\0\x03old").await;
    assert_eq!((present, code), (0, 0));
    old.send(&packet(0x82, &[&[0, 1], &text("sensors/#"), &[2]])).await;
    assert_eq!(old.packet().await, Some((0x90, vec![0, 1, 1])), "QoS 2 is granted as 1");
    old.send(&packet(0x32, &[&text("sensors/kitchen/temp"), &[0, 9], b"21.5"])).await;
    let (first, rest) = new.message("sensors/kitchen/temp").await;
    assert_eq!((first, &rest[2..]), (0x32, &b"\x0021.5"[..]));
    // The message comes back, and is acknowledged, in either order.
    let mut both = [old.packet().await.unwrap(), old.packet().await.unwrap()];
    both.sort();
    let [(first, body), acknowledgement] = &both;
    assert!(*first == 0x32 && body.starts_with(&text("sensors/kitchen/temp")) && body.ends_with(b"21.5"));
    assert_eq!(acknowledgement, &(0x40, vec![0, 9]));
    assert_eq!(event(&mut stream).await, ("kind=temp,room=kitchen".to_owned(), "21.5".to_owned()));
    post(world.http, "/events?tag=room=hall&tag=kind=temp&tag=unit=C", &[], "19").await;
    let (_, rest) = new.message("sensors/hall/temp").await;
    assert_eq!(&rest[2..], b"\x0a\x26\0\x04unit\0\x01C19", "other tags are user properties");
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_say_what_became_of_a_message() {
    let world = World::with(SETTINGS).await;
    let mut client = Client::of(&world, "one").await;
    client.send(&publish_5("nobody", Some(3), &[], "x")).await;
    assert_eq!(client.packet().await, Some((0x40, vec![0, 3, 0x10])), "nobody is subscribed");
    client.send(&publish_5("a/+", Some(4), &[], "x")).await;
    let (first, body) = client.packet().await.unwrap();
    assert_eq!((first, body[1], body[2]), (0x40, 4, 0x90), "a topic has no wildcards");
    client.send(&publish_5("a", Some(5), b"\x26\0\x03a b\0\x01c", "x")).await;
    let (_, body) = client.packet().await.unwrap();
    assert_eq!((body[1], body[2]), (5, 0x83));
    assert!(String::from_utf8_lossy(&body).contains("tag key \"a b\""));
    client.send(&packet(0x31, &[&text("a"), &[0], b"x"])).await;
    assert_eq!(client.packet().await.unwrap().1[0], 0x9a, "nothing is retained");
    assert_eq!(client.packet().await, None);
    let mut client = Client::of(&world, "two").await;
    client.send(&packet(0x34, &[&text("a"), &[0, 1, 0], b"x"])).await;
    assert_eq!(client.packet().await.unwrap().1[0], 0x9b, "there is no QoS 2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_comes_with_the_lower_qos_of_publication_and_subscription() {
    let world = World::with(SETTINGS).await;
    let (mut zero, mut one) = (Client::of(&world, "zero").await, Client::of(&world, "one").await);
    zero.subscribe(1, "q", 0).await;
    one.subscribe(1, "q", 1).await;
    let mut publisher = Client::of(&world, "publisher").await;
    publisher.send(&publish_5("q", None, &[], "once")).await;
    // A topic's messages of different QoS have no order between them: each is awaited.
    assert_eq!(one.message("q").await, (0x30, b"\0once".to_vec()), "published with 0");
    publisher.send(&publish_5("q", Some(1), &[], "sure")).await;
    assert_eq!(publisher.packet().await, Some((0x40, vec![0, 1])));
    let (first, rest) = one.message("q").await;
    assert_eq!((first, &rest[2..]), (0x32, &b"\0sure"[..]), "published with 1");
    post(world.http, "/events?tag=topic=q", &[], "http").await;
    assert_eq!(one.message("q").await.0, 0x32, "another door's event comes with what is granted");
    for payload in [&b"\0once"[..], b"\0sure", b"\0http"] {
        assert_eq!(zero.message("q").await, (0x30, payload.to_vec()), "subscribed with 0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_identifiers_and_what_is_local_are_as_asked_for() {
    let world = World::with(SETTINGS).await;
    let connect = connect_5(2, b"\x22\0\x01", &["one"]);
    let (mut client, ..) = Client::open(at(&world), &connect).await;
    // Subscription identifier 300; then one that is not for its own.
    client.send(&packet(0x82, &[b"\0\x01\x03\x0b\xac\x02", &text("a/#"), &[0]])).await;
    client.packet().await.unwrap();
    client.subscribe(2, "a/+", 4).await;
    client.send(&publish_5("a/b", None, b"\x23\0\x07", "x")).await;
    client.send(&publish_5("", None, b"\x23\0\x07", "y")).await;
    let (_, rest) = client.message("a/b").await;
    assert_eq!(rest, b"\x06\x0b\xac\x02\x23\0\x01x", "the door numbers topics, too");
    let (_, rest) = client.message("").await;
    assert_eq!(rest, b"\x06\x0b\xac\x02\x23\0\x01y");
    client.ping().await;
    let mut other = Client::of(&world, "other").await;
    other.send(&publish_5("a/c", None, &[], "z")).await;
    let mut bodies = vec![client.message("a/c").await.1, client.message("a/c").await.1];
    bodies.sort();
    assert_eq!(bodies, [b"\0z".to_vec(), b"\x03\x0b\xac\x02z".to_vec()]);
    client.send(&publish_5("", None, b"\x23\0\x08", "y")).await;
    assert_eq!(client.packet().await.unwrap().1[0], 0x82, "a number that was never told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_kept_and_goes_on_where_it_was() {
    let world = World::with(SETTINGS).await;
    // Session expiry of a minute, and one message at a time.
    let connect = |clean: u8| connect_5(clean, b"\x11\0\0\0\x3c\x21\0\x01", &["kept"]);
    let (mut client, present, _) = Client::open(at(&world), &connect(2)).await;
    assert_eq!(present, 0);
    client.subscribe(1, "jobs", 1).await;
    let mut other = Client::of(&world, "other").await;
    for payload in ["1", "2"] {
        other.send(&publish_5("jobs", Some(1), &[], payload)).await;
        other.packet().await.unwrap();
    }
    let (first, rest) = client.message("jobs").await;
    assert_eq!((first, rest.as_slice()), (0x32, &b"\0\x01\x001"[..]));
    drop(client);
    other.send(&publish_5("jobs", Some(1), &[], "3")).await;
    other.packet().await.unwrap();
    let (mut client, present, _) = Client::open(at(&world), &connect(0)).await;
    assert_eq!(present, 1);
    let (first, rest) = client.message("jobs").await;
    assert_eq!((first, rest.as_slice()), (0x3a, &b"\0\x01\x001"[..]), "sent again, and said to be");
    for (packet, payload) in [(2, "2"), (3, "3")] {
        client.send(&[0x40, 2, 0, packet - 1]).await;
        let (_, rest) = client.message("jobs").await;
        assert_eq!(rest, [&[0, packet, 0], payload.as_bytes()].concat());
    }
    // Another connection of the same name takes over; one that begins anew finds nothing.
    let (mut second, present, _) = Client::open(at(&world), &connect(0)).await;
    assert_eq!(client.packet().await.unwrap().1[0], 0x8e);
    assert_eq!((present, second.message("jobs").await.0), (1, 0x3a));
    let (_, present, _) = Client::open(at(&world), &connect(2)).await;
    assert_eq!(present, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_will_is_published_when_a_client_is_lost_and_only_then() {
    let world = World::with(SETTINGS).await;
    let mut watch = Client::of(&world, "watch").await;
    watch.subscribe(1, "will/#", 0).await;
    for (name, goodbye, is_published) in
        [("lost", &b""[..], true), ("leaves", b"\xe0\x00", false), ("asks", b"\xe0\x01\x04", true)]
    {
        let head = connect_5(6, &[], &[name]);
        // The will's properties stand between the client's name and the will's topic.
        let will = [&[0][..], &text(&format!("will/{name}")), &text("gone")].concat();
        let connect = packet(0x10, &[&head[2..], &will]);
        let (mut client, _, code) = Client::open(at(&world), &connect).await;
        assert_eq!(code, 0);
        client.send(goodbye).await;
        if goodbye.is_empty() {
            drop(client);
        } else {
            assert_eq!(client.packet().await, None);
        }
        if is_published {
            assert_eq!(watch.message(&format!("will/{name}")).await.1, b"\0gone");
        }
    }
    watch.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_subscription_is_a_member_of_a_group_that_acknowledges() {
    let world = World::with(SETTINGS).await;
    let (mut one, mut other) = (Client::of(&world, "one").await, Client::of(&world, "other").await);
    for client in [&mut one, &mut other] {
        assert_eq!(client.subscribe(1, "$share/workers/jobs/+", 1).await, 1);
    }
    let mut publisher = Client::of(&world, "publisher").await;
    // Topics whose members are chosen apart; both get some.
    for number in 0..40_u8 {
        publisher.send(&publish_5(&format!("jobs/{number}"), Some(1), &[], "x")).await;
        assert_eq!(publisher.packet().await, Some((0x40, vec![0, 1])));
    }
    // One takes and acknowledges nothing, and is lost: the other one gets all.
    drop(one);
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 40 {
        let (first, body) = other.packet().await.unwrap();
        assert_eq!(first & 0xf7, 0x32);
        let topic_bytes = usize::from(body[1]);
        seen.insert(body[2..2 + topic_bytes].to_vec());
        other.send(&[&[0x40, 2][..], &body[2 + topic_bytes..4 + topic_bytes]].concat()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_allowed_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "0123456789abcdef0123").unwrap();
    let settings = format!(
        "[mqtt]\nlisten = '127.0.0.1:0'\n[[mqtt.identity]]\nname = 'reader'\ntoken_file = '{}'\nrights = ['subscribe']\n",
        token.display()
    );
    let world = World::with(&settings).await;
    let code = async |connect: &[u8]| Client::open(at(&world), connect).await.2;
    assert_eq!(code(&connect_5(2, &[], &["a"])).await, 0x87);
    assert_eq!(code(&connect_5(0xc2, &[], &["a", "user", "wrong"])).await, 0x86);
    assert_eq!(code(b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a").await, 5);
    assert_eq!(code(b"\x10\x0d\0\x04MQTT\x03\x02\0\x3c\0\x01a").await, 1);
    assert_eq!(code(&connect_5(2, b"\x15\0\x01x", &["a"])).await, 0x8c);
    let right = connect_5(0xc2, &[], &["a", "anybody", "0123456789abcdef0123"]);
    let (mut client, _, code) = Client::open(at(&world), &right).await;
    assert_eq!(code, 0);
    assert_eq!(client.subscribe(1, "a/#/b", 0).await, 0x8f);
    assert_eq!(client.subscribe(2, "a/#", 0).await, 0);
    client.send(&publish_5("a", Some(1), &[], "x")).await;
    assert_eq!(client.packet().await.unwrap().1[2], 0x87);
    client.send(&publish_5("a", None, &[], "x")).await;
    assert_eq!(
        client.packet().await.unwrap(),
        (0xe0, [&[0x87][..], &reason("this identity may not publish")].concat())
    );
    assert_eq!(client.packet().await, None);
}

/// Properties with a reason in words.
fn reason(why: &str) -> Vec<u8> {
    let why = text(why);
    [&[byte(why.len() + 1), 0x1f][..], &why].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_proves_nothing_counts_as_unauthenticated_with_and_without_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "correct-horse-battery").unwrap();
    let identity = format!("[[mqtt.identity]]\nname = 'a'\ntoken_file = '{}'\n", token.display());
    let world = World::with(&format!("[mqtt]\nlisten = '127.0.0.1:0'\n{identity}")).await;
    let (_, _, code) = Client::open(at(&world), &connect_5(2, &[], &["nobody"])).await;
    assert_eq!(code, 0x87);
    let (_, _, code) = Client::open(at(&world), &connect_5(0xc2, &[], &["nobody", "user", "wrong"])).await;
    assert_eq!(code, 0x86);
    let page = get(world.gateway.addresses().admin.unwrap(), "/metrics").await.body;
    let counted = |reason, count| {
        page.contains(&format!(
            "millrace_gateway_refused_total{{door=\"mqtt\",reason=\"{reason}\"}} {count}\n"
        ))
    };
    assert!(counted("unauthenticated", 2) && !counted("forbidden", 1), "{page}");
}
