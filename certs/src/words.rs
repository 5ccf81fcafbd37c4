//! What went wrong in a TLS handshake, in words for people.
//!
//! TLS gives the alert's number, and rustls a text such as `invalid peer certificate:
//! UnknownIssuer`, here and, because QUIC carries the text in its close frame, at the other end.

/// What rustls says before the fault of a certificate.
const FAULT: &str = "invalid peer certificate: ";
/// QUIC's codes of TLS alerts: 0x100 and the alert (RFC 9001 §4.8).
const ALERTS: u64 = 0x100;

/// Why a handshake failed. `whose` is the certificate that was judged, such as `the router's
/// certificate`; `code` is QUIC's, and `reason` what came with it, which may be empty.
#[must_use]
pub fn handshake_failure(whose: &str, code: u64, reason: &str) -> String {
    if let Some((_, fault)) = reason.split_once(FAULT) {
        return certificate_fault(whose, fault);
    }
    match (reason, code.wrapping_sub(ALERTS)) {
        (_, 120) => {
            "the two have no protocol in common: is it a Millrace router, of a version that fits?".into()
        }
        ("", 42..=44 | 46) => format!("{whose} is not accepted"),
        ("", 45) => format!("{whose} has expired, or the clocks of the two hosts differ"),
        ("", 48) => format!("{whose} is of an authority that is not believed"),
        ("", 49 | 116) => "a certificate is required".into(),
        ("", alert) => format!("TLS alert {alert}"),
        (reason, _) => reason.to_owned(),
    }
}

fn certificate_fault(whose: &str, fault: &str) -> String {
    match fault {
        "UnknownIssuer" => format!("{whose} is of an authority that is not believed"),
        "BadSignature" => format!(
            "{whose} is of another authority than the one that is believed, which has the same name: one of the two \
             was made anew"
        ),
        "Expired" | "NotValidYet" => {
            format!("{whose} is not valid at this time: look at the clocks of both hosts")
        }
        "Revoked" => format!("{whose} was revoked"),
        "NotValidForName" => format!("{whose} does not have the name that was dialled"),
        _ if fault.starts_with("certificate expired") => match seconds(fault) {
            Some(seconds) => format!("{whose} expired {} ago", rough(seconds)),
            None => format!("{whose} has expired"),
        },
        _ if fault.starts_with("certificate not valid yet") => match seconds(fault) {
            Some(seconds) => {
                format!(
                    "{whose} is not valid before {} from now: look at the clocks of both hosts",
                    rough(seconds)
                )
            }
            None => format!("{whose} is not valid yet: look at the clocks of both hosts"),
        },
        _ => not_for_name(whose, fault)
            .or_else(|| of_path(whose, fault))
            .unwrap_or_else(|| format!("{whose} is not accepted: {fault}")),
    }
}

/// The name that was dialled, and those that the certificate has.
fn not_for_name(whose: &str, fault: &str) -> Option<String> {
    let rest = fault.strip_prefix("certificate not valid for name ")?;
    let (wanted, rest) = rest.split_once(';')?;
    let wanted = wanted.trim_matches('"');
    let names: Vec<&str> =
        ["DnsName(", "IpAddress("].into_iter().flat_map(|kind| named(rest, kind)).collect();
    Some(match names.join(", ") {
        names if names.is_empty() => format!("{whose} is not for `{wanted}`, and has no host's name at all"),
        names => format!("{whose} is not for `{wanted}`, but for {names}"),
    })
}

/// What webpki says of a certificate and its way to an authority, which rustls has no name for.
fn of_path(whose: &str, fault: &str) -> Option<String> {
    let known = [
        ("CaUsedAsEndEntity", "is an authority's (CA:TRUE), which nobody may use as its own"),
        ("EndEntityUsedAsCa", "was issued by a certificate that is no authority's (without CA:TRUE)"),
        ("UnsupportedCertVersion", "is of an old version of X.509: issue one of version 3"),
        ("PathLenConstraintViolated", "has more authorities above it than one of them allows"),
        ("NameConstraintViolation", "has names that its authority may not give"),
        ("UnhandledCriticalExtension", "has a critical extension that is not known here"),
        ("BadEncoding", "cannot be read"),
    ];
    let (_, words) = known.into_iter().find(|(name, _)| fault.contains(name))?;
    Some(format!("{whose} {words}"))
}

/// What stands in `DnsName("…")` and the like.
fn named<'a>(text: &'a str, kind: &str) -> Vec<&'a str> {
    let inside = |part: &'a str| part.split_once(')').map(|(name, _)| name.trim_matches('"'));
    text.split(kind).skip(1).filter_map(inside).collect()
}

/// The number before `seconds` in the last brackets.
fn seconds(fault: &str) -> Option<u64> {
    let (_, inside) = fault.rsplit_once('(')?;
    inside.split(' ').next()?.parse().ok()
}

fn rough(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTERS: &str = "the router's certificate";

    #[test]
    fn faults_of_certificates_are_told_in_words() {
        for (reason, words) in [
            ("invalid peer certificate: UnknownIssuer", "is of an authority that is not believed"),
            ("invalid peer certificate: BadSignature", "one of the two was made anew"),
            (
                "invalid peer certificate: certificate expired: verification time 1795916542 (UNIX), but \
                 certificate is not valid after 1795316482 (600060 seconds ago)",
                "the router's certificate expired 6 days ago",
            ),
            (
                "invalid peer certificate: certificate not valid yet: verification time 1 (UNIX), but certificate \
                 is not valid before 3001 (3000 seconds in future)",
                "is not valid before 50 min from now",
            ),
            (
                "invalid peer certificate: certificate not valid for name \"foo.example\"; certificate is only \
                 valid for UniformResourceIdentifier(\"millrace://router/r\"), IpAddress(127.0.0.1) or \
                 DnsName(\"localhost\")",
                "the router's certificate is not for `foo.example`, but for localhost, 127.0.0.1",
            ),
            (
                "invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))",
                "the router's certificate is an authority's (CA:TRUE)",
            ),
            (
                "invalid peer certificate: SomethingNew",
                "the router's certificate is not accepted: SomethingNew",
            ),
        ] {
            let told = handshake_failure(ROUTERS, 0x100 + 42, reason);
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn an_alert_without_a_text_has_words_too() {
        assert_eq!(
            handshake_failure(ROUTERS, 0x100 + 48, ""),
            "the router's certificate is of an authority that is not believed"
        );
        assert!(
            handshake_failure(ROUTERS, 0x178, "peer doesn't support any known protocol").contains("Millrace")
        );
        assert_eq!(handshake_failure(ROUTERS, 0x128, "no kx group"), "no kx group");
        assert_eq!(handshake_failure(ROUTERS, 0x128, ""), "TLS alert 40");
    }
}
