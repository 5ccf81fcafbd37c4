//! The token file: tokens of clients without certificates, as hashes.
//!
//! ```text
//! # name       SHA-256 of the token
//! billing      9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//! ```
//!
//! Whoever reads the file learns no token. `millrace certs token NAME` makes a token and its line.

use std::collections::HashMap;
use std::fmt::Display;
use std::path::Path;

use millrace_certs::read_file;
use millrace_proto::limits::IDENTITY_BYTES_MAX;
use millrace_proto::proof::TokenHash;

/// Bytes of a token file: some 100,000 tokens.
const FILE_MAX: u64 = 16 << 20;

/// Reads a token file: identities by the hashes of their tokens.
///
/// # Errors
/// The file, the line, and what is wrong; never what stands in the place of a hash, because it
/// could be a token.
pub(crate) fn read(path: &Path) -> Result<HashMap<TokenHash, String>, String> {
    let shown = path.display();
    let failed = |error: &dyn Display| format!("cannot read the token file {shown} (tls.tokens): {error}");
    let bytes = read_file(path, FILE_MAX).map_err(|error| failed(&error))?;
    let text = std::str::from_utf8(&bytes).map_err(|error| failed(&error))?;
    parse(text).map_err(|(line, problem)| format!("{shown}, line {line} (tls.tokens): {problem}"))
}

fn parse(text: &str) -> Result<HashMap<TokenHash, String>, (usize, String)> {
    let mut tokens = HashMap::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.split('#').next().unwrap_or_default();
        let words: Vec<&str> = text.split_whitespace().collect();
        let (name, hash) = match words[..] {
            [] => continue,
            [name, hash] => (name, hash),
            _ => return Err((line, "a line is a name and the SHA-256 of a token".to_owned())),
        };
        let Some(hash) = hash_of(hash) else {
            let problem = "the second word is not the 64 hexadecimal digits of a SHA-256; `millrace certs token \
                           NAME` makes a token and its line";
            return Err((line, problem.to_owned()));
        };
        if name.len() > IDENTITY_BYTES_MAX {
            return Err((line, format!("the name is longer than {IDENTITY_BYTES_MAX} bytes")));
        }
        if tokens.insert(hash, name.to_owned()).is_some_and(|other| other != name) {
            return Err((line, "two names have the same token".to_owned()));
        }
    }
    Ok(tokens)
}

fn hash_of(text: &str) -> Option<TokenHash> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(TokenHash(hash))
}

#[cfg(test)]
mod tests {
    use millrace_proto::proof::Token;

    use super::*;

    #[test]
    fn tokens_are_found_by_their_hash() {
        let test = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let file = format!("# a comment\n\nbilling {test} # of last year\nshop\t{}\n", "AB".repeat(32));
        let tokens = parse(&file).unwrap();
        assert_eq!(tokens.get(&Token("test".to_owned()).hash()).map(String::as_str), Some("billing"));
        assert_eq!(tokens.get(&TokenHash([0xab; 32])).map(String::as_str), Some("shop"));
        assert_eq!(tokens.len(), 2);
    }

    #[test]
    fn lines_that_cannot_be_read_are_named_and_not_shown() {
        let hash = "ab".repeat(32);
        for (file, at, word) in [
            ("a hunter2".to_owned(), 1, "SHA-256"),
            (format!("a {hash}\n\nb"), 3, "a line is"),
            (format!("a {hash} c"), 1, "a line is"),
            (format!("a {hash}\nb {hash}"), 2, "two names"),
            (format!("a {}", "é".repeat(32)), 1, "SHA-256"),
        ] {
            let (line, problem) = parse(&file).unwrap_err();
            assert!(line == at && problem.contains(word) && !problem.contains("hunter2"), "{problem}");
        }
    }
}
