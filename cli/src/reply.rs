//! `millrace reply`: runs a command for each request, and sends its output as the reply.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use millrace_client::receiver::Given;
use millrace_client::session::plan::Progress;
use millrace_client::{
    Acknowledge, ConfirmLevel, Event, Item, Publisher, PublisherOptions, ReceiverOptions, ReplyTo,
    SubscriptionState,
};
use millrace_proto::Selector;
use millrace_proto::limits::PAYLOAD_BYTES_MAX;
use millrace_proto::selector::Claim;
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::options::{Reach, count, some_time};
use crate::outage::{self, Outage};
use crate::refusal::refusal;
use crate::signal::{cut_short, interrupt};
use crate::tell::tell;
use crate::{exec, reach};

/// How long a command may run that nobody waits for any more: work that has begun is better ended.
const TIMEOUT_MIN: Duration = Duration::from_secs(60);

/// Reply to requests that match any of the selectors.
///
/// For each request CMD is run in the shell: the request's payload is its standard input, its tags
/// are in the environment (host.name=web-1 as MILLRACE_TAG_HOST_NAME, all of them in
/// MILLRACE_TAGS), and what it writes to standard output is the reply, without the last line break.
/// A command that fails sends no reply; in a group another member gets the request. Events that ask
/// nothing are skipped. At an interrupt the commands that run are waited for; a second one kills
/// them.
#[derive(Debug, clap::Args)]
pub(crate) struct Reply {
    /// Which requests to reply to; by tags alone.
    #[arg(value_name = "SELECTOR", required_unless_present = "name")]
    selectors: Vec<String>,
    /// What to run for each request.
    #[arg(long, value_name = "CMD", value_parser = crate::args::some_command())]
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
    /// Kill a command that runs for longer. Default: as long as who asked waits, a minute at least.
    /// In a group, let it be less than what the routers wait for acknowledgements (30 s if nothing
    /// is set): then another member gets the request anyway.
    #[arg(long, value_name = "DURATION", value_parser = some_time)]
    timeout: Option<Duration>,
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
        options.acknowledge(Acknowledge::Explicit)
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
    let mut desk = Desk::new(command, publisher);
    let outcome = loop {
        if desk.left == Some(0) {
            break Ok(());
        }
        tokio::select! {
            Some(_) = desk.running.join_next(), if !desk.running.is_empty() => {}
            // A request waits in the receiver while as many commands run as may.
            item = receiver.next(), if desk.has_room() => match item {
                Some(Item::Event(event)) => desk.take(event, receiver.take_given()),
                Some(_) => {}
                None => break receiver.refused().map_or(Ok(()), |refused| Err(refusal(refused.into()))),
            },
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
            signal = interrupt() => {
                break signal.and_then(|()| cut_short(command.count, desk.left, "requests"));
            }
        }
    };
    let finished = desk.finish().await;
    receiver.close().await;
    client.close().await;
    outcome.and(finished)
}

/// The commands that run.
struct Desk<'a> {
    command: &'a Reply,
    publisher: Arc<Publisher>,
    running: JoinSet<()>,
    /// Requests until the end; none: no end.
    left: Option<u64>,
}

impl<'a> Desk<'a> {
    fn new(command: &'a Reply, publisher: Arc<Publisher>) -> Self {
        Self { command, publisher, running: JoinSet::new(), left: command.count }
    }

    fn has_room(&self) -> bool {
        self.running.len() < usize::from(self.command.jobs)
    }

    /// Runs the command for a request that the receiver has just given; what asks nothing is done
    /// with.
    fn take(&mut self, event: Event, given: Given) {
        let Some(reply_to) = event.reply_to.clone() else { return given.acknowledge() };
        self.left = self.left.map(|left| left - 1);
        let (line, publisher) = (self.command.exec.clone(), self.publisher.clone());
        let has_group = self.command.group.is_some();
        let limit = self.command.timeout.unwrap_or_else(|| reply_to.within().max(TIMEOUT_MIN));
        self.running.spawn(async move {
            match work_on(&line, &event, limit).await {
                Ok(output) => {
                    answer(&reply_to, output, &publisher).await;
                    given.acknowledge();
                }
                Err(reason) => {
                    let fate = if has_group { "another member gets the request" } else { "no reply is sent" };
                    tell(format_args!("{reason}; {fate}"));
                    given.refuse();
                }
            }
        });
    }

    /// Waits for the commands that run; a signal meanwhile kills them.
    async fn finish(&mut self) -> Result<(), Failure> {
        while !self.running.is_empty() {
            tokio::select! {
                Some(_) = self.running.join_next() => {}
                signal = interrupt() => {
                    self.running.shutdown().await;
                    signal?;
                    return Err(Failure::interrupted(anyhow!("commands were killed before they ended")));
                }
            }
        }
        Ok(())
    }
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

/// Runs the command for a request; what it wrote, without the last line break.
async fn work_on(line: &OsStr, event: &Event, limit: Duration) -> Result<Vec<u8>, String> {
    let kept = exec::Output::Kept(PAYLOAD_BYTES_MAX);
    let ran = tokio::time::timeout(limit, exec::run(line, event, kept)).await;
    let Ok(ran) = ran else {
        let limit = humantime::format_duration(limit);
        return Err(format!("the command was killed, because it ran for {limit}"));
    };
    let mut output = exec::output_of(ran)?;
    if output.last() == Some(&b'\n') {
        output.pop();
    }
    Ok(output)
}

/// Replies to a request.
async fn answer(reply_to: &ReplyTo, output: Vec<u8>, publisher: &Publisher) {
    match publisher.reply(reply_to, output).await {
        Ok(confirmation) => match confirmation.await {
            outcome if outcome.is_confirmed() => {}
            outcome if outcome.is_requester_gone() => {
                tell(
                    "a reply came too late or behind those that were wanted, or whoever asked is gone \
                     (requester_gone)",
                );
            }
            outcome => tell(format_args!("a reply is not known to have arrived: {outcome:?}")),
        },
        Err(error) => tell(format_args!("a reply was not sent: {error}")),
    }
}
