//! The subscription, and when to print what.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use millrace_client::receiver::{Batch, BatchItem};
use millrace_client::{ReceiverOptions, SubscribeError};
use millrace_proto::Selector;
use tokio::time::{MissedTickBehavior, interval_at};

use super::args::Tap;
use super::print;
use super::tally::Tally;
use crate::deadline::Deadline;
use crate::failure::Failure;
use crate::options::Reach;
use crate::outage::Outage;
use crate::reach;
use crate::refusal::refusal;
use crate::signal::{cut_short, interrupt};
use crate::tell;

/// Between two lines of rates.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// Bytes that may wait for this command at the router: it is here to look, and not to keep.
const QUEUE_BYTES: u64 = 4 << 20;

/// Shows what flows until the end that the command line says.
pub(crate) async fn run(reach: &Reach, command: &Tap) -> Result<(), Failure> {
    for text in &command.selectors {
        // Before anything is connected: the commonest mistake should not wait for a router.
        Selector::parse(text)
            .map_err(|source| refusal(SubscribeError::Selector { text: text.clone(), source }))?;
    }
    let client = reach::client(reach)?;
    let (mut changes, mut outage) = (client.changes(), Outage::default());
    let options = ReceiverOptions::default().queue_bytes(QUEUE_BYTES);
    let mut receiver = client.receiver(options).await.map_err(reach::unreachable)?;
    let mut subscription = receiver.subscribe(&command.selectors).map_err(refusal)?;
    subscription.on_router().await.map_err(refusal)?;
    let mut out = anstream::AutoStream::auto(io::stdout());
    let begun = Instant::now();
    let deadline = Deadline::after(command.duration);
    let mut lines = interval_at(tokio::time::Instant::now() + LINE_EVERY, LINE_EVERY);
    lines.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let width = tell::columns(&io::stdout());
    let mut look = Look { tally: Tally::default(), left: command.samples, line_at: begun, width };
    let mut interrupted = Ok(());
    let written = loop {
        tokio::select! {
            batch = receiver.next_batch() => {
                let Some(batch) = batch else { break Ok(()) };
                if let Err(error) = look.batch(&mut out, &batch, command.count, reach.json) {
                    break Err(error);
                }
                if command.count.is_some_and(|count| look.tally.events() >= count) {
                    break Ok(());
                }
            }
            _ = lines.tick() => {
                if let Err(error) = look.line(&mut out, command.samples, reach.json) {
                    break Err(error);
                }
            }
            () = deadline.passed() => break Ok(()),
            Some(change) = changes.next() => outage.tell(&change),
            signal = interrupt() => {
                signal?;
                let left = command.count.map(|count| count.saturating_sub(look.tally.events()));
                interrupted = cut_short(command.count, left, "events");
                break Ok(());
            }
        }
    };
    let summary = look.tally.summary(begun.elapsed());
    let written =
        written.and_then(|()| print::summary(&mut out, &summary, reach.json)).and_then(|()| out.flush());
    let refused = receiver.refused();
    drop(receiver);
    client.close().await;
    match (written, refused) {
        // Whoever reads has seen enough.
        (Err(error), _) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::other(anyhow!(error).context("cannot write")))
        }
        (_, Some(refused)) => Err(refusal(refused.into())),
        _ => interrupted,
    }
}

/// What has come, and how much more of this second is shown.
struct Look {
    tally: Tally,
    /// Samples left of this second.
    left: u32,
    line_at: Instant,
    /// Columns of the terminal, if there is one.
    width: Option<usize>,
}

impl Look {
    fn batch(
        &mut self,
        out: &mut impl Write,
        batch: &Batch,
        most: Option<u64>,
        json: bool,
    ) -> io::Result<()> {
        for item in batch.iter() {
            match item {
                BatchItem::Event(_) if most.is_some_and(|most| self.tally.events() >= most) => break,
                BatchItem::Event(event) => {
                    self.tally.event(&event);
                    if self.left > 0 {
                        self.left -= 1;
                        print::event(out, &event, self.width, json)?;
                    }
                }
                BatchItem::Gap(gap) => self.tally.gap(gap),
                _ => {}
            }
        }
        out.flush()
    }

    fn line(&mut self, out: &mut impl Write, samples: u32, json: bool) -> io::Result<()> {
        let over = self.line_at.elapsed();
        (self.line_at, self.left) = (Instant::now(), samples);
        print::rate(out, self.tally.line(), over, json)?;
        out.flush()
    }
}
