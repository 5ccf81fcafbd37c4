//! One client: what it is for, its connections, and what it waits for.

use std::collections::VecDeque;
use std::fmt;

use millrace_attach::Event;
use millrace_client::session::attachment::Attachment;
use millrace_engine::time::Time;
use millrace_proto::CloseCode;
use millrace_proto::control::TableCapacity;

use super::link::Link;
use super::number::Number;
use super::publisher::Publisher;
use super::receivers::Receivers;
use crate::network::Network;

/// What a client does.
#[derive(Debug)]
pub enum Role {
    /// It publishes.
    Publisher(Box<Publisher>),
    /// It receives.
    Receivers(Receivers),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publisher(publisher) => publisher.fmt(f),
            Self::Receivers(receivers) => receivers.fmt(f),
        }
    }
}

/// One client.
#[derive(Debug)]
pub struct Client {
    pub(super) index: u32,
    pub(super) role: Role,
    pub(super) tables: TableCapacity,
    /// Where it is, and what it does to be; `None` before it begins.
    pub(super) attachment: Option<Attachment<Number, CloseCode>>,
    /// Connections that no router has welcomed yet.
    pub(super) dialling: Vec<Link>,
    /// The connection of the moment.
    pub(super) link: Option<Link>,
    /// The connection that follows it, while a publisher waits for its last answers, or receivers
    /// move.
    pub(super) next: Option<Link>,
    /// What the router of that connection has said, while receivers move to it.
    pub(super) later: VecDeque<Event>,
    /// Whether receivers are open on that connection.
    pub(super) has_moved: bool,
    /// When the connection of the moment is closed at the latest, by a client that was asked to
    /// leave it.
    pub(super) leaving: Option<Time>,
    pub(super) last_router: Option<u32>,
    pub(super) timer: Option<Time>,
    /// Connections that were lost.
    pub losses: u64,
}

impl Client {
    /// A client that has not dialled.
    #[must_use]
    pub const fn new(index: u32, role: Role, tables: TableCapacity) -> Self {
        Self {
            index,
            role,
            tables,
            attachment: None,
            dialling: Vec::new(),
            link: None,
            next: None,
            later: VecDeque::new(),
            has_moved: false,
            leaving: None,
            last_router: None,
            timer: None,
            losses: 0,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// What it does.
    #[must_use]
    pub const fn role(&self) -> &Role {
        &self.role
    }

    /// The router that has answered its Hello.
    #[must_use]
    pub fn router(&self) -> Option<u32> {
        self.link.as_ref().map(|link| link.router)
    }

    /// Whether a router has more for it than the path takes.
    #[must_use]
    pub fn is_crowded(&self, network: &Network) -> bool {
        self.link.iter().chain(&self.next).any(|link| network.is_crowded(link.connection.id()))
    }

    /// Whether nothing is left to do: it is connected, its events are received, its subscriptions
    /// in force.
    #[must_use]
    pub fn is_settled(&self, now: Time) -> bool {
        self.router().is_some()
            && match &self.role {
                Role::Publisher(publisher) => publisher.is_done(),
                Role::Receivers(receivers) => {
                    receivers.are_effective() && !receivers.are_moving() && receivers.have_read(now)
                }
            }
    }
}
