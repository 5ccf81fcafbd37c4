//! What control counts. Plain counters that only grow within one process life.

/// Counters of [`Control`](super::Control).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ControlMetrics {
    /// Dials begun, over all lanes.
    pub dials: u64,
    /// Dials that did not lead to a hello.
    pub dials_failed: u64,
    /// Lanes accepted.
    pub lanes_accepted: u64,
    /// Lanes that were lost with something unread.
    pub lanes_lost: u64,
    /// Lanes closed because another one held their place.
    pub doubles_closed: u64,
    /// Hellos from the side that does not dial: answered by dialling it.
    pub wrong_direction: u64,
    /// Dials that reached this router itself.
    pub own_address: u64,
    /// Hellos of another process that uses this router's id.
    pub id_conflicts: u64,
    /// Hellos of another protocol version.
    pub version_refused: u64,
    /// Hellos refused for another reason: full, malformed, or for a lane that does not exist.
    pub hellos_refused: u64,
    /// Frames that are not allowed where they came.
    pub frames_unexpected: u64,
    /// Snapshots of own interest sent.
    pub snapshots_sent: u64,
    /// Snapshots of peers' interest applied.
    pub snapshots_applied: u64,
    /// Deltas of own interest sent, counted per peer.
    pub deltas_sent: u64,
    /// Deltas of peers' interest applied.
    pub deltas_applied: u64,
    /// Deltas that did not build on the version held: a snapshot was asked for.
    pub deltas_out_of_order: u64,
    /// Digests that agreed.
    pub digests_ok: u64,
    /// Digests that did not: a defect, repaired by a snapshot.
    pub digests_mismatched: u64,
    /// Interest entries of peers that cannot be read, or are of a kind that this version cannot serve: ignored.
    pub interest_refused: u64,
    /// Links closed because the peer told more interest than is allowed.
    pub interest_overflows: u64,
    /// Times that a linked peer became suspect.
    pub suspects: u64,
    /// Times that a suspect peer recovered without being forgotten.
    pub recovered: u64,
    /// Peers forgotten, orderly or not.
    pub forgotten: u64,
    /// Peers that were heard of but not learned because the table is full.
    pub peers_refused: u64,
    /// Versions of the directory published.
    pub directory_versions: u64,
    /// Requests to read selectors.
    pub prepared: u64,
    /// Of these, refused: a selector cannot be read or its pattern is too large.
    pub prepare_refused: u64,
    /// Changes of interest answered early because too many were waiting.
    pub waiting_overflows: u64,
    /// Routers left out of a frame that was full.
    pub gossip_cut: u64,
    /// Times that outputs had to wait because a core's mailbox was full.
    pub outputs_held: u64,
}
