//! The roll: which grant applies to whom, and the tokens that stand for identities.

use std::collections::HashMap;
use std::sync::Arc;

use millrace_proto::TagSet;
use millrace_proto::proof::TokenHash;
use millrace_proto::selector::glob_matches;
use millrace_proto::tag::IDENTITY_KEY;

use super::grant::{Grant, Rights};

/// What a client has shown of who it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// The identity in its certificate, if it has one.
    pub certified: Option<String>,
    /// The hash of its token, if it has shown one.
    pub token: Option<TokenHash>,
}

/// Everybody's rights. The same on all cores of a router, and replaced as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roll {
    /// The first one that matches counts. Without any, everybody may do everything.
    pub grants: Vec<Arc<Grant>>,
    /// Identities by the hash of their tokens.
    pub tokens: HashMap<TokenHash, String>,
    /// Whether a client must show a certificate or a token.
    pub asks_for_proof: bool,
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
        if self.grants.is_empty() {
            return Ok(Rights { identity, ..Rights::everything() });
        }
        let grant = self.grants.iter().find(|grant| glob_matches(&grant.pattern, &identity));
        match grant {
            Some(grant) => Ok(Rights { identity, grant: Arc::clone(grant) }),
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
}
