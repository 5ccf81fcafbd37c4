//! Every setting of a router: its name in the file, meaning, default, range, and when a change
//! counts.
//!
//! `docs/reference/config.md` is printed from this page (`millrace-router --print-reference`).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use millrace_engine::control::{PEERS_MAX, Rebalance};
use millrace_engine::history::files::FileLimits;
use millrace_proto::ClusterId;
use millrace_proto::limits::{CORES_MAX, RECEIVERS_PER_CONNECTION_MAX};
use millrace_proto::rule::RuleText;
use millrace_quic::{AddressBlock, NewcomerLimits};

use super::accepts::AcceptEntry;
use super::cluster::Cluster;
use super::compression::Compression;
use super::declare::{Section, Setting, section};
use super::forwards::ForwardEntry;
use super::hex::Hex;
use super::identities::IdentityEntry;
use super::kinds::{
    Advertise, AutoOrOff, Count, File, Listen, ListenOrOff, LogFilter, Networks, Packing, Pin, Seeds,
    Servers, Span, Switch, Text,
};
use super::pinning::Pinning;
use super::size::Size;

/// Credit of a publisher, at most: 256 KiB less than the window of its connection, for control
/// frames.
pub(super) const PUBLISHER_CREDIT_MAX: u64 = 2 << 20;
/// Where the admin page is by default.
pub(crate) const ADMIN_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7401);

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

section! {
    /// The router as a whole.
    pub(crate) struct General at general {
        /// A name for people; unset: what it advertises.
        "name" Restart ("name" "MILLRACE_NAME")
        name: Option<String> = None => Text { max: 256 };
        /// UDP address for clients and peers; port 0 lets the system choose. Unset: 127.0.0.1:7400
        /// in development mode, else [::]:7400.
        "listen" Restart ("listen" "MILLRACE_LISTEN")
        listen: Option<SocketAddr> = None => Listen;
        /// How others reach this router; also its name in the mesh for good. Unset: the address
        /// that is bound.
        "advertise" Restart ("advertise" "MILLRACE_ADVERTISE")
        advertise: Option<String> = None => Advertise;
        /// Where this router is, such as a data centre or an availability zone: clients with the
        /// same zone prefer it.
        "zone" Restart ("zone" "MILLRACE_ZONE")
        zone: Option<String> = None => Text { max: 256 };
        /// The id of this router's cluster: the same on all of its routers, and another one on
        /// those of any other cluster. Routers of two clusters do not join, and events are
        /// forwarded between clusters by their ids. `millrace certs init` makes one. Unset: none,
        /// so that nothing is forwarded.
        "cluster" Restart ("cluster" "MILLRACE_CLUSTER")
        cluster: Option<ClusterId> = None => Cluster;
        /// Time for clients to move when the router ends.
        "grace" Live ("grace" "MILLRACE_GRACE")
        grace: Duration = Duration::from_secs(5) => Span { min: Duration::ZERO, max: DAY };
    }
}

section! {
    /// Threads that route, and where they run.
    pub(crate) struct CoreThreads at cores {
        /// How many threads route.
        "cores.count" Restart ("cores" "MILLRACE_CORES")
        count: u16 = 1 => Count { min: 1, max: CORES_MAX as u64 };
        /// CPUs for them. auto: one CPU each where CPUs are the router's own (isolated, in an
        /// exclusive cpuset, or in one of whole CPUs as Kubernetes' static CPU manager gives), else
        /// one each to begin with, which a core leaves while others keep it busy. on: the first
        /// CPUs that the process may use, whoever else runs there. off: wherever the system puts
        /// them. Or numbers such as 0,2,4. The ready line and /status say what became of it.
        "cores.pin" Restart ("pin" "MILLRACE_PIN")
        pin: Pinning = Pinning::Auto => Pin;
        /// How long a core without work looks for packets before it sleeps, while its last rests
        /// were short. It shortens the way of single events by a wake-up, for a whole CPU: only for
        /// CPUs that are the router's own. 0: never.
        "cores.spin" Restart ("spin" "MILLRACE_SPIN")
        spin: Duration = Duration::ZERO => Span { min: Duration::ZERO, max: MILLISECOND };
        /// Whether the kernel gives each packet to its core. Without it, cores pass packets on, at
        /// a cost per packet.
        "cores.kernel_steering" Restart ()
        kernel_steering: bool = true => Switch;
    }
}

section! {
    /// The admin page: /livez, /readyz, /metrics and /status over HTTP.
    pub(crate) struct AdminPage at admin {
        /// TCP address of the admin page, or off. It has no authentication: who reaches it
        /// elsewhere than on loopback may read, and change nothing.
        "admin.listen" Restart ("admin" "MILLRACE_ADMIN")
        listen: Option<SocketAddr> = Some(ADMIN_DEFAULT) => ListenOrOff;
        /// TCP address of the same page over TLS, usually port 7402, or off. It answers and obeys
        /// whoever shows a certificate of the role admin (`millrace certs admin NAME`), from
        /// anywhere.
        "admin.tls_listen" Restart ("admin-tls" "MILLRACE_ADMIN_TLS")
        tls_listen: Option<SocketAddr> = None => ListenOrOff;
    }
}

section! {
    /// Certificates. All three of `cert`, `key` and `ca`, or none: development mode, on loopback
    /// alone. Their files are read anew by each reload.
    pub(crate) struct TlsFiles at tls {
        /// This router's certificate chain (PEM), its own certificate first. Without it, `key` and
        /// `ca`: development mode.
        "tls.cert" Drain ("cert" "MILLRACE_CERT")
        cert: Option<PathBuf> = None => File;
        /// Its private key (PEM), without a passphrase.
        "tls.key" Drain ("key" "MILLRACE_KEY")
        key: Option<PathBuf> = None => File;
        /// The authorities that are believed (PEM).
        "tls.ca" Drain ("ca" "MILLRACE_CA")
        ca: Option<PathBuf> = None => File;
        /// A secret that all routers of the cluster share: any file of 16 bytes or more, or of two
        /// lines, two secrets. The first one makes the tickets by which clients resume, and both
        /// are accepted. Unset: derived from the key.
        "tls.secret" Drain ("secret" "MILLRACE_SECRET")
        secret: Option<PathBuf> = None => File;
        /// Whether `key` and `secret` may be files of this user's that everybody on this host can
        /// use, with a warning. Otherwise they are refused, as ssh does, unless the router listens
        /// on loopback alone.
        "tls.accept_open_keys" Drain ()
        accept_open_keys: bool = false => Switch;
        /// Tokens of clients without certificates: a file with a line for each, a name and the
        /// SHA-256 of the token. `millrace certs token NAME` makes both. Who shows a token that is
        /// not in it is refused; who was admitted by one that a reload removes is closed.
        "tls.tokens" Live ()
        tokens: Option<PathBuf> = None => File;
        /// Whether clients without a certificate are refused, or, where there is a token file,
        /// those without a certificate and a token.
        "tls.require_client_certificate" Drain ()
        require_client_certificate: bool = false => Switch;
    }
}

section! {
    /// How the connection ids of this router look, for balancers in front of it.
    pub struct ConnectionIdSettings at connection_ids {
        /// The id by which a balancer of QUIC-LB knows this router, as the balancer was told it: it
        /// stands behind the first byte of each connection id. Unset: AWS_LBC_QUIC_SERVER_ID, which
        /// the AWS Load Balancer Controller gives to pods, or none.
        "connection_ids.server_id" Restart ("server-id" "MILLRACE_SERVER_ID")
        server_id: Vec<u8> = Vec::new() => Hex { max: 15 };
        /// Bytes of a connection id. Unset: 16 with a server id (four behind a longer one at
        /// least), else 8.
        "connection_ids.length" Restart ()
        length: Option<usize> = None => Count { min: 8, max: 20 };
        /// Which two bytes of a connection id name the core, counted from 0: behind the server id,
        /// and the same for all routers of a cluster. Unset: the first two behind the server id, or
        /// bytes 1 and 2.
        "connection_ids.steering_offset" Restart ()
        steering_offset: Option<usize> = None => Count { min: 1, max: 18 };
    }
}

section! {
    /// How this router finds others, and when it doubts them.
    pub struct MeshSettings at mesh {
        /// Where other routers are: HOST:PORT, a name of DNS (all its addresses; port 7400 unless
        /// given), or an SRV name, which begins with an underscore.
        "mesh.seeds" Live ("seed" "MILLRACE_SEEDS")
        seeds: Vec<String> = Vec::new() => Seeds;
        /// Routers that this one dials besides, written as seeds are: those of which nobody tells,
        /// because they are hidden. No router waits for one that does not answer there, and links
        /// stay when a route is taken away.
        "mesh.routes" Live ("route" "MILLRACE_ROUTES")
        routes: Vec<String> = Vec::new() => Seeds;
        /// Hides this router: its peers tell neither clients nor other routers of it, and count it
        /// for nothing. It dials its seeds and routes, links with all routers that they tell of,
        /// and serves the clients that know its address.
        "mesh.no_advertise" Live ("no-advertise" "MILLRACE_NO_ADVERTISE")
        no_advertise: bool = false => Switch;
        /// Whether this router evens clients out by itself. auto: when it has over 10 % more
        /// clients than the mean of the linked routers of its zone, it asks those that are too many
        /// to move to those that have fewer, one percent of its clients a second. off: only
        /// `millrace ctl rebalance` does.
        "mesh.rebalance" Live ("rebalance" "MILLRACE_REBALANCE")
        rebalance: Rebalance = Rebalance::Auto => AutoOrOff;
        /// DNS servers that are asked for seeds and advertised names instead of the system's; for
        /// service discovery that listens on a port of its own.
        "mesh.dns_servers" Restart ()
        dns_servers: Vec<SocketAddr> = Vec::new() => Servers;
        /// How often names are looked up anew.
        "mesh.resolve_every" Restart ()
        resolve_every: Duration = Duration::from_secs(5) => Span { min: MILLISECOND, max: DAY };
        /// Linked routers that this one needs before it is ready for the first time. Unless set:
        /// half of those that it knows or is told of, rounded down, and at least one where there
        /// are any.
        "mesh.min_peers" Restart ()
        min_peers: Option<usize> = None => Count { min: 0, max: PEERS_MAX as u64 };
        /// How long it waits for them; then it is ready without, and says so.
        "mesh.join_timeout" Restart ()
        join_timeout: Duration = Duration::from_secs(30) => Span { min: Duration::ZERO, max: DAY };
        /// How long publishers wait for credit until every known router's interest is applied, and
        /// how long a router that should be linked may take before that is told as a fault.
        "mesh.sync_timeout" Restart ()
        sync_timeout: Duration = Duration::from_secs(2) => Span { min: Duration::ZERO, max: DAY };
        /// Pings are sent this often on lanes.
        "mesh.ping_every" Restart ()
        ping_every: Duration = Duration::from_millis(250) => Span { min: MILLISECOND, max: MINUTE };
        /// A lane that was silent for this long makes its peer suspect; at least two pings must
        /// fit.
        "mesh.suspect_after" Restart ()
        suspect_after: Duration = Duration::from_secs(1) => Span { min: MILLISECOND, max: HOUR };
        /// How long a suspect peer's interest is kept: longer than any pause that a peer should
        /// survive.
        "mesh.forget_after" Restart ()
        forget_after: Duration = Duration::from_secs(30) => Span { min: Duration::ZERO, max: DAY };
        /// How long a dial may take.
        "mesh.dial_timeout" Restart ()
        dial_timeout: Duration = Duration::from_secs(5) => Span { min: MILLISECOND, max: HOUR };
        /// First pause before dialling again; doubles up to `mesh.redial_max`.
        "mesh.redial_min" Restart ()
        redial_min: Duration = Duration::from_millis(100) => Span { min: MILLISECOND, max: HOUR };
        /// Longest pause before dialling again.
        "mesh.redial_max" Restart ()
        redial_max: Duration = Duration::from_secs(5) => Span { min: MILLISECOND, max: HOUR };
    }
}

section! {
    /// Bounds on what clients may take.
    pub struct LimitSettings at limits {
        /// Connections of one core, about 20 KB each.
        "limits.connections_per_core" Restart ()
        connections_per_core: usize = 1 << 18 => Count { min: 1, max: 1 << 24 };
        /// Receivers of one core.
        "limits.receivers_per_core" Restart ()
        receivers_per_core: u32 = 1 << 20 => Count { min: 1, max: 1 << 24 };
        /// Receivers of one connection.
        "limits.receivers_per_connection" Restart ()
        receivers_per_connection: u32 = RECEIVERS_PER_CONNECTION_MAX
            => Count { min: 1, max: RECEIVERS_PER_CONNECTION_MAX as u64 };
        /// Bytes of a receiver's queue unless it asks for less.
        "limits.receiver_queue" Restart ()
        receiver_queue_bytes: u64 = 16 << 20 => Size { min: 1, max: 1 << 40 };
        /// Bytes of a receiver's queue, at most.
        "limits.receiver_queue_max" Restart ()
        receiver_queue_bytes_max: u64 = 64 << 20 => Size { min: 1, max: 1 << 40 };
        /// Bytes that wait for all receivers of the router together, a share for each core; beyond,
        /// the largest queues give way first. 0: a quarter of the memory that the process may use
        /// (its cgroup's bound counts), at most 1 GiB.
        "limits.queue_budget" Restart ()
        queue_budget_bytes: u64 = 0 => Size { min: 0, max: 1 << 44 };
        /// Copies of events that a core makes in a second for receivers that take nothing, each
        /// some 250 ns, in equal parts for all connections that have such receivers; beyond, a
        /// receiver is passed over until it takes something, with a gap.
        "limits.stalled_copies_per_core" Restart ()
        stalled_copies_per_core: u32 = 500_000 => Count { min: 1, max: 1 << 30 };
        /// Tag sets whose routes the router keeps at hand, each some 600 bytes; beyond, those give
        /// way that were not used for long, and are looked up again.
        "limits.route_cache_entries" Restart ()
        route_cache_entries: u32 = 1_000_000 => Count { min: 1_024, max: 1 << 28 };
        /// Bytes that wait for one lane or sibling core.
        "limits.link_queue" Restart ()
        link_queue_bytes: u64 = 64 << 20 => Size { min: 1, max: 1 << 40 };
        /// Bytes that one connection's selectors and payload patterns may take, as they are kept; a
        /// Subscribe beyond is refused.
        "limits.selector_bytes_per_connection" Restart ()
        selector_bytes_per_connection: u64 = 32 << 20 => Size { min: 64 << 10, max: 1 << 40 };
        /// The same for all connections of one core.
        "limits.selector_bytes_per_core" Restart ()
        selector_bytes_per_core: u64 = 1 << 30 => Size { min: 64 << 10, max: 1 << 40 };
        /// Selectors of one connection that no tag leads to quickly: without an equality, or behind
        /// one that 64 others have, too. Lookups of others' tag sets look at each of them, some 50
        /// ns; one with a slow glob, such as `*a?b*` or one of hundreds of bytes, counts as
        /// several.
        "limits.loose_selectors_per_connection" Restart ()
        loose_selectors_per_connection: u32 = 1024 => Count { min: 1, max: 1 << 24 };
        /// The same for all connections of one core: a lookup of a new tag set takes some 15 ms at
        /// the default if values are short, more where globs meet long ones.
        "limits.loose_selectors_per_core" Restart ()
        loose_selectors_per_core: u32 = 1 << 18 => Count { min: 1, max: 1 << 24 };
        /// What scanning payloads for patterns may take of one core's turn: bytes times automata,
        /// some nanosecond each. One receiver has a quarter of it at once; what does not fit waits.
        "limits.pattern_scan_per_turn" Restart ()
        pattern_scan_bytes_per_turn: u64 = 128 << 10 => Size { min: 16 << 10, max: 16 << 20 };
        /// Bytes of events that may wait for that at one receiver; for events beyond, a gap
        /// `pattern_budget` stands.
        "limits.pattern_wait_per_receiver" Restart ()
        pattern_wait_bytes_per_receiver: u64 = 2 << 20 => Size { min: 64 << 10, max: 1 << 30 };
        /// The same for all receivers of one core.
        "limits.pattern_wait_per_core" Restart ()
        pattern_wait_bytes_per_core: u64 = 64 << 20 => Size { min: 64 << 10, max: 1 << 40 };
        /// How far a publisher may write ahead of what was read. Its most leaves room in the
        /// connection's window for control frames while the publisher is left unread.
        "limits.publisher_credit" Restart ()
        publisher_credit_bytes: u64 = PUBLISHER_CREDIT_MAX => Size { min: 64 << 10, max: PUBLISHER_CREDIT_MAX };
        /// A publisher waits for a receiver whose queue is half full at most this long at a time,
        /// and not for one that took nothing for as long, or whose queue lasts until then; zero:
        /// never.
        "limits.pace_max" Restart ()
        pace_max: Duration = Duration::from_millis(250) => Span { min: Duration::ZERO, max: HOUR };
        /// How long nobody may want the events of a tag set before its publisher is told, which
        /// then stops sending them until somebody does; zero: never. Routers that keep history want
        /// all events.
        "limits.quench_after" Restart ()
        quench_after: Duration = Duration::from_secs(2) => Span { min: Duration::ZERO, max: HOUR };
        /// A run that a publisher wants to be told of, and that was not answered for within this
        /// time, ends as partial because of *timeout*.
        "limits.confirm_timeout" Restart ()
        confirm_timeout: Duration = Duration::from_secs(30) => Span { min: MILLISECOND, max: HOUR };
        /// Runs of one core that publishers want to be told of and were not, some 200 bytes each.
        /// Those beyond are routed, and told as unknown because of *busy*.
        "limits.confirms_per_core" Restart ()
        confirms_per_core: u32 = 262_144 => Count { min: 1, max: 1 << 24 };
        /// Handshakes of one core per second in the long run; about half of what a core can sign.
        "limits.handshakes_per_second" Restart ()
        handshakes_per_second: u32 = 2_000 => Count { min: 1, max: 1_000_000 };
        /// Handshakes of one core at once after a quiet time.
        "limits.handshakes_burst" Restart ()
        handshakes_burst: u32 = 1_000 => Count { min: 2, max: 1_000_000 };
        /// A handshake that takes longer is ended, also one whose client keeps it alive.
        "limits.handshake_timeout" Restart ()
        handshake_timeout: Duration = Duration::from_secs(10) => Span { min: SECOND, max: MINUTE };
        /// Unfinished handshakes of one IPv4 address or IPv6 /64 on one core, those that wait in
        /// line included. Beyond it newcomers from there are refused; from half of it on they first
        /// prove their address.
        "limits.handshakes_per_prefix" Restart ()
        handshakes_per_prefix: u32 = 1_024 => Count { min: 16, max: 65_536 };
        /// Connections of one IPv4 address or IPv6 /64 on one core. Beyond it newcomers from there
        /// are refused.
        "limits.connections_per_prefix" Restart ()
        connections_per_prefix: u32 = 65_536 => Count { min: 16, max: 1_048_576 };
        /// Networks that the two bounds above leave out, e.g. that of a proxy.
        "limits.unbounded_networks" Restart ()
        unbounded_networks: Vec<AddressBlock> = NewcomerLimits::default().unbounded => Networks;
        /// A connection that has not said hello after this time is closed.
        "limits.hello_timeout" Restart ()
        hello_timeout: Duration = Duration::from_secs(5) => Span { min: MILLISECOND, max: HOUR };
        /// Bytes asked for as kernel buffers of each UDP socket.
        "limits.socket_buffer" Restart ()
        socket_buffer_bytes: usize = 8 << 20 => Size { min: 4096, max: 1 << 30 };
    }
}

section! {
    /// Runs that a router keeps, so that receivers can ask for the past.
    pub struct HistorySettings at history {
        /// Bytes of memory for all cores together, a share for each; beyond, the oldest runs go. 0:
        /// nothing is kept, and whoever asks for the past is refused; at least 64 KiB per core
        /// otherwise. A million events per second of 100 bytes fill 150 MB in each second.
        "history.bytes" Restart ("history-bytes" "MILLRACE_HISTORY_BYTES")
        bytes: u64 = 0 => Size { min: 0, max: 1 << 44 };
        /// Runs that are older than this go, by the router's clock.
        "history.age" Restart ("history-age" "MILLRACE_HISTORY_AGE")
        age: Duration = HOUR => Span { min: SECOND, max: DAY * 366 };
        /// A folder in which the router also keeps history in files, so that it survives a restart:
        /// a folder of its own for each router, which is made when it is missing. It needs
        /// `history.bytes`. Unset: history is in memory alone.
        "history.dir" Restart ("history-dir" "MILLRACE_HISTORY_DIR")
        dir: Option<PathBuf> = None => File;
        /// Bytes of all history files; beyond, the oldest go.
        "history.file_bytes" Restart ("history-file-bytes" "MILLRACE_HISTORY_FILE_BYTES")
        file_bytes: u64 = 1 << 30 => Size { min: FileLimits::BYTES_MIN, max: 1 << 44 };
        /// Percent of the file system of `history.dir` that stay free: the oldest history files go
        /// before.
        "history.free_percent" Restart ()
        free_percent: u32 = 10 => Count { min: 0, max: 90 };
        /// Whether history files are packed: `zstd` packs each block that becomes an eighth smaller
        /// by it. Files of both kinds are read whatever stands here.
        "history.compression" Restart ()
        compression: Compression = Compression::None => Packing;
    }
}

section! {
    /// Groups: receivers that share work.
    pub struct GroupSettings at groups {
        /// Events that a member may have without acknowledging them, unless it asks for another
        /// number.
        "groups.max_inflight" Restart ()
        max_inflight: u32 = 256 => Count { min: 1, max: 65_536 };
        /// What a member has not acknowledged after this time is given to another one.
        "groups.ack_wait" Restart ()
        ack_wait: Duration = Duration::from_secs(30) => Span { min: Duration::from_millis(100), max: Duration::from_secs(30) };
        /// An event waits for a member that takes it at most this long.
        "groups.hold" Restart ()
        hold: Duration = Duration::from_secs(30) => Span { min: Duration::from_millis(100), max: Duration::from_secs(30) };
        /// Bytes of the events of one group that a core keeps: those that wait, and those that are
        /// not acknowledged. All groups of a core together keep four times as much.
        "groups.hold_bytes" Restart ()
        hold_bytes: u64 = 64 << 20 => Size { min: 64 << 10, max: 4 << 30 };
        /// A level that is better than the one in use is used after it could be for this time
        /// without a break.
        "groups.failback" Restart ()
        failback: Duration = Duration::from_secs(5) => Span { min: Duration::ZERO, max: HOUR };
        /// A member that was busy stays so for this time, at least.
        "groups.busy_hold" Restart ()
        busy_hold: Duration = SECOND => Span { min: Duration::ZERO, max: HOUR };
    }
}

section! {
    /// Tag rules, which stand as `[[rule]]`: what they may take.
    pub struct RuleSettings at rules {
        /// Bytes at the beginning of a payload that rules look at.
        "rules.payload" Live ()
        payload_bytes: u64 = 4 << 10 => Size { min: 64, max: 64 << 10 };
        /// Values that one captured tag may have within ten minutes, on each core; `_overflow`
        /// stands for others.
        "rules.max_distinct" Live ()
        distinct_max: u32 = 1_000 => Count { min: 1, max: 65_536 };
        /// What rules may take of one core's turn to look at payloads: bytes times automata, some
        /// nanosecond each. The default is a twentieth of a full turn. Events beyond it pass
        /// without the tags of payload rules, counted as `rule_skipped`, and receivers whose
        /// selectors name such a tag get a gap `rules`.
        "rules.scan_per_turn" Live ()
        scan_bytes_per_turn: u64 = 64 << 10 => Size { min: 1 << 10, max: 16 << 20 };
    }
}

section! {
    /// The canary: a client session of the router itself, whose events cross every link and return.
    pub(crate) struct CanarySettings at canary {
        /// How often it probes the cluster: an event that the canaries of all routers receive and
        /// answer. `/metrics` has the round trip by way of each router,
        /// `millrace_canary_round_trip_seconds`. 0: no canary, and no answer to others.
        "canary.every" Restart ("canary-every" "MILLRACE_CANARY_EVERY")
        every: Duration = SECOND => Span { min: Duration::ZERO, max: HOUR };
    }
}

section! {
    /// What is written to standard error.
    pub(crate) struct LogSettings at log {
        /// What is logged: a level, or levels by module such as `warn,millrace_router=debug`.
        /// Unset: info, and warn in development mode. Releases have no level trace.
        "log.filter" Live ("log" "MILLRACE_LOG")
        filter: Option<String> = None => LogFilter;
        /// Whether log lines are JSON.
        "log.json" Restart ()
        json: bool = false => Switch;
    }
}

/// All settings of one router.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) general: General,
    pub(crate) cores: CoreThreads,
    pub(crate) admin: AdminPage,
    pub(crate) tls: TlsFiles,
    pub(crate) connection_ids: ConnectionIdSettings,
    pub(crate) mesh: MeshSettings,
    pub(crate) limits: LimitSettings,
    pub(crate) history: HistorySettings,
    pub(crate) groups: GroupSettings,
    pub(crate) rules: RuleSettings,
    pub(crate) canary: CanarySettings,
    pub(crate) log: LogSettings,
    /// `[[identity]]`: a list of tables, which no single setting is.
    pub(crate) identities: Vec<IdentityEntry>,
    /// `[[rule]]`.
    pub(crate) rule: Vec<RuleText>,
    /// `[[forward]]`.
    pub(crate) forwards: Vec<ForwardEntry>,
    /// `[[accept]]`.
    pub(crate) accepts: Vec<AcceptEntry>,
}

/// The sections, in the order of the file.
pub(crate) static SECTIONS: [Section<Settings>; 12] = [
    General::SECTION,
    CoreThreads::SECTION,
    AdminPage::SECTION,
    TlsFiles::SECTION,
    ConnectionIdSettings::SECTION,
    MeshSettings::SECTION,
    LimitSettings::SECTION,
    HistorySettings::SECTION,
    GroupSettings::SECTION,
    RuleSettings::SECTION,
    CanarySettings::SECTION,
    LogSettings::SECTION,
];

/// Every setting.
pub(crate) fn all() -> impl Iterator<Item = &'static Setting<Settings>> {
    SECTIONS.iter().flat_map(|section| section.settings)
}

/// The setting of this name.
pub(crate) fn named(name: &str) -> Option<&'static Setting<Settings>> {
    all().find(|setting| setting.name == name)
}
