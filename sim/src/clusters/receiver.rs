//! A client that receives in one cluster: one subscription, on one connection that stays.

use millrace_attach::{ClientConnection, Event, Failure};
use millrace_client::session::plan::ReceiverWish;
use millrace_client::session::{ConnectionConfig, Dedup, DeliveredRun, DeliverySink, Plan};
use millrace_engine::time::Time;
use millrace_engine::transport::{ConnKey, ReadState, StreamKey};
use millrace_proto::data::Gap;
use millrace_proto::{ReceiverNumber, Selector};
use millrace_verify::payload::Stamp;

use crate::network::Wire;

const READ_BYTES: usize = 16 * 1024;
/// The only receiver of a connection, and how much it may be ahead of its application.
const NUMBER: ReceiverNumber = ReceiverNumber(0);
const WINDOW_BYTES: u64 = 1 << 18;

/// One receiver.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) connection: ClientConnection,
    plan: Plan,
    select: Selector,
    taken: Taken,
}

/// What it has had, and what its application was given since it was asked last.
#[derive(Debug, Default)]
pub(super) struct Taken {
    dedup: Dedup,
    pub(super) events: Vec<(u32, u64)>,
    pub(super) has_gap: bool,
}

impl Receiver {
    pub(super) fn new(conn: ConnKey, select: Selector, now: Time) -> Self {
        let mut plan = Plan::new();
        // A plan that has nothing takes the first receiver.
        let wish = ReceiverWish { queue_bytes: 4 << 20, ..ReceiverWish::default() };
        let _ = plan.open_receiver_as(NUMBER, wish);
        let config = ConnectionConfig { receivers: 1, ..ConnectionConfig::default() };
        let connection = ClientConnection::new(conn, config, now);
        Self { connection, plan, select, taken: Taken::default() }
    }

    pub(super) fn read(&mut self, wire: &mut Wire<'_>, now: Time, stream: StreamKey) -> Result<(), Failure> {
        while self.connection.readable(wire, now, stream, READ_BYTES, &mut self.taken)? == ReadState::More {}
        Ok(())
    }

    /// Hears its router. Returns what its application was given, and whether a gap was among it.
    pub(super) fn flow(
        &mut self,
        wire: &mut Wire<'_>,
        now: Time,
    ) -> Result<(Vec<(u32, u64)>, bool), Failure> {
        self.connection.handle_timeout(now);
        while let Some(event) =
            self.connection.poll_event(wire, None::<&mut millrace_client::session::PublisherSession>)?
        {
            if let (Event::Welcomed(_), Some(request)) = (event, self.plan.open_request(NUMBER, WINDOW_BYTES))
            {
                let texts = vec![self.select.text().to_owned()];
                if self.connection.open_receiver(request, WINDOW_BYTES).is_ok()
                    && let Ok(subscription) = self.plan.subscribe(NUMBER, texts.clone())
                {
                    self.connection.subscribe(NUMBER, subscription, &texts);
                }
            }
        }
        self.connection.set_attentive(now, true);
        self.connection.flush(wire);
        Ok((std::mem::take(&mut self.taken.events), std::mem::take(&mut self.taken.has_gap)))
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.connection.poll_timeout()
    }
}

impl DeliverySink for Taken {
    fn run(&mut self, run: &DeliveredRun<'_>) {
        let seqs = run.first_seq()..run.first_seq() + run.count();
        // As the library does.
        let fresh = run
            .may_come_again()
            .then(|| self.dedup.take(run.publisher, seqs, run.floor(), run.maybe_duplicate()));
        for event in run.events().filter(|event| fresh.iter().all(|fresh| fresh.contains(event.seq))) {
            if let Ok(Stamp { emitter, n, .. }) = Stamp::decode(event.payload) {
                self.events.push((emitter, n));
            }
        }
    }

    fn gap(&mut self, _: ReceiverNumber, _: &Gap) {
        self.has_gap = true;
    }
}

/// Who takes nothing.
#[derive(Debug)]
pub(super) struct Nothing;

impl DeliverySink for Nothing {
    fn run(&mut self, _: &DeliveredRun<'_>) {}

    fn gap(&mut self, _: ReceiverNumber, _: &Gap) {}
}
