//! Reads a client's control frames, within the turn's budget.

use std::time::Duration;

use millrace_proto::control::{ControlFrame, Hello, Pong, Welcome};
use millrace_proto::feature;
use millrace_proto::limits::CONTROL_FRAME_BYTES_MAX;
use millrace_proto::{CloseCode, PROTOCOL_VERSION, frame};

use super::session::{ClientSession, PENDING_REQUESTS_MAX};
use crate::core::agenda::FRAMES_PER_CLIENT;
use crate::core::config::at_most;
use crate::core::ids::Proof;
use crate::core::turn::{Close, Turn};
use crate::message::ToControl;
use crate::transport::{ReadState, StreamKey};

/// Bytes of a control stream that are read at once.
pub(in crate::core) const CONTROL_READ_BYTES: usize = 16 * 1024;

impl ClientSession {
    /// Reads and handles control frames, as many as the turn's budget allows.
    pub(in crate::core) fn read_control(
        &mut self,
        turn: &mut Turn<'_>,
        stream: StreamKey,
    ) -> Result<(), Close> {
        if self.waits() {
            return Ok(());
        }
        let mut input = std::mem::take(&mut self.control.input);
        // Frames of this stream have waited, so that nobody knows whether more has arrived.
        let mut state = ReadState::More;
        if matches!(frame::split(&input, CONTROL_FRAME_BYTES_MAX), Ok(None)) {
            state = turn.transport.read(self.conn, stream, CONTROL_READ_BYTES, &mut |chunk| {
                input.extend_from_slice(chunk);
            });
        }
        // A stream that ends is read to its end at once, because it has no more turns.
        let is_last = matches!(state, ReadState::Finished | ReadState::Lost);
        let rest = turn.agenda.frame_budget.saturating_sub(FRAMES_PER_CLIENT);
        let mut handled = 0;
        while let Some((kind, body, taken)) =
            frame::split(&input[handled..], CONTROL_FRAME_BYTES_MAX).map_err(|error| broken(&error))?
        {
            let is_over = turn.agenda.frame_budget <= rest;
            // Each call handles one frame at least.
            if handled > 0 && !is_last {
                let waits = self.waits();
                if waits || is_over {
                    self.keep(input, handled);
                    if !waits {
                        turn.put_client_behind(self.conn, stream);
                    }
                    return Ok(());
                }
            }
            handled += taken;
            turn.agenda.spend(1);
            let next = ControlFrame::decode(kind, body).map_err(|error| broken(&error))?;
            self.handle(turn, next)?;
        }
        self.keep(input, handled);
        match state {
            ReadState::Drained => {}
            ReadState::More => drop(turn.agenda.unread.insert((self.conn, stream))),
            ReadState::Finished | ReadState::Lost => {
                return Err(Close::new(CloseCode::Done, "the control stream ended"));
            }
        }
        Ok(())
    }

    /// Whether the control stream stays unread until more subscriptions have their answer.
    const fn waits(&mut self) -> bool {
        self.requests.wait_for_answers = self.requests.pending >= PENDING_REQUESTS_MAX;
        self.requests.wait_for_answers
    }

    /// Keeps the bytes of the control stream that were not handled.
    fn keep(&mut self, mut input: Vec<u8>, handled: usize) {
        input.drain(..handled);
        if input.is_empty() {
            return;
        }
        if input.capacity() > 2 * CONTROL_READ_BYTES {
            input.shrink_to_fit();
        }
        self.control.input = input;
    }

    fn handle(&mut self, turn: &mut Turn<'_>, frame: ControlFrame) -> Result<(), Close> {
        let unexpected = |what: &'static str| Err(Close::new(CloseCode::Unexpected, what));
        match (self.said_hello(), frame) {
            (false, ControlFrame::Hello(hello)) => return self.hello(turn, &hello),
            (false, _) => return unexpected("Hello comes first"),
            (true, ControlFrame::Hello(_)) => return unexpected("Hello comes once"),
            (true, ControlFrame::Ping(ping)) => {
                Pong { nonce: ping.nonce }.encode(&mut self.control.out);
                self.report();
                self.mark(turn);
            }
            (true, ControlFrame::OpenReceiver(open)) => self.open_receiver(turn, &open),
            (true, ControlFrame::Subscribe(subscribe)) => self.subscribe(turn, subscribe),
            (true, ControlFrame::Unsubscribe(unsubscribe)) => self.unsubscribe(turn, &unsubscribe),
            (true, ControlFrame::Grant(grant)) => self.grant(turn, &grant),
            (true, ControlFrame::Ack(ack)) => self.acknowledged(turn, &ack),
            (true, ControlFrame::Move(request)) => self.mark_asked(turn, &request),
            (true, ControlFrame::Member(member)) => self.member_is_busy(turn, &member),
            (true, ControlFrame::Standby(standby)) => self.standby(turn, &standby),
            (true, ControlFrame::Quenched(quenched)) => self.has_applied(turn, &quenched),
            (true, ControlFrame::CloseReceiver(close)) => self.close_receiver(turn, close.receiver),
            (true, ControlFrame::Pong(_)) => {}
            (true, ControlFrame::Skipped { .. }) => turn.path.metrics.frames_skipped += 1,
            (true, _) => return unexpected("this frame goes from router to client"),
        }
        Ok(())
    }

    fn hello(&mut self, turn: &mut Turn<'_>, hello: &Hello) -> Result<(), Close> {
        if hello.version != PROTOCOL_VERSION {
            let reason = format!("protocol version {} is not {PROTOCOL_VERSION}", hello.version);
            return Err(Close::new(CloseCode::Version, reason));
        }
        self.admit(turn, hello)?;
        let (config, limits, standing) = (turn.config, &turn.config.limits, turn.standing);
        let common = hello.features.common(config.features);
        self.asked.shares = hello.deliveries == 1 && config.features.contains(feature::DELIVERIES);
        self.asked.confirms = common.contains(feature::CONFIRMS);
        self.asked.groups = self.asked.confirms && common.contains(feature::GROUPS);
        self.asked.names = common.contains(feature::NAMES);
        self.asked.standby = common.contains(feature::STANDBY);
        self.to_publisher.quench = common.contains(feature::QUENCH).then(Box::default);
        self.asked.positions = hello.positions && common.contains(feature::HISTORY);
        let (alternates, alternate_zones) = standing.alternates();
        let welcome = Welcome {
            version: PROTOCOL_VERSION,
            router: config.router,
            incarnation: config.incarnation,
            cores: config.cores,
            core: config.core,
            tables: config.client_tables,
            receivers_max: limits.receivers_per_connection_max,
            alternates,
            alternate_zones,
            zone: config.about.zone.clone(),
            silence_us: micros(config.client_silence),
            software: config.about.software.clone(),
            deliveries: u64::from(self.asked.shares),
            features: config.features,
            identity: self.who.rights.identity.clone(),
            cluster: turn.path.clients.roll.cluster,
            ..Welcome::default()
        };
        // A shared stream carries what as many streams would.
        let tables_max = if self.asked.shares { config.lane_tables } else { config.receiver_tables };
        self.tables = Some(at_most(hello.tables, tables_max));
        self.receivers_max = hello.receivers.min(limits.receivers_per_connection_max);
        self.received_after = match hello.received_within_us {
            0 => limits.received.after,
            wished => Duration::from_micros(wished).min(limits.received.after_max),
        };
        let identity = self.who.rights.identity.clone();
        self.who.proof = Some(match self.who.rights.forwards() {
            true => Proof::forwarded(),
            false => turn.path.clients.ids.greet(hello.secret, identity),
        });
        welcome.encode(&mut self.control.out);
        if let Some(grace_us) = standing.draining {
            standing.goaway(0, grace_us).encode(&mut self.control.out);
        }
        if self.who.rights.forwards() {
            match standing.demand.clone() {
                Some(demand) => self.tell_demand(turn, &demand),
                None => turn.mail.tell(ToControl::DemandAsked),
            }
        }
        if standing.is_synced {
            self.extend_credit(limits.credit_bytes);
        }
        self.mark(turn);
        Ok(())
    }
}

/// Closes a client whose control stream cannot be decoded.
fn broken(error: &millrace_proto::DecodeError) -> Close {
    Close::undecodable("control stream", error)
}

/// Whole microseconds of a duration.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(millrace_proto::varint::MAX)
}
