//! `millrace reply`: runs a command for each request, and sends its output as the reply.

use std::ffi::OsString;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use millrace_client::session::plan::Progress;
use millrace_client::{
    Acknowledge, ConfirmLevel, Event, Item, Publisher, PublisherOptions, ReceiverOptions, SubscriptionState,
};
use millrace_proto::Selector;
use millrace_proto::limits::PAYLOAD_BYTES_MAX;
use millrace_proto::selector::Claim;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::options::{Reach, count};
use crate::outage::{self, Outage};
use crate::refusal::refusal;
use crate::signal::{cut_short, interrupt};
use crate::tell::tell;
use crate::{exec, reach};

/// Reply to requests that match any of the selectors.
///
/// For each request CMD is run in the shell: the request's payload is its standard input, its tags
/// are in the environment (host.name=web-1 as MILLRACE_TAG_HOST_NAME, all of them in
/// MILLRACE_TAGS), and what it writes to standard output is the reply, without the last line break.
/// A command that fails sends no reply. Events that ask nothing are skipped.
#[derive(Debug, clap::Args)]
pub(crate) struct Reply {
    /// Which requests to reply to; by tags alone.
    #[arg(value_name = "SELECTOR", required_unless_present = "name")]
    selectors: Vec<String>,
    /// What to run for each request.
    #[arg(long, value_name = "CMD")]
    exec: OsString,
    /// Reply to what is addressed to this name, too (`millrace request --to NAME`).
    #[arg(long, value_name = "NAME", conflicts_with = "group", value_parser = crate::args::name)]
    name: Option<String>,
    /// Share the requests with the other members of this group: one of them replies to each.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Level in the group, 1 to 8.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "group", value_parser = clap::value_parser!(u32).range(1..=8))]
    level: u32,
    /// Commands that run at once, at most.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// End after this many requests. An interrupt before that ends with code 130.
    #[arg(long, short = 'n', value_name = "N", value_parser = count)]
    count: Option<u64>,
    /// Do not print acknowledgements.
    #[arg(long, short)]
    quiet: bool,
}

impl Reply {
    /// The selectors of the subscription; one that matches nothing where a name is all.
    fn selectors(&self) -> Result<Vec<String>, Failure> {
        for text in &self.selectors {
            let selector = Selector::parse(text).map_err(|source| {
                refusal(millrace_client::SubscribeError::Selector { text: text.clone(), source })
            })?;
            if !selector.patterns().is_empty() {
                let what = anyhow!("requests are chosen by their tags: {text:?} asks for the payload");
                return Err(Failure::usage(what).hint("Let the command look at the payload."));
            }
        }
        let nothing = self.name.iter().filter(|_| self.selectors.is_empty());
        let nothing = nothing.filter_map(|name| Claim::selector(name).ok());
        Ok(self.selectors.iter().cloned().chain(nothing).collect())
    }

    fn options(&self) -> ReceiverOptions {
        let mut options = ReceiverOptions::default();
        if let Some(name) = &self.name {
            options = options.name(name);
        }
        if let Some(group) = &self.group {
            let room = u64::from(self.jobs);
            options = options.group(group).level(self.level).max_inflight(room);
        }
        options.acknowledge(Acknowledge::Taken)
    }
}

pub(crate) async fn run(reach: &Reach, command: &Reply) -> Result<(), Failure> {
    let selectors = command.selectors()?;
    let client = reach::client(reach)?;
    let (mut changes, mut outage) = (client.changes(), Outage::default());
    let mut receiver = client.receiver(command.options()).await.map_err(reach::unreachable)?;
    let options = PublisherOptions::default().level(ConfirmLevel::Routed).linger(Duration::ZERO);
    let publisher = Arc::new(client.publisher(options).await.map_err(reach::unreachable)?);
    let mut subscription = receiver.subscribe(selectors).map_err(refusal)?;
    let (room, mut running) = (Arc::new(Semaphore::new(usize::from(command.jobs))), JoinSet::new());
    let mut left = command.count;
    let outcome = loop {
        if left == Some(0) {
            break Ok(());
        }
        tokio::select! {
            item = receiver.next() => match item {
                Some(Item::Event(event)) if event.reply_to.is_some() => {
                    left = left.map(|left| left - 1);
                    // A request waits here while as many commands run as may.
                    let Ok(place) = room.clone().acquire_owned().await else { break Ok(()) };
                    let (line, publisher) = (command.exec.clone(), publisher.clone());
                    running.spawn(async move {
                        answer(&line, &event, &publisher).await;
                        drop(place);
                    });
                }
                Some(_) => {}
                None => break receiver.refused().map_or(Ok(()), |refused| Err(refusal(refused.into()))),
            },
            Some(_) = running.join_next(), if !running.is_empty() => {}
            state = subscription.changed() => match state {
                Ok(SubscriptionState::Refused(refused)) => break Err(refusal(refused.into())),
                Ok(state) => told(&state, command.quiet),
                Err(error) => break Err(refusal(error)),
            },
            Some(change) = changes.next() => match outage::end(&change) {
                Some(failure) => break Err(failure),
                None if command.quiet => {}
                None => outage.tell(&change),
            },
            signal = interrupt() => break signal.and_then(|()| cut_short(command.count, left, "requests")),
        }
    };
    drop(receiver);
    while running.join_next().await.is_some() {}
    client.close().await;
    outcome
}

/// Says how far the subscription has come, as `millrace sub` does.
fn told(state: &SubscriptionState, quiet: bool) {
    if quiet {
        return;
    }
    match state {
        SubscriptionState::Progress(Progress::Router) => tell("subscribed on this router"),
        SubscriptionState::Progress(Progress::Cluster { left_out, unanswered, .. })
            if left_out.is_empty() && *unanswered == 0 =>
        {
            tell("subscribed in the whole cluster");
        }
        SubscriptionState::Progress(Progress::Cluster { .. }) => {
            tell("subscribed in the cluster, without the routers that did not answer");
        }
        _ => {}
    }
}

/// Runs the command for a request, and replies.
async fn answer(line: &OsString, event: &Event, publisher: &Publisher) {
    let Some(reply_to) = &event.reply_to else { return };
    let ran = match exec::run(line, event, Stdio::piped()).await {
        Ok(ran) if ran.status.success() => ran,
        Ok(_) => return tell("the command failed: no reply is sent"),
        Err(error) => return tell(format_args!("the command cannot be run: {error}")),
    };
    let mut output = ran.output;
    if output.last() == Some(&b'\n') {
        output.pop();
    }
    if output.len() > PAYLOAD_BYTES_MAX {
        return tell(format_args!("the command wrote more than {PAYLOAD_BYTES_MAX} bytes: no reply is sent"));
    }
    match publisher.reply(reply_to, output).await {
        Ok(confirmation) => match confirmation.await {
            outcome if outcome.is_confirmed() => {}
            outcome if outcome.is_requester_gone() => {
                tell("a reply came too late, or whoever asked is gone (requester_gone)");
            }
            outcome => tell(format_args!("a reply is not known to have arrived: {outcome:?}")),
        },
        Err(error) => tell(format_args!("a reply was not sent: {error}")),
    }
}
