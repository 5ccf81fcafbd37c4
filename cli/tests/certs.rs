//! `millrace certs`: what it makes serves routers and clients, and nothing that is there is lost.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use millrace_router::{Identity, Router, RouterConfig, RouterHandle};
use serde_json::Value;

fn millrace(args: &[&str]) -> Output {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("millrace"));
    for name in ["MILLRACE_CA", "MILLRACE_CERT", "MILLRACE_KEY", "MILLRACE_CERTS", "MILLRACE_ROUTER"] {
        command.env_remove(name);
    }
    command.args(args).env("MILLRACE_CONTEXT", "none").output().unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An authority's folder, and what `millrace certs` makes in it.
struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let new = Self { folder: tempfile::tempdir().unwrap() };
        new.make(&["init"]);
        new
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("authority")
    }

    fn path(&self, name: &str) -> String {
        self.dir().join(name).to_str().unwrap().to_owned()
    }

    fn certs(&self, args: &[&str]) -> Output {
        millrace(&[&["certs", "--dir", self.dir().to_str().unwrap()], args].concat())
    }

    /// What a command says that it made.
    fn make(&self, args: &[&str]) -> Value {
        let output = self.certs(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{}", words(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A router that asks its clients for certificates.
    fn router(&self) -> RouterHandle {
        self.make(&["router", "one", "--san", "127.0.0.1"]);
        let [cert, key, ca, secret] =
            ["router-one.pem", "router-one.key", "ca.pem", "cluster.secret"].map(|name| self.path(name));
        let path = Path::new;
        let identity = Identity::from_files(path(&cert), path(&key), path(&ca), Some(path(&secret))).unwrap();
        assert!(identity.warnings().is_empty(), "{:?}", identity.warnings());
        let mut config = RouterConfig::new(identity);
        config.require_client_certificate = true;
        Router::start(config).unwrap()
    }
}

/// Publishes one event with the certificate of this name.
fn publish(router: &RouterHandle, ca: &str, certificate: Option<(&str, &str)>) -> Output {
    let router = router.addr().to_string();
    let mut args = vec!["--router", &router, "--ca", ca];
    if let Some((cert, key)) = certificate {
        args.extend(["--cert", cert, "--key", key]);
    }
    args.extend(["pub", "--timeout", "5s", "-t", "a=b", "hello"]);
    millrace(&args)
}

#[test]
fn client_and_router_of_one_authority_talk_and_others_are_refused_with_words() {
    let (ours, theirs) = (Folder::new(), Folder::new());
    let router = ours.router();
    ours.make(&["client", "billing"]);
    theirs.make(&["client", "billing"]);
    let ca = ours.path("ca.pem");
    let certificate = |of: &Folder| (of.path("client-billing.pem"), of.path("client-billing.key"));

    let (cert, key) = certificate(&ours);
    let welcome = publish(&router, &ca, Some((&cert, &key)));
    assert!(welcome.status.success(), "{}", words(&welcome));

    let nameless = publish(&router, &ca, None);
    assert_eq!(nameless.status.code(), Some(3), "{}", words(&nameless));
    for said in ["this router asks clients for a certificate", "--cert FILE --key FILE"] {
        assert!(words(&nameless).contains(said), "{}", words(&nameless));
    }

    let (cert, key) = certificate(&theirs);
    let foreign = publish(&router, &ca, Some((&cert, &key)));
    assert_eq!(foreign.status.code(), Some(3), "{}", words(&foreign));
    let refused = "this client's certificate is of an authority that is not believed";
    assert!(words(&foreign).contains(refused), "{}", words(&foreign));

    let (cert, key) = certificate(&ours);
    let distrusting = publish(&router, &theirs.path("ca.pem"), Some((&cert, &key)));
    assert_eq!(distrusting.status.code(), Some(3), "{}", words(&distrusting));
    assert!(words(&distrusting).contains("check --ca"), "{}", words(&distrusting));
    router.stop(Duration::ZERO);
}

#[test]
fn clients_certificate_makes_no_router() {
    let ours = Folder::new();
    ours.make(&["client", "billing"]);
    let path = |name: &str| PathBuf::from(ours.path(name));
    let refused =
        Identity::from_files(&path("client-billing.pem"), &path("client-billing.key"), &path("ca.pem"), None);
    let words = refused.unwrap_err().to_string();
    assert!(words.contains("is a client's (`millrace://client/billing`)"), "{words}");
}

#[test]
fn files_are_private_and_replaced_only_when_that_is_asked_for() {
    let ours = Folder::new();
    let made = ours.make(&["router", "one", "--san", "one.example,10.0.0.1", "--days", "30"]);
    assert_eq!((&made["schema"], &made["type"]), (&"millrace.certs/1".into(), &"router".into()));
    assert!(made["next"].as_str().unwrap().starts_with("millrace-router --advertise one.example:7400 "));
    for entry in fs::read_dir(ours.dir()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
    let before = fs::read(ours.path("router-one.pem")).unwrap();
    for args in [&["init"][..], &["router", "one", "--san", "one.example"]] {
        let refused = ours.certs(args);
        assert_eq!(refused.status.code(), Some(1));
        assert!(words(&refused).contains("--force"), "{}", words(&refused));
    }
    assert_eq!(fs::read(ours.path("router-one.pem")).unwrap(), before);
    ours.make(&["router", "one", "--san", "one.example", "--force"]);
    assert_ne!(fs::read(ours.path("router-one.pem")).unwrap(), before);
}

#[test]
fn mistakes_are_explained() {
    let ours = Folder::new();
    for (args, code, said) in [
        (&["router", "one"][..], 2, "--san"),
        (&["router", "one", "--san", "one.example:7400"], 2, "without a port"),
        (&["client", "../one"], 2, "is no name"),
        (&["client", "one", "--days", "0"], 2, "0 is not in 1..=36500"),
    ] {
        let output = ours.certs(args);
        assert_eq!(output.status.code(), Some(code), "{}", words(&output));
        assert!(words(&output).contains(said), "{}", words(&output));
    }
    let nowhere = millrace(&["certs", "--dir", "/nonexistent/authority", "client", "one"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(words(&nowhere).contains("millrace certs init"), "{}", words(&nowhere));
    fs::set_permissions(ours.path("ca.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let open = ours.certs(&["client", "one"]);
    assert!(open.status.success() && words(&open).contains("chmod 600"), "{}", words(&open));
}

#[test]
fn a_key_that_everybody_may_read_is_refused_and_warned_of_where_routers_are_on_this_host() {
    let ours = Folder::new();
    let router = ours.router();
    ours.make(&["client", "billing"]);
    let [ca, cert, key] = ["ca.pem", "client-billing.pem", "client-billing.key"].map(|name| ours.path(name));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let cure = format!("`chmod 600 {key}`");

    let local = publish(&router, &ca, Some((&cert, &key)));
    assert!(local.status.success() && words(&local).contains(&cure), "{}", words(&local));

    // An address of documentation: nobody is there, and nobody is asked.
    let far = ["--router", "192.0.2.1:7400", "--ca", &ca, "--cert", &cert, "--key", &key, "pub", "x"];
    let refused = millrace(&far);
    assert_eq!(refused.status.code(), Some(2), "{}", words(&refused));
    for said in [cure.as_str(), "--accept-open-key"] {
        assert!(words(&refused).contains(said), "{}", words(&refused));
    }
    router.stop(Duration::ZERO);
}
