//! One log of all changes, threaded by region.
//!
//! Every change takes the next version. For each region of tag hashes (and for the scan list) the
//! log knows the version of the last change, and each change names the one before it in its region.
//! A reader that was right at some version walks back from the region's last change until it meets
//! that version.
//!
//! ```text
//! region 5 ──▶ change 9 ──▶ change 4 ──▶ 0          seen at 6: change 9 is new
//! region 8 ──▶ change 7 ──▶ 0                       seen at 7: nothing is new
//! ```
//!
//! The log keeps the last [`CHANGES_KEPT`] changes, or fewer when their selectors are long
//! ([`SELECTOR_BYTES_KEPT`]), because it keeps selectors that nobody wants alive. A walk that
//! leaves the log says so, and the caller looks everything up again.

use std::collections::VecDeque;
use std::sync::Arc;

use millrace_proto::Selector;

use super::paged::Paged;
use super::tag_hash::TagMark;

/// Changes that are kept. At 1,000 changes a second they last half a minute, longer than a busy tag
/// set goes without a lookup. 2 MiB.
pub(super) const CHANGES_KEPT: usize = 32 * 1024;
/// Bytes of selectors in them. Selectors of usual length, a hundred bytes or two, all have room.
pub(super) const SELECTOR_BYTES_KEPT: usize = 8 << 20;
const CHANGES_PER_PAGE: usize = 128;

/// A selector gained or lost a target.
#[derive(Debug, Clone)]
pub(super) struct Change<T> {
    /// The access tag under which the selector was filed at that time. Means nothing for the scan
    /// list.
    pub(super) access: TagMark,
    /// The version of the previous change in the same region.
    pub(super) earlier: u64,
    pub(super) selector: Arc<Selector>,
    pub(super) target: T,
    /// +1 or −1.
    pub(super) sign: i32,
}

#[derive(Debug, Clone)]
pub(super) struct ChangeLog<T> {
    version: u64,
    /// The version of the first change in the first page.
    first: u64,
    pages: VecDeque<Arc<Vec<Change<T>>>>,
    /// Bytes of the selectors in all pages; a selector counts as often as it occurs.
    selector_bytes: usize,
    regions: Paged<u64>,
    scan: u64,
}

impl<T: Copy> ChangeLog<T> {
    pub(super) const fn new() -> Self {
        Self {
            version: 0,
            first: 1,
            pages: VecDeque::new(),
            selector_bytes: 0,
            regions: Paged::new(),
            scan: 0,
        }
    }

    /// The version of the last change.
    #[inline]
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// The version of the last change in the region of a tag.
    #[inline]
    pub(super) fn region(&self, tag: TagMark) -> u64 {
        self.regions.get(tag.region()).copied().unwrap_or(0)
    }

    /// The version of the last change in the scan list.
    #[inline]
    pub(super) const fn scan(&self) -> u64 {
        self.scan
    }

    /// The change that made `version`, unless it is too old.
    #[inline]
    pub(super) fn change(&self, version: u64) -> Option<&Change<T>> {
        let place = usize::try_from(version.checked_sub(self.first)?).ok()?;
        self.pages.get(place / CHANGES_PER_PAGE)?.get(place % CHANGES_PER_PAGE)
    }

    /// Appends a change under an access tag, or in the scan list.
    pub(super) fn record(&mut self, access: Option<TagMark>, selector: &Arc<Selector>, target: T, sign: i32) {
        self.version += 1;
        let last = match access {
            Some(access) => self.regions.get_mut(access.region()),
            None => &mut self.scan,
        };
        let earlier = std::mem::replace(last, self.version);
        let change = Change {
            access: access.unwrap_or_default(),
            earlier,
            selector: Arc::clone(selector),
            target,
            sign,
        };
        match self.pages.back_mut() {
            Some(page) if page.len() < CHANGES_PER_PAGE => Arc::make_mut(page).push(change),
            _ => {
                let mut page = Vec::with_capacity(CHANGES_PER_PAGE);
                page.push(change);
                self.pages.push_back(Arc::new(page));
            }
        }
        self.selector_bytes += selector.bytes();
        while self.pages.len() > CHANGES_KEPT / CHANGES_PER_PAGE + 1
            || (self.selector_bytes > SELECTOR_BYTES_KEPT && self.pages.len() > 1)
        {
            let Some(page) = self.pages.pop_front() else { break };
            self.selector_bytes -= page.iter().map(|change| change.selector.bytes()).sum::<usize>();
            self.first += CHANGES_PER_PAGE as u64;
        }
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.selector_bytes
            + self.pages.len() * CHANGES_PER_PAGE * size_of::<Change<T>>()
            + self.regions.bytes()
    }
}
