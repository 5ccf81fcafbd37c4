//! One round of a system: how it is started and driven.

use std::path::Path;

use super::drive::library::{LibraryLink, Promise};
use super::drive::nats::NatsLink;
use super::drive::quic::QuicLink;
use super::drive::requests::RequestLink;
use super::drive::{Link, Round, Stretches, drive};
use super::error::CompareError;
use super::load::Shape;
use super::placement::Placing;
use super::serve::Served;
use super::server::{Nats, Server};
use super::system::{Found, System};
use super::workload::Workload;
use super::zenoh;

impl System {
    /// One round: starts it, drives it, ends it.
    pub(super) fn round(
        self,
        found: &Found,
        workload: Workload,
        shape: Shape,
        stretches: &Stretches,
        placing: Placing,
    ) -> Result<Round, CompareError> {
        let path = match found {
            Found::Program { path, .. } => path.as_path(),
            Found::Own | Found::Absent { .. } => Path::new(""),
        };
        let server = match self {
            Self::Millrace => Server::own(Served::Millrace, placing)?,
            Self::MillraceSpin => Server::own(Served::MillraceSpin, placing)?,
            Self::MillraceRouted | Self::MillraceDelivered | Self::MillraceSpool => {
                Server::own(Served::Millrace, placing)?
            }
            Self::MillraceHistory => Server::own(Served::MillraceHistory, placing)?,
            Self::Ceiling => Server::own(Served::Ceiling, placing)?,
            Self::CeilingStockQuinn => Server::own(Served::CeilingStockQuinn, placing)?,
            Self::NatsPlain => Server::nats(path, Nats::Plain)?,
            Self::NatsTls => Server::nats(path, Nats::Tls)?,
            Self::NatsJetstream => Server::nats(path, Nats::Jetstream)?,
            Self::ZenohQuic => {
                let server = zenoh::start(path)?;
                return zenoh::drive(path, &server, shape, stretches);
            }
        };
        if self.is_one_core() {
            // Behind the server's start, which would inherit it.
            placing.place_generator();
        }
        let mut link: Box<dyn Link> = match self {
            Self::Millrace if matches!(workload, Workload::P2pClient | Workload::Confirmed) => {
                Box::new(LibraryLink::connect(&server, shape, Promise::None)?)
            }
            Self::MillraceHistory => Box::new(LibraryLink::connect(&server, shape, Promise::None)?),
            Self::MillraceRouted => Box::new(LibraryLink::connect(&server, shape, Promise::Routed)?),
            Self::MillraceDelivered => Box::new(LibraryLink::connect(&server, shape, Promise::Delivered)?),
            Self::MillraceSpool => Box::new(LibraryLink::connect(&server, shape, Promise::Spooled)?),
            Self::Millrace if workload == Workload::RequestReply => {
                Box::new(RequestLink::connect(&server, shape)?)
            }
            Self::Millrace | Self::MillraceSpin => Box::new(QuicLink::connect(&server, shape, false)?),
            Self::NatsPlain | Self::NatsTls | Self::NatsJetstream => {
                Box::new(NatsLink::connect(&server, shape)?)
            }
            Self::Ceiling | Self::CeilingStockQuinn | Self::ZenohQuic => {
                Box::new(QuicLink::connect(&server, shape, true)?)
            }
        };
        Ok(drive(link.as_mut(), server.pid(), stretches)?)
    }
}
