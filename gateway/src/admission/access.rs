//! Who may do what at one door.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::certificate::{Name, NoClient};
use super::live::Live;
use super::network::Network;
use super::peer::Peer;
use super::tls::DoorTls;

/// What a client wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Publish events.
    Publish,
    /// Receive events.
    Subscribe,
}

impl Right {
    /// Its name in settings and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
        }
    }
}

/// What proves an identity.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// A token. Only its hash is kept.
    Token([u8; 32]),
    /// A certificate of this name, signed by an authority of the door.
    Certificate(Name),
    /// The network that the client comes from.
    Network(Network),
}

impl Proof {
    /// The proof that a token is.
    #[must_use]
    pub fn token(token: &str) -> Self {
        Self::Token(Sha256::digest(token.as_bytes()).into())
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(_) => f.write_str("Token"),
            Self::Certificate(name) => f.debug_tuple("Certificate").field(name).finish(),
            Self::Network(network) => f.debug_tuple("Network").field(network).finish(),
        }
    }
}

/// One identity of a door's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Any of them proves it.
    pub proofs: Vec<Proof>,
    /// Whether it may publish.
    pub may_publish: bool,
    /// Whether it may receive.
    pub may_subscribe: bool,
    /// Tags that the gateway puts on everything it publishes. What the client says under these keys
    /// is replaced.
    pub tags: Vec<(String, String)>,
}

/// A client that has an identity.
#[derive(Debug, Clone)]
pub struct Admitted {
    rule: Option<Arc<Rule>>,
}

/// Why a client is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing that it shows proves an identity of the door.
    #[error(
        "nothing proves who you are: send a token of this door, or come from a network or with a certificate it lists"
    )]
    Unauthenticated,
    /// A certificate of the door's authority proves no identity, and nothing else does.
    #[error(transparent)]
    Certificate(#[from] NoClient),
    /// The identity has not the right.
    #[error("this identity may not {}", .0.name())]
    Forbidden(Right),
}

impl Admitted {
    /// Whether it is the same identity of the same list: with the same tags and rights.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.rule, &other.rule) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// The identity's name; `local` at a door without a list.
    #[must_use]
    pub fn name(&self) -> &str {
        self.rule.as_ref().map_or("local", |rule| &rule.name)
    }

    /// Tags that the gateway puts on what it publishes.
    #[must_use]
    pub fn tags(&self) -> &[(String, String)] {
        self.rule.as_ref().map_or(&[], |rule| &rule.tags)
    }

    /// Whether it has a right.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`].
    pub fn check(&self, right: Right) -> Result<(), Refusal> {
        let may = self.rule.as_ref().is_none_or(|rule| match right {
            Right::Publish => rule.may_publish,
            Right::Subscribe => rule.may_subscribe,
        });
        if may { Ok(()) } else { Err(Refusal::Forbidden(right)) }
    }

    /// Whether the identity of later is this one, with all of its rights.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] of another identity, [`Refusal::Forbidden`] of a right that is
    /// gone.
    pub(super) fn kept_in(&self, later: &Self) -> Result<(), Refusal> {
        let name = |admitted: &Self| admitted.rule.as_ref().map(|rule| rule.name.clone());
        if name(self) != name(later) {
            return Err(Refusal::Unauthenticated);
        }
        let mut had =
            [Right::Publish, Right::Subscribe].into_iter().filter(|right| self.check(*right).is_ok());
        had.try_for_each(|right| later.check(right))
    }
}

/// What a client shows.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    peer: Peer,
    token: Option<Proof>,
}

impl Shown {
    pub(super) fn new(peer: &Peer, token: Option<&str>) -> Self {
        Self { peer: peer.clone(), token: token.map(Proof::token) }
    }
}

/// The identities of a door at one time. None: everybody is admitted.
#[derive(Debug, Default)]
pub(super) struct List(Vec<Arc<Rule>>);

/// The identities of one door. All clones are renewed together.
#[derive(Debug, Clone, Default)]
pub struct Access {
    list: Live<List>,
    /// Whose authorities certificates are judged by.
    tls: Option<DoorTls>,
}

impl Access {
    /// A door's list; an empty one admits everybody.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let list = List(rules.into_iter().map(Arc::new).collect());
        Self { list: Live::new(list), tls: None }
    }

    /// The list of a door with TLS: certificates count as long as its authorities do.
    #[must_use]
    pub fn with_tls(self, tls: Option<DoorTls>) -> Self {
        Self { tls, ..self }
    }

    /// Whether everybody is admitted.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.list.now().0.is_empty()
    }

    /// The identities of now.
    #[must_use]
    pub fn rules(&self) -> Vec<Arc<Rule>> {
        self.list.now().0.clone()
    }

    /// Takes over the list of another one.
    pub fn replace(&self, new: &Self) {
        self.list.replace(new.list.now());
    }

    /// Tells of lists that come from now on.
    pub(super) fn changes(&self) -> watch::Receiver<Arc<List>> {
        self.list.watch()
    }

    /// Who a client is: the first identity that its connection or its token proves.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`], or [`Refusal::Certificate`] that says why its certificate does
    /// not count.
    pub fn admit(&self, peer: &Peer, token: Option<&str>) -> Result<Admitted, Refusal> {
        let admitted = self.find(&Shown::new(peer, token))?;
        peer.waiting.end();
        Ok(admitted)
    }

    pub(super) fn find(&self, shown: &Shown) -> Result<Admitted, Refusal> {
        let list = self.list.now();
        if list.0.is_empty() {
            return Ok(Admitted { rule: None });
        }
        let Shown { peer, token } = shown;
        let certificate = peer.certificate.as_deref();
        let is_believed = |certificate| self.tls.as_ref().is_none_or(|tls| tls.believes(certificate));
        let believed = certificate.filter(|certificate| is_believed(certificate));
        let proves = |proof: &Proof| match proof {
            // Hashes are compared, so that the time taken says nothing about the token.
            Proof::Token(_) => token.as_ref() == Some(proof),
            Proof::Certificate(name) => believed.is_some_and(|certificate| certificate.name == *name),
            Proof::Network(network) => network.contains(peer.ip),
        };
        if let Some(rule) = list.0.iter().find(|rule| rule.proofs.iter().any(proves)) {
            return Ok(Admitted { rule: Some(rule.clone()) });
        }
        Err(match (certificate, believed, token) {
            // A token was shown, too: it was to count.
            (None, ..) | (.., Some(_)) => Refusal::Unauthenticated,
            (Some(_), Some(certificate), None) => certificate.no_client().into(),
            (Some(_), None, None) => NoClient::NoLongerBelieved.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Certificate;

    fn rule(name: &str, proof: Proof) -> Rule {
        Rule {
            name: name.to_owned(),
            proofs: vec![proof],
            may_publish: true,
            may_subscribe: false,
            tags: vec![],
        }
    }

    fn shown(name: Name) -> Certificate {
        Certificate { name, chain: vec![], authorities: [0; 32] }
    }

    #[test]
    fn a_certificate_that_is_no_clients_is_refused_by_its_kind() {
        let access = Access::new([
            rule("web-1", Proof::Certificate(Name::listed("web-1"))),
            rule("device", Proof::Certificate(Name::Common("web-7".into()))),
        ]);
        let refusal = |name| {
            let certificate = Some(Arc::new(shown(name)));
            let peer = Peer {
                ip: "192.0.2.1".parse().unwrap(),
                on_loopback: false,
                certificate,
                waiting: Default::default(),
            };
            access.admit(&peer, None).map(|admitted| admitted.name().to_owned())
        };
        let name = "web-1".to_owned();
        assert_eq!(refusal(Name::Client(name.clone())).as_deref(), Ok("web-1"));
        assert_eq!(refusal(Name::Router(name.clone())), Err(NoClient::Router.into()));
        assert_eq!(refusal(Name::Admin(name.clone())), Err(NoClient::Admin.into()));
        assert_eq!(refusal(Name::Common(name.clone())), Err(NoClient::UnlistedCommon.into()));
        assert_eq!(refusal(Name::Common("web-7".into())).as_deref(), Ok("device"));
        assert_eq!(refusal(Name::Client("web-7".into())), Err(NoClient::Unlisted.into()));
        assert_eq!(refusal(Name::Nobody), Err(NoClient::Nobody.into()));
    }

    #[test]
    fn a_token_a_certificate_or_a_network_proves_an_identity() {
        let access = Access::new([
            rule("ci", Proof::token("correct horse battery")),
            rule("web-1", Proof::Certificate(Name::listed("web-1"))),
            rule("rack", Proof::Network("10.1.0.0/16".parse().unwrap())),
        ]);
        let peer = |ip: &str, certificate: Option<&str>| Peer {
            ip: ip.parse().unwrap(),
            on_loopback: false,
            certificate: certificate.map(|name| Arc::new(shown(Name::listed(name)))),
            waiting: Default::default(),
        };
        let name = |peer: &Peer, token| access.admit(peer, token).map(|admitted| admitted.name().to_owned());
        let stranger = peer("192.0.2.1", None);
        assert_eq!(name(&stranger, Some("correct horse battery")).as_deref(), Ok("ci"));
        assert_eq!(name(&stranger, Some("correct horse")), Err(Refusal::Unauthenticated));
        assert_eq!(name(&stranger, None), Err(Refusal::Unauthenticated));
        assert_eq!(name(&peer("192.0.2.1", Some("web-1")), None).as_deref(), Ok("web-1"));
        assert_eq!(name(&peer("10.1.2.3", None), None).as_deref(), Ok("rack"));
        let admitted = access.admit(&peer("10.1.2.3", None), None).unwrap();
        assert_eq!(admitted.check(Right::Publish), Ok(()));
        assert_eq!(admitted.check(Right::Subscribe), Err(Refusal::Forbidden(Right::Subscribe)));
        assert!(!format!("{access:?}").contains("horse"));
    }

    #[test]
    fn a_door_without_a_list_admits_everybody() {
        let peer = Peer {
            ip: "127.0.0.1".parse().unwrap(),
            on_loopback: true,
            certificate: None,
            waiting: Default::default(),
        };
        let admitted = Access::default().admit(&peer, None).unwrap();
        assert_eq!((admitted.name(), admitted.check(Right::Subscribe)), ("local", Ok(())));
    }
}
