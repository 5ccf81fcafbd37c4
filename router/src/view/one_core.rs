//! A question to one core, and an order to one core: never waited for.

use std::time::Duration;

use millrace_engine::core::Core;
use millrace_engine::message::ToCore;
use millrace_quic::Io;

use super::View;
use crate::mail::Command;

impl View {
    /// Asks one core, unless its mailbox is full: `question` is called on its thread, or dropped.
    pub(crate) fn try_ask_core(&self, core: u16, question: impl FnOnce(&Core, &Io<'_>) + Send + 'static) {
        if let Some(core) = self.cores.get(usize::from(core)) {
            drop(core.post.try_send(Command::Ask(Box::new(question))));
        }
    }

    /// Asks a core to have clients move, unless its mailbox is full. Returns whether it will.
    pub(crate) fn try_move_clients(&self, core: u16, count: u64, within: Duration, to: &str) -> bool {
        let within_us = u64::try_from(within.as_micros()).unwrap_or(u64::MAX);
        let order = ToCore::MoveClients { count, within_us, to: to.to_owned() };
        let core = self.cores.get(usize::from(core));
        core.is_some_and(|core| core.post.try_send(Command::Engine(order)).is_ok())
    }
}
