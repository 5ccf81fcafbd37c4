//! Admin pages over TLS: who may ask there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use millrace_certs::{ClusterAuthority, Issued};
use millrace_router::{Identity, Router, RouterConfig, RouterHandle};
use tempfile::TempDir;

/// Certificates of one authority, in a folder.
struct Cluster {
    folder: TempDir,
    authority: ClusterAuthority,
}

impl Cluster {
    fn new() -> Self {
        let now = SystemTime::now();
        let folder = tempfile::tempdir().unwrap();
        let made = ClusterAuthority::make("test", 1, now).unwrap();
        fs::write(folder.path().join("ca.pem"), &made.certificate_pem).unwrap();
        let names = ["ca.pem", "ca.key"];
        let authority = ClusterAuthority::from_pem(&made.certificate_pem, &made.key_pem, names, now).unwrap();
        Self { folder, authority }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn router(&self) -> RouterHandle {
        let made = self.authority.router("r", &["127.0.0.1".to_owned()], 1, SystemTime::now()).unwrap();
        let ca = fs::read_to_string(self.path("ca.pem")).unwrap();
        let identity = Identity::from_pem(&made.certificate_pem, &made.key_pem, &ca, [7; 32]).unwrap();
        let mut config = RouterConfig::new(identity);
        config.admin_tls = Some("127.0.0.1:0".parse().unwrap());
        let router = Router::start(config).unwrap();
        router.wait_until(Duration::from_secs(20), |seen| seen.status.ready()).unwrap();
        router
    }

    fn keep(&self, name: &str, issued: &Issued) {
        fs::write(self.path(&format!("{name}.pem")), &issued.certificate_pem).unwrap();
        fs::write(self.path(&format!("{name}.key")), &issued.key_pem).unwrap();
    }

    /// `millrace ctl ARGS`, as the holder of a certificate.
    fn ctl(&self, router: &RouterHandle, ca: &Path, name: &str, args: &[&str]) -> Output {
        let url = format!("https://{}", router.admin_tls_addr().unwrap());
        let files = [self.path(&format!("{name}.pem")), self.path(&format!("{name}.key"))];
        Command::new(assert_cmd::cargo::cargo_bin!("millrace"))
            .env("MILLRACE_CONTEXT", "none")
            .args(["ctl", "--admin", &url, "--ca"])
            .arg(ca)
            .arg("--cert")
            .arg(&files[0])
            .arg("--key")
            .arg(&files[1])
            .args(args)
            .output()
            .unwrap()
    }
}

fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn an_operator_is_obeyed_and_a_client_is_not() {
    let (cluster, now) = (Cluster::new(), SystemTime::now());
    let router = cluster.router();
    let ca = cluster.path("ca.pem");
    cluster.keep("ann", &cluster.authority.admin("ann", 1, now).unwrap());
    cluster.keep("billing", &cluster.authority.client("billing", 1, now).unwrap());

    let status = cluster.ctl(&router, &ca, "ann", &["status", "--json"]);
    assert!(status.status.success(), "{status:?}");
    assert!(String::from_utf8(status.stdout).unwrap().contains("millrace-router-status/1"));
    // An embedded router reloads nothing, but it was asked.
    let reload = error(&cluster.ctl(&router, &ca, "ann", &["reload"]));
    assert!(reload.contains("embedded"), "{reload}");

    for asked in ["status", "reload"] {
        let refused = cluster.ctl(&router, &ca, "billing", &[asked]);
        assert!(!refused.status.success());
        let why = error(&refused);
        assert!(why.contains("403") && why.contains("millrace certs admin NAME"), "{why}");
    }
}

#[test]
fn who_shows_no_certificate_of_the_cluster_does_not_get_in() {
    let (cluster, other, now) = (Cluster::new(), Cluster::new(), SystemTime::now());
    let router = cluster.router();
    let ca = cluster.path("ca.pem");
    // The other cluster's operator is nobody here.
    cluster.keep("eve", &other.authority.admin("eve", 1, now).unwrap());
    let refused = cluster.ctl(&router, &ca, "eve", &["status"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    // Whoever believes the other authority does not believe this router.
    cluster.keep("ann", &cluster.authority.admin("ann", 1, now).unwrap());
    let unbelieved = cluster.ctl(&router, &other.path("ca.pem"), "ann", &["status"]);
    assert_eq!(unbelieved.status.code(), Some(3), "{unbelieved:?}");

    let url = format!("https://{}", router.admin_tls_addr().unwrap());
    let bare = Command::new(assert_cmd::cargo::cargo_bin!("millrace"))
        .env("MILLRACE_CONTEXT", "none")
        .args(["ctl", "--admin", &url, "status"])
        .output()
        .unwrap();
    assert_eq!(bare.status.code(), Some(2), "{bare:?}");
    assert!(error(&bare).contains("--ca, --cert and --key"), "{bare:?}");
}
