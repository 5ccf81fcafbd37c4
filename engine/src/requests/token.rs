//! Reply tokens: where a reply goes, and the proof that it was asked for.

use millrace_proto::data::optional::REPLY_TOKEN_BYTES;
use millrace_proto::{PublisherId, PublisherSecret, RouterId};

/// Where a reply goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyToken {
    /// The requester's router.
    pub router: RouterId,
    /// The requester's session there.
    pub session: u32,
    /// Its request.
    pub request: u32,
    mark: [u8; 8],
}

impl ReplyToken {
    /// Makes the token of a request.
    pub(super) fn new(secret: &PublisherSecret, router: RouterId, session: u32, request: u32) -> Self {
        Self { router, session, request, mark: mark(secret, router, session, request) }
    }

    /// Reads a token; whether anybody has made it is not known yet.
    #[must_use]
    pub fn read(bytes: [u8; REPLY_TOKEN_BYTES]) -> Self {
        let (head, mark) = bytes.split_at(16);
        let number = head.iter().fold(0_u128, |number, &byte| number << 8 | u128::from(byte));
        let part = |shift: u32| u32::try_from(number >> shift & u128::from(u32::MAX)).unwrap_or_default();
        Self {
            router: RouterId(u64::try_from(number >> 64).unwrap_or_default()),
            session: part(32),
            request: part(0),
            mark: mark.try_into().unwrap_or_default(),
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; REPLY_TOKEN_BYTES] {
        let mut bytes = [0; REPLY_TOKEN_BYTES];
        bytes[..8].copy_from_slice(&self.router.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.session.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.request.to_be_bytes());
        bytes[16..].copy_from_slice(&self.mark);
        bytes
    }

    /// Whether it was made with this secret. Takes as long for any wrong mark.
    pub(super) fn is_made_with(&self, secret: &PublisherSecret) -> bool {
        let right = mark(secret, self.router, self.session, self.request);
        right.iter().zip(&self.mark).fold(0, |differences, (one, other)| differences | (one ^ other)) == 0
    }
}

/// The first eight bytes of a hash that only who has the secret can make.
fn mark(secret: &PublisherSecret, router: RouterId, session: u32, request: u32) -> [u8; 8] {
    let number = u128::from(router.0) << 64 | u128::from(session) << 32 | u128::from(request);
    let hash = PublisherId::derive(&secret.derive("reply", number), "", 0);
    u64::try_from(hash.0 >> 64).unwrap_or_default().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_no_changed_bit_passes() {
        let secret = PublisherSecret([7; 32]);
        let token = ReplyToken::new(&secret, RouterId(0x0123_4567_89ab_cdef), 5, 9);
        assert_eq!(ReplyToken::read(token.bytes()), token);
        assert!(token.is_made_with(&secret));
        assert!(!token.is_made_with(&PublisherSecret([8; 32])));
        for bit in 0..8 * REPLY_TOKEN_BYTES {
            let mut bytes = token.bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!ReplyToken::read(bytes).is_made_with(&secret), "bit {bit}");
        }
    }
}
