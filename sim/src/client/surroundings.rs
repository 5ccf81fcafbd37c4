//! What is around a client.

use std::collections::BTreeMap;

use millrace_proto::RouterId;
use rand_pcg::Pcg64Mcg;

use crate::event::Event;
use crate::network::Network;
use crate::queue::Queue;
use crate::record::Record;

/// What a client acts on: the network and what the simulation shares.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// The network.
    pub network: &'a mut Network,
    /// What happens next.
    pub queue: &'a mut Queue<Event>,
    /// Chance.
    pub rng: &'a mut Pcg64Mcg,
    /// What is recorded.
    pub record: &'a mut Record,
    /// Ids of the routers by number.
    pub routers: &'a [RouterId],
    /// How far the wall clock of each router's neighbourhood is off, ns.
    pub clock_offsets: &'a BTreeMap<u32, i64>,
}
