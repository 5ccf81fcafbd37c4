//! Standby sets of a cluster: publishers of one stream of which one takes effect, and receivers
//! that want nothing else.
//!
//! Each fourth seed, from 1 on, has one or two sets of two or three members each. All members of a
//! set give the events of one source, in step but for their own delays: one that has numbers, so
//! that nothing is missing, or none. Members of every other set begin again where their source is,
//! not at its beginning: what came while they were away others have. Members are killed, cut off
//! and moved as other publishers are, and now and then an operator has the holder give way.

use std::time::Duration;

use millrace_client::session::plan::ReceiverWish;
use millrace_client::session::publisher::SetWish;
use millrace_client::session::{ConfirmLevel, PublisherConfig};
use millrace_proto::{Epoch, PublisherId, PublisherKey, PublisherSecret, Selector, TagSet};
use millrace_verify::checker::standby::Source;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::client::{AckHabit, PublisherSetup, ReceiverSetup, ReceivingClient};
use crate::source::{SetSource, name};

/// The tag that each set's events have, and no others.
const KEY: &str = "zz/set";
/// When a source gives its first event, how often, and how many: until after the last fault.
const FROM: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_millis(10);
const EVENTS: u64 = 800;
/// Receivers that want one set and nothing else.
const WATCHERS: u32 = 2;

/// The sets of a seed.
#[derive(Debug, Clone, Default)]
pub struct Sets {
    /// What they give.
    pub sources: Vec<Source>,
    /// Their members.
    pub members: Vec<PublisherSetup>,
    /// Who wants nothing but a set.
    pub watchers: Vec<ReceivingClient>,
}

impl Sets {
    /// The sets of a seed; their receivers have numbers from `receiver` on. Events have the tags of
    /// others, too, so that receivers of all kinds want them.
    #[must_use]
    pub fn of(seed: u64, tag_sets: &[TagSet], mut receiver: u32) -> Self {
        let mut sets = Self::default();
        // Routers of odd seeds all know sets.
        if seed % 4 != 1 {
            return sets;
        }
        let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0x0073_7461_6e64_6279);
        for set in 0..rng.random_range(1..3) {
            let is_numbered = rng.random_range(0..4) > 0;
            let source = Source { from: nanos(FROM), every: nanos(EVERY), total: EVENTS, is_numbered };
            let name = name(set);
            let like = &tag_sets[rng.random_range(0..tag_sets.len())];
            let own = [(KEY, name.as_str())];
            let Ok(tags) = TagSet::new(like.borrow().iter().chain(own)) else { continue };
            let Ok(selector) = Selector::parse(&format!("{KEY}={name}")) else { continue };
            let level =
                [ConfirmLevel::None, ConfirmLevel::Routed, ConfirmLevel::Delivered][rng.random_range(0..3)];
            let preempts = rng.random();
            let follows = (seed / 4 + u64::from(set)).is_multiple_of(2);
            sets.sources.push(source);
            for rank in 1..=rng.random_range(2..4) {
                let source = SetSource { set, tags: tags.clone(), source, follows };
                sets.members.push(member(source, rank, preempts && rank == 1, level, &mut rng));
            }
            for _ in 0..WATCHERS {
                sets.watchers.push(watcher(set, &selector, receiver));
                receiver += 1;
            }
        }
        sets
    }
}

fn member(
    source: SetSource,
    rank: u8,
    preempt: bool,
    level: ConfirmLevel,
    rng: &mut Pcg64Mcg,
) -> PublisherSetup {
    let mut bytes = [0x57; 32];
    bytes[..2].copy_from_slice(&[rank, u8::try_from(source.set).unwrap_or(0)]);
    let secret = PublisherSecret(bytes);
    let key = PublisherKey { publisher: PublisherId::derive(&secret, "", 0), epoch: Epoch(1) };
    let config = PublisherConfig {
        linger_ns: [0, 1_000_000, 5_000_000][rng.random_range(0..3)],
        buffer_bytes: 1 << rng.random_range(16..20),
        level,
        // Without, what is on its way when a connection breaks is nobody's.
        resend: true,
        set: Some(SetWish { rank, preempt, ..SetWish::new(name(source.set)) }),
        ..PublisherConfig::new(key)
    };
    PublisherSetup {
        config,
        received_within: None,
        secret: Some(secret),
        disk: None,
        emitters: Vec::new(),
        events: source.source.total,
        burst: 8,
        source: Some(source),
    }
}

fn watcher(set: u32, selector: &Selector, number: u32) -> ReceivingClient {
    let receiver = ReceiverSetup {
        number,
        wish: ReceiverWish { queue_bytes: 1 << 20, ..ReceiverWish::default() },
        window_bytes: 1 << 17,
        acks: AckHabit::AtOnce,
        first: vec![vec![selector.clone()]],
        pool: Vec::new(),
        past: None,
        watches: Some(set),
    };
    ReceivingClient { receivers: vec![receiver], confirms: true }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
