//! What changes while doors are open, and whom it concerns.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::StreamExt;
use millrace_certs::{ClusterAuthority, Issued, crypto_provider};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::client_async;

use crate::mqtt::connect_5;
use crate::world::{EventSource, LONG, World, event, file, get, post};

/// One list for each door: `leaver` with its rights, and `stayer` with all.
fn settings(folder: &Path, leaver: Option<&str>) -> String {
    let mut text = "[nats]\nlisten = '127.0.0.1:0'\n[mqtt]\nlisten = '127.0.0.1:0'\n".to_owned();
    for (name, token) in [("leaver", "token-of-the-leaver"), ("stayer", "token-of-the-stayer")] {
        std::fs::write(folder.join(name), token).unwrap();
        let rights = if name == "leaver" { leaver } else { Some("['publish', 'subscribe']") };
        let Some(rights) = rights else { continue };
        for door in ["http", "nats", "mqtt"] {
            text.push_str(&format!(
                "[[{door}.identity]]\nname = '{name}'\ntoken_file = '{}'\nrights = {rights}\n",
                folder.join(name).display()
            ));
        }
    }
    text
}

/// A client of each door that has sessions.
struct Clients {
    events: EventSource,
    socket: tokio_tungstenite::WebSocketStream<TcpStream>,
    nats: BufReader<TcpStream>,
    mqtt: TcpStream,
}

impl Clients {
    async fn open(world: &World, token: &str) -> Self {
        let path = format!("/events?select=a&access_token={token}");
        let mut events = EventSource::open(world.http, &path, &["Connection: close"]).await;
        assert_eq!(events.next().await.unwrap().0, "subscribed");
        let stream = TcpStream::connect(world.http).await.unwrap();
        let (socket, _) = client_async(format!("ws://{}{path}", world.http), stream).await.unwrap();
        let addresses = world.gateway.addresses();
        let mut nats = BufReader::new(TcpStream::connect(addresses.nats.unwrap()).await.unwrap());
        let connect = format!("CONNECT {{\"auth_token\":\"{token}\"}}\r\nPING\r\n");
        nats.get_mut().write_all(connect.as_bytes()).await.unwrap();
        let mut mqtt = TcpStream::connect(addresses.mqtt.unwrap()).await.unwrap();
        mqtt.write_all(&connect_5(0xc2, &[], &["", "user", token])).await.unwrap();
        let mut clients = Self { events, socket, nats, mqtt };
        assert!(clients.line().await.starts_with("INFO"));
        assert_eq!(clients.line().await, "PONG");
        assert_eq!(clients.packet().await.unwrap()[0], 0x20);
        clients
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(LONG, self.nats.read_line(&mut line)).await.unwrap().unwrap();
        line.trim_end().to_owned()
    }

    /// The next packet of MQTT, if there is one.
    async fn packet(&mut self) -> Option<Vec<u8>> {
        packet(&mut self.mqtt).await
    }

    /// All doors still serve the client.
    async fn are_served(&mut self, world: &World, payload: &str) {
        let bearer = "Authorization: Bearer token-of-the-stayer";
        let form = "Content-Type: text/plain";
        assert_eq!(post(world.http, "/events?tag=a=b", &[bearer, form], payload).await.status, 202);
        assert!(self.events.next().await.unwrap().2.contains(payload));
        self.nats.get_mut().write_all(b"PING\r\n").await.unwrap();
        assert_eq!(self.line().await, "PONG");
        self.mqtt.write_all(&[0xc0, 0]).await.unwrap();
        assert_eq!(self.packet().await.unwrap(), [0xd0]);
    }
}

/// A packet of fewer than 128 bytes: its first byte and its body.
async fn packet(from: &mut (impl AsyncReadExt + Unpin)) -> Option<Vec<u8>> {
    let mut head = [0; 2];
    timeout(LONG, from.read_exact(&mut head)).await.unwrap().ok()?;
    let mut body = vec![0; usize::from(head[1])];
    from.read_exact(&mut body).await.ok()?;
    Some([&head[..1], &body].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_a_right_is_disconnected_at_every_door_and_nobody_else_notices() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::with(&settings(folder.path(), Some("['publish', 'subscribe']"))).await;
    let mut leaver = Clients::open(&world, "token-of-the-leaver").await;
    let mut stayer = Clients::open(&world, "token-of-the-stayer").await;
    let lines = world.running.reload(file(&settings(folder.path(), Some("['publish']")))).unwrap();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].contains("http.identity \"leaver\" is another one"), "{lines:?}");

    assert!(leaver.events.next().await.is_none());
    let close = loop {
        match timeout(LONG, leaver.socket.next()).await.unwrap() {
            Some(Ok(message)) if message.is_close() => break message.to_string(),
            Some(Ok(_)) => {}
            other => panic!("no close frame: {other:?}"),
        }
    };
    assert!(close.contains("a right was withdrawn"), "{close}");
    assert_eq!(leaver.line().await, "-ERR 'User Authentication Revoked'");
    assert_eq!(leaver.packet().await.unwrap()[..2], [0xe0, 0x87]);
    stayer.are_served(&world, "one").await;
    let page = get(world.gateway.addresses().admin.unwrap(), "/metrics").await.body;
    for (door, count) in [("web", 2), ("nats", 1), ("mqtt", 1)] {
        let line =
            format!("millrace_gateway_refused_total{{door=\"{door}\",reason=\"withdrawn\"}} {count}\n");
        assert!(page.contains(&line), "{page}");
    }

    // One that is gone is nobody: what is proven from then on is refused.
    world.running.reload(file(&settings(folder.path(), None))).unwrap();
    let path = "/events?select=a&access_token=token-of-the-leaver";
    assert_eq!(get(world.http, path).await.status, 401);
    stayer.are_served(&world, "two").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_is_wrong_or_needs_a_restart_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let text = settings(folder.path(), Some("['publish', 'subscribe']"));
    let mut world = World::with(&text).await;
    let mut leaver = Clients::open(&world, "token-of-the-leaver").await;
    let without = settings(folder.path(), None);
    for (more, why) in [
        ("[log]\nfilter = 'inof'", "inof"),
        ("[syslog]\nudp = '127.0.0.1:0'", "it needs a restart: syslog.udp"),
        ("[[http.identity]]\nname = 'x'\ntoken_file = '/nonexistent'", "/nonexistent"),
    ] {
        let refused = world.running.reload(file(&format!("{without}{more}"))).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    assert_eq!(world.running.reload(file(&text)), Ok(vec![]));
    leaver.nats.get_mut().write_all(b"PING\r\n").await.unwrap();
    assert_eq!(leaver.line().await, "PONG");
    // A token is a file of its own.
    std::fs::write(folder.path().join("leaver"), "another-token-of-the-leaver").unwrap();
    let lines = world.running.reload(file(&text)).unwrap();
    assert!(lines.iter().all(|line| line.contains("leaver")) && lines.len() == 3, "{lines:?}");
    assert_eq!(leaver.line().await, "-ERR 'User Authentication Revoked'");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_syslog_connection_ends_with_its_right_and_has_been_heard_until_then() {
    let of = |network| {
        let list = format!("[[syslog.identity]]\nname = 'rack'\nnetworks = ['{network}']\n");
        file(&format!("[syslog]\ntcp = '127.0.0.1:0'\n{list}"))
    };
    let text =
        "[syslog]\ntcp = '127.0.0.1:0'\n[[syslog.identity]]\nname = 'rack'\nnetworks = ['127.0.0.1']\n";
    let mut world = World::with(text).await;
    let mut stream = world.subscribe("facility").await;
    let mut sender = TcpStream::connect(world.gateway.addresses().syslog_tcp.unwrap()).await.unwrap();
    sender.write_all(b"<14>one\n").await.unwrap();
    assert_eq!(event(&mut stream).await.1, "one");
    world.running.reload(of("192.0.2.0/24")).unwrap();
    assert_eq!(timeout(LONG, sender.read(&mut [0; 1])).await.unwrap().unwrap_or_default(), 0);
}

fn authority(folder: &Path) -> ClusterAuthority {
    let now = SystemTime::now();
    let made = ClusterAuthority::make("test", 30, now).unwrap();
    std::fs::write(folder.join("ca.pem"), &made.certificate_pem).unwrap();
    ClusterAuthority::from_pem(&made.certificate_pem, &made.key_pem, ["ca", "key"], now).unwrap()
}

async fn dial(world: &World, roots: &str, client: &Issued) -> TlsStream<TcpStream> {
    let mut store = RootCertStore::empty();
    store.add(CertificateDer::from_pem_slice(roots.as_bytes()).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(client.certificate_pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(client.key_pem.as_bytes()).unwrap();
    let config = ClientConfig::builder_with_provider(crypto_provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_client_auth_cert(chain, key)
        .unwrap();
    let at = world.gateway.addresses().mqtt.unwrap();
    let name = ServerName::try_from("door.example").unwrap();
    let stream = TcpStream::connect(at).await.unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    stream.write_all(&connect_5(2, &[], &[""])).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_routers_certificate_is_no_clients_and_one_of_an_authority_that_is_gone_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let (now, ca) = (SystemTime::now(), authority(folder.path()));
    let roots = std::fs::read_to_string(folder.path().join("ca.pem")).unwrap();
    let door = ca.router("door", &["door.example".to_owned()], 10, now).unwrap();
    let (cert, key) = (folder.path().join("door.pem"), folder.path().join("door.key"));
    std::fs::write(&cert, &door.certificate_pem).unwrap();
    millrace_certs::write_private(&key, &door.key_pem).unwrap();
    let text = format!(
        "[mqtt]\nlisten = '127.0.0.1:0'\ncert = '{}'\nkey = '{}'\nclient_ca = '{}'\n[[mqtt.identity]]\nname = \
         'a'\ncertificate = 'sensor'\n",
        cert.display(),
        key.display(),
        folder.path().join("ca.pem").display()
    );
    let mut world = World::with(&text).await;
    let router = ca.router("sensor", &["sensor.example".to_owned()], 10, now).unwrap();
    let mut refused = dial(&world, &roots, &router).await;
    let mut said = Vec::new();
    timeout(LONG, refused.read_to_end(&mut said)).await.unwrap().unwrap();
    assert_eq!((said[0], said[3 + usize::from(said[1] > 127)]), (0x20, 0x87));
    assert!(String::from_utf8_lossy(&said).contains("the certificate is a router's"), "{said:?}");

    let sensor = ca.client("sensor", 10, now).unwrap();
    let mut client = dial(&world, &roots, &sensor).await;
    assert_eq!(packet(&mut client).await.unwrap()[2], 0, "admitted");
    assert_eq!(world.running.reload(file(&text)), Ok(vec![]));
    authority(folder.path());
    assert_eq!(world.running.reload(file(&text)).unwrap(), ["mqtt.client_ca: other authorities"]);
    assert_eq!(packet(&mut client).await.unwrap()[..2], [0xe0, 0x87]);
}
