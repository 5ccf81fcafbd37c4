//! One router of the cluster: its control, and what its fake cores know.

use std::collections::{BTreeMap, BTreeSet};

use millrace_proto::control::Stage;
use millrace_proto::data::GapReason;
use millrace_proto::{CloseCode, RouterId};

use crate::control::{Control, ControlConfig, Notice};
use crate::matching::{Index, Taker};
use crate::message::{Alternate, CoreIndex, PeerIndex, Token};
use crate::time::Time;

/// A router: its control, and what its fake cores know.
pub(super) struct Router {
    pub(super) control: Control,
    pub(super) config: ControlConfig,
    pub(super) life: u64,
    pub(super) alive: bool,
    pub(super) seeds: Vec<String>,
    pub(super) wants: BTreeSet<(CoreIndex, String)>,
    /// What each core routes by.
    pub(super) applied: Vec<Index<Taker>>,
    pub(super) positions: Vec<u64>,
    /// Clients of each core.
    pub(super) clients: Vec<u64>,
    /// How many were asked to move away.
    pub(super) asked: u64,
    pub(super) gaps: Vec<(GapReason, RouterId)>,
    pub(super) effective: Vec<(Token, Stage, Vec<RouterId>)>,
    /// What the last acknowledgement said of addresses without an answer.
    pub(super) unanswered: u64,
    pub(super) synced: Option<Time>,
    pub(super) alternates: Vec<String>,
    /// What it said of the mesh.
    pub(super) said: Vec<Notice>,
    pub(super) prepared: Vec<Result<usize, String>>,
    pub(super) refused: Vec<CloseCode>,
    pub(super) outgoing: Vec<(CoreIndex, u16)>,
    pub(super) waits: BTreeMap<Token, (CoreIndex, String)>,
    /// By core and peer: where its lane leads, and the position up to which the peer was told what
    /// it missed.
    pub(super) lanes_out: BTreeMap<(CoreIndex, PeerIndex), (usize, u64)>,
    pub(super) to_control_busy: Vec<Time>,
    pub(super) to_core_busy: Vec<Time>,
}

impl Router {
    pub(super) fn new(config: ControlConfig, seeds: Vec<String>, now: Time) -> Self {
        let cores = usize::from(config.cores);
        Self {
            control: Control::new(config.clone(), now),
            life: 0,
            alive: true,
            seeds,
            wants: BTreeSet::new(),
            applied: vec![Index::new(config.seed); cores],
            positions: vec![0; cores],
            clients: vec![0; cores],
            asked: 0,
            gaps: Vec::new(),
            effective: Vec::new(),
            unanswered: 0,
            synced: None,
            alternates: Vec::new(),
            said: Vec::new(),
            prepared: Vec::new(),
            refused: Vec::new(),
            outgoing: Vec::new(),
            waits: BTreeMap::new(),
            lanes_out: BTreeMap::new(),
            to_control_busy: vec![now; cores],
            to_core_busy: vec![now; cores],
            config,
        }
    }

    pub(super) fn set_alternates(&mut self, alternates: Vec<Alternate>) {
        self.alternates = alternates.into_iter().map(|alternate| alternate.address).collect();
    }

    pub(super) fn told(&self, token: Token, stage: Stage) -> Option<&[RouterId]> {
        let found = self.effective.iter().find(|(told, at, _)| (*told, *at) == (token, stage));
        found.map(|(_, _, left_out)| left_out.as_slice())
    }
}
