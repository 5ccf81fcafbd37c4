//! Where names of receivers meet control and connections: who has lost its name, and what became of
//! events at the recipients that they name.

use super::machine::Core;
use crate::ledger::{Ended, Origin};
use crate::names::NameNews;
use crate::standby::MemberWord;
use crate::time::Time;
use crate::transport::{ConnKey, Transport};

impl Core {
    /// Control says who holds names.
    pub(super) fn names_changed(&mut self, now: Time, transport: &mut dyn Transport, news: Vec<NameNews>) {
        self.path.clients.names.hear(news);
        self.end_nameless(now, transport);
    }

    /// Control says what a publisher is in its set, or that it cannot join.
    pub(super) fn tell_set_member(
        &mut self,
        now: Time,
        transport: &mut dyn Transport,
        conn: ConnKey,
        word: MemberWord,
    ) {
        self.drive_client(now, transport, conn, |client, turn| {
            client.tell_member(turn, word);
            Ok(())
        });
    }

    /// Ends receivers that have lost their name to another one.
    #[cold]
    pub(super) fn end_nameless(&mut self, now: Time, transport: &mut dyn Transport) {
        for (conn, slot) in self.path.clients.names.take_lost() {
            self.drive_client(now, transport, conn, |client, turn| {
                client.name_lost(turn, slot);
                Ok(())
            });
        }
    }

    /// Events have ended at a recipient that they name: their publisher is told when it was the
    /// last.
    #[cold]
    pub(super) fn tell_recipients_ended(
        &mut self,
        now: Time,
        transport: &mut dyn Transport,
        direct: u32,
        ended: &[Ended],
    ) {
        for one in ended {
            let Origin::Recipient { recipient, .. } = one.origin else { continue };
            let told = self.path.clients.directs.ended(direct, recipient, one.span.events, one.tally);
            let Some((conn, told)) = told else { continue };
            self.drive_client(now, transport, conn, |client, turn| {
                client.tell(turn, &[told]);
                Ok(())
            });
        }
    }
}
