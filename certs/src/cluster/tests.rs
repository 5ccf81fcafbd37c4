//! What a cluster's authority issues is believed for what it is, and for nothing else.

use super::*;
use crate::identity::Identity;
use crate::role::{Role, role_of};

const CALLED: [&str; 2] = ["ca.pem", "ca.key"];

fn authority(days: u32) -> (Issued, ClusterAuthority) {
    let now = SystemTime::now();
    let made = ClusterAuthority::make("a cluster", days, now).unwrap();
    let read = ClusterAuthority::from_pem(&made.certificate_pem, &made.key_pem, CALLED, now).unwrap();
    (made, read)
}

#[test]
fn router_that_it_issued_is_right_under_its_name_and_hosts() {
    let (ca, authority) = authority(10);
    let hosts = ["one.example", "*.routers.example", "10.0.0.1", "fd00::1"].map(str::to_owned);
    let one = authority.router("one", &hosts, 365, SystemTime::now()).unwrap();
    let identity =
        Identity::from_pem(&one.certificate_pem, &one.key_pem, &ca.certificate_pem, [0; 32]).unwrap();
    assert_eq!(identity.name(), "one");
    for host in ["one.example", "x.routers.example", "10.0.0.1", "fd00::1"] {
        assert!(identity.covers(host), "{host}");
    }
    assert!(!identity.covers("localhost"));
    assert!(one.ends <= authority.ends(), "no certificate outlives its authority");
}

#[test]
fn client_is_a_client() {
    let (ca, authority) = authority(3650);
    let now = SystemTime::now();
    let client = authority.client("billing", 30, now).unwrap();
    let refused = Identity::from_pem(&client.certificate_pem, &client.key_pem, &ca.certificate_pem, [0; 32]);
    let words = refused.unwrap_err().to_string();
    assert!(words.contains("is a client's (`millrace://client/billing`)"), "{words}");
    let source = Source { name: "", bytes: client.certificate_pem.as_bytes() };
    assert_eq!(role_of(&source.certificates().unwrap()[0]), Role::Client("billing".to_owned()));
    assert_eq!(client.ends, now + DAY * 30);
}

#[test]
fn names_hosts_and_days_that_cannot_be_are_refused() {
    let (_, authority) = authority(10);
    let now = SystemTime::now();
    for name in ["", "a/b", "../x", "-a", ".a", "a b", "grüße", &"a".repeat(65)] {
        assert!(matches!(authority.client(name, 1, now), Err(IssueError::Name { .. })), "{name}");
    }
    for host in ["", "a:7400", "[::1]:7400", "a b", "a.example.", "*", "a.*.b", "http://a"] {
        let made = authority.router("a", &[host.to_owned()], 1, now);
        assert!(matches!(made, Err(IssueError::Host { .. })), "{host}");
    }
    for days in [0, 36_501, u32::MAX] {
        assert!(matches!(authority.client("a", days, now), Err(IssueError::Days(_))), "{days}");
    }
}

#[test]
fn files_that_are_no_authority_are_refused() {
    let now = SystemTime::now();
    let ((a, authority), (b, _)) = (authority(10), authority(10));
    let client = authority.client("a", 1, now).unwrap();
    let refused = |cert: &str, key: &str, at| ClusterAuthority::from_pem(cert, key, CALLED, at).unwrap_err();
    for (cert, key, at, words) in [
        (&a.certificate_pem, &b.key_pem, now, "the key in ca.key is not that of the authority in ca.pem"),
        (&client.certificate_pem, &client.key_pem, now, "no authority's certificate"),
        (&a.key_pem, &a.certificate_pem, now, "swapped"),
        (&a.certificate_pem, &a.key_pem, now + DAY * 11, "the authority ended on"),
    ] {
        let text = refused(cert, key, at).to_string();
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn secrets_differ_and_are_long_enough() {
    let (one, two) = (cluster_secret().unwrap(), cluster_secret().unwrap());
    assert!(one != two && one.trim().len() == 64);
}
