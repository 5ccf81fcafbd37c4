//! What control counts. Plain counters that only grow within one process life.

crate::metrics! {
    /// Counters of [`Control`](super::Control).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct ControlMetrics {
        /// Dials begun, over all lanes.
        dials: counter "mesh_dials",
        /// Dials that did not lead to a hello.
        dials_failed: counter "mesh_dials_failed",
        /// Lanes accepted.
        lanes_accepted: counter "mesh_lanes_accepted",
        /// Lanes that were lost with something unread.
        lanes_lost: counter "mesh_lanes_lost",
        /// Lanes closed because another one held their place.
        doubles_closed: counter "mesh_doubles_closed",
        /// Hellos from the side that does not dial: answered by dialling it.
        wrong_direction: counter "mesh_wrong_direction",
        /// Dials that reached this router itself.
        own_address: counter "mesh_own_address",
        /// Hellos of another process that uses this router's id.
        id_conflicts: counter "mesh_id_conflicts",
        /// Hellos of another protocol version.
        version_refused: counter "mesh_version_refused",
        /// Hellos of routers of another cluster.
        clusters_refused: counter "mesh_clusters_refused",
        /// Hellos refused for another reason: full, malformed, or for a lane that does not exist.
        hellos_refused: counter "mesh_hellos_refused",
        /// Frames that are not allowed where they came.
        frames_unexpected: counter "mesh_frames_unexpected",
        /// Snapshots of own interest sent.
        snapshots_sent: counter "mesh_snapshots_sent",
        /// Snapshots of peers' interest applied.
        snapshots_applied: counter "mesh_snapshots_applied",
        /// Deltas of own interest sent, counted per peer.
        deltas_sent: counter "mesh_deltas_sent",
        /// Deltas of peers' interest applied.
        deltas_applied: counter "mesh_deltas_applied",
        /// Deltas that did not build on the version held: a snapshot was asked for.
        deltas_out_of_order: counter "mesh_deltas_out_of_order",
        /// Digests that agreed.
        digests_ok: counter "mesh_digests_ok",
        /// Digests that did not: a defect, repaired by a snapshot.
        digests_mismatched: counter "mesh_digests_mismatched",
        /// Interest entries of peers that cannot be read, or are of a kind that this version cannot
        /// serve: ignored.
        interest_refused: counter "mesh_interest_refused",
        /// Links closed because the peer told more interest than is allowed.
        interest_overflows: counter "mesh_interest_overflows",
        /// Times that this router had more selectors than it tells its peers, and asked them for
        /// every event instead.
        interest_coarsened: counter "mesh_interest_coarsened",
        /// Times that a linked peer became suspect.
        suspects: counter "mesh_suspects",
        /// Times that a suspect peer recovered without being forgotten.
        recovered: counter "mesh_recovered",
        /// Peers forgotten, orderly or not.
        forgotten: counter "mesh_forgotten",
        /// Peers that were heard of but not learned because the table is full.
        peers_refused: counter "mesh_peers_refused",
        /// Hellos of peers that say they are a router which another one proves to be.
        impostors: counter "mesh_impostors",
        /// Routers of which a peer told, and which were not learned because too many of its others
        /// have proven nothing.
        introductions_refused: counter "mesh_introductions_refused",
        /// Clients that this router asked to move by itself, because it had more than others.
        rebalance_asked: counter "rebalance_clients_asked",
        /// Versions of the directory published.
        directory_versions: counter "mesh_directory_versions",
        /// Requests to read selectors.
        prepared: counter "mesh_prepared",
        /// Of these, refused: a selector cannot be read or its pattern is too large.
        prepare_refused: counter "mesh_prepare_refused",
        /// Changes of interest answered early because too many were waiting.
        waiting_overflows: counter "mesh_waiting_overflows",
        /// Routers left out of a frame that was full.
        gossip_cut: counter "mesh_gossip_cut",
        /// Times that outputs had to wait because a core's mailbox was full.
        outputs_held: counter "mesh_outputs_held",
        /// From a change of interest until it was effective on this router.
        subscribed_on_router: times "subscription_on_router_seconds",
        /// From a change of interest until every router that counts had it.
        subscribed_in_cluster: times "subscription_in_cluster_seconds",
    }
}
