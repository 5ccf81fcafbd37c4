//! An array that is cheap to copy: pages of slots behind reference counts, copied when written
//! while shared.
//!
//! A clone copies one pointer per page. A write to a page that a clone also holds copies that page
//! first; a write to another page happens in place. A page is allocated by the first write to one
//! of its slots, so that a large array with few entries is small.

use std::sync::Arc;

/// Slots in one page: small pages make a write after a clone cheap, few pages make the clone cheap.
pub(super) const SLOTS_PER_PAGE: usize = 128;

type Page<T> = Arc<[T; SLOTS_PER_PAGE]>;

#[derive(Debug, Clone)]
pub(super) struct Paged<T> {
    pages: Vec<Option<Page<T>>>,
}

impl<T: Clone + Default> Paged<T> {
    pub(super) const fn new() -> Self {
        Self { pages: Vec::new() }
    }

    /// The slot, unless its page was never written.
    #[inline]
    pub(super) fn get(&self, slot: usize) -> Option<&T> {
        let page = self.pages.get(slot / SLOTS_PER_PAGE)?.as_ref()?;
        Some(&page[slot % SLOTS_PER_PAGE])
    }

    /// The slot, for writing.
    pub(super) fn get_mut(&mut self, slot: usize) -> &mut T {
        let number = slot / SLOTS_PER_PAGE;
        if number >= self.pages.len() {
            self.pages.resize(number + 1, None);
        }
        let page = self.pages[number].get_or_insert_with(|| Arc::new(std::array::from_fn(|_| T::default())));
        &mut Arc::make_mut(page)[slot % SLOTS_PER_PAGE]
    }

    /// Bytes of the pages and their table, without what slots own elsewhere.
    pub(super) fn bytes(&self) -> usize {
        let pages = self.pages.iter().flatten().count();
        pages * size_of::<[T; SLOTS_PER_PAGE]>() + self.pages.capacity() * size_of::<Option<Page<T>>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_keeps_what_it_saw() {
        let mut array: Paged<u32> = Paged::new();
        *array.get_mut(1_000) = 7;
        let before = array.clone();
        *array.get_mut(1_000) = 8;
        *array.get_mut(5) = 9;
        assert_eq!(before.get(1_000), Some(&7));
        assert_eq!(before.get(5), None);
        assert_eq!(array.get(1_000), Some(&8));
        assert_eq!(array.get(5), Some(&9));
        assert_eq!(array.get(6), Some(&0));
    }
}
