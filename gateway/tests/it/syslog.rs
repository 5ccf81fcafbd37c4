//! The syslog door, as its senders use it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::world::{LONG, World, event, get};

const SETTINGS: &str = "syslog.udp = '127.0.0.1:0'\nsyslog.tcp = '127.0.0.1:0'\nsyslog.tz = '+02:00'";

#[tokio::test(flavor = "multi_thread")]
async fn a_datagram_is_an_event() {
    let world = World::with(SETTINGS).await;
    let mut stream = world.subscribe("facility").await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = world.gateway.addresses().syslog_udp.unwrap();
    for (message, tags, text) in [
        (
            "<165>1 2003-10-11T22:14:15.003Z web-1 raid 8710 ID47 [disk@32473 slot=\"3\"] degraded",
            "app=raid,disk.slot=3,facility=local4,host=web-1,msgid=ID47,procid=8710,severity=notice",
            "degraded",
        ),
        (
            "<34>Oct 11 22:14:15 web-1 su[12]: failed\n",
            "app=su,facility=auth,host=web-1,procid=12,severity=crit",
            "failed",
        ),
        ("<14>from Python\0", "facility=user,severity=info", "from Python"),
    ] {
        socket.send_to(message.as_bytes(), to).await.unwrap();
        assert_eq!(event(&mut stream).await, (tags.to_owned(), text.to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_mix_framings_and_ends_at_a_malformed_count() {
    let world = World::with(SETTINGS).await;
    let mut stream = world.subscribe("facility").await;
    let mut sender = TcpStream::connect(world.gateway.addresses().syslog_tcp.unwrap()).await.unwrap();
    let long = "x".repeat(100_000);
    let sent =
        format!("9 <14>a: 1\n<14>a: 2\n<14>a: {long}\n70003 <14>{}9 <14>a: 3\n12x", "y".repeat(69_999));
    sender.write_all(sent.as_bytes()).await.unwrap();
    let tags = |extra: &str| format!("app=a,facility=user,severity=info{extra}");
    // The one that is cut has other tags, and those may pass the rest.
    let (mut whole, mut cut) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let (found, text) = event(&mut stream).await;
        if found == tags("") { whole.push(text) } else { cut.push((found, text.len())) }
    }
    assert_eq!(whole, ["1", "2", "3"]);
    assert_eq!(cut, [(tags(",truncated=1"), 64 * 1024 - "<14>a: ".len())]);
    assert_eq!(timeout(LONG, sender.read(&mut [0])).await.unwrap().unwrap_or(0), 0, "the door closes");
    let metrics = get(world.gateway.addresses().admin.unwrap(), "/metrics").await.body;
    for line in [
        "millrace_gateway_refused_total{door=\"syslog\",reason=\"too_large\"} 1\n",
        "millrace_gateway_refused_total{door=\"syslog\",reason=\"malformed\"} 1\n",
        "millrace_gateway_published_events_total{door=\"syslog\"} 4\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_on_no_list_is_not_heard() {
    let settings =
        format!("{SETTINGS}\n[[syslog.identity]]\nname = 'elsewhere'\nnetworks = ['192.0.2.0/24']\n");
    let world = World::with(&settings).await;
    let mut sender = TcpStream::connect(world.gateway.addresses().syslog_tcp.unwrap()).await.unwrap();
    assert_eq!(timeout(LONG, sender.read(&mut [0])).await.unwrap().unwrap_or(0), 0, "the door closes");
}
