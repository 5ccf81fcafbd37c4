//! What a client's receiver was given, and its program has not looked at yet.

use millrace_client::session::{DeliveredRun, DeliverySink};
use millrace_proto::control::Ticket;
use millrace_proto::data::Gap;
use millrace_proto::data::optional::REPLY_TOKEN_BYTES;
use millrace_proto::{PublisherId, ReceiverNumber};
use millrace_verify::payload::Stamp;

/// A run, as far as it matters here.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) publisher: PublisherId,
    pub(super) events: Vec<(u32, u64)>,
    pub(super) is_marked: bool,
    /// Of a group's copy.
    pub(super) ticket: Option<Ticket>,
    /// Of a request.
    pub(super) reply_to: Option<[u8; REPLY_TOKEN_BYTES]>,
    /// Of a reply: the number of the request.
    pub(super) answers: Option<u64>,
}

/// Runs in their order.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) runs: Vec<Given>,
}

impl DeliverySink for Taken {
    fn run(&mut self, run: &DeliveredRun<'_>) {
        let stamps = run.events().filter_map(|event| Stamp::decode(event.payload).ok());
        let addressed = run.addressed().unwrap_or_default();
        self.runs.push(Given {
            publisher: run.publisher.publisher,
            events: stamps.map(|stamp| (stamp.emitter, stamp.n)).collect(),
            is_marked: run.maybe_duplicate(),
            ticket: run.ticket.map(|(ticket, generation)| Ticket { ticket, generation }),
            reply_to: addressed.reply_to,
            answers: addressed.request.filter(|_| addressed.reply_to.is_none()),
        });
    }

    fn gap(&mut self, _: ReceiverNumber, _: &Gap) {}
}
