//! The lane's side of the stream of its peer's runs.

use millrace_proto::control::TableCapacity;

use crate::core::path::RunReader;
use crate::history::SourceTable;
use crate::transport::{ReadState, StreamKey};

/// The peer's stream of runs.
#[derive(Debug)]
pub(super) struct DataStream {
    pub(super) stream: StreamKey,
    pub(super) reader: RunReader,
    /// The numbers that it has for sources of positions.
    pub(super) sources: SourceTable,
    /// Lane seq of the next run.
    pub(super) next_seq: u64,
    /// Whether a gap stands before the next run, which explains a jump of lane seqs.
    pub(super) gap_seen: bool,
    pub(super) finished: bool,
    /// Whether a run has come.
    pub(super) has_runs: bool,
    /// How the stream has ended, while a part of it waits for the next turn.
    pub(super) ended: Option<ReadState>,
}

impl DataStream {
    pub(super) fn new(stream: StreamKey, tables: TableCapacity) -> Self {
        let reader = RunReader::new(tables, true);
        Self {
            stream,
            reader,
            sources: SourceTable::default(),
            next_seq: 0,
            gap_seen: false,
            finished: false,
            has_runs: false,
            ended: None,
        }
    }

    /// Whether a run has come, or a part of one.
    pub(super) fn has_carried(&self) -> bool {
        self.has_runs || !self.at_frame_boundary()
    }

    /// Whether the bytes read so far end between two frames, of which none waits.
    pub(super) fn at_frame_boundary(&self) -> bool {
        self.reader.at_frame_boundary() && !self.reader.has_left()
    }
}
