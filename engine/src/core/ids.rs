//! Which publisher ids a connection may use.
//!
//! A client that shows a secret has the ids that follow from it. For any other client the router
//! makes a secret for the connection and maps each claimed id to one that follows from that secret.
//! Ids that a router has made carry a mark that only this router's secret can make, so that every
//! core recognises them without asking its siblings, and refuses a client that claims one on
//! another connection.
//!
//! ```text
//! made id = first 8 bytes of a hash of (router's secret, connection, claimed id) ‖ mark of these 8 bytes
//! ```

use millrace_proto::{PublisherId, PublisherSecret};

use super::config::CoreConfig;

/// Makes the secrets of connections.
#[derive(Debug)]
pub(super) struct Ids {
    secret: PublisherSecret,
    /// Incarnation and core, above the count of connections.
    base: u128,
    /// How many clients were greeted.
    greeted: u64,
}

/// The secret that the ids of one connection follow from.
#[derive(Debug)]
pub(super) struct Proof {
    /// The client's identity, as Welcome tells it.
    identity: String,
    secret: PublisherSecret,
    /// The router's, if the client has shown no secret of its own.
    marks: Option<PublisherSecret>,
    /// Whether it passes on the ids of other publishers: it forwards from another cluster, where
    /// they were proven.
    is_trusted: bool,
}

impl Ids {
    pub(super) fn new(config: &CoreConfig) -> Self {
        let base = u128::from(config.incarnation.0) << 64 | u128::from(config.core) << 48;
        Self { secret: config.secret, base, greeted: 0 }
    }

    /// Makes the proof of a connection whose client has shown `secret`, or none.
    pub(super) fn greet(&mut self, secret: Option<PublisherSecret>, identity: String) -> Proof {
        self.greeted += 1;
        match secret {
            Some(secret) => Proof { identity, secret, marks: None, is_trusted: false },
            None => {
                let secret = self.secret.derive("connection", self.base + u128::from(self.greeted));
                Proof { identity, secret, marks: Some(self.secret), is_trusted: false }
            }
        }
    }
}

impl Proof {
    /// The id of the publisher `index` of a client that has shown its own secret.
    pub(super) fn own(&self, index: u64) -> Option<PublisherId> {
        self.marks.is_none().then(|| PublisherId::derive(&self.secret, &self.identity, index))
    }

    /// The proof of who forwards from another cluster.
    pub(super) const fn forwarded() -> Self {
        let secret = PublisherSecret([0; 32]);
        Self { identity: String::new(), secret, marks: None, is_trusted: true }
    }

    /// The id for the runs of a publisher that claims `claimed` as its publisher number `index`.
    /// The error says why there is none.
    pub(super) fn prove(&self, claimed: PublisherId, index: u64) -> Result<PublisherId, &'static str> {
        if self.is_trusted {
            return Ok(claimed);
        }
        let Some(marks) = &self.marks else {
            let id = PublisherId::derive(&self.secret, &self.identity, index);
            return if id == claimed {
                Ok(id)
            } else {
                Err(
                    "the publisher id does not follow from the secret in Hello, the identity in Welcome and the index: \
                     derive it from them",
                )
            };
        };
        if marked(marks, claimed) == claimed {
            return Err(
                "the publisher id belongs to another connection: choose another, or show a secret in Hello",
            );
        }
        let secret = self.secret.derive("claim", claimed.0);
        Ok(marked(marks, PublisherId::derive(&secret, &self.identity, index)))
    }
}

/// The first half of an id, with its mark.
fn marked(secret: &PublisherSecret, id: PublisherId) -> PublisherId {
    let head = id.0 >> 64;
    let mark = PublisherId::derive(&secret.derive("mark", head), "", 0);
    PublisherId(head << 64 | mark.0 >> 64)
}
