//! A client that nobody here wrote, as it is: rumqttc, with both versions of MQTT.

use std::net::SocketAddr;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS, v5};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::world::{LONG, World};

const SETTINGS: &str = "[mqtt]\nlisten = '127.0.0.1:0'\n";
const MESSAGES: usize = 200;

/// What the client's own loop tells.
#[derive(Debug)]
enum Heard {
    Subscribed,
    Acknowledged,
    Message(String, Vec<u8>),
    /// The client has lost its connection, or leaves.
    Ended(String),
}

type Hearing = mpsc::UnboundedReceiver<Heard>;

fn old(at: SocketAddr, name: &str) -> (AsyncClient, Hearing) {
    let mut options = MqttOptions::new(name, at.ip().to_string(), at.port());
    options.set_keep_alive(LONG);
    let (client, mut events) = AsyncClient::new(options, 100);
    let (tell, hearing) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let heard = match events.poll().await {
                Err(error) => Heard::Ended(error.to_string()),
                Ok(event) => match event {
                    Event::Incoming(Packet::SubAck(_)) => Heard::Subscribed,
                    Event::Incoming(Packet::PubAck(_)) => Heard::Acknowledged,
                    Event::Incoming(Packet::Publish(message)) => {
                        Heard::Message(message.topic, message.payload.to_vec())
                    }
                    _ => continue,
                },
            };
            let has_ended = matches!(heard, Heard::Ended(_));
            if tell.send(heard).is_err() || has_ended {
                break;
            }
        }
    });
    (client, hearing)
}

fn new(at: SocketAddr, name: &str) -> (v5::AsyncClient, Hearing) {
    let mut options = v5::MqttOptions::new(name, at.ip().to_string(), at.port());
    options.set_keep_alive(LONG);
    let (client, mut events) = v5::AsyncClient::new(options, 100);
    let (tell, hearing) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let heard = match events.poll().await {
                Err(error) => Heard::Ended(error.to_string()),
                Ok(event) => match event {
                    v5::Event::Incoming(v5::Incoming::SubAck(_)) => Heard::Subscribed,
                    v5::Event::Incoming(v5::Incoming::PubAck(_)) => Heard::Acknowledged,
                    v5::Event::Incoming(v5::Incoming::Publish(message)) => Heard::Message(
                        String::from_utf8(message.topic.to_vec()).unwrap(),
                        message.payload.to_vec(),
                    ),
                    _ => continue,
                },
            };
            let has_ended = matches!(heard, Heard::Ended(_));
            if tell.send(heard).is_err() || has_ended {
                break;
            }
        }
    });
    (client, hearing)
}

async fn next(hearing: &mut Hearing) -> Heard {
    timeout(LONG, hearing.recv()).await.unwrap().unwrap()
}

/// Messages and acknowledgements, until there are enough of both.
async fn collect(hearing: &mut Hearing, messages: usize, acknowledged: usize) -> Vec<String> {
    let (mut topics, mut count) = (Vec::new(), 0);
    while topics.len() < messages || count < acknowledged {
        match next(hearing).await {
            Heard::Message(topic, payload) => {
                assert_eq!(payload, topic.as_bytes());
                topics.push(topic);
            }
            Heard::Acknowledged => count += 1,
            Heard::Subscribed => {}
            Heard::Ended(why) => panic!("{why}; {} messages, {count} acknowledgements", topics.len()),
        }
    }
    topics
}

#[tokio::test(flavor = "multi_thread")]
async fn rumqttc_publishes_and_receives_with_both_versions() {
    let world = World::with(SETTINGS).await;
    let at = world.gateway.addresses().mqtt.unwrap();
    let ((old, mut old_hears), (new, mut new_hears)) = (old(at, "old"), new(at, "new"));
    old.subscribe("load/+/x", QoS::AtLeastOnce).await.unwrap();
    new.subscribe("load/#", v5::mqttbytes::QoS::AtLeastOnce).await.unwrap();
    for hears in [&mut old_hears, &mut new_hears] {
        assert!(matches!(next(hears).await, Heard::Subscribed));
    }
    let publishing = async {
        for number in 0..MESSAGES {
            let topic = format!("load/{}/x", number % 7);
            if number % 2 == 0 {
                old.publish(&topic, QoS::AtLeastOnce, false, topic.as_bytes()).await.unwrap();
            } else {
                let payload = topic.clone().into_bytes();
                new.publish(&topic, v5::mqttbytes::QoS::AtLeastOnce, false, payload).await.unwrap();
            }
        }
    };
    let ((), of_old, of_new) = tokio::join!(
        publishing,
        collect(&mut old_hears, MESSAGES, MESSAGES / 2),
        collect(&mut new_hears, MESSAGES, MESSAGES / 2)
    );
    assert_eq!((of_old.len(), of_new.len()), (MESSAGES, MESSAGES));
    old.disconnect().await.unwrap();
    new.disconnect().await.unwrap();
}
