//! What the settings ask for and this host does not have, for `--check`: start takes it, and the
//! first hour shows it.
//!
//! Everything is read, and nothing is tried: a router that runs here is not disturbed.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};

use rustix::process::{Resource, getrlimit};

use crate::config::{Pinning, RouterConfig, memory};
use crate::placement::Machine;

/// Open files of a router with one core and of each further one, about, and of the callers of its
/// admin page.
const FILES: u64 = 96;
const FILES_PER_CORE: u64 = 16;
/// A listening socket's state in the kernel's table of TCP.
const TCP_LISTENING: &str = "0A";
/// The kernel's tables of sockets, and the protocol of each.
const TABLES: [(&str, Protocol); 4] = [
    ("/proc/net/udp", Protocol::Udp),
    ("/proc/net/udp6", Protocol::Udp),
    ("/proc/net/tcp", Protocol::Tcp),
    ("/proc/net/tcp6", Protocol::Tcp),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Udp,
    Tcp,
}

/// What a host has, as far as settings ask for it.
#[derive(Debug)]
pub(crate) struct Host {
    cpus: Machine,
    memory_bytes: u64,
    /// Files that the process may have open; `None`: as many as it likes.
    open_files: Option<u64>,
    /// The largest receive buffer that a socket gets, bytes; `None`: unknown.
    receive_buffer_bytes: Option<u64>,
    /// Sockets that wait for others.
    listening: Vec<(Protocol, SocketAddr)>,
}

impl Host {
    /// Reads them. What cannot be read counts as sufficient.
    pub(crate) fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let listening = TABLES.iter().flat_map(|&(path, protocol)| {
            sockets(&read(path), protocol).into_iter().map(move |at| (protocol, at)).collect::<Vec<_>>()
        });
        Self {
            cpus: Machine::of_this_host(),
            memory_bytes: memory::usable(),
            open_files: getrlimit(Resource::Nofile).current,
            receive_buffer_bytes: read("/proc/sys/net/core/rmem_max").trim().parse().ok(),
            listening: listening.collect(),
        }
    }

    /// What the settings ask for beyond that, each with what to do. In development mode (`is_dev`)
    /// nobody has to tune a host.
    pub(crate) fn warnings(&self, config: &RouterConfig, is_dev: bool) -> Vec<String> {
        let mut warnings = self.cpus(config);
        warnings.extend(self.memory(config));
        warnings.extend(self.files(config));
        warnings.extend(self.buffer(config).filter(|_| !is_dev));
        let admin = [("admin.listen", config.admin), ("admin.tls_listen", config.admin_tls)];
        let admin = admin.map(|(setting, address)| (setting, Protocol::Tcp, address));
        let all = [("listen", Protocol::Udp, Some(config.listen))].into_iter().chain(admin);
        warnings
            .extend(all.filter_map(|(setting, protocol, address)| self.taken(setting, protocol, address?)));
        warnings
    }

    fn cpus(&self, config: &RouterConfig) -> Vec<String> {
        let Machine { allowed, quota, .. } = &self.cpus;
        let mut warnings = Vec::new();
        if allowed.is_empty() {
            return warnings;
        }
        if let Pinning::Cpus(cpus) = &config.pinning {
            let absent: BTreeSet<usize> = cpus.iter().copied().filter(|cpu| !allowed.contains(cpu)).collect();
            if !absent.is_empty() {
                warnings.push(format!(
                    "`cores.pin`: this process may not use CPU {}, but {}: the cores that are meant for it run \
                     wherever the system puts them",
                    listed(&absent),
                    listed(allowed)
                ));
            }
        }
        let cores = usize::from(config.cores);
        if cores > allowed.len() {
            warnings.push(format!(
                "`cores.count` is {cores}, and this process may use CPU {} only: cores wait for each other",
                listed(allowed)
            ));
        } else if let Some((quota, period)) = quota
            && u64::from(config.cores) * period > *quota
        {
            warnings.push(format!(
                "`cores.count` is {cores}, and the control group gives {:.1} CPUs (cpu.max): the kernel stops all \
                 cores for a while in each period; take the limit away, or have fewer cores",
                *quota as f64 / *period as f64
            ));
        }
        warnings
    }

    fn memory(&self, config: &RouterConfig) -> Option<String> {
        let (queues, history) = (config.limits.queue_budget_bytes, config.history.bytes);
        let room = self.memory_bytes;
        (queues.saturating_add(history) > room).then(|| {
            format!(
                "`limits.queue_budget` and `history.bytes` are {} MiB together, and this process may use {} MiB: the \
                 system kills it when they fill",
                queues.saturating_add(history) >> 20,
                room >> 20
            )
        })
    }

    fn files(&self, config: &RouterConfig) -> Option<String> {
        let needed = FILES + FILES_PER_CORE * u64::from(config.cores);
        let open_files = self.open_files.filter(|&open_files| open_files < needed)?;
        Some(format!(
            "this process may have {open_files} files open, and a router of {} cores needs some {needed}: raise the \
             limit (`ulimit -n`, LimitNOFILE= of systemd)",
            config.cores
        ))
    }

    fn buffer(&self, config: &RouterConfig) -> Option<String> {
        let asked = u64::try_from(config.limits.socket_buffer_bytes).unwrap_or(u64::MAX);
        let given = self.receive_buffer_bytes.filter(|&given| given < asked)?;
        Some(format!(
            "`limits.socket_buffer` asks for {} KiB, and the kernel gives a socket {} KiB: it drops packets of larger \
             bursts; set net.core.rmem_max and net.core.wmem_max to {asked}",
            asked >> 10,
            given >> 10
        ))
    }

    fn taken(&self, setting: &str, protocol: Protocol, address: SocketAddr) -> Option<String> {
        let meets = |at: SocketAddr| {
            let (one, other) = (address.ip().to_canonical(), at.ip().to_canonical());
            let is_any = |any: IpAddr, of: IpAddr| any.is_unspecified() && (any.is_ipv6() || of.is_ipv4());
            at.port() == address.port() && (one == other || is_any(one, other) || is_any(other, one))
        };
        let is_taken = self.listening.iter().any(|(of, at)| *of == protocol && meets(*at));
        let name = if protocol == Protocol::Udp { "UDP" } else { "TCP" };
        is_taken.then(|| {
            format!(
                "`{setting}`: {name} {address} is in use now: by a router that runs already, or by another program, \
                 which would keep this one from starting"
            )
        })
    }
}

/// Numbers as people write them: `0-3, 8`.
fn listed(numbers: &BTreeSet<usize>) -> String {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => spans.push((number, number)),
        }
    }
    let span = |(first, last): &(usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    spans.iter().map(span).collect::<Vec<_>>().join(", ")
}

/// The sockets of a table of the kernel that wait for others: all of UDP, those of TCP that listen.
fn sockets(table: &str, protocol: Protocol) -> Vec<SocketAddr> {
    let of = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, state) = (fields.next()?, fields.nth(1)?);
        if protocol == Protocol::Tcp && state != TCP_LISTENING {
            return None;
        }
        let (ip, port) = local.split_once(':')?;
        Some(SocketAddr::new(address(ip)?, u16::from_str_radix(port, 16).ok()?))
    };
    table.lines().skip(1).filter_map(of).collect()
}

/// An address as the kernel writes it: words of its memory, in hexadecimal digits.
fn address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(text.get(8 * at..8 * (at + 1))?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match text.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            <[u8; 16]>::try_from(words.concat()).ok().map(IpAddr::from)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host {
            cpus: Machine { allowed: BTreeSet::from([0, 1, 2, 3, 8]), ..Machine::default() },
            memory_bytes: 4 << 30,
            open_files: Some(1024),
            receive_buffer_bytes: Some(8 << 20),
            listening: Vec::new(),
        }
    }

    fn config() -> RouterConfig {
        let authority = millrace_certs::DevAuthority::new().unwrap();
        RouterConfig::new(authority.router("one", &[]).unwrap())
    }

    #[track_caller]
    fn check(host: &Host, config: &RouterConfig, expected: &[&str]) {
        let warnings = host.warnings(config, false);
        let is_as_expected = warnings.len() == expected.len()
            && warnings.iter().zip(expected).all(|(found, expected)| found.contains(expected));
        assert!(is_as_expected, "{warnings:#?} and not {expected:#?}");
    }

    #[test]
    fn a_host_that_has_everything_is_not_warned_of() {
        check(&host(), &config(), &[]);
        assert_eq!(host().warnings(&config(), true), Vec::<String>::new());
    }

    #[test]
    fn cpus_that_the_process_may_not_use_are_named() {
        let config = RouterConfig { pinning: Pinning::Cpus(vec![1, 5, 6]), cores: 3, ..config() };
        check(&host(), &config, &["may not use CPU 5-6, but 0-3, 8"]);
        check(&host(), &RouterConfig { cores: 6, ..config.clone() }, &["CPU 5-6", "`cores.count` is 6"]);
        let mut host = host();
        host.cpus.quota = Some((150_000, 100_000));
        let config = RouterConfig { pinning: Pinning::Auto, cores: 2, ..config };
        check(&host, &config, &["gives 1.5 CPUs"]);
        host.cpus.quota = Some((200_000, 100_000));
        check(&host, &config, &[]);
    }

    #[test]
    fn memory_files_and_buffers_that_are_not_there_are_named() {
        let mut config = config();
        config.history.bytes = 3 << 30;
        check(&host(), &config, &[]);
        config.limits.queue_budget_bytes = 2 << 30;
        check(&host(), &config, &["5120 MiB together"]);
        let poor = Host { open_files: Some(64), receive_buffer_bytes: Some(212_992), ..host() };
        check(&poor, &self::config(), &["may have 64 files open", "gives a socket 208 KiB"]);
        assert_eq!(poor.warnings(&self::config(), true).len(), 1, "sockets of development are not tuned");
    }

    #[test]
    fn ports_that_others_have_are_found_where_the_addresses_meet() {
        let udp = |text: &str| Host { listening: vec![(Protocol::Udp, text.parse().unwrap())], ..host() };
        let mut config = config();
        let mut check = |listen: &str, other: &str, is_taken: bool| {
            config.listen = listen.parse().unwrap();
            let warnings = udp(other).warnings(&config, false);
            assert_eq!(warnings.len(), usize::from(is_taken), "{listen} and {other}: {warnings:?}");
        };
        check("127.0.0.1:7400", "127.0.0.1:7400", true);
        check("127.0.0.1:7400", "127.0.0.1:7401", false);
        check("127.0.0.1:7400", "127.0.0.2:7400", false);
        check("127.0.0.1:7400", "0.0.0.0:7400", true);
        check("[::1]:7400", "0.0.0.0:7400", false);
        check("[::]:7400", "127.0.0.1:7400", true);
        check("127.0.0.1:7400", "[::ffff:127.0.0.1]:7400", true);
        config.admin = Some("127.0.0.1:7400".parse().unwrap());
        config.listen = "127.0.0.1:0".parse().unwrap();
        assert!(udp("127.0.0.1:7400").warnings(&config, false).is_empty(), "UDP does not take TCP's port");
    }

    #[test]
    fn tables_of_the_kernel_are_read() {
        let v4 = u32::from_ne_bytes([127, 0, 0, 1]);
        let v6 = u32::from_ne_bytes([0, 0, 0, 1]);
        let table = format!(
            "  sl  local_address rem_address   st\n   0: {v4:08X}:1CE8 00000000:0000 0A 00000000:00000000\n   \
             1: {v4:08X}:1CE9 00000000:0000 01 0:0\n   2: {:024X}{v6:08X}:1CEA {:032X}:0000 0A 0:0\n",
            0, 0
        );
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(sockets(&table, Protocol::Tcp), [at("127.0.0.1:7400"), at("[::1]:7402")]);
        assert_eq!(sockets(&table, Protocol::Udp).len(), 3);
        assert_eq!(sockets("header\nnonsense\n 1: XX:YY Z 0A\n", Protocol::Udp), []);
    }
}
