//! What a fleet is made of: the scenario, the routers, and what everybody must get.

use std::net::SocketAddr;
use std::sync::Arc;

use millrace_proto::TagSet;
use millrace_quic::ClientSettings;
use millrace_verify::oracle::Expected;
use millrace_verify::workload::Generator;

use crate::scenario::Scenario;

/// A router to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its address.
    pub address: SocketAddr,
    /// The name that its certificate has.
    pub server_name: String,
}

/// What the fleet is made of.
#[derive(Debug, Clone)]
pub struct FleetPlan {
    /// The scenario.
    pub scenario: Scenario,
    /// The routers.
    pub targets: Vec<Target>,
    /// The same routers in the same order, as receivers reach them.
    pub targets_of_receivers: Vec<Target>,
    /// The authorities that are trusted, PEM.
    pub ca_pem: Arc<[u8]>,
    /// TLS and transport of connections that publish.
    pub publishing: Arc<ClientSettings>,
    /// TLS and transport of connections that receive.
    pub receiving: Arc<ClientSettings>,
    /// The workload's tags and selectors.
    pub generator: Arc<Generator>,
    /// Who must get what.
    pub expected: Arc<Expected>,
    /// All emitters' tag sets.
    pub tag_sets: Arc<[TagSet]>,
}
