//! PEM files as operators bring them: what is in one, and what to do when it is something else than
//! was wanted.

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::parse_x509_certificate;

/// A file's bytes, and the name that messages call it by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// Path, or what it is where it is no file.
    pub(crate) name: &'a str,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Source<'a> {
    /// All certificates, in the order of the file.
    pub(crate) fn certificates(self) -> Result<Vec<CertificateDer<'static>>, String> {
        let Self { name, .. } = self;
        let text = self.text()?;
        let labels = labels(text);
        let has = |wanted: &str| labels.iter().any(|label| label.ends_with(wanted));
        if !labels.contains(&"CERTIFICATE") {
            return Err(if has("PRIVATE KEY") {
                format!("{name} holds a private key and no certificate: are --cert and --key swapped?")
            } else if has("CERTIFICATE REQUEST") {
                format!("{name} holds a signing request: give what the authority has made of it")
            } else {
                format!("{name} holds {} and no certificate", what_is_there(&labels))
            });
        }
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        read.map_err(|error| format!("{name}: a certificate in it cannot be read: {}", fault(&error)))
    }

    /// The private key.
    pub(crate) fn key(self) -> Result<PrivateKeyDer<'static>, String> {
        let Self { name, .. } = self;
        let text = self.text()?;
        let labels = labels(text);
        if labels.contains(&"ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(format!(
                "{name} is encrypted with a passphrase, for which nobody is asked: write it without \
                 (`openssl pkey -in {name} -out FILE`) and keep the file readable for its user alone"
            ));
        }
        if labels.contains(&"OPENSSH PRIVATE KEY") {
            return Err(format!(
                "{name} is a key of ssh: make one for TLS (`openssl genpkey -algorithm ec -pkeyopt \
                 ec_paramgen_curve:P-256 -out FILE`)"
            ));
        }
        if !labels.iter().any(|label| label.ends_with("PRIVATE KEY")) {
            return Err(if labels.contains(&"CERTIFICATE") {
                format!("{name} holds a certificate and no private key: are --cert and --key swapped?")
            } else {
                format!("{name} holds {} and no private key", what_is_there(&labels))
            });
        }
        PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|error| format!("{name}: its private key cannot be read: {}", fault(&error)))
    }

    /// Whether a private key stands in it.
    pub(crate) fn has_key(self) -> bool {
        self.text().is_ok_and(|text| labels(text).iter().any(|label| label.ends_with("PRIVATE KEY")))
    }

    /// The text, without a byte order mark.
    fn text(self) -> Result<&'a str, String> {
        let Self { name, bytes } = self;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(format!("{name} is empty"));
        }
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            return Err(format!("{name} is UTF-16 (it begins with a byte order mark): save it as UTF-8"));
        }
        if bytes.starts_with(&[0x30]) && !bytes.is_ascii() {
            return Err(if parse_x509_certificate(bytes).is_ok() {
                format!(
                    "{name} is a certificate in DER: convert it to PEM (`openssl x509 -inform der -in {name} -out FILE`)"
                )
            } else {
                format!(
                    "{name} is binary (DER or PKCS#12) and not PEM: convert it (`openssl pkey -inform der -in {name} \
                     -out FILE` for a key, `openssl pkcs12 -in {name} -nodes -out FILE` for a .p12 or .pfx)"
                )
            });
        }
        let text = str::from_utf8(bytes).map_err(|_| format!("{name} is binary and not PEM"))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if !text.contains("-----BEGIN ") {
            return Err(format!("{name} is not PEM: no line begins with `-----BEGIN `"));
        }
        Ok(text)
    }
}

/// What is wrong in a section, in words: the library's have bytes as numbers.
fn fault(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            let label = String::from_utf8_lossy(end_marker);
            format!("no line `-----END {}-----` follows; is the file cut short?", label.trim_matches('-'))
        }
        pem::Error::IllegalSectionStart { line } => {
            format!("`{}` begins no section", String::from_utf8_lossy(line).escape_debug())
        }
        pem::Error::Base64Decode(_) => {
            "a line between BEGIN and END is not base64; is the file damaged?".into()
        }
        other => other.to_string(),
    }
}

/// What the sections of a text are called.
fn labels(text: &str) -> Vec<&str> {
    let label = |line: &'_ str| -> Option<(usize, usize)> {
        let begin = line.strip_prefix("-----BEGIN ")?.strip_suffix("-----")?;
        Some((11, 11 + begin.len()))
    };
    text.lines().filter_map(|line| label(line.trim_end()).map(|(from, to)| &line[from..to])).collect()
}

fn what_is_there(labels: &[&str]) -> String {
    match labels {
        [] => "nothing that ends its first line as PEM does".to_owned(),
        labels => labels.iter().take(3).map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", "),
    }
}
