//! The state of one connection, while it is the present one of its task.

use std::collections::VecDeque;

use millrace_proto::control::Welcome;

use super::acks::Due;
use super::farewell::Farewells;
use super::following::Following;
use super::incoming::Incoming;
use crate::connector::Connected;
use crate::disconnect::Disconnect;
use crate::link::Link;
use crate::publisher::Carried;
use crate::session::ConnectionEvent;
use crate::time::Time;

/// The state of the present connection.
pub(super) struct Present {
    pub(super) incoming: Incoming,
    pub(super) acks: Due,
    pub(super) farewells: Farewells,
    pub(super) leaving: Option<Leaving>,
    /// What the router said first, and the credit of the publish stream.
    pub(super) welcome: Box<Welcome>,
    pub(super) credit: u64,
    /// The publisher has begun on it.
    pub(super) publishes: bool,
    /// Events that its control stream has brought before it was the present one.
    pub(super) later: VecDeque<ConnectionEvent>,
}

/// The router is to be left.
pub(super) struct Leaving {
    pub(super) latest: Time,
    pub(super) next: Next,
}

/// The connection that follows.
#[derive(Default)]
pub(super) enum Next {
    #[default]
    Nobody,
    /// A router has welcomed this client.
    Found(Box<Connected>),
    /// Receivers move to it.
    Following(Box<Following>),
}

/// How a connection ended.
pub(super) enum End {
    /// It has no user.
    Closed,
    /// The router went away, and this connection follows.
    Moved(Box<Following>),
    Lost(Disconnect),
}

impl Present {
    pub(super) fn new(link: &Link, welcome: Box<Welcome>) -> Self {
        Self {
            incoming: Incoming::new(link),
            acks: Due::default(),
            farewells: Farewells::default(),
            leaving: None,
            welcome,
            credit: 0,
            publishes: false,
            later: VecDeque::new(),
        }
    }
}

impl Leaving {
    /// The connection that follows, once receivers move to it, and when they are to have moved.
    pub(super) fn following(&mut self) -> Option<(Time, &mut Following)> {
        match &mut self.next {
            Next::Following(following) => Some((self.latest, following)),
            Next::Nobody | Next::Found(_) => None,
        }
    }
}

/// Tells who publishes what the control stream said.
pub(super) fn hear(publisher: &mut Carried, event: &ConnectionEvent, link: &Link) -> Result<(), End> {
    publisher.event(event).map_err(|error| End::Lost(link.broken(error)))
}
