//! One round of a system: how it is started and driven.

use std::path::Path;

use super::drive::library::LibraryLink;
use super::drive::nats::NatsLink;
use super::drive::quic::QuicLink;
use super::drive::requests::RequestLink;
use super::drive::{Link, Round, Stretches, drive};
use super::error::CompareError;
use super::load::Shape;
use super::placement::Placing;
use super::serve::Served;
use super::server::Server;
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
            Self::Ceiling => Server::own(Served::Ceiling, placing)?,
            Self::CeilingStockQuinn => Server::own(Served::CeilingStockQuinn, placing)?,
            Self::NatsPlain => Server::nats(path, false)?,
            Self::NatsTls => Server::nats(path, true)?,
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
            Self::Millrace if workload == Workload::P2pClient => {
                Box::new(LibraryLink::connect(&server, shape)?)
            }
            Self::Millrace if workload == Workload::RequestReply => {
                Box::new(RequestLink::connect(&server, shape)?)
            }
            Self::Millrace | Self::MillraceSpin => Box::new(QuicLink::connect(&server, shape, false)?),
            Self::NatsPlain => Box::new(NatsLink::connect(&server, shape, false)?),
            Self::NatsTls => Box::new(NatsLink::connect(&server, shape, true)?),
            Self::Ceiling | Self::CeilingStockQuinn | Self::ZenohQuic => {
                Box::new(QuicLink::connect(&server, shape, true)?)
            }
        };
        Ok(drive(link.as_mut(), server.pid(), stretches)?)
    }
}
