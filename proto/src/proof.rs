//! What proves who somebody is: a publisher's secret, a client's token, and the ids that follow
//! from proofs.
//!
//! A publisher id is a hash, so that whoever has seen it cannot publish under it: routers make it
//! from the secret, which is shown to them alone, in Hello. The same secret, identity and index
//! give the same id at every router. A router's id follows from the name in its certificate and
//! from its address.
//!
//! ```text
//! publisher id = first 16 bytes of SHA-256( secret (32 bytes) ‖ identity (UTF-8) ‖ index (8 bytes, big-endian) )
//! router id    = first  8 bytes of SHA-256( name (UTF-8) ‖ 00 ‖ advertised address (UTF-8) )
//! ```

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::control::Value;
use crate::error::DecodeError;
use crate::field::{self, Field};
use crate::id::{PublisherId, RouterId};
use crate::limits::TOKEN_BYTES_MAX;

/// What a client proves its publisher ids with: 32 random bytes, drawn once and kept with its
/// spool. Never logged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublisherSecret(pub [u8; 32]);

impl fmt::Debug for PublisherSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublisherSecret(…)")
    }
}

impl Value for Option<PublisherSecret> {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if let Some(PublisherSecret(secret)) = self {
            field::put_bytes(out, number, secret);
        }
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        let secret = field.value.try_into().map_err(|_| DecodeError::Malformed { what })?;
        *self = Some(PublisherSecret(secret));
        Ok(())
    }
}

/// What a client without a certificate shows: text that the operators gave it. Never logged.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The SHA-256 of a token: what routers keep of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash(pub [u8; 32]);

impl Token {
    /// Its hash. Tokens are long and random, so that nobody finds one by trying.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(&self.0).into())
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A token beyond [`TOKEN_BYTES_MAX`] is written as it is, and refused by its reader.
impl Value for Token {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        if !self.0.is_empty() {
            field::put_str(out, number, &self.0);
        }
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        field.text(TOKEN_BYTES_MAX, what)?.clone_into(&mut self.0);
        Ok(())
    }
}

impl PublisherSecret {
    /// Another secret that follows from this one, for a `purpose` and a number: whoever knows it
    /// learns nothing about this one, nor about those of other purposes or numbers.
    #[must_use]
    pub fn derive(&self, purpose: &str, number: u128) -> Self {
        let hash =
            Sha256::new().chain_update(self.0).chain_update(number.to_be_bytes()).chain_update(purpose);
        Self(hash.finalize().into())
    }
}

impl PublisherId {
    /// The id that a client with this secret publishes under as its publisher number `index`, where
    /// routers know it as `identity`: the text of
    /// [`Welcome::identity`](crate::control::Welcome::identity), empty when it has none.
    #[must_use]
    pub fn derive(secret: &PublisherSecret, identity: &str, index: u64) -> Self {
        let hash =
            Sha256::new().chain_update(secret.0).chain_update(identity).chain_update(index.to_be_bytes());
        Self(u128::from_be_bytes(first(hash.finalize().into())))
    }
}

impl RouterId {
    /// The id of the router with this name in its certificate that is reached at `advertise`
    /// (`host:port`).
    #[must_use]
    pub fn derive(name: &str, advertise: &str) -> Self {
        let hash = Sha256::new().chain_update(name).chain_update([0]).chain_update(advertise);
        Self(u64::from_be_bytes(first(hash.finalize().into())))
    }
}

/// The first bytes of a hash.
fn first<const N: usize>(hash: [u8; 32]) -> [u8; N] {
    const { assert!(N <= 32, "within the hash") };
    std::array::from_fn(|at| hash[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: PublisherSecret = PublisherSecret([7; 32]);

    #[test]
    fn ids_depend_on_every_part_of_their_proof() {
        let id = PublisherId::derive(&SECRET, "web", 0);
        assert_eq!(id, PublisherId::derive(&SECRET, "web", 0));
        assert_ne!(id, PublisherId::derive(&SECRET, "web", 1));
        assert_ne!(id, PublisherId::derive(&SECRET, "", 0));
        assert_ne!(id, PublisherId::derive(&PublisherSecret([8; 32]), "web", 0));
        assert_ne!(RouterId::derive("r1", "a:1"), RouterId::derive("r1", "a:2"));
        assert_ne!(RouterId::derive("r1", "a:1"), RouterId::derive("r2", "a:1"));
    }

    #[test]
    fn secrets_and_tokens_are_not_shown() {
        assert!(!format!("{SECRET:?}").contains('7'));
        assert!(!format!("{:?}", Token("hunter2".to_owned())).contains("hunter2"));
    }
}
