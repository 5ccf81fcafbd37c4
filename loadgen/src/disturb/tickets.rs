//! A store of TLS tickets for a crowd that speaks to one cluster: any ticket will do for any of its
//! connections.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls_pki_types::ServerName;

/// Tickets kept, at most: one for each client of a large storm, with some to spare.
const TICKETS_MAX: usize = 32_768;

/// The store. It always takes tickets, and gives them only while it is [`open`](Tickets::open).
#[derive(Debug, Default)]
pub(super) struct Tickets {
    is_open: AtomicBool,
    given: AtomicU64,
    tickets: Mutex<VecDeque<Tls13ClientSessionValue>>,
}

impl Tickets {
    /// Whether handshakes from here on may resume.
    pub(super) fn open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Relaxed);
    }

    /// Tickets that were given to handshakes so far.
    pub(super) fn given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Tls13ClientSessionValue>> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut tickets = self.lock();
        if tickets.len() == TICKETS_MAX {
            tickets.pop_front();
        }
        tickets.push_back(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        if !self.is_open.load(Ordering::Relaxed) {
            return None;
        }
        // The newest first: a router remembers so many.
        let ticket = self.lock().pop_back()?;
        self.given.fetch_add(1, Ordering::Relaxed);
        Some(ticket)
    }
}
