//! `millrace sub`: events that match, as lines or objects.

use std::io::{self, BufWriter, Write};

use anyhow::anyhow;
use millrace_client::receiver::{Batch, BatchItem, SubscriptionState};
use millrace_client::session::plan::Progress;
use millrace_client::{Acknowledge, Cursor, Receiver, ReceiverOptions, SubscribeError, Subscription};
use millrace_proto::Selector;
use millrace_proto::selector::Claim;

use crate::args::Sub;
use crate::cursor::{CursorFile, WRITE_EVERY};
use crate::deadline::Deadline;
use crate::failure::Failure;
use crate::options::Reach;
use crate::outage::{self, Outage};
use crate::refusal::refusal;
use crate::signal::{cut_short, interrupt};
use crate::tell::tell;
use crate::{reach, show};

/// Schema of the acknowledgements that `sub --json` prints on standard error.
const ACK_SCHEMA: &str = "millrace.ack/1";

/// Bytes of output gathered before they are written.
const WRITE_BYTES: usize = 64 * 1024;

pub(crate) async fn run(reach: &Reach, command: &Sub) -> Result<(), Failure> {
    check(command)?;
    let client = reach::client(reach)?;
    let (mut changes, mut outage) = (client.changes(), Outage::default());
    let mut file = command.cursor.clone().map(CursorFile::open).transpose()?;
    let options = options(command, file.as_ref());
    let mut write_cursor = tokio::time::interval(WRITE_EVERY);
    let mut receiver = client.receiver(options).await.map_err(reach::unreachable)?;
    // Where this command has come to before a batch, and within it, because it may end there.
    let (mut place, mut cut) = (receiver.cursor(), None);
    let mut subscription = receiver.subscribe(selectors(command)).map_err(refusal)?;
    let mut out = BufWriter::with_capacity(WRITE_BYTES, io::stdout());
    let mut left = command.count;
    let deadline = Deadline::after(command.duration);
    let form = Form { json: reach.json, all_tags: command.show_identity };
    let outcome = loop {
        if left == Some(0) {
            break Ok(());
        }
        tokio::select! {
            batch = receiver.next_batch() => {
                let Some(batch) = batch else {
                    break receiver.refused().map_or(Ok(()), |refused| Err(refusal(refused.into())));
                };
                let (before, printed) = (left, print(&mut out, &batch, &mut left, form));
                cut = within(&mut place, &receiver, &batch, before.zip(left)).filter(|_| file.is_some());
                match printed {
                    Ok(Printed { gaps, .. }) if gaps > 0 && command.fail_on_gap => {
                        break Err(Failure::other(anyhow!("events are missing, and --fail-on-gap ends at the first gap")));
                    }
                    Ok(Printed { entries, .. }) if acknowledges_what_is_printed(command) => {
                        receiver.acknowledge_part(&batch, entries);
                    }
                    Ok(_) => {}
                    // Whoever reads has seen enough: `millrace sub … | head`.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break Ok(()),
                    Err(error) => break Err(Failure::other(anyhow!(error).context("cannot write"))),
                }
            }
            state = subscription.changed() => {
                if let Err(failure) = acknowledged(state, &subscription, command, reach.json) {
                    break Err(failure);
                }
            }
            Some(change) = changes.next() => match outage::end(&change) {
                Some(failure) => break Err(failure),
                None if command.quiet => {}
                None => outage.tell(&change),
            },
            _ = write_cursor.tick(), if file.is_some() => match keep(&mut file, &receiver) {
                Ok(()) => {}
                failed => break failed,
            },
            () = deadline.passed() => break deadline.verdict(command.count, left),
            signal = interrupt() => break signal.and_then(|()| cut_short(command.count, left, "events")),
        }
    };
    let place = cut.unwrap_or_else(|| receiver.cursor());
    let outcome = outcome.and(file.as_mut().map_or(Ok(()), |file| file.write(place)));
    receiver.close().await;
    client.close().await;
    outcome
}

/// Reads the selectors before anything is connected: the commonest mistake should not wait for a
/// router.
pub(crate) fn check(command: &Sub) -> Result<(), Failure> {
    command.selectors.iter().try_for_each(|text| match Selector::parse(text) {
        Ok(_) => Ok(()),
        Err(source) => Err(refusal(SubscribeError::Selector { text: text.clone(), source })),
    })
}

/// Whether only what was printed is acknowledged: of the last batch of a command that counts events
/// the rest was not.
const fn acknowledges_what_is_printed(command: &Sub) -> bool {
    command.group.is_some() || command.count.is_some()
}

/// What kind of receiver the command is, and what it asks for of the past.
pub(crate) fn options(command: &Sub, file: Option<&CursorFile>) -> ReceiverOptions {
    let mut options = ReceiverOptions::default()
        .linger(command.linger)
        .queue_bytes(command.queue.unwrap_or(0))
        .policy(command.policy)
        .redundant(command.redundant);
    if let Some(name) = &command.name {
        options = options.name(name);
    }
    if let Some(group) = &command.group {
        // As many as there are commands: what waits here behind one, another member could do.
        let jobs = command.exec.as_ref().map_or(0, |_| u64::from(command.jobs));
        options = options
            .group(group)
            .level(command.level)
            .exclusive(command.exclusive)
            .max_inflight(command.max_inflight.unwrap_or(jobs));
    }
    if acknowledges_what_is_printed(command) || command.exec.is_some() {
        // What was printed or done is acknowledged, so that another member gets what was not.
        options = options.acknowledge(Acknowledge::Explicit);
    }
    past(options, command, file)
}

/// The selectors of the subscription; of a command that wants only what is addressed to it, one
/// that matches no event, so that it hears how far it is known.
pub(crate) fn selectors(command: &Sub) -> Vec<String> {
    let nothing = command.name.iter().filter(|_| command.selectors.is_empty());
    let nothing = nothing.filter_map(|name| Claim::selector(name).ok());
    command.selectors.iter().cloned().chain(nothing).collect()
}

/// How events are printed.
#[derive(Debug, Clone, Copy)]
struct Form {
    json: bool,
    /// Whether tags that routers set are shown.
    all_tags: bool,
}

/// Where a command has come to that counts events and ends within this batch; `place` is where it
/// was before, and goes behind the batch.
fn within(
    place: &mut Cursor,
    receiver: &Receiver,
    batch: &Batch,
    left: Option<(u64, u64)>,
) -> Option<Cursor> {
    let (before, after) = left?;
    let here = std::mem::replace(place, receiver.cursor());
    Some(here.behind(batch, before - after))
}

/// Options with what is asked for of the past.
fn past(options: ReceiverOptions, command: &Sub, file: Option<&CursorFile>) -> ReceiverOptions {
    match file {
        Some(file) => match file.cursor() {
            // Routers that the file does not name are new: all that they have is.
            Some(cursor) => options.since(command.since).cursor(cursor),
            // A file without a place begins now, unless it is told otherwise.
            None => options.since(command.since.unwrap_or_default()),
        },
        None => options.since(command.since).newest(command.last),
    }
}

/// Writes how far the receiver has come, if there is a file for it.
fn keep(file: &mut Option<CursorFile>, receiver: &Receiver) -> Result<(), Failure> {
    file.as_mut().map_or(Ok(()), |file| file.write(receiver.cursor()))
}

/// What of a batch was printed.
#[derive(Debug, Default)]
struct Printed {
    /// Gaps among it.
    gaps: u64,
    /// Events and gaps.
    entries: usize,
}

/// Prints a batch, up to the number of events that are left, and lets it be seen.
fn print(out: &mut impl Write, batch: &Batch, left: &mut Option<u64>, form: Form) -> io::Result<Printed> {
    let mut printed = Printed::default();
    for item in batch.iter() {
        match item {
            _ if *left == Some(0) => break,
            BatchItem::Event(event) => {
                if form.json {
                    show::event_json(out, &event, form.all_tags)?
                } else {
                    show::event_line(out, &event, form.all_tags)?
                }
                *left = left.map(|left| left - 1);
            }
            BatchItem::Gap(gap) if form.json => {
                printed.gaps += 1;
                show::gap_json(out, gap)?;
            }
            BatchItem::Gap(gap) => {
                printed.gaps += 1;
                // The lines before the gap come before it on a terminal, too.
                out.flush()?;
                tell(show::gap_words(gap));
            }
            _ => {}
        }
        printed.entries += 1;
    }
    out.flush()?;
    Ok(printed)
}

/// Prints how far the subscription has come.
pub(crate) fn acknowledged(
    state: Result<SubscriptionState, SubscribeError>,
    subscription: &Subscription,
    command: &Sub,
    json: bool,
) -> Result<(), Failure> {
    let progress = match state.map_err(refusal)? {
        SubscriptionState::Progress(progress) => progress,
        SubscriptionState::Refused(refused) => return Err(refusal(refused.into())),
        // A later version of the library knows more; nothing is to be said about it.
        _ => return Ok(()),
    };
    if command.quiet {
        return Ok(());
    }
    let (stage, left_out, unanswered, publishers) = match progress {
        Progress::Asked => ("asked", Vec::new(), 0, Vec::new()),
        Progress::Router => ("router", Vec::new(), 0, Vec::new()),
        Progress::Cluster { left_out, unanswered, left_out_publishers } => {
            ("cluster", left_out, unanswered, left_out_publishers)
        }
    };
    let publishers: Vec<_> = publishers.iter().map(ToString::to_string).collect();
    let left_out: Vec<_> = left_out.iter().map(ToString::to_string).collect();
    if json {
        let number = subscription.number().0;
        let object = serde_json::json!({
            "schema": ACK_SCHEMA, "type": "subscribed", "subscription": number, "stage": stage,
            "left_out": left_out, "unanswered": unanswered, "left_out_publishers": publishers,
        });
        let _ = show::json_line(&mut io::stderr().lock(), &object);
        return Ok(());
    }
    match stage {
        "asked" => tell("reconnecting"),
        "router" => tell("subscribed on this router"),
        _ if left_out.is_empty() && unanswered == 0 && !publishers.is_empty() => tell(format_args!(
            "subscribed in the whole cluster; publishers that may not know it yet: {}",
            publishers.join(", ")
        )),
        _ if left_out.is_empty() && unanswered == 0 => tell("subscribed in the whole cluster"),
        _ => {
            let routers = if left_out.is_empty() { "none known".to_owned() } else { left_out.join(", ") };
            tell(format_args!(
                "subscribed in the cluster; routers left out: {routers}; addresses that did not answer: {unanswered}"
            ));
        }
    }
    Ok(())
}
