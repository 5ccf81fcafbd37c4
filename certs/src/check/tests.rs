//! Certificates as operators bring them: each fault is told with its file and what to do.

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose as Usage, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

use super::client::{check_authorities, check_client};
use super::*;

/// 2026-06-01.
const NOW: i64 = 1_780_272_000;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: Vec<u8>,
}

fn authority(name: &str, edit: impl FnOnce(&mut CertificateParams)) -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    edit(&mut params);
    let made = params.self_signed(&key).unwrap();
    Authority { pem: made.pem(), der: made.der().to_vec(), issuer: Issuer::new(params, key) }
}

/// Chain and key of a router, as PEM.
fn router(by: &Authority, edit: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["router.example".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::URI("millrace://router/one".try_into().unwrap()));
    params.extended_key_usages = vec![Usage::ServerAuth, Usage::ClientAuth];
    params.not_before = date_time_ymd(2026, 5, 1);
    params.not_after = date_time_ymd(2027, 5, 1);
    edit(&mut params);
    (params.signed_by(&key, &by.issuer).unwrap().pem(), key.serialize_pem())
}

fn checked(cert: &[u8], key: &[u8], ca: &[u8]) -> Result<Checked, Vec<String>> {
    let source = |name, bytes| Source { name, bytes };
    check(source("cert.pem", cert), source("key.pem", key), source("ca.pem", ca), NOW)
}

/// The only problem.
fn problem(cert: &str, key: &str, ca: &str) -> String {
    let mut problems = checked(cert.as_bytes(), key.as_bytes(), ca.as_bytes()).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.remove(0)
}

#[test]
fn what_fits_is_read_with_its_name_hosts_and_end() {
    let ca = authority("ca", |_| {});
    let (cert, key) = router(&ca, |params| {
        params.subject_alt_names.push(SanType::IpAddress([10, 0, 0, 1].into()));
    });
    let Checked { name, hosts, expiry, warnings, .. } =
        checked(cert.as_bytes(), key.as_bytes(), ca.pem.as_bytes()).unwrap();
    assert_eq!((name.as_str(), expiry), ("one", date_time_ymd(2027, 5, 1).unix_timestamp()));
    assert_eq!((hosts, warnings), (vec!["router.example".into(), "10.0.0.1".into()], vec![]));
    for text in
        [cert.replace('\n', "\r\n"), format!("\u{feff}{cert}"), format!("subject=CN = one\n{cert}\n\n")]
    {
        assert!(checked(text.as_bytes(), key.as_bytes(), ca.pem.as_bytes()).is_ok());
    }
}

#[test]
fn files_that_are_something_else_are_told_by_what_they_are() {
    let ca = authority("ca", |_| {});
    let (cert, key) = router(&ca, |_| {});
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (cert, key, ca, file, word) in [
        (key.as_str(), cert.as_str(), ca.pem.as_str(), "cert.pem", "swapped"),
        (&cert, &cert, &ca.pem, "key.pem", "swapped"),
        (&cert, &encrypted, &ca.pem, "key.pem", "passphrase"),
        (&cert, &key.replace("PRIVATE", "PUBLIC"), &ca.pem, "key.pem", "`PUBLIC KEY`"),
        (&cert, &key.replace("PRIVATE KEY", "OPENSSH PRIVATE KEY"), &ca.pem, "key.pem", "ssh"),
        (&cert.replace("CERTIFICATE", "CERTIFICATE REQUEST"), &key, &ca.pem, "cert.pem", "signing request"),
        (&cert, &key, "", "ca.pem", "is empty"),
        (&cert, &key, " \r\n", "ca.pem", "is empty"),
        (&cert, &key, "hello", "ca.pem", "not PEM"),
        (&cert[..cert.len() / 2], &key, &ca.pem, "cert.pem", "cut short"),
        (&cert, &key[..key.len() / 2], &ca.pem, "key.pem", "cut short"),
    ] {
        let problems = checked(cert.as_bytes(), key.as_bytes(), ca.as_bytes()).unwrap_err();
        assert!(problems[0].contains(file) && problems[0].contains(word), "{file} {word}: {problems:#?}");
    }
    for (bytes, word) in [
        (ca.der.as_slice(), "openssl x509 -inform der"),
        (b"\xff\xfe-\0", "UTF-16"),
        (b"\x30\x82\xff", "binary"),
    ] {
        let problems = checked(bytes, key.as_bytes(), ca.pem.as_bytes()).unwrap_err();
        assert!(problems[0].contains("cert.pem") && problems[0].contains(word), "{problems:?}");
    }
}

#[test]
fn key_of_another_certificate_and_chains_in_a_wrong_order_are_told() {
    let ca = authority("ca", |_| {});
    let ((cert, key), (other, other_key)) = (router(&ca, |_| {}), router(&ca, |_| {}));
    assert!(problem(&cert, &other_key, &ca.pem).contains("not that of the certificate in cert.pem"));
    assert!(problem(&format!("{other}{cert}"), &key, &ca.pem).contains("is number 2 in cert.pem"));
}

#[test]
fn certificates_out_of_their_time_are_refused_and_those_near_their_end_are_warned_of() {
    let ca = authority("ca", |_| {});
    let (cert, key) = router(&ca, |params| params.not_after = date_time_ymd(2026, 5, 31));
    assert!(problem(&cert, &key, &ca.pem).contains("cert.pem has expired"));
    let (cert, key) = router(&ca, |params| params.not_before = date_time_ymd(2026, 6, 2));
    assert!(problem(&cert, &key, &ca.pem).contains("not valid yet"));
    let (cert, key) = router(&ca, |params| params.not_after = date_time_ymd(2026, 6, 10));
    let warned = checked(cert.as_bytes(), key.as_bytes(), ca.pem.as_bytes()).unwrap().warnings;
    assert!(warned[0].contains("expires in 9 days"), "{warned:?}");
    for (begin, is_warned) in [(31, false), (1, true)] {
        // A life of 8 days with 7 left, one of 38 with 7 left.
        let (cert, key) = router(&ca, |params| {
            params.not_before = date_time_ymd(2026, 5, begin);
            params.not_after = date_time_ymd(2026, 6, 8);
        });
        let warned = checked(cert.as_bytes(), key.as_bytes(), ca.pem.as_bytes()).unwrap().warnings;
        assert_eq!(!warned.is_empty(), is_warned, "{begin}: {warned:?}");
    }
    let old = authority("ca", |params| params.not_after = date_time_ymd(2026, 5, 31));
    let (cert, key) = router(&old, |_| {});
    assert!(problem(&cert, &key, &old.pem).contains("the authority in ca.pem has expired"));
    let (cert, key) = router(&ca, |_| {});
    let bundle = format!("{}{}", old.pem, ca.pem);
    let warned = checked(cert.as_bytes(), key.as_bytes(), bundle.as_bytes()).unwrap().warnings;
    assert!(warned[0].contains("authority 1 in ca.pem has expired"), "{warned:?}");
}

#[test]
fn usages_and_names_that_keep_peers_or_clients_away_are_told() {
    let ca = authority("ca", |_| {});
    for (usages, word) in [
        (vec![Usage::ServerAuth], "without clientAuth"),
        (vec![Usage::ClientAuth], "without serverAuth"),
        (vec![], ""),
    ] {
        let (cert, key) = router(&ca, |params| params.extended_key_usages = usages);
        match word {
            "" => assert!(checked(cert.as_bytes(), key.as_bytes(), ca.pem.as_bytes()).is_ok()),
            word => assert!(problem(&cert, &key, &ca.pem).contains(word), "{word}"),
        }
    }
    let (cert, key) = router(&ca, |params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]);
    assert!(problem(&cert, &key, &ca.pem).contains("digitalSignature"));
    let uri = |uri: &str| SanType::URI(uri.try_into().unwrap());
    for (names, word) in [
        (vec![], "is not a router's"),
        (vec![uri("millrace://client/one")], "is a client's (`millrace://client/one`)"),
        (vec![uri("spiffe://x/millrace/client/one")], "is a client's (`spiffe://x/millrace/client/one`)"),
        (vec![uri("spiffe://x/ns/y/sa/one")], "`spiffe://DOMAIN/millrace/router/NAME`"),
        (vec![uri("millrace://router/")], "without a name"),
        (vec![uri("millrace://router/a"), uri("millrace://router/b")], "several roles"),
        (vec![uri("https://router/one")], "`millrace://router/NAME`"),
    ] {
        let (cert, key) = router(&ca, |params| params.subject_alt_names = names);
        assert!(problem(&cert, &key, &ca.pem).contains(word), "{word}");
    }
    let (cert, key) =
        router(&ca, |params| params.subject_alt_names[1] = uri("spiffe://example.org/millrace/router/two"));
    assert_eq!(checked(cert.as_bytes(), key.as_bytes(), ca.pem.as_bytes()).unwrap().name, "two");
    let (cert, key) = router(&ca, |params| params.subject_alt_names = vec![uri("millrace://router/one")]);
    let warned = checked(cert.as_bytes(), key.as_bytes(), ca.pem.as_bytes()).unwrap().warnings;
    assert!(warned[0].contains("no DNS name"), "{warned:?}");
}

#[test]
fn authorities_that_have_not_issued_the_certificate_are_told() {
    let (ca, other) = (authority("ca", |_| {}), authority("other", |_| {}));
    let (cert, key) = router(&ca, |_| {});
    assert!(problem(&cert, &key, &other.pem).contains("no authority in ca.pem has issued"));
    let same_name = authority("ca", |_| {});
    let text = problem(&cert, &key, &same_name.pem);
    assert!(text.contains("another key") || text.contains("no authority in ca.pem"), "{text}");
    let no_authority = checked(cert.as_bytes(), key.as_bytes(), cert.as_bytes()).unwrap_err();
    assert!(no_authority[0].contains("lacks CA:TRUE"), "{no_authority:?}");
    let own = authority("own", |params| {
        params.subject_alt_names.push(SanType::URI("millrace://router/one".try_into().unwrap()));
    });
    let own_key = own.issuer.key().serialize_pem();
    let problems = checked(own.pem.as_bytes(), own_key.as_bytes(), own.pem.as_bytes()).unwrap_err();
    assert!(problems[0].contains("CA:TRUE"), "{problems:?}");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let ca = authority("ca", |_| {});
    let (cert, _) = router(&ca, |params| {
        params.not_after = date_time_ymd(2026, 5, 31);
        params.extended_key_usages = vec![Usage::ServerAuth];
    });
    let (_, key) = router(&ca, |_| {});
    let problems = checked(cert.as_bytes(), key.as_bytes(), ca.pem.as_bytes()).unwrap_err();
    assert_eq!(problems.len(), 3, "{problems:#?}");
}

#[test]
fn what_no_router_accepts_from_a_client_is_told_with_its_file() {
    let ca = authority("ca", |_| {});
    let client = |edit: &dyn Fn(&mut CertificateParams)| {
        router(&ca, |params| {
            params.extended_key_usages = vec![Usage::ClientAuth];
            edit(params);
        })
    };
    let (cert, key) = client(&|_| {});
    let (_, other) = client(&|_| {});
    let (served, of_served) = client(&|params| params.extended_key_usages = vec![Usage::ServerAuth]);
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let check =
        |cert: &str, key: &str| check_client(("cert.pem", cert.as_bytes()), ("key.pem", key.as_bytes()), NOW);
    assert_eq!(check(&cert, &key), Ok(vec![]));
    for (cert, key, words) in [
        (&cert, &encrypted, "key.pem is encrypted with a passphrase"),
        (&cert, &other, "the key in key.pem is not that of the certificate in cert.pem"),
        (&served, &of_served, "without clientAuth"),
        (&cert, &String::new(), "key.pem is empty"),
    ] {
        let problems = check(cert, key).unwrap_err();
        assert!(problems.len() == 1 && problems[0].contains(words), "{problems:#?}");
    }
    let swapped = check(&key, &cert).unwrap_err();
    assert!(swapped.len() == 2 && swapped.iter().all(|problem| problem.contains("swapped")), "{swapped:#?}");
    let (ended, of_ended) = client(&|params| params.not_after = date_time_ymd(2026, 5, 2));
    let dates = check(&ended, &of_ended).unwrap();
    assert!(dates.len() == 1 && dates[0].contains("has expired"), "routers judge it: {dates:#?}");
    assert_eq!(check_authorities("ca.pem", ca.pem.as_bytes()), Ok(()));
    assert!(check_authorities("ca.pem", key.as_bytes()).unwrap_err().contains("ca.pem holds a private key"));
}
