//! Merging for real: a router of two cores and a client in network namespaces of their own, joined
//! by a veth pair with GRO on. All connections of the client leave from one port, so the kernel
//! merges packets of both cores into one buffer, which goes to the core of its first packet.
//!
//! Needs root. The test starts itself twice more, once in each namespace; the variable `ROLE` says
//! as what.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use millrace_quic::{ConnId, Core, CoreSettings, Dial, StreamId, steer};

use crate::peer::Peer;
use crate::tls;

const ROLE: &str = "VETH_ROLE";
const TEST: &str = "veth::merged_packets_reach_the_cores_they_are_for";
/// In a namespace of its own, so nobody else has it.
const ROUTER: &str = "10.77.0.1:7400";
const CLIENT: &str = "10.77.0.2:0";
const CORES: u16 = 2;
const CONNS: u16 = 32;
/// Times that every connection sends one packet.
const ROUNDS: usize = 30;
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes both namespaces and runs both sides. The receiving end merges (GRO) and waits a little for
/// more to merge; the sending end leaves no work to its peer (no TSO), or the packets would never
/// see GRO.
const SCRIPT: &str = r#"
set -eu
unshare --net sleep 120 & other=$!
trap 'kill $other' EXIT
until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
mount -t sysfs none /sys
ip link add router type veth peer name client netns $other
ip addr add 10.77.0.1/24 dev router
ip link set lo up
ip link set router up
nsenter -t $other -n ip addr add 10.77.0.2/24 dev client
nsenter -t $other -n ip link set client up
offload='
import ctypes, fcntl, socket, struct, sys
value = ctypes.create_string_buffer(struct.pack("II", int(sys.argv[2], 16), int(sys.argv[3])))
request = struct.pack("16sP", sys.argv[1].encode(), ctypes.addressof(value))
fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8946, request)
'
python3 -c "$offload" router 2c 1
nsenter -t $other -n python3 -c "$offload" client 1f 0
echo 500000 > /sys/class/net/router/gro_flush_timeout
echo 10 > /sys/class/net/router/napi_defer_hard_irqs
VETH_ROLE=router "$@" & router=$!
VETH_ROLE=client nsenter -t $other -n "$@"
wait $router
"#;

#[test]
#[ignore = "needs root, for network namespaces: sudo -E cargo test -p millrace-quic --test it -- --ignored veth"]
fn merged_packets_reach_the_cores_they_are_for() {
    match std::env::var(ROLE).as_deref() {
        Ok("router") => route(),
        Ok(_) => ask(),
        Err(_) => make_namespaces(),
    }
}

fn make_namespaces() {
    let folder = std::env::temp_dir().join(format!("millrace-veth-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    tls::share_identity(&folder);
    let ran = Command::new("unshare")
        .args(["--net", "--mount", "bash", "-c", SCRIPT, "veth"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", TEST])
        .env(tls::SHARED_IDENTITY, &folder)
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(ran.status.success(), "{}\n{}", text(&ran.stdout), text(&ran.stderr));
}

/// The router's side, until all connections have come and gone.
fn route() {
    let group = steer::bind_group(ROUTER.parse().unwrap(), CORES).unwrap();
    let make = |(core, socket)| {
        let settings = CoreSettings { core, cores: CORES, ..CoreSettings::default() };
        Core::new(settings, Some(tls::server()), Some(socket), Peer::of_many_cores()).unwrap()
    };
    let mut cores: Vec<Core<Peer>> = (0..CORES).zip(group.sockets).map(make).collect();
    let end = Instant::now() + PATIENCE;
    while cores.iter().map(|core| core.app().closed.len()).sum::<usize>() < usize::from(CONNS) {
        assert!(Instant::now() < end, "the client did not come, or did not go");
        for core in 0..cores.len() {
            cores[core].turn(Duration::from_micros(100));
            for (owner, segment) in std::mem::take(cores[core].app_mut().foreign.as_mut().unwrap()) {
                cores[usize::from(owner)].with_io(|_, io| io.inject(segment));
            }
        }
    }
    let sum = |count: fn(&Core<Peer>) -> u64| cores.iter().map(count).sum::<u64>();
    let foreign = sum(|core| core.metrics().foreign_out);
    assert!(foreign > 0, "the kernel merged nothing: this test has shown nothing");
    assert_eq!(sum(|core| core.metrics().foreign_in), foreign);
    assert_eq!(sum(|core| core.metrics().drops.foreign), 0);
    let per_core: Vec<usize> = cores.iter().map(|core| core.app().connected.len()).collect();
    assert_eq!(per_core, [usize::from(CONNS / 2); 2], "each is on the core that its client asked for");
}

/// The client's side: lone packets of the same size on all connections at once, so that they can be
/// merged.
fn ask() {
    let mut client = Core::new(CoreSettings::default(), None, None, Peer::default()).unwrap();
    let remote: SocketAddr = ROUTER.parse().unwrap();
    let via = client.with_io(|_, io| io.add_socket(CLIENT.parse().unwrap())).unwrap();
    let conns: Vec<ConnId> = (0..CONNS)
        .map(|shard| {
            let (server_name, settings) = ("localhost".to_owned(), tls::client());
            let dial = Dial { remote, server_name, client: settings, via, shard: Some(shard) };
            client.with_io(|_, io| io.connect(&dial)).unwrap()
        })
        .collect();
    let end = Instant::now() + PATIENCE;
    let until = |client: &mut Core<Peer>, what: &str, done: &dyn Fn(&Peer) -> bool| {
        while !done(client.app()) {
            assert!(Instant::now() < end, "never came: {what}");
            client.turn(Duration::from_millis(1));
        }
    };
    until(&mut client, "connections", &|app| app.connected.len() == conns.len());
    for round in 1..=ROUNDS {
        let keys: BTreeSet<(ConnId, StreamId)> = client.with_io(|app, io| {
            let open = |conn: &ConnId| {
                let key = (*conn, io.open_bi(*conn).unwrap());
                app.send(io, key, &[5; 200], true);
                key
            };
            conns.iter().map(open).collect()
        });
        until(&mut client, "echoes", &|app| app.ended.len() == round * conns.len());
        assert!(keys.iter().all(|key| client.app().received[key] == [5; 200]));
    }
    assert!(client.app().closed.is_empty(), "a connection was lost");
    client.with_io(|_, io| conns.iter().for_each(|conn| io.close(*conn, 0, b"")));
    until(&mut client, "the end", &|app| app.closed.len() == conns.len());
    for _ in 0..20 {
        client.turn(Duration::from_millis(1));
    }
}
