//! An allocator that knows how many bytes each thread has taken and not given back.

#![expect(unsafe_code, reason = "an allocator can only be wrapped by an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Counting;

/// Bytes that this thread has taken, less those that it has given back, whoever took them.
pub(crate) fn live_bytes() -> isize {
    LIVE.get()
}

fn add(bytes: usize, sign: isize) {
    LIVE.set(LIVE.get() + sign * bytes.cast_signed());
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size(), 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        add(layout.size(), -1);
        // SAFETY: the caller keeps the contract of `dealloc`, and `ptr` came from the system's
        // allocator.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(layout.size(), -1);
        add(size, 1);
        // SAFETY: the caller keeps the contract of `realloc`, and `ptr` came from the system's
        // allocator.
        unsafe { System.realloc(ptr, layout, size) }
    }
}
