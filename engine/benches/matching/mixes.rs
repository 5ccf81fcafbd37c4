//! The three mixes of selectors, and tag sets that meet them.

use std::sync::Arc;

use millrace_engine::matching::{Index, Location, Taker};
use millrace_proto::{Selector, TagSet};
use rand_pcg::{Pcg64, rand_core::Rng, rand_core::SeedableRng};

pub(crate) const SEED: u64 = 2024;
const SELECTORS: usize = 100_000;
const SCANNED: usize = 100;

/// How many selectors share one equality.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mix {
    pub(crate) name: &'static str,
    group: usize,
}

pub(crate) const MIXES: [Mix; 3] = [
    Mix { name: "own", group: 1 },
    Mix { name: "groups_1k", group: 1_000 },
    Mix { name: "groups_10k", group: 10_000 },
];

impl Mix {
    pub(crate) fn index(self) -> Index<Taker> {
        let mut index = Index::new(SEED);
        for (selector, target) in self.selectors() {
            index.insert(&selector, target);
        }
        index
    }

    pub(crate) fn selectors(self) -> Vec<(Arc<Selector>, Taker)> {
        let filed =
            (0..SELECTORS - SCANNED).map(|n| format!("service=s{},{}", n / self.group, self.second(n)));
        let scanned = (0..SCANNED).map(|n| match n % 3 {
            0 => format!("rack in (q{n},q{n}x)"),
            1 => format!("user=nobody-{n}*"),
            _ => format!("latency>{},!zone", 1_000_000 + n),
        });
        let parsed = filed.chain(scanned).enumerate().map(|(n, text)| {
            let selector = Selector::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            // A hundred places, as in a large mesh.
            (Arc::new(selector), Location::Peer(u16::try_from(n % 100).unwrap_or(0)).into())
        });
        parsed.collect()
    }

    /// The requirement beside the equality: no equality, and one of `group` is met by few tag sets.
    fn second(self, n: usize) -> String {
        // Of each group, these many steps of a value: with one selector per group all values meet
        // it.
        let place = n % self.group;
        if self.group == 1 {
            return match n % 4 {
                0 => "user in (u0,u1,u2,u3,u4,u5,u6,u7,u8,u9)".to_owned(),
                1 => "host=host-*".to_owned(),
                2 => "latency>=0".to_owned(),
                _ => "zone!=nowhere".to_owned(),
            };
        }
        let step = place / 4;
        match place % 4 {
            0 => format!("user in (u{step},v{step})"),
            1 => format!("host=host-{step:05}*"),
            // No more than two of a group's comparisons hold.
            2 if step < 2 => format!("latency>{},user!=u{step}", 3_000 * (step + 1)),
            2 => format!("latency>{},user!=u{step}", 10_000 + step),
            // `u1*` is met by `u1`, `u12` and so on: as many as the value has digits.
            _ => format!("zone!=z{},user=u{step}*", place % 7),
        }
    }

    /// Tag sets of ten tags, `service` and nine that no selector is filed under.
    pub(crate) fn tag_sets(self, count: usize) -> Vec<TagSet> {
        let mut random = random(4);
        let services = (SELECTORS - SCANNED).div_ceil(self.group);
        let steps = (self.group / 4).max(10);
        let set = |n: usize, random: &mut dyn FnMut(usize) -> usize| {
            let step = random(steps);
            TagSet::new([
                ("service", format!("s{}", random(services))),
                ("user", if self.group == 1 { format!("u{}", step % 10) } else { format!("u{step}") }),
                ("host", format!("host-{:05}.example", random(steps))),
                ("latency", random(9_000).to_string()),
                ("zone", format!("z{}", random(7))),
                ("fqdn", format!("machine-{n:06}.rack.example.org")),
                ("rack", format!("r{}", random(500))),
                ("build", format!("1.2.{}", random(100))),
                ("severity", "info".to_owned()),
                ("process", random(60_000).to_string()),
            ])
        };
        (0..count).map(|n| set(n, &mut random).unwrap_or_else(|error| panic!("{error}"))).collect()
    }
}

/// Numbers below the one asked for, the same in every run.
pub(crate) fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut pcg = Pcg64::seed_from_u64(seed);
    move |below| usize::try_from(pcg.next_u64() % below as u64).unwrap_or(0)
}
