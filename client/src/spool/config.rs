//! Settings of a spool.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::segment::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

/// Least byte bound: four segments of the smallest size that takes every event, and the spool's
/// other files.
pub const SPOOL_BYTES_MIN: u64 = 10 << 20;

/// Longest interval of [`SyncPolicy::Interval`]: what a power loss may take is bounded.
pub const SYNC_INTERVAL_MAX: Duration = Duration::from_millis(100);

/// Settings of a spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolConfig {
    /// Most bytes of all its files. Default 1 GiB, at least 10 MiB.
    pub max_bytes: u64,
    /// Part of the file system that stays free whatever the byte bound says, in percent. Default
    /// 10, at most 100.
    pub free_percent: u8,
    /// What happens when the bound or the floor is met. Default [`OnFull::Block`].
    pub on_full: OnFull,
    /// When what was written is synced. Default every 100 ms.
    pub sync: SyncPolicy,
    /// Bytes of one segment, the unit in which space is taken and given back. Default: a sixteenth
    /// of `max_bytes`, within 2 MiB and 16 MiB. At least 64 KiB, at most 16 MiB and a quarter of
    /// `max_bytes`; an event that does not fit is refused, and every event fits 2 MiB. Where there
    /// is no room for more, segments of 2 MiB are made.
    pub segment_bytes: Option<u64>,
    /// Whether payloads are compressed on disk. Default [`Compression::None`]. What stands there
    /// already stays as it is, and is read whatever this says.
    pub compression: Compression,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            max_bytes: 1 << 30,
            free_percent: 10,
            on_full: OnFull::default(),
            sync: SyncPolicy::default(),
            segment_bytes: None,
            compression: Compression::default(),
        }
    }
}

impl SpoolConfig {
    /// Bytes of one segment, in whole pages.
    pub(super) fn segment_bytes(&self) -> u64 {
        let wanted = self.segment_bytes.unwrap_or((self.max_bytes / 16).max(2 << 20));
        let most = SEGMENT_BYTES_MAX.min(self.max_bytes / 4).max(SEGMENT_BYTES_MIN);
        wanted.clamp(SEGMENT_BYTES_MIN, most) & !4095
    }
}

/// What happens to an event when the spool may not grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnFull {
    /// It waits: publishing goes on when events that are final make room.
    #[default]
    Block,
    /// The oldest segment is given up for it, whatever is pending there.
    ShedOldest,
    /// It is given up itself.
    ShedNewest,
    /// It is refused with an error.
    Refuse,
}

impl OnFull {
    const NAMES: [(Self, &'static str); 4] = [
        (Self::Block, "block"),
        (Self::ShedOldest, "shed-oldest"),
        (Self::ShedNewest, "shed-newest"),
        (Self::Refuse, "refuse"),
    ];
}

/// Whether payloads are compressed on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Compression {
    /// They stand as they are.
    #[default]
    None,
    /// Each payload of at least 256 bytes is compressed by itself, and stands so where that saves
    /// an eighth of it: more events fit the byte bound, and publishing costs more of the processor.
    /// Segments that are begun with this setting are none to versions that do not know it.
    Zstd,
}

impl Compression {
    const NAMES: [(Self, &'static str); 2] = [(Self::None, "none"), (Self::Zstd, "zstd")];
}

/// When what was written is made safe from a power loss.
///
/// What was written is safe from the end of the process, `kill -9` included, at once and with every
/// policy. Events are sent when they are written; with [`EachBatch`](Self::EachBatch), when they
/// are synced.
///
/// | policy | process killed | power loss, kernel crash | cost |
/// |---|---|---|---|
/// | `each-batch` | nothing is lost | nothing that was published is lost | a sync for each batch: its time is added to every event, and bounds the rate of those who wait |
/// | `interval` | nothing is lost | what was published in the last interval (≤ 100 ms), unless a router had it already; which may also be sent once more | a few syncs a second |
/// | `never` | nothing is lost | what the kernel had not written (30 s and more); what was final may be sent once more | none |
///
/// After a power loss seqs that may have been given are not given again, so that no new event is
/// taken for a duplicate of a lost one; the spool says which seqs those are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncPolicy {
    /// Before anything of a batch is sent. Batches form by themselves: what is written during a
    /// sync is the next one.
    EachBatch,
    /// This long after the oldest write that is not synced: at most [`SYNC_INTERVAL_MAX`], which
    /// also stands for anything longer.
    Interval(Duration),
    /// Never, but for the reserve of seqs: at each start, and once for 131,072 events.
    Never,
}

impl Default for SyncPolicy {
    fn default() -> Self {
        Self::Interval(SYNC_INTERVAL_MAX)
    }
}

/// Not one of the words that a setting of the spool has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not one of {words}")]
pub struct SettingError {
    text: String,
    words: &'static str,
}

impl FromStr for OnFull {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::NAMES.iter().find(|(_, name)| *name == text).map(|(value, _)| *value);
        named.ok_or_else(|| SettingError {
            text: text.to_owned(),
            words: "block, shed-oldest, shed-newest, refuse",
        })
    }
}

impl fmt::Display for OnFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(value, _)| value == self).map_or("block", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Compression {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::NAMES.iter().find(|(_, name)| *name == text).map(|(value, _)| *value);
        named.ok_or_else(|| SettingError { text: text.to_owned(), words: "none, zstd" })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(value, _)| value == self).map_or("none", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for SyncPolicy {
    type Err = SettingError;

    /// Reads `each-batch`, `never`, or an interval in milliseconds: `20ms`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let interval = || {
            let millis: u64 = text.strip_suffix("ms")?.parse().ok()?;
            let interval = Duration::from_millis(millis);
            (interval <= SYNC_INTERVAL_MAX).then_some(Self::Interval(interval))
        };
        match text {
            "each-batch" => Ok(Self::EachBatch),
            "never" => Ok(Self::Never),
            _ => interval().ok_or_else(|| SettingError {
                text: text.to_owned(),
                words: "each-batch, 0ms to 100ms, never",
            }),
        }
    }
}

impl fmt::Display for SyncPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EachBatch => f.write_str("each-batch"),
            Self::Interval(interval) => write!(f, "{}ms", interval.as_millis()),
            Self::Never => f.write_str("never"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_as_they_print() {
        for on_full in [OnFull::Block, OnFull::ShedOldest, OnFull::ShedNewest, OnFull::Refuse] {
            assert_eq!(on_full.to_string().parse(), Ok(on_full));
        }
        for sync in [SyncPolicy::EachBatch, SyncPolicy::default(), SyncPolicy::Never] {
            assert_eq!(sync.to_string().parse(), Ok(sync));
        }
        for compression in [Compression::None, Compression::Zstd] {
            assert_eq!(compression.to_string().parse(), Ok(compression));
        }
        assert!("lz4".parse::<Compression>().is_err());
        assert!("101ms".parse::<SyncPolicy>().is_err());
        assert!("drop".parse::<OnFull>().is_err());
    }

    #[test]
    fn segments_stay_within_their_bounds() {
        let of = |max_bytes, segment_bytes| {
            SpoolConfig { max_bytes, segment_bytes, ..SpoolConfig::default() }.segment_bytes()
        };
        assert_eq!(of(1 << 30, None), SEGMENT_BYTES_MAX);
        assert_eq!(of(SPOOL_BYTES_MIN, None), 2 << 20);
        assert_eq!(of(10 << 30, Some(u64::MAX)), SEGMENT_BYTES_MAX);
        assert_eq!(of(10 << 30, Some(1)), SEGMENT_BYTES_MIN);
        assert_eq!(of(10 << 30, Some(1_000_000)) % 4096, 0);
    }
}
