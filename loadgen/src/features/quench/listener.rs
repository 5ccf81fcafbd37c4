//! The receiver of what is wanted: it checks every event.

use std::cell::RefCell;
use std::rc::Rc;

use millrace_client::Receiver;
use millrace_client::receiver::BatchItem;
use millrace_verify::payload::Stamp;

use super::settings::QuenchSettings;
use crate::features::Streams;

/// What it has got so far.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Events of emitters that are wanted.
    pub(super) streams: Streams,
    /// Others, and payloads that nobody published.
    pub(super) unexpected: u64,
}

/// Listens for as long as the receiver lives.
pub(super) async fn listen(mut receiver: Receiver, settings: QuenchSettings, heard: Rc<RefCell<Heard>>) {
    while let Some(batch) = receiver.next_batch().await {
        let mut heard = heard.borrow_mut();
        for item in batch.iter() {
            let BatchItem::Event(event) = item else { continue };
            match Stamp::decode(event.payload) {
                Ok(stamp) if settings.wants(stamp.emitter) => heard.streams.take(stamp.emitter, stamp.n),
                _ => heard.unexpected += 1,
            }
        }
    }
}
