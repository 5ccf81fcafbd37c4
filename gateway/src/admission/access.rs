//! Who may do what at one door.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::network::Network;
use super::peer::Peer;

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
    Certificate(String),
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
    /// The identity has not the right.
    #[error("this identity may not {}", .0.name())]
    Forbidden(Right),
}

impl Admitted {
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
}

/// The identities of one door. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Empty: everybody is admitted.
    rules: Arc<[Arc<Rule>]>,
}

impl Access {
    /// A door's list; an empty one admits everybody.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        Self { rules: rules.into_iter().map(Arc::new).collect() }
    }

    /// Whether everybody is admitted.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.rules.is_empty()
    }

    /// Who a client is: the first identity that its connection or its token proves.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`].
    pub fn admit(&self, peer: &Peer, token: Option<&str>) -> Result<Admitted, Refusal> {
        if self.is_open() {
            return Ok(Admitted { rule: None });
        }
        let shown = token.map(Proof::token);
        let proves = |proof: &Proof| match proof {
            // Hashes are compared, so that the time taken says nothing about the token.
            Proof::Token(_) => shown.as_ref() == Some(proof),
            Proof::Certificate(name) => peer.certificate.as_deref() == Some(name),
            Proof::Network(network) => network.contains(peer.ip),
        };
        let found = self.rules.iter().find(|rule| rule.proofs.iter().any(proves));
        found.map(|rule| Admitted { rule: Some(rule.clone()) }).ok_or(Refusal::Unauthenticated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, proof: Proof) -> Rule {
        Rule {
            name: name.to_owned(),
            proofs: vec![proof],
            may_publish: true,
            may_subscribe: false,
            tags: vec![],
        }
    }

    #[test]
    fn a_token_a_certificate_or_a_network_proves_an_identity() {
        let access = Access::new([
            rule("ci", Proof::token("correct horse battery")),
            rule("web-1", Proof::Certificate("web-1".into())),
            rule("rack", Proof::Network("10.1.0.0/16".parse().unwrap())),
        ]);
        let peer = |ip: &str, certificate: Option<&str>| Peer {
            ip: ip.parse().unwrap(),
            on_loopback: false,
            certificate: certificate.map(Arc::from),
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
        let peer = Peer { ip: "127.0.0.1".parse().unwrap(), on_loopback: true, certificate: None };
        let admitted = Access::default().admit(&peer, None).unwrap();
        assert_eq!((admitted.name(), admitted.check(Right::Subscribe)), ("local", Ok(())));
    }
}
