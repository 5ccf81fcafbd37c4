//! Routers that find each other through DNS, as a small server of the test's own says.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record};
use millrace_router::{Router, RouterConfig, RouterHandle};

use crate::world::{LONG, World, linked};

/// Records by name.
type Zone = Arc<Mutex<BTreeMap<String, Vec<RData>>>>;

/// A DNS server over UDP. Its thread ends with the test's process.
struct Dns {
    addr: SocketAddr,
    zone: Zone,
}

impl Dns {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let dns = Self { addr: socket.local_addr().unwrap(), zone: Zone::default() };
        let zone = dns.zone.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok((length, client)) = socket.recv_from(&mut bytes) {
                let answer = answer(&zone, &Message::from_vec(&bytes[..length]).unwrap());
                socket.send_to(&answer.to_vec().unwrap(), client).unwrap();
            }
        });
        dns
    }

    fn add(&self, name: &str, record: RData) {
        self.zone.lock().unwrap().entry(name.to_owned()).or_default().push(record);
    }

    fn add_host(&self, name: &str, ip: IpAddr) {
        let record = match ip {
            IpAddr::V4(ip) => RData::A(A(ip)),
            IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
        };
        self.add(name, record);
    }

    /// A service at a host of its own name.
    fn add_service(&self, name: &str, host: &str, router: &RouterHandle) {
        self.add_host(host, router.addr().ip());
        let target = Name::from_ascii(format!("{host}.")).unwrap();
        self.add(name, RData::SRV(SRV::new(0, 0, router.addr().port(), target)));
    }

    /// A router that knows others by this name alone.
    fn seeded(&self, world: &World, name: &str, seed: &str) -> RouterConfig {
        let mut config = world.config(name);
        config.mesh.seeds = vec![seed.to_owned()];
        config.mesh.dns_servers = vec![self.addr];
        config.mesh.resolve_every = Duration::from_millis(50);
        config
    }
}

fn answer(zone: &Zone, asked: &Message) -> Message {
    let mut answer = Message::response(asked.metadata.id, OpCode::Query);
    answer.metadata.recursion_available = true;
    let query = &asked.queries[0];
    answer.add_query(query.clone());
    let name = query.name().to_string().to_lowercase();
    match zone.lock().unwrap().get(name.trim_end_matches('.')) {
        None => answer.metadata.response_code = ResponseCode::NXDomain,
        Some(records) => {
            let fits = |record: &&RData| record.record_type() == query.query_type();
            for record in records.iter().filter(fits) {
                answer.add_answer(Record::from_rdata(query.name().clone(), 1, record.clone()));
            }
        }
    }
    answer
}

#[test]
fn routers_behind_an_srv_name_are_found_with_their_ports_and_one_that_comes_later_too() {
    const SERVICE: &str = "_millrace._udp.mesh.test";
    let (world, dns) = (World::new(), Dns::start());
    let (a, b) = (world.router("a"), world.router("b"));
    dns.add_service(SERVICE, "a.mesh.test", &a);
    let c = Router::start(dns.seeded(&world, "c", SERVICE)).unwrap();
    linked(&[&a, &c]);
    assert_eq!(b.look().unwrap().status.peers.len(), 0);
    dns.add_service(SERVICE, "b.mesh.test", &b);
    linked(&[&a, &b, &c]);
}

#[test]
fn every_address_behind_a_name_is_dialled() {
    let (world, dns) = (World::new(), Dns::start());
    let a = world.router("a");
    let mut config = world.config("b");
    config.listen = SocketAddr::new(IpAddr::from([127, 0, 0, 2]), a.addr().port());
    let b = Router::start(config).unwrap();
    dns.add_host("mesh.test", a.addr().ip());
    dns.add_host("mesh.test", b.addr().ip());
    let seed = format!("mesh.test:{}", a.addr().port());
    let c = Router::start(dns.seeded(&world, "c", &seed)).unwrap();
    linked(&[&a, &b, &c]);
}

#[test]
fn router_of_both_families_finds_one_behind_an_ipv6_address() {
    if UdpSocket::bind("[::1]:0").is_err() {
        return;
    }
    let (world, dns) = (World::new(), Dns::start());
    let on_v6 = |mut config: RouterConfig| {
        config.listen = "[::1]:0".parse().unwrap();
        Router::start(config).unwrap()
    };
    let a = on_v6(world.config("a"));
    dns.add_host("six.test", a.addr().ip());
    let b = on_v6(dns.seeded(&world, "b", &format!("six.test:{}", a.addr().port())));
    linked(&[&a, &b]);
}

#[test]
fn name_that_does_not_exist_yet_is_asked_for_until_it_does() {
    let (world, dns) = (World::new(), Dns::start());
    let a = world.router("a");
    let mut config = dns.seeded(&world, "b", &format!("late.test:{}", a.addr().port()));
    config.mesh.join_timeout = LONG * 100;
    let b = Router::start(config).unwrap();
    assert!(!b.look().unwrap().status.synced, "who the seeds are is not known yet");
    dns.add_host("late.test", a.addr().ip());
    linked(&[&a, &b]);
}
