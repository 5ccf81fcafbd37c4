//! Reads the stream of all receivers of a connection.
//!
//! Every receiver has an account of its own. Its grant counts the bytes of run bodies for it since
//! it was opened, and the router may write a run while any of the grant is left. What waits for a
//! receiver in this process therefore stays below its window and one run; a receiver whose
//! application takes nothing holds up no other, and whoever reads the stream never has to stop.
//!
//! A receiver's number is taken from [`DeliveriesSession::open`] until the stream says that the
//! receiver has ended, because runs for it may be on their way; a receiver that the router refused
//! ends by [`DeliveriesSession::refused`].

use millrace_proto::ReceiverNumber;
use millrace_proto::control::TableCapacity;
use millrace_proto::data::{self, DataFrame, Gap, ReceiverGap, kind};
use millrace_proto::frame::{Frame, FrameReader};
use millrace_proto::limits::RECEIVERS_PER_CONNECTION_MAX;

use super::preamble::StreamFor;
use super::sink::DeliverySink;
use super::tables::Tables;
use crate::session::SessionError;

/// Why a receiver cannot be opened on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The number is taken; it is free when the stream says that the receiver has ended.
    #[error("receiver {0:?} is open")]
    Taken(ReceiverNumber),
    /// The number is too high.
    #[error("a connection carries at most {RECEIVERS_PER_CONNECTION_MAX} receivers")]
    TooMany,
}

/// The stream of all receivers of one connection.
#[derive(Debug)]
pub(super) struct DeliveriesSession {
    reader: FrameReader,
    tables: Tables,
    accounts: Accounts,
    /// Receivers with a new grant, each once.
    due: Vec<ReceiverNumber>,
}

/// What each receiver was granted, by its number.
#[derive(Debug, Default)]
struct Accounts(Vec<Option<Account>>);

/// Bytes of run bodies for one receiver, in one cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Account {
    window_bytes: u64,
    /// Bytes from before the connection that the application has not taken.
    held: u64,
    arrived: u64,
    consumed: u64,
    granted: u64,
    /// Runs that have arrived.
    runs: u64,
    is_due: bool,
}

impl Account {
    /// The grant that the router should have, when a quarter of the window is used up: a router
    /// stops a replay at half of what it was granted, and what the application has taken is told by
    /// quarters.
    fn wanted(&self) -> Option<u64> {
        let wanted = self.consumed + self.window_bytes.saturating_sub(self.held);
        (wanted.saturating_sub(self.granted) >= (self.window_bytes / 4).max(1)).then_some(wanted)
    }
}

impl Accounts {
    #[inline]
    fn get(&mut self, receiver: ReceiverNumber) -> Option<&mut Account> {
        self.0.get_mut(receiver.0 as usize)?.as_mut()
    }

    /// A run of `bytes` arrived; which one of the receiver it is.
    #[inline]
    fn arrived(&mut self, receiver: ReceiverNumber, bytes: u64) -> Result<u64, SessionError> {
        let account = self
            .get(receiver)
            .ok_or(SessionError::Unexpected { frame: "a run for a receiver that is not open" })?;
        if account.arrived >= account.granted {
            return Err(SessionError::Limit { what: "the receiver's grant" });
        }
        account.arrived += bytes;
        account.runs += 1;
        Ok(account.runs - 1)
    }

    fn end(&mut self, receiver: ReceiverNumber) {
        if let Some(account) = self.0.get_mut(receiver.0 as usize) {
            *account = None;
        }
    }

    /// Those of the receivers that are open; all that are when none is named.
    fn open_among(&self, receivers: &[ReceiverNumber]) -> Vec<ReceiverNumber> {
        let open = (0..).zip(&self.0).filter(|(_, account)| account.is_some());
        let open = open.map(|(number, _)| ReceiverNumber(number));
        open.filter(|number| receivers.is_empty() || receivers.contains(number)).collect()
    }

    /// Passes a gap to the receivers that it names, or to all.
    fn gap(&self, gap: &ReceiverGap, sink: &mut impl DeliverySink) {
        let ReceiverGap { reason, events, router, receivers } = gap;
        let marker = Gap { reason: *reason, events: *events, router: *router };
        if receivers.is_empty() {
            for (number, _) in (0..).zip(&self.0).filter(|(_, account)| account.is_some()) {
                sink.gap(ReceiverNumber(number), &marker);
            }
        }
        for &receiver in receivers {
            if self.0.get(receiver.0 as usize).is_some_and(Option::is_some) {
                sink.gap(receiver, &marker);
            }
        }
    }
}

impl DeliveriesSession {
    /// The session of a stream that has not begun; `tables` is what the connection's Hello
    /// announced.
    #[must_use]
    pub(super) fn new(tables: TableCapacity) -> Self {
        Self {
            reader: FrameReader::new(),
            tables: Tables::new(tables),
            accounts: Accounts::default(),
            due: Vec::new(),
        }
    }

    /// Opens the account of a receiver that the connection is about to ask for, and returns its
    /// first grant. The receiver holds at most `window_bytes` and one run; `held` bytes of them
    /// wait already, from an older connection, and are consumed first.
    ///
    /// # Errors
    /// [`OpenError`]; nothing changed.
    pub(super) fn open(
        &mut self,
        receiver: ReceiverNumber,
        window_bytes: u64,
        held: u64,
    ) -> Result<u64, OpenError> {
        if receiver.0 >= RECEIVERS_PER_CONNECTION_MAX {
            return Err(OpenError::TooMany);
        }
        let index = receiver.0 as usize;
        if self.accounts.0.len() <= index {
            self.accounts.0.resize(index + 1, None);
        }
        let place = &mut self.accounts.0[index];
        if place.is_some() {
            return Err(OpenError::Taken(receiver));
        }
        let granted = window_bytes.saturating_sub(held);
        *place =
            Some(Account { window_bytes, held, arrived: 0, consumed: 0, granted, runs: 0, is_due: false });
        Ok(granted)
    }

    /// So many bytes of an older connection wait for the application of a receiver, which takes
    /// them first.
    pub(super) fn set_held(&mut self, receiver: ReceiverNumber, bytes: u64) {
        if let Some(account) = self.accounts.get(receiver) {
            account.held = bytes;
        }
    }

    /// The router refused a receiver: its number is free.
    pub(super) fn refused(&mut self, receiver: ReceiverNumber) {
        self.accounts.end(receiver);
    }

    /// Whether a receiver is open, or its end has not arrived.
    #[cfg(test)]
    pub(super) fn is_open(&self, receiver: ReceiverNumber) -> bool {
        self.accounts.0.get(receiver.0 as usize).is_some_and(Option::is_some)
    }

    /// Feeds bytes of the stream from behind its preamble; `sink` gets what they complete.
    ///
    /// # Errors
    /// [`SessionError`] for bytes that no router sends; the stream cannot be read further.
    pub(super) fn data(&mut self, chunk: &[u8], sink: &mut impl DeliverySink) -> Result<(), SessionError> {
        let Self { reader, tables, accounts, .. } = self;
        reader.feed_windows(chunk, data::FRAME_BYTES_MAX, |window| {
            // A single run has no other to wait with.
            if window.len() > 1 {
                touch(tables, accounts, window);
            }
            window.iter().try_for_each(|frame| read(tables, accounts, frame, sink))
        })
    }

    /// The application of `receiver` has taken `bytes` of run bodies.
    #[inline]
    pub(super) fn consumed(&mut self, receiver: ReceiverNumber, bytes: u64) {
        let Some(account) = self.accounts.get(receiver) else { return };
        let old = bytes.min(account.held);
        account.held -= old;
        account.consumed = (account.consumed + bytes - old).min(account.arrived);
        if !account.is_due && account.wanted().is_some() {
            account.is_due = true;
            self.due.push(receiver);
        }
    }

    /// A new grant for the router: of a receiver of whose window a quarter is used up.
    pub(super) fn poll_grant(&mut self) -> Option<(ReceiverNumber, u64)> {
        while let Some(receiver) = self.due.pop() {
            let Some(account) = self.accounts.get(receiver) else { continue };
            account.is_due = false;
            if let Some(bytes) = account.wanted() {
                account.granted = bytes;
                return Some((receiver, bytes));
            }
        }
        None
    }

    /// Bytes of run bodies that arrived for `receiver` and are not consumed.
    #[must_use]
    pub(super) fn unconsumed(&self, receiver: ReceiverNumber) -> u64 {
        let account = self.accounts.0.get(receiver.0 as usize).and_then(Option::as_ref);
        account.map_or(0, |account| account.arrived - account.consumed)
    }
}

/// Reads a word of what the runs of a window need. Each may be out of cache, and reads that do not
/// depend on each other wait together. Changes nothing.
#[inline]
fn touch(tables: &Tables, accounts: &Accounts, window: &[Frame<'_>]) {
    let runs = window.iter().filter(|frame| frame.kind == kind::DELIVER);
    let read = runs.filter_map(|frame| data::peek_delivery(frame.body)).map(|(tags, receiver)| {
        let account = accounts.0.get(receiver.0 as usize).is_some_and(Option::is_some);
        usize::from(account) + usize::from(tables.is_known(tags))
    });
    std::hint::black_box(read.sum::<usize>());
}

/// Reads one frame of the stream.
#[inline]
fn read(
    tables: &mut Tables,
    accounts: &mut Accounts,
    frame: &Frame<'_>,
    sink: &mut impl DeliverySink,
) -> Result<(), SessionError> {
    match data::decode(frame.kind, frame.body)? {
        DataFrame::Deliver { hop, targets, body } => {
            let run = tables.read(&hop, body)?;
            let bytes = run.bytes() as u64;
            for target in targets.iter() {
                let number = accounts.arrived(target.receiver, bytes)?;
                sink.run(&run.with_target(&target, number));
                sink.used(target.receiver, bytes);
            }
        }
        DataFrame::ReceiverGap(gap) => accounts.gap(&gap, sink),
        DataFrame::Cursor(cursor) => {
            for receiver in accounts.open_among(&cursor.receivers) {
                tables.cursor(receiver, &cursor, sink);
            }
        }
        DataFrame::Mark(mark) => {
            for receiver in accounts.open_among(&mark.receivers) {
                sink.marked(receiver, &mark);
            }
        }
        DataFrame::ReceiverEnd(end) => {
            accounts.end(end.receiver);
            sink.ended(&end);
        }
        DataFrame::Run { .. } | DataFrame::Gap(_) => {
            return Err(SessionError::Unexpected { frame: "a frame of one receiver's stream" });
        }
        other => tables.common(StreamFor::All, &other, sink)?,
    }
    Ok(())
}
