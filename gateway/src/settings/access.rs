//! Identities of a door, from the file to what is checked at each connection.

use std::net::SocketAddr;
use std::path::Path;

use millrace_client::TagSet;

use super::file::IdentityFile;
use crate::admission::{Access, Name, Proof, Rule};

/// Characters that a token must have at least, unless its identity says that it is short: 16 of
/// base64 are 96 bits.
const TOKEN_BYTES_MIN: usize = 16;

/// What is wrong with the identities of a door.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// A door that others can reach, and nobody said who may use it.
    #[error(
        "{door}.listen = {listen} is reachable from other hosts, and `[[{door}.identity]]` does not say who may use it: \
         add an identity (token_file, certificate or networks), or listen on 127.0.0.1"
    )]
    Open {
        /// The door.
        door: &'static str,
        /// Where it listens.
        listen: SocketAddr,
    },
    /// An identity.
    #[error("{door}.identity {name:?}: {problem}")]
    Identity {
        /// The door.
        door: &'static str,
        /// The identity's name.
        name: String,
        /// What is wrong, and what to write.
        problem: String,
    },
}

/// Checks the identities of a door.
///
/// # Errors
/// [`AccessError`] names the identity.
pub(super) fn access(
    door: &'static str,
    listen: &[SocketAddr],
    identities: &[IdentityFile],
    has_client_ca: bool,
) -> Result<Access, AccessError> {
    if identities.is_empty()
        && let Some(listen) = listen.iter().find(|listen| !listen.ip().to_canonical().is_loopback())
    {
        return Err(AccessError::Open { door, listen: *listen });
    }
    let mut rules = Vec::new();
    for identity in identities {
        let error = |problem: String| AccessError::Identity { door, name: identity.name.clone(), problem };
        if rules.iter().any(|rule: &Rule| rule.name == identity.name) {
            return Err(error("the name is given twice".to_owned()));
        }
        rules.push(rule(identity, has_client_ca).map_err(error)?);
    }
    Ok(Access::new(rules))
}

fn rule(identity: &IdentityFile, has_client_ca: bool) -> Result<Rule, String> {
    let IdentityFile { name, token_file, short_token, certificate, common_name, networks, rights, tags } =
        identity;
    let mut proofs = Vec::new();
    if let Some(path) = token_file {
        proofs.push(Proof::token(&token(path, if *short_token { 1 } else { TOKEN_BYTES_MIN })?));
    }
    let listed = certificate.as_deref().map(Name::listed);
    let common = common_name.clone().map(Name::Common);
    for (setting, name) in [("certificate", listed), ("common_name", common)] {
        let Some(name) = name else { continue };
        if !has_client_ca {
            return Err(format!("`{setting}` needs `client_ca`, `cert` and `key` of the door"));
        }
        proofs.push(Proof::Certificate(name));
    }
    for network in networks {
        proofs.push(Proof::Network(network.parse().map_err(|error| format!("{error}"))?));
    }
    if proofs.is_empty() {
        return Err("nothing proves it: give token_file, certificate, common_name or networks".to_owned());
    }
    let (mut may_publish, mut may_subscribe) = (rights.is_none(), rights.is_none());
    for right in rights.iter().flatten() {
        match right.as_str() {
            "publish" => may_publish = true,
            "subscribe" => may_subscribe = true,
            other => return Err(format!("rights are `publish` and `subscribe`, not {other:?}")),
        }
    }
    let tags: Vec<(String, String)> = tags.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let set = TagSet::new(tags.iter().map(|(key, value)| (key, value))).map_err(|error| error.to_string())?;
    if let Some(key) = set.borrow().reserved_key() {
        return Err(format!("tag {key:?} is set by routers only"));
    }
    Ok(Rule { name: name.clone(), proofs, may_publish, may_subscribe, tags })
}

/// The token in a file: its first line, of so many bytes at least.
fn token(path: &Path, bytes_min: usize) -> Result<String, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.len() < bytes_min {
        return Err(format!(
            "the token in {} has less than {bytes_min} characters: make one with `openssl rand -base64 24`, or say \
             `short_token = true` where a client can have no other",
            path.display()
        ));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_token_is_taken_where_the_identity_says_that_it_is_short() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let of = |text: &str, short_token: bool| {
            std::fs::write(&path, text).unwrap();
            let identity =
                format!("name = 'a'\ntoken_file = '{}'\nshort_token = {short_token}\n", path.display());
            rule(&toml::from_str(&identity).unwrap(), false).map(drop)
        };
        assert_eq!(of("0123456789abcdef\n", false), Ok(()));
        assert!(of("secret", false).unwrap_err().contains("short_token"));
        assert_eq!(of("secret", true), Ok(()));
        assert!(of("\n", true).is_err(), "there is none");
    }
}
