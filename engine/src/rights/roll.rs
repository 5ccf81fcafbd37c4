//! The roll: which grant applies to whom, and the tokens that stand for identities.

use std::collections::HashMap;
use std::sync::Arc;

use millrace_proto::proof::TokenHash;
use millrace_proto::selector::glob_matches;
use millrace_proto::tag::IDENTITY_KEY;
use millrace_proto::{ClusterId, TagSet};

use super::accept::Accept;
use super::allow::AllowList;
use super::grant::{Grant, Rights};
use super::meter::Meters;
use super::quota::Quota;

/// What a client has shown of who it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// The identity in its certificate, if it has one.
    pub certified: Option<String>,
    /// The hash of its token, if it has shown one.
    pub token: Option<TokenHash>,
    /// Whether its certificate is a router's.
    pub is_router: bool,
    /// The cluster that it forwards from; 0: it is a client of this one.
    pub from: ClusterId,
}

/// Everybody's rights. The same on all cores of a router, and replaced as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roll {
    /// The first one that matches counts. Without any, everybody may do everything.
    pub grants: Vec<Arc<Grant>>,
    /// Identities by the hash of their tokens.
    pub tokens: HashMap<TokenHash, String>,
    /// This cluster; 0: it has no id.
    pub cluster: ClusterId,
    /// Who may forward from other clusters: the first one that fits counts.
    pub accepts: Vec<Accept>,
    /// Whether a client must show a certificate or a token.
    pub asks_for_proof: bool,
    /// What identities with a quota have taken: the same for every roll of a router.
    pub meters: Arc<Meters>,
}

impl Roll {
    /// What a client may do.
    ///
    /// # Errors
    /// It may not connect at all; the reason, for people, names the cure.
    pub fn admit(&self, caller: &Caller) -> Result<Rights, String> {
        let identity = match caller {
            Caller { certified: Some(name), .. } => name.clone(),
            Caller { token: Some(token), .. } => match self.tokens.get(token) {
                Some(name) => name.clone(),
                None => {
                    return Err("this router does not know the token: is it in its token file \
                                (tls.tokens), and was that reloaded?"
                        .to_owned());
                }
            },
            _ if self.asks_for_proof => {
                return Err("this router asks clients for a certificate or a token".to_owned());
            }
            _ => String::new(),
        };
        if TagSet::new([(IDENTITY_KEY, identity.as_str())]).is_err() {
            return Err("the identity in the certificate has control characters or is too long".to_owned());
        }
        if caller.from != ClusterId(0) {
            return self.admit_forwarder(identity, caller.from);
        }
        if self.grants.is_empty() {
            return Ok(Rights { identity, is_router: caller.is_router, ..Rights::everything() });
        }
        if caller.is_router {
            return Ok(self.admit_router(identity));
        }
        let grant = self.grants.iter().find(|grant| glob_matches(&grant.pattern, &identity));
        match grant {
            Some(grant) => {
                Ok(Rights { identity, grant: Arc::clone(grant), is_router: false, from: ClusterId(0) })
            }
            None if identity.is_empty() => {
                Err("no [[identity]] entry of this router allows clients without a \
                                                certificate or token: show one"
                    .to_owned())
            }
            None => Err(format!(
                "no [[identity]] entry of this router allows identity \"{identity}\": its operator adds one, or \
                 name = \"*\" for everybody else"
            )),
        }
    }

    /// A router's own session may always exchange events of routers, besides what its entry allows,
    /// if it has one, and takes nothing from a quota.
    fn admit_router(&self, identity: String) -> Rights {
        let entry = self.grants.iter().find(|grant| glob_matches(&grant.pattern, &identity));
        let nothing = || Some(Arc::new(AllowList::default()));
        let mut grant = match entry {
            Some(grant) => (**grant).clone(),
            None => Grant { publish: nothing(), subscribe: nothing(), ..Grant::everything("router/*") },
        };
        grant.quota = Quota::default();
        grant.subscribe = grant.subscribe.map(|allowed| Arc::new(allowed.with_internal()));
        Rights { identity, grant: Arc::new(grant), is_router: true, from: ClusterId(0) }
    }

    /// What a client may do that forwards from the cluster `from`.
    ///
    /// # Errors
    /// It may not forward; the reason, for people, names the cure.
    fn admit_forwarder(&self, identity: String, from: ClusterId) -> Result<Rights, String> {
        let own = self.cluster;
        if own == ClusterId(0) {
            return Err(
                "this cluster has no id, so that nothing is forwarded to it: set the key `cluster` on \
                        all of its routers (`millrace certs init` makes an id)"
                    .to_owned(),
            );
        }
        if own == from {
            return Err(format!(
                "both clusters have the id {own}: give each one of its own (key `cluster`; `millrace certs init` \
                 makes one)"
            ));
        }
        let may = |accept: &&Accept| {
            accept.cluster.is_none_or(|cluster| cluster == from)
                && glob_matches(&accept.grant.pattern, &identity)
        };
        match self.accepts.iter().find(may) {
            Some(accept) => Ok(Rights { identity, grant: Arc::clone(&accept.grant), is_router: false, from }),
            None => Err(format!(
                "no [[accept]] entry of cluster {own} lets identity \"{identity}\" forward from cluster {from}: its \
                 operator adds one"
            )),
        }
    }
}
