//! How one publisher names itself and its registered tag sets on the stream that it writes.

use millrace_proto::PublisherKey;
use millrace_proto::control::TableCapacity;
use millrace_proto::data::{self, PublisherOnStream};

use super::config::PublisherConfig;
use super::tags::TagHandle;

/// The number of a publisher that has its stream for itself.
pub(in crate::session) const PUBLISHER_NUMBER: u64 = 0;

/// Marks a handle without a number, and a number without a handle.
pub(super) const NONE: u32 = u32::MAX;

/// See the [module](self). It lives as long as the stream.
#[derive(Debug)]
pub(super) struct Speaker {
    key: PublisherKey,
    index: u64,
    /// How runs name the publisher: inline when the reader keeps no publishers.
    publisher: PublisherOnStream,
    /// The stream has what defines its number, or needs nothing.
    is_introduced: bool,
    /// Whether nobody else writes the stream. Where others do, they may give a number to another
    /// tag set, so that what is remembered here of handles would be wrong.
    is_alone: bool,
    /// Number that each handle was last given on this stream.
    number_of_handle: Vec<u32>,
    /// Handle that each number stands for; `NONE` for tag sets without one.
    handle_of_number: Vec<u32>,
}

impl Speaker {
    /// A publisher on a stream that it has for itself.
    pub(super) fn alone(config: &PublisherConfig, tables: TableCapacity, handles: usize) -> Self {
        let publisher = match tables.publishers {
            0 => PublisherOnStream::Inline(config.key),
            _ => PublisherOnStream::Number(PUBLISHER_NUMBER),
        };
        Self {
            key: config.key,
            index: config.index,
            publisher,
            is_introduced: tables.publishers == 0,
            is_alone: true,
            number_of_handle: vec![NONE; handles],
            handle_of_number: Vec::new(),
        }
    }

    /// The publisher with this number, of several on one stream.
    pub(super) fn among_others(config: &PublisherConfig, number: u64) -> Self {
        Self {
            key: config.key,
            index: config.index,
            publisher: PublisherOnStream::Number(number),
            is_introduced: false,
            is_alone: false,
            number_of_handle: Vec::new(),
            handle_of_number: Vec::new(),
        }
    }

    #[inline]
    pub(super) const fn publisher(&self) -> PublisherOnStream {
        self.publisher
    }

    /// Appends the definition of its number, once.
    #[inline]
    pub(super) fn introduce(&mut self, out: &mut Vec<u8>) {
        if self.is_introduced {
            return;
        }
        self.is_introduced = true;
        if let PublisherOnStream::Number(number) = self.publisher {
            data::put_define_indexed_publisher(out, number, self.key, self.index);
        }
    }

    /// The number that stands for a handle's tag set, if that is certain.
    #[inline]
    pub(super) fn number_of(&self, handle: TagHandle) -> Option<u32> {
        let &number = self.number_of_handle.get(handle.index as usize)?;
        (self.handle_of_number.get(number as usize) == Some(&handle.index)).then_some(number)
    }

    /// A number stands for a handle's tag set from here on, or for one without a handle.
    pub(super) fn set_handle_of(&mut self, number: u64, handle: u32) {
        let Ok(number) = u32::try_from(number) else { return };
        if !self.is_alone {
            return;
        }
        let index = number as usize;
        if index >= self.handle_of_number.len() {
            self.handle_of_number.resize(index + 1, NONE);
        }
        self.handle_of_number[index] = handle;
        if handle != NONE {
            let handle = handle as usize;
            if handle >= self.number_of_handle.len() {
                self.number_of_handle.resize(handle + 1, NONE);
            }
            self.number_of_handle[handle] = number;
        }
    }
}
