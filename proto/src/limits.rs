//! Every bound of the wire, in one place, each with its reason.
//!
//! Who makes a tag set or a selector beyond them is told which; a peer that sends more than they
//! allow is closed with [`CloseCode::Limit`](crate::CloseCode::Limit) or
//! [`CloseCode::Malformed`](crate::CloseCode::Malformed).

/// Tags in one tag set. Matching visits each tag once, so this bounds the work per new tag set.
pub const TAGS_PER_SET_MAX: usize = 32;
/// Bytes of a tag's key.
pub const TAG_KEY_BYTES_MAX: usize = 128;
/// Bytes of a tag's value.
pub const TAG_VALUE_BYTES_MAX: usize = 1024;
/// Bytes of a tag set in canonical form: follows from the three bounds above.
pub const TAG_SET_BYTES_MAX: usize = 1 + TAGS_PER_SET_MAX * (2 + TAG_KEY_BYTES_MAX + 2 + TAG_VALUE_BYTES_MAX);

/// Bytes of one event's payload.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Events in one run. Larger runs gain nothing: a run is one unit of routing, and 4,096 already
/// amortise its cost.
pub const EVENTS_PER_RUN_MAX: u64 = 4096;
/// Bytes of one run body: one event of the largest payload always fits.
pub const RUN_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 256;
/// Bytes of one hop header: inline tags are its largest field.
pub const HOP_HEADER_BYTES_MAX: usize = TAG_SET_BYTES_MAX + 8192;
/// Bytes of the targets of one delivered run: four of the largest, or all 1,024 receivers with a
/// few subscriptions each. A run for more is written in several frames.
pub const TARGETS_BYTES_MAX: usize = 16 * 1024;
/// Bytes of one frame on a data stream.
pub const DATA_FRAME_BYTES_MAX: usize = HOP_HEADER_BYTES_MAX + TARGETS_BYTES_MAX + RUN_BYTES_MAX + 16;
/// Bytes that are packed into one frame between clusters: what a link gathers, and a frame of the
/// largest run behind it.
pub const PACKED_PLAIN_BYTES_MAX: usize = 2 << 20;
/// Times that the bytes of such a frame are more before packing, at most: a reader unpacks no more
/// for what it has let in.
pub const PACKED_RATIO_MAX: usize = 64;
/// Bytes of one frame on a control stream. Snapshots of interest are cut into frames of at most
/// this size.
pub const CONTROL_FRAME_BYTES_MAX: usize = 64 * 1024;

/// Bytes of one selector's text.
pub const SELECTOR_BYTES_MAX: usize = 4096;
/// Requirements in one selector.
pub const REQUIREMENTS_PER_SELECTOR_MAX: usize = 64;
/// Values in one `in (…)` list.
pub const VALUES_PER_REQUIREMENT_MAX: usize = 256;
/// Payload patterns in one selector.
pub const PATTERNS_PER_SELECTOR_MAX: usize = 4;
/// Bytes of memory that one compiled payload pattern may take.
pub const PATTERN_COMPILED_BYTES_MAX: usize = 256 * 1024;
/// Selectors of one receiver, over all its subscriptions.
pub const SELECTORS_PER_RECEIVER_MAX: usize = 1024;
/// Subscriptions of one receiver: numbers 0 to 1,023.
pub const SUBSCRIPTIONS_PER_RECEIVER_MAX: u32 = 1024;
/// Receivers (queues, streams) on one connection, unless the router's Welcome says less.
pub const RECEIVERS_PER_CONNECTION_MAX: u32 = 1024;

/// Bytes of the name of a receiver, a group or a set of standby publishers.
pub const NAME_BYTES_MAX: usize = 64;
/// Bytes of a client's token: a signed one with several claims has about a thousand.
pub const TOKEN_BYTES_MAX: usize = 4096;
/// Receivers that an event may name.
pub const RECIPIENTS_MAX: usize = 16;
/// Microseconds that a request has which says nothing of it: five seconds.
pub const REQUEST_DEADLINE_US: u64 = 5_000_000;
/// Microseconds that a request has at most, an hour, because routers keep it for as long.
pub const REQUEST_DEADLINE_US_MAX: u64 = 3_600_000_000;
/// Clusters that a run may cross.
pub const CLUSTER_PATH_MAX: usize = 8;
/// Ranges of seqs or runs in one frame: 16 KiB at most.
pub const RANGES_PER_FRAME_MAX: usize = 1024;
/// Tickets in one frame: 36 KiB at most.
pub const TICKETS_PER_FRAME_MAX: usize = 2048;
/// Publishers in one frame: 18 KiB at most.
pub const PUBLISHERS_PER_FRAME_MAX: usize = 1024;
/// Positions in one frame: 44 KiB at most, those of a hundred routers of ten cores.
pub const POSITIONS_PER_FRAME_MAX: usize = 1024;
/// Levels of a group: 1 to this.
pub const GROUP_LEVEL_MAX: u32 = 8;
/// Members of groups in one frame: 64 KiB would hold more than twice as many with names of full
/// length.
pub const MEMBERS_PER_FRAME_MAX: usize = 256;
/// Records of sets in one frame. Identities have up to 256 bytes, so that all fit 64 KiB.
pub const SETS_PER_FRAME_MAX: usize = 128;
/// Sets of standby publishers in a cluster: each router keeps a record of some 400 bytes for each.
pub const SETS_MAX: usize = 4096;
/// Ranks of a set's members: 1 to this.
pub const RANK_MAX: u32 = 16;
/// Bytes of a run's set and source seqs: one byte for each event of the largest run, twice over.
pub const SET_BYTES_MAX: usize = 8192;
/// Literals of one interest: those of a pattern with a few alternatives. Beyond it the interest is
/// told as a plain one.
pub const LITERALS_PER_INTEREST_MAX: usize = 16;
/// Bytes of a literal; a longer one is cut, for its start is as good a filter.
pub const LITERAL_BYTES_MAX: usize = 64;
/// Bytes of an identity: those of a name in a certificate, with room.
pub const IDENTITY_BYTES_MAX: usize = 256;
/// Sources (router, incarnation, owner) that have numbers on one stream: the number of shards.
pub const SOURCES_MAX: u64 = 4096;

/// Events of one publisher that are not yet final.
pub const UNCONFIRMED_PER_PUBLISHER_MAX: u64 = 65_536;

/// Table entries (tag sets) that a client's side of a stream holds by default.
pub const CLIENT_TABLE_ENTRIES: u64 = 16_384;
/// Bytes of tag sets that a client's side of a stream holds by default.
pub const CLIENT_TABLE_BYTES: u64 = 2 << 20;
/// Table entries (tag sets) that a lane holds by default.
pub const LANE_TABLE_ENTRIES: u64 = 262_144;
/// Bytes of tag sets that a lane holds by default.
pub const LANE_TABLE_BYTES: u64 = 64 << 20;
/// Publishers in a stream's table by default.
pub const TABLE_PUBLISHERS: u64 = 4096;
/// Publishers in a lane's table by default.
pub const LANE_TABLE_PUBLISHERS: u64 = 262_144;

/// Addresses of other routers in a Welcome or a Goaway.
pub const ALTERNATES_MAX: usize = 64;
/// Bytes of an address or of any other short text (names, reasons) in a control frame. Longer ones
/// are cut when written.
pub const TEXT_BYTES_MAX: usize = 1024;
/// Cores of one router: the shard hash has 4,096 values.
pub const CORES_MAX: u16 = 256;
/// Routers named in one frame (peers, left out of an acknowledgement).
pub const ROUTERS_PER_FRAME_MAX: usize = 1024;
