//! What is kept in memory about each segment: a few numbers, however much is in it.

/// A segment of an open spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) first_seq: u64,
    /// One past its last seq.
    pub(super) next_seq: u64,
    /// Where its records end.
    pub(super) end: usize,
    /// Bytes that its records would take without compression.
    pub(super) plain: u64,
    /// Bytes of its file.
    pub(super) bytes: u64,
    /// Events that are not final.
    pub(super) pending: u64,
    /// It is full or was closed: no event is appended to it.
    pub(super) sealed: bool,
    /// Something in it cannot be read: its file is set aside when it is done with.
    pub(super) damaged: bool,
}

impl Segment {
    /// A new one.
    pub(super) const fn begin(first_seq: u64, bytes: u64) -> Self {
        Self {
            first_seq,
            next_seq: first_seq,
            end: super::segment::RECORDS_AT,
            plain: 0,
            bytes,
            pending: 0,
            sealed: false,
            damaged: false,
        }
    }
}
