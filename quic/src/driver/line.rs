//! Connections that wait for their turn: those in use in one line, those that begin or end in
//! another.
//!
//! Thousands of clients that leave or come at once would otherwise stand before everybody's events:
//! the end of a connection costs the app some ten microseconds, a handshake many times that.

use std::collections::VecDeque;

/// Slots of connections, each at most once; [`super::slots::Live`] knows whether it is in here.
#[derive(Debug, Default)]
pub(super) struct Line {
    in_use: VecDeque<u32>,
    aside: VecDeque<u32>,
}

impl Line {
    /// Puts a connection at the end of its line.
    pub(super) fn join(&mut self, index: u32, is_aside: bool) {
        let line = if is_aside { &mut self.aside } else { &mut self.in_use };
        line.push_back(index);
    }

    /// Takes the next connection that is in use.
    pub(super) fn next(&mut self) -> Option<u32> {
        self.in_use.pop_front()
    }

    /// Takes the next connection that begins or ends.
    pub(super) fn next_aside(&mut self) -> Option<u32> {
        self.aside.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.in_use.len() + self.aside.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_use.is_empty() && self.aside.is_empty()
    }
}
