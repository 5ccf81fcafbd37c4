//! The keys that quinn-proto asks for: they sign reset tokens and seal address tokens.
//!
//! quinn-proto implements them on one crypto library, ring where a program has enabled it anywhere.
//! These are on aws-lc-rs, whatever else is built into a program.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use quinn_proto::crypto::{AeadKey, CryptoError, HandshakeTokenKey, HmacKey};

/// Bytes of a signature.
const SIGNATURE_LEN: usize = 32;

/// Signs reset tokens.
struct Signing(hmac::Key);

/// Makes a key for each address token.
struct Tokens(hkdf::Prk);

/// Seals one address token.
struct Sealing(LessSafeKey);

pub(crate) fn signing(key: &[u8; 32]) -> Arc<dyn HmacKey> {
    Arc::new(Signing(hmac::Key::new(hmac::HMAC_SHA256, key)))
}

pub(crate) fn tokens(key: &[u8; 32]) -> Arc<dyn HandshakeTokenKey> {
    Arc::new(Tokens(hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(key)))
}

impl HmacKey for Signing {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        signature.copy_from_slice(hmac::sign(&self.0, data).as_ref());
    }

    fn signature_len(&self) -> usize {
        SIGNATURE_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        hmac::verify(&self.0, data, signature).map_err(|_| CryptoError)
    }
}

impl HandshakeTokenKey for Tokens {
    fn aead_from_hkdf(&self, random: &[u8]) -> Box<dyn AeadKey> {
        let mut key = [0; 32];
        let made = self.0.expand(&[random], hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut key));
        made.expect("32 bytes are within what HKDF-SHA256 expands to");
        let key = UnboundKey::new(&AES_256_GCM, &key).expect("32 bytes are what AES-256 takes");
        Box::new(Sealing(LessSafeKey::new(key)))
    }
}

impl Sealing {
    /// Each key seals one token, so that a constant nonce is safe.
    fn nonce() -> Nonce {
        Nonce::assume_unique_for_key([0; NONCE_LEN])
    }
}

impl AeadKey for Sealing {
    fn seal(&self, data: &mut Vec<u8>, additional: &[u8]) -> Result<(), CryptoError> {
        self.0.seal_in_place_append_tag(Self::nonce(), Aad::from(additional), data).map_err(|_| CryptoError)
    }

    fn open<'a>(&self, data: &'a mut [u8], additional: &[u8]) -> Result<&'a mut [u8], CryptoError> {
        self.0.open_in_place(Self::nonce(), Aad::from(additional), data).map_err(|_| CryptoError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_with_the_same_key_and_no_other() {
        let keys = tokens(&[7; 32]);
        let mut token = b"an address".to_vec();
        keys.aead_from_hkdf(b"one").seal(&mut token, b"").unwrap();
        assert!(keys.aead_from_hkdf(b"two").open(&mut token.clone(), b"").is_err());
        assert!(tokens(&[8; 32]).aead_from_hkdf(b"one").open(&mut token.clone(), b"").is_err());
        assert_eq!(keys.aead_from_hkdf(b"one").open(&mut token, b"").unwrap(), b"an address");
    }

    #[test]
    fn a_signature_is_of_its_data() {
        let key = signing(&[7; 32]);
        let mut signature = vec![0; key.signature_len()];
        key.sign(b"data", &mut signature);
        assert!(key.verify(b"data", &signature).is_ok() && key.verify(b"other", &signature).is_err());
    }
}
