//! A receiver of beats: what it has had, and when it had something again.

use std::cell::RefCell;
use std::rc::Rc;

use millrace_client::Receiver;
use millrace_client::receiver::BatchItem;
use millrace_verify::payload::Stamp;

use crate::clock::Clock;

/// What all receivers have had.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Beats from this number on were published after the kill.
    pub(super) first_after: Option<u64>,
    /// When each receiver had one of those.
    pub(super) again_us: Vec<Option<u64>>,
    /// Receivers that have had any.
    pub(super) begun: u64,
    /// Beats that came twice or late.
    pub(super) repeated: u64,
    /// Beats that did not come, and those of them of which no gap told.
    pub(super) missed: u64,
    pub(super) untold: u64,
}

impl Heard {
    /// Receivers that have had a beat of after the kill.
    pub(super) fn back(&self) -> usize {
        self.again_us.iter().flatten().count()
    }
}

/// Listens for as long as the receiver lives.
pub(super) async fn listen(mut receiver: Receiver, number: usize, clock: Clock, heard: Rc<RefCell<Heard>>) {
    let (mut next, mut is_told) = (None, false);
    while let Some(batch) = receiver.next_batch().await {
        let now_us = clock.now_us();
        let mut heard = heard.borrow_mut();
        for item in batch.iter() {
            let event = match item {
                BatchItem::Event(event) => event,
                BatchItem::Gap(_) => {
                    is_told = true;
                    continue;
                }
                _ => continue,
            };
            let Ok(Stamp { n, .. }) = Stamp::decode(event.payload) else { continue };
            match next {
                None => heard.begun += 1,
                Some(next) if n < next => {
                    heard.repeated += 1;
                    continue;
                }
                Some(next) => {
                    heard.missed += n - next;
                    heard.untold += if is_told { 0 } else { n - next };
                }
            }
            (next, is_told) = (Some(n + 1), false);
            if heard.first_after.is_some_and(|first| n >= first) {
                heard.again_us[number].get_or_insert(now_us);
            }
        }
    }
}
