//! A fleet: hosts in racks of 40, clusters of 25 racks, eight regions.
//!
//! Emitters are shuffled once; the receivers' selectors, counted through, take them in that order.
//! With as many selectors as emitters, every emitter is thus the *target* of exactly one. Selectors
//! that do not name their target's `fqdn` reach it through its rack or cluster and take in up to
//! two neighbours, which is where events with several takers come from. Selectors by `fqdn` are
//! subscription 0 of their receiver, the others subscription 1.
//!
//! The same hosts serve [`Shape::Blocks`](super::Shape::Blocks), where a receiver's one selector
//! takes a block of neighbours.

use millrace_proto::TagSet;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;

use super::draw::{pick, scatter};
use super::error::WorkloadError;
use super::spec::Workload;

const UNITS_PER_RACK: u32 = 40;
const RACKS_PER_CLUSTER: u32 = 25;

const REGIONS: [&str; 8] =
    ["eu-west", "eu-north", "us-east", "us-west", "ap-south", "ap-east", "sa-east", "af-south"];
const ROLES: [&str; 8] = ["web", "db", "cache", "queue", "batch", "proxy", "store", "auth"];
const SEVERITIES: [&str; 5] = ["debug", "info", "notice", "warning", "error"];
const SERVICES: u64 = 64;
/// The first asset number; a host's own is this plus its number.
const ASSETS_FROM: u32 = 500_000;

#[derive(Debug, Clone)]
pub(super) struct Fleet {
    seed: u64,
    emitters: u32,
    /// Emitters in the order in which selectors take them.
    targets: Vec<u32>,
    receivers: u32,
    by_fqdn_per_receiver: u32,
    other_per_receiver: u32,
    /// Of the other selectors, each so many-th has no equality; 0 means none.
    scan_every: u32,
    extra_tags: u32,
    extra_tag_values: u32,
}

impl Fleet {
    pub(super) fn new(workload: &Workload) -> Result<Self, WorkloadError> {
        let each = workload.selectors_per_receiver;
        let selectors = u64::from(each) * u64::from(workload.receivers);
        if selectors < u64::from(workload.emitters) {
            return Err(WorkloadError::TooFewSelectors { selectors, emitters: workload.emitters });
        }
        let by_fqdn_per_receiver = (each * workload.fqdn_percent + 50) / 100;
        let other_per_receiver = each - by_fqdn_per_receiver;
        let others = other_per_receiver * workload.receivers;
        let scan_every = others.checked_div(workload.scan_selectors).map_or(0, |every| every.max(1));
        let mut targets: Vec<u32> = (0..workload.emitters).collect();
        targets.shuffle(&mut Pcg64Mcg::seed_from_u64(workload.seed));
        Ok(Self {
            seed: workload.seed,
            emitters: workload.emitters,
            targets,
            receivers: workload.receivers,
            by_fqdn_per_receiver,
            other_per_receiver,
            scan_every,
            extra_tags: workload.extra_tags,
            extra_tag_values: workload.extra_tag_values,
        })
    }

    /// Hosts alone, for selectors that have no targets.
    pub(super) fn without_targets(workload: &Workload) -> Self {
        Self {
            seed: workload.seed,
            emitters: workload.emitters,
            targets: Vec::new(),
            receivers: workload.receivers,
            by_fqdn_per_receiver: 0,
            other_per_receiver: 1,
            scan_every: 0,
            extra_tags: workload.extra_tags,
            extra_tag_values: workload.extra_tag_values,
        }
    }

    /// The one selector of a receiver: its block of hosts, behind their rack where they share one.
    pub(super) fn block_selector(&self, receiver: u32) -> String {
        let cut = |receiver: u64| u64::from(self.emitters) * receiver / u64::from(self.receivers);
        let (from, to) = match u64::from(receiver) {
            // More receivers than hosts: several for each.
            _ if self.receivers >= self.emitters => (receiver % self.emitters, receiver % self.emitters + 1),
            receiver => (block_end(cut(receiver)), block_end(cut(receiver + 1))),
        };
        let (first, last) = (self.host(from), self.host(to - 1));
        let range = format!("asset>={},asset<={}", first.asset(), last.asset());
        if first.rack == last.rack {
            format!("rack={},{range}", rack_name(first.rack))
        } else if first.cluster() == last.cluster() {
            format!("cluster={},{range}", first.cluster())
        } else {
            range
        }
    }

    pub(super) fn tags(&self, emitter: u32) -> TagSet {
        let host = self.host(emitter);
        let own = [
            ("fqdn", host.fqdn()),
            ("region", host.region().to_owned()),
            ("cluster", host.cluster()),
            ("rack", rack_name(host.rack)),
            ("unit", host.unit.to_string()),
            ("role", host.role().to_owned()),
            ("service", host.service()),
            ("severity", host.severity().to_owned()),
            ("asset", host.asset().to_string()),
        ];
        let own = own.into_iter().map(|(key, value)| (key.to_owned(), value));
        let extra = (0..self.extra_tags).map(|number| {
            let random = scatter(host.random, u64::from(number));
            (format!("extra-{number:02}"), format!("v{}", random % u64::from(self.extra_tag_values.max(1))))
        });
        let tags: Vec<(String, String)> = own.chain(extra).collect();
        TagSet::new(tags.iter().map(|(key, value)| (key, value))).expect("short tags with distinct keys")
    }

    /// The receiver's selectors: by `fqdn`, and the others.
    pub(super) fn selectors(&self, receiver: u32) -> [Vec<String>; 2] {
        let numbers = |per_receiver: u32| {
            let first = u64::from(receiver) * u64::from(per_receiver);
            first..first + u64::from(per_receiver)
        };
        let others_from = u64::from(self.receivers) * u64::from(self.by_fqdn_per_receiver);
        let by_fqdn = numbers(self.by_fqdn_per_receiver).map(|number| by_fqdn(&self.target(number), number));
        let others = numbers(self.other_per_receiver).map(|number| {
            let target = self.target(others_from + number);
            match self.scan_every {
                0 => self.behind_equality(&target, number),
                every if number % u64::from(every) == 0 => {
                    self.without_equality(&target, number / u64::from(every))
                }
                _ => self.behind_equality(&target, number),
            }
        });
        [by_fqdn.collect(), others.collect()]
    }

    fn target(&self, selector: u64) -> Host {
        let emitters = u64::from(self.emitters);
        let at = usize::try_from(selector % emitters).expect("fewer than 2^32 emitters");
        self.host(self.targets[at])
    }

    fn host(&self, emitter: u32) -> Host {
        Host {
            number: emitter,
            rack: emitter / UNITS_PER_RACK,
            unit: emitter % UNITS_PER_RACK,
            random: scatter(self.seed, u64::from(emitter)),
        }
    }

    /// Another rack of the host's cluster, as far as there is one.
    fn other_rack(&self, host: &Host, number: u64) -> u32 {
        let racks = self.emitters.div_ceil(UNITS_PER_RACK);
        let first = host.rack / RACKS_PER_CLUSTER * RACKS_PER_CLUSTER;
        let count = RACKS_PER_CLUSTER.min(racks - first);
        first + (host.rack - first + 1 + (number % 7) as u32) % count
    }

    fn behind_equality(&self, host: &Host, number: u64) -> String {
        let (rack, unit) = (rack_name(host.rack), host.unit);
        let (next, after) = (unit + 1, unit + 2);
        match number % 12 {
            0 | 8 => format!("rack={rack},unit in ({unit},{})", (unit + 7) % UNITS_PER_RACK),
            1 | 9 => format!("rack={rack},fqdn=u{unit:02}.*"),
            2 | 10 => format!("rack={rack},unit>={unit},unit<{after}"),
            3 => format!(
                "cluster={},rack in ({rack},{}),fqdn=u{unit:02}.r*",
                host.cluster(),
                rack_name(self.other_rack(host, number))
            ),
            4 => format!("rack={rack},unit>={unit},unit<={after},severity!={}", host.other_severity()),
            5 => format!(
                "rack={rack},role notin ({},{}),unit in ({unit},{next})",
                host.other_role(1),
                host.other_role(2)
            ),
            6 | 11 => format!("rack={rack},unit>={unit},unit<{next},!canary"),
            _ => format!("cluster={},asset>={},asset<={}", host.cluster(), host.asset(), host.asset() + 1),
        }
    }

    fn without_equality(&self, host: &Host, number: u64) -> String {
        let (rack, unit) = (rack_name(host.rack), host.unit);
        match number % 4 {
            0 => format!("asset>={},asset<={}", host.asset(), host.asset() + 1),
            1 => format!("fqdn=u{unit:02}.{rack}.*"),
            2 => format!(
                "rack in ({rack},{}),unit>={unit},unit<={unit},severity!={}",
                rack_name(self.other_rack(host, number)),
                host.other_severity()
            ),
            _ => format!(
                "region,fqdn in ({},{})",
                host.fqdn(),
                self.host((host.number + 1) % self.emitters).fqdn()
            ),
        }
    }
}

/// Blocks are cut at numbers of hosts.
fn block_end(host: u64) -> u32 {
    u32::try_from(host).expect("no more than the number of emitters")
}

fn by_fqdn(host: &Host, number: u64) -> String {
    match number % 8 {
        3 => format!("fqdn={},severity!={}", host.fqdn(), host.other_severity()),
        7 => format!("fqdn={},role in ({},{})", host.fqdn(), host.role(), host.other_role(1)),
        _ => format!("fqdn={}", host.fqdn()),
    }
}

/// One emitter, and what its tags say.
struct Host {
    number: u32,
    rack: u32,
    unit: u32,
    random: u64,
}

impl Host {
    fn fqdn(&self) -> String {
        format!("u{:02}.{}.{}.example.net", self.unit, rack_name(self.rack), self.cluster())
    }

    fn cluster(&self) -> String {
        format!("c{:03}", self.rack / RACKS_PER_CLUSTER)
    }

    fn region(&self) -> &'static str {
        pick(&REGIONS, u64::from(self.rack / RACKS_PER_CLUSTER))
    }

    fn role(&self) -> &'static str {
        pick(&ROLES, self.random)
    }

    /// A role that this host does not have.
    fn other_role(&self, distance: u64) -> &'static str {
        pick(&ROLES, self.random % ROLES.len() as u64 + distance)
    }

    fn severity(&self) -> &'static str {
        pick(&SEVERITIES, self.random >> 8)
    }

    /// A severity that this host does not have.
    fn other_severity(&self) -> &'static str {
        pick(&SEVERITIES, (self.random >> 8) % SEVERITIES.len() as u64 + 1)
    }

    fn service(&self) -> String {
        format!("s{:02}", (self.random >> 16) % SERVICES)
    }

    fn asset(&self) -> u32 {
        ASSETS_FROM + self.number
    }
}

fn rack_name(rack: u32) -> String {
    format!("r{rack:04}")
}
