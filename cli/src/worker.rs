//! `millrace sub --exec`: runs a command for each event, and acknowledges what it has done.
//!
//! Commands run in the order of their events, `--jobs` at a time. An event is acknowledged when its
//! command ends with code 0 and refused otherwise: a group then gives it to another member. Events
//! that were published in one run are answered for together, behind the last of them ([`Works`]).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::time::Duration;

use anyhow::anyhow;
use millrace_client::receiver::Given;
use millrace_client::{Event, Item, PublisherKey, Receiver, TagSet};
use tokio::task::JoinSet;

use crate::args::Sub;
use crate::deadline::Deadline;
use crate::failure::Failure;
use crate::options::Reach;
use crate::outage::{self, Outage};
use crate::refusal::refusal;
use crate::signal::{cut_short, interrupt};
use crate::tell::tell;
use crate::{exec, reach, show, subscribe};

/// Schema of the object that `sub --exec --json` ends with on standard error.
const DONE_SCHEMA: &str = "millrace.work/1";

pub(crate) async fn run(reach: &Reach, command: &Sub, line: &OsString) -> Result<(), Failure> {
    subscribe::check(command)?;
    let client = reach::client(reach)?;
    let (mut changes, mut outage) = (client.changes(), Outage::default());
    let mut receiver =
        client.receiver(subscribe::options(command, None)).await.map_err(reach::unreachable)?;
    let mut subscription = receiver.subscribe(subscribe::selectors(command)).map_err(refusal)?;
    let mut workshop = Workshop::new(line.clone(), command);
    let deadline = Deadline::after(command.duration);
    let outcome = loop {
        if workshop.left == Some(0) {
            break Ok(());
        }
        tokio::select! {
            Some(ended) = workshop.running.join_next(), if !workshop.running.is_empty() => {
                workshop.ended(ended.ok());
            }
            item = receiver.next(), if workshop.has_room() => match item {
                Some(Item::Event(event)) => workshop.begin(event, &mut receiver),
                Some(Item::Gap(gap)) => {
                    tell(show::gap_words(&gap));
                    if command.fail_on_gap {
                        break Err(Failure::other(anyhow!("events are missing, and --fail-on-gap ends at the first gap")));
                    }
                }
                Some(_) => {}
                None => break receiver.refused().map_or(Ok(()), |refused| Err(refusal(refused.into()))),
            },
            state = subscription.changed() => {
                if let Err(failure) = subscribe::acknowledged(state, &subscription, command, reach.json) {
                    break Err(failure);
                }
            }
            Some(change) = changes.next() => match outage::end(&change) {
                Some(failure) => break Err(failure),
                None if command.quiet => {}
                None => outage.tell(&change),
            },
            () = deadline.passed() => break deadline.verdict(command.count, workshop.left),
            signal = interrupt() => {
                break signal.and_then(|()| cut_short(command.count, workshop.left, "events"));
            }
        }
    };
    let finished = workshop.finish().await;
    receiver.close().await;
    client.close().await;
    workshop.tell_counts(command.quiet, reach.json);
    outcome.and(finished).and(workshop.verdict())
}

/// The commands that run.
struct Workshop {
    line: OsString,
    /// Commands that run at once, at most.
    jobs: usize,
    /// How long one may run.
    timeout: Duration,
    /// Whether a group gives what was refused to another member.
    has_group: bool,
    /// Events until the end; none: no end.
    left: Option<u64>,
    running: JoinSet<(u64, Result<(), String>)>,
    works: Works<Given>,
    done: u64,
    failed: u64,
}

impl Workshop {
    fn new(line: OsString, command: &Sub) -> Self {
        Self {
            line,
            jobs: usize::from(command.jobs),
            timeout: command.timeout,
            has_group: command.group.is_some(),
            left: command.count,
            running: JoinSet::new(),
            works: Works::default(),
            done: 0,
            failed: 0,
        }
    }

    fn has_room(&self) -> bool {
        self.running.len() < self.jobs
    }

    /// Runs the command for an event that the receiver has just given.
    fn begin(&mut self, event: Event, receiver: &mut Receiver) {
        self.left = self.left.map(|left| left - 1);
        let given = Some(receiver.take_given()).filter(|given| !given.is_empty());
        let work = self.works.begin((event.id.publisher, &event.tags), given);
        let (line, timeout) = (self.line.clone(), self.timeout);
        self.running.spawn(async move {
            let outcome = work_on(&line, &event, timeout).await;
            (work, outcome.map_err(|reason| format!("{reason}: {}", show::tags_words(event.tags.borrow()))))
        });
    }

    /// A command has ended; none when its task was cancelled.
    fn ended(&mut self, ended: Option<(u64, Result<(), String>)>) {
        let Some((work, outcome)) = ended else { return };
        match &outcome {
            Ok(()) => self.done += 1,
            Err(reason) => {
                self.failed += 1;
                let fate =
                    if self.has_group { "another member gets the event" } else { "the event is not done" };
                tell(format_args!("{reason}; {fate}"));
            }
        }
        match self.works.ended(work, outcome.is_ok()) {
            Some((given, true)) => given.acknowledge(),
            Some((given, false)) => given.refuse(),
            None => {}
        }
    }

    /// Waits for the commands that run; a signal meanwhile kills them.
    async fn finish(&mut self) -> Result<(), Failure> {
        while !self.running.is_empty() {
            tokio::select! {
                Some(ended) = self.running.join_next() => self.ended(ended.ok()),
                signal = interrupt() => {
                    self.running.shutdown().await;
                    signal?;
                    return Err(Failure::interrupted(anyhow!("commands were killed before they ended")));
                }
            }
        }
        Ok(())
    }

    fn tell_counts(&self, quiet: bool, json: bool) {
        let Self { done, failed, .. } = self;
        if json && !quiet {
            let object =
                serde_json::json!({ "schema": DONE_SCHEMA, "type": "done", "done": done, "failed": failed });
            let _ = show::json_line(&mut io::stderr().lock(), &object);
        } else if !quiet || *failed > 0 {
            tell(format_args!("{done} done, {failed} failed"));
        }
    }

    /// What failed in a group was given to another member; alone, it is not done.
    const fn verdict(&self) -> Result<(), Failure> {
        if self.failed > 0 && !self.has_group { Err(Failure::said(1)) } else { Ok(()) }
    }
}

/// Runs the command for an event.
async fn work_on(line: &OsString, event: &Event, timeout: Duration) -> Result<(), String> {
    // The command's own output is what this one prints.
    match tokio::time::timeout(timeout, exec::run(line, event, exec::Output::Shown)).await {
        Ok(ran) => exec::output_of(ran).map(|_| ()),
        Err(_) => Err(format!(
            "the command was killed, because it ran for more than {} (--timeout)",
            humantime::format_duration(timeout)
        )),
    }
}

/// Events whose commands have not ended, by the run that they were published in. A run's receipt,
/// of type `G`, comes with its last event.
#[derive(Debug)]
struct Works<G> {
    /// By number. The newest one may get further events while it has no receipt.
    works: BTreeMap<u64, Work<G>>,
    /// What the newest one's events have in common.
    newest: Option<(PublisherKey, TagSet)>,
    next: u64,
}

/// The commands of one run.
#[derive(Debug)]
struct Work<G> {
    running: usize,
    has_failed: bool,
    receipt: Option<G>,
}

impl<G> Default for Works<G> {
    fn default() -> Self {
        Self { works: BTreeMap::new(), newest: None, next: 0 }
    }
}

impl<G> Works<G> {
    /// A command begins for an event of this publisher and these tags, with the receipt of its run
    /// if it is the run's last one. Returns the number of the run.
    fn begin(&mut self, (publisher, tags): (PublisherKey, &TagSet), receipt: Option<G>) -> u64 {
        let continues = self.newest.as_ref().is_some_and(|(by, about)| *by == publisher && about == tags);
        if !continues {
            if let Some(before) = self.works.last_entry().filter(|entry| entry.get().running == 0) {
                before.remove();
            }
            self.works.insert(self.next, Work { running: 0, has_failed: false, receipt: None });
            self.next += 1;
        }
        let number = self.next - 1;
        self.newest = receipt.is_none().then(|| (publisher, tags.clone()));
        if let Some(work) = self.works.get_mut(&number) {
            work.running += 1;
            work.receipt = receipt;
        }
        number
    }

    /// A command of a run has ended. Returns the receipt, and whether all went well, when it was
    /// the last one.
    fn ended(&mut self, number: u64, is_ok: bool) -> Option<(G, bool)> {
        let work = self.works.get_mut(&number)?;
        work.running -= 1;
        work.has_failed |= !is_ok;
        let may_grow = work.receipt.is_none() && self.newest.is_some() && number + 1 == self.next;
        if work.running > 0 || may_grow {
            return None;
        }
        let work = self.works.remove(&number)?;
        work.receipt.map(|receipt| (receipt, !work.has_failed))
    }
}

#[cfg(test)]
mod tests {
    use millrace_client::{Epoch, PublisherId};

    use super::*;

    fn key(number: u8) -> PublisherKey {
        PublisherKey { publisher: PublisherId(number.into()), epoch: Epoch(1) }
    }

    fn tags() -> TagSet {
        TagSet::from_texts(["host=a"]).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_run_is_answered_for_with_the_last_of_its_commands() {
        let (mut works, tags) = (Works::default(), tags());
        let of = (key(1), &tags);
        let first = works.begin(of, None);
        assert_eq!(works.ended(first, true), None, "its run goes on");
        assert_eq!((works.begin(of, None), works.begin(of, Some("run"))), (first, first));
        let next = works.begin(of, Some("next"));
        assert_ne!(next, first);
        assert_eq!(works.ended(next, true), Some(("next", true)));
        assert_eq!(works.ended(first, false), None);
        assert_eq!(works.ended(first, true), Some(("run", false)), "one of its commands has failed");
        assert!(works.works.is_empty());
    }

    #[test]
    fn what_nobody_asked_for_does_not_speak_for_others() {
        let (mut works, tags) = (Works::default(), tags());
        let unasked = works.begin((key(1), &tags), None);
        assert_eq!(works.ended(unasked, false), None);
        let asked = works.begin((key(2), &tags), Some(()));
        assert_eq!(works.ended(asked, true), Some(((), true)));
        assert!(works.works.is_empty());
    }
}
