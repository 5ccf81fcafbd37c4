//! Frames of data streams: definitions of numbers, runs, deliveries, markers.
//!
//! A run frame is `hop header length, hop header, run body`. The hop header is written anew for
//! each stream that the run crosses: `flags, [tag set number], [publisher number], optional
//! fields`. A number is absent when its flag says that the thing itself stands in a field. The body
//! is never touched.

mod define;
mod deliver;
mod frame;
mod hop;
pub mod kind;
mod marker;
pub mod optional;
mod packed;
mod run;

pub use crate::limits::DATA_FRAME_BYTES_MAX as FRAME_BYTES_MAX;
pub use define::{
    Source, put_define_indexed_publisher, put_define_publisher, put_define_source, put_define_tags,
};
pub use deliver::{Target, Targets, target_field, target_flag};
pub use frame::{DataFrame, decode, decode_run};
pub use hop::{
    HopHeader, PublisherOnStream, TagsOnStream, flag, hop_field, peek_delivery, peek_numbers, put_matched,
};
pub use marker::{Cursor, EndReason, Gap, GapReason, Mark, ReceiverEnd, ReceiverGap, Replay, put_report};
pub use packed::Packed;
pub use run::{put_deliver, put_deliver_head, put_run, put_run_head};
