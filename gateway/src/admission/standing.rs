//! A client while it is connected: who it is may change under it.

use std::future::pending;
use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::watch;

use super::access::{Access, Admitted, List, Refusal, Shown};
use super::peer::Peer;

/// The identity of a connected client, and what it showed for it.
#[derive(Debug)]
pub struct Standing {
    admitted: Admitted,
    access: Access,
    shown: Shown,
    changes: watch::Receiver<Arc<List>>,
}

impl Deref for Standing {
    type Target = Admitted;

    fn deref(&self) -> &Admitted {
        &self.admitted
    }
}

impl Access {
    /// Who a client is, from now to the end of its connection.
    ///
    /// # Errors
    /// As [`Access::admit`].
    pub fn stand(&self, peer: &Peer, token: Option<&str>) -> Result<Standing, Refusal> {
        let shown = Shown::new(peer, token);
        // A list that comes in between is looked at again.
        let changes = self.changes();
        let admitted = self.find(&shown)?;
        peer.waiting.end();
        Ok(Standing { admitted, access: self.clone(), shown, changes })
    }
}

impl Standing {
    /// Waits until the door's list is another one in which the client is nobody, somebody else, or
    /// has lost a right; says why it is to go. What else has changed of its identity counts from
    /// then on.
    pub async fn withdrawn(&mut self) -> Refusal {
        // Nobody changes a list that is gone.
        while self.changes.changed().await.is_ok() {
            let now = self.access.find(&self.shown);
            let kept = now.and_then(|now| self.admitted.kept_in(&now).map(|()| now));
            match kept {
                Ok(now) => self.admitted = now,
                Err(refusal) => return refusal,
            }
        }
        pending().await
    }
}

/// As [`Standing::withdrawn`]; for ever where nobody has to prove anything.
pub async fn withdrawn(standing: Option<&mut Standing>) -> Refusal {
    match standing {
        Some(standing) => standing.withdrawn().await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::admission::{Proof, Right, Rule};

    fn rule(name: &str, token: &str, may_publish: bool, may_subscribe: bool) -> Rule {
        Rule {
            name: name.to_owned(),
            proofs: vec![Proof::token(token)],
            may_publish,
            may_subscribe,
            tags: vec![("by".to_owned(), name.to_owned())],
        }
    }

    fn peer() -> Peer {
        Peer {
            ip: "192.0.2.1".parse().unwrap(),
            on_loopback: false,
            certificate: None,
            waiting: Default::default(),
        }
    }

    #[test]
    fn who_loses_a_right_is_told_and_nobody_else() {
        let access = Access::new([rule("a", "token of a", true, true), rule("b", "token of b", true, true)]);
        let stand = |token| access.stand(&peer(), Some(token)).unwrap();
        let (mut a, mut b) = (stand("token of a"), stand("token of b"));
        assert!(a.withdrawn().now_or_never().is_none() && b.withdrawn().now_or_never().is_none());
        access.replace(&Access::new([
            rule("a", "token of a", true, false),
            rule("b", "token of b", true, true),
        ]));
        assert_eq!(a.withdrawn().now_or_never(), Some(Refusal::Forbidden(Right::Subscribe)));
        assert_eq!(b.withdrawn().now_or_never(), None);
        access.replace(&Access::new([rule("b", "another token", true, true)]));
        assert_eq!(b.withdrawn().now_or_never(), Some(Refusal::Unauthenticated));
    }

    #[test]
    fn a_list_that_comes_before_the_first_look_is_seen() {
        let access = Access::new([rule("a", "token of a", true, true)]);
        let mut a = access.stand(&peer(), Some("token of a")).unwrap();
        access.replace(&Access::new([rule("b", "token of b", true, true)]));
        assert_eq!(a.withdrawn().now_or_never(), Some(Refusal::Unauthenticated));
    }

    #[test]
    fn what_else_changes_counts_from_then_on() {
        let access = Access::new([rule("a", "token of a", false, true)]);
        let mut a = access.stand(&peer(), Some("token of a")).unwrap();
        let mut new = rule("a", "token of a", true, true);
        new.tags = vec![("by".to_owned(), "other".to_owned())];
        access.replace(&Access::new([new]));
        assert_eq!(a.withdrawn().now_or_never(), None);
        assert_eq!(a.tags()[0].1, "other");
        assert_eq!(a.check(Right::Publish), Ok(()));
    }

    #[test]
    fn a_token_that_proves_another_identity_now_does_not_carry_the_session_over() {
        let access = Access::new([rule("a", "token of a", true, true)]);
        let mut a = access.stand(&peer(), Some("token of a")).unwrap();
        access.replace(&Access::new([rule("b", "token of a", true, true)]));
        assert_eq!(a.withdrawn().now_or_never(), Some(Refusal::Unauthenticated));
        let mut b = access.stand(&peer(), Some("token of a")).unwrap();
        access.replace(&Access::default());
        assert_eq!(b.withdrawn().now_or_never(), Some(Refusal::Unauthenticated), "to nobody in particular");
    }
}
