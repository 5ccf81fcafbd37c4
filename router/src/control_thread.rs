//! The control thread: it runs the engine's control and resolves names. No core waits for it.
//!
//! A core's mailbox is bounded. While one is full, control's outputs stay where they are and its
//! inputs wait. That always ends, because cores never wait for control.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use millrace_engine::control::{Control, ControlOutput};
use millrace_engine::message::{CoreIndex, DialId};
use millrace_proto::mesh::PeerHello;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::clock::Clock;
use crate::herald;
use crate::mail::{Addresses, Command, ControlPicture, CorePost, Input, PictureFrame};
use crate::resolve::Resolver;

/// Messages that control handles before it sends its outputs; a batch may exceed it.
const MESSAGES_PER_ROUND: usize = 256;
/// Time after which a core's full mailbox is tried again.
const RETRY: Duration = Duration::from_millis(1);
/// The longest time between two looks at the clock.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// Time between two pictures that control leaves for readers to whom it is too busy to answer.
const PICTURE_EVERY: Duration = Duration::from_millis(250);

/// A dial whose target is being resolved.
struct Resolving {
    server_name: String,
    core: CoreIndex,
    shard: u16,
    hello: PeerHello,
}

/// Control with everything around it.
pub(crate) struct ControlThread {
    clock: Clock,
    control: Control,
    cores: Vec<CorePost>,
    resolver: Resolver,
    /// The address on which this router listens.
    local: SocketAddr,
    inputs: mpsc::Receiver<Input>,
    /// A sender of inputs, for tasks that run beside this one.
    own: mpsc::Sender<Input>,
    resolving: BTreeMap<DialId, Resolving>,
    /// The output that a full mailbox did not take.
    held: Option<(CoreIndex, Command)>,
    pictures: PictureFrame,
    pictured: Option<Instant>,
}

impl ControlThread {
    pub(crate) fn new(
        clock: Clock,
        control: Control,
        cores: Vec<CorePost>,
        (resolver, local): (Resolver, SocketAddr),
        (own, inputs): (mpsc::Sender<Input>, mpsc::Receiver<Input>),
        pictures: PictureFrame,
    ) -> Self {
        Self {
            clock,
            control,
            cores,
            resolver,
            local,
            inputs,
            own,
            resolving: BTreeMap::new(),
            held: None,
            pictures,
            pictured: None,
        }
    }

    /// Leaves a picture, when one is due.
    fn picture(&mut self) {
        let now = Instant::now();
        if self.pictured.is_some_and(|at| now - at < PICTURE_EVERY) {
            return;
        }
        self.pictured = Some(now);
        let picture = ControlPicture {
            at: now.into_std(),
            status: self.control.status(),
            metrics: *self.control.metrics(),
        };
        if let Ok(mut last) = self.pictures.lock() {
            *last = Some(picture);
        }
    }

    /// Runs until told to stop.
    pub(crate) async fn run(mut self) {
        loop {
            // While a core cannot take its next message, control gets neither inputs nor time,
            // because the messages for that core would grow.
            while !self.send_outputs() {
                self.picture();
                self.control.note_held();
                sleep_until(Instant::now() + RETRY).await;
            }
            self.control.handle_timeout(self.clock.now());
            self.picture();
            if !self.send_outputs() {
                continue;
            }
            let due = self.control.poll_timeout().map(|time| Instant::from_std(self.clock.instant(time)));
            let idle = Instant::now() + IDLE_MAX;
            let first = tokio::select! {
                biased;
                input = self.inputs.recv() => match input {
                    None => return,
                    first => first,
                },
                () = sleep_until(due.map_or(idle, |due| due.min(idle))) => None,
            };
            if !self.round(first) {
                return;
            }
            while let Some(said) = self.control.poll_notice() {
                herald::tell(&said);
            }
        }
    }

    /// Handles inputs, from `next` on, until control has handled enough to send its outputs;
    /// `false` when told to stop.
    fn round(&mut self, mut next: Option<Input>) -> bool {
        let mut handled = 0;
        while let Some(input) = next {
            if matches!(input, Input::Stop) {
                return false;
            }
            handled += input.messages();
            self.take(input);
            next = if handled < MESSAGES_PER_ROUND { self.inputs.try_recv().ok() } else { None };
        }
        true
    }

    fn take(&mut self, input: Input) {
        let now = self.clock.now();
        match input {
            Input::Core { core, messages } => {
                for (message, share) in messages {
                    drop(share);
                    self.control.handle(now, core, message);
                }
            }
            Input::Places(Addresses { seeds, routes, unresolved }) => {
                self.control.set_routes(now, &routes);
                self.control.set_found_seeds(now, seeds, unresolved);
            }
            Input::Hide(hidden) => self.control.set_hidden(now, hidden),
            Input::Rebalance(rebalance) => self.control.set_rebalance(now, rebalance),
            Input::Link { link, interest } => self.control.set_link(now, link, interest),
            Input::Resolved { dial, remote } => self.resolved(dial, remote),
            Input::Ask(question) => question(&self.control),
            Input::HandOver { set, answer } => {
                // Nobody listens when the caller has given up.
                let _ = answer.send(self.control.hand_over(now, &set));
            }
            Input::Drain(grace) => self.control.drain(now, grace),
            Input::Stop => {}
        }
    }

    /// Gives control's outputs to the cores; `false` when one could not take its next.
    fn send_outputs(&mut self) -> bool {
        loop {
            let Some((core, command)) = self.held.take().or_else(|| self.next_command()) else { return true };
            let Some(post) = self.cores.get(usize::from(core)) else { continue };
            if let Err(command) = post.try_send(command) {
                self.held = Some((core, command));
                return false;
            }
        }
    }

    fn next_command(&mut self) -> Option<(CoreIndex, Command)> {
        loop {
            match self.control.poll_output()? {
                ControlOutput::ToCore { core, message } => return Some((core, Command::Engine(message))),
                ControlOutput::Dial { dial, target, core, lane: _, shard, hello } => {
                    let server_name = host_of(&target).to_owned();
                    self.resolving.insert(dial, Resolving { server_name, core, shard, hello });
                    let (resolver, own) = (self.resolver.clone(), self.own.clone());
                    tokio::spawn(async move {
                        let remote = resolver.resolve_one(&target, dial.0).await;
                        // Without a listener the thread has stopped.
                        let _ = own.send(Input::Resolved { dial, remote }).await;
                    });
                }
            }
        }
    }

    fn resolved(&mut self, dial: DialId, remote: Option<SocketAddr>) {
        let Some(Resolving { server_name, core, shard, hello }) = self.resolving.remove(&dial) else {
            return;
        };
        let Some(remote) = remote else {
            self.control.dial_failed(self.clock.now(), dial);
            return;
        };
        if is_own(self.local, remote) {
            self.control.dial_leads_home(self.clock.now(), dial);
            return;
        }
        let command = Command::Dial { dial, remote, server_name, shard, hello };
        let full = self.cores.get(usize::from(core)).is_none_or(|post| post.try_send(command).is_err());
        if full {
            self.control.dial_failed(self.clock.now(), dial);
        }
    }
}

/// Whether this router listens at an address.
fn is_own(local: SocketAddr, remote: SocketAddr) -> bool {
    let (listens_at, ip) = (local.ip().to_canonical(), remote.ip().to_canonical());
    // Only an address of this host can be bound, and binding sends nothing.
    let is_here = || std::net::UdpSocket::bind((ip, 0)).is_ok();
    local.port() == remote.port() && (listens_at == ip || (listens_at.is_unspecified() && is_here()))
}

/// The host of `host:port`, without brackets.
fn host_of(target: &str) -> &str {
    let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::{host_of, is_own};

    #[test]
    fn an_address_of_this_host_with_this_port_is_own() {
        let own = |local: &str, remote: &str| is_own(local.parse().unwrap(), remote.parse().unwrap());
        assert!(own("127.0.0.1:7400", "127.0.0.1:7400"));
        assert!(own("0.0.0.0:7400", "127.0.0.1:7400"));
        assert!(own("[::]:7400", "[::ffff:127.0.0.1]:7400"));
        assert!(!own("127.0.0.1:7400", "127.0.0.1:7401"));
        assert!(!own("127.0.0.1:7400", "127.0.0.2:7400"));
        assert!(!own("0.0.0.0:7400", "192.0.2.1:7400"), "an address for documentation is nobody's");
    }

    #[test]
    fn host_is_what_stands_before_the_port() {
        assert_eq!(host_of("router-0.mesh:7400"), "router-0.mesh");
        assert_eq!(host_of("[::1]:7400"), "::1");
    }
}
