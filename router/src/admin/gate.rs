//! Who may do what on the admin page, by the way they come.
//!
//! | way | what it may |
//! |---|---|
//! | without TLS, on loopback | everything, under a name of loopback |
//! | without TLS, from elsewhere | read |
//! | over TLS, with a certificate of the role admin | everything |
//! | over TLS, with another certificate | nothing |

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, Version, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use millrace_certs::{Identity, Role, role_of};
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::pages::PATHS;
use crate::tls::admin_config;

/// What stands before the pages at one listener.
pub(super) enum Gate {
    /// Without TLS.
    Plain {
        /// For who comes over loopback.
        loopback: Router,
        /// For everybody else.
        elsewhere: Router,
    },
    /// Over TLS.
    Secure(Secure),
}

/// The pages over TLS, under the router's certificate of the moment.
pub(super) struct Secure {
    pages: Router,
    identities: watch::Receiver<Identity>,
    config: Option<Arc<ServerConfig>>,
}

/// How one connection is answered.
pub(super) enum Way {
    /// At once.
    Plain(Router),
    /// After a handshake, which says who it is.
    Secure(TlsAcceptor, Router),
}

impl Gate {
    /// Before `pages` without TLS.
    pub(super) fn plain(pages: Router) -> Self {
        Self::Plain {
            loopback: pages.clone().layer(middleware::from_fn(check_host)),
            elsewhere: pages.layer(middleware::from_fn(only_read)),
        }
    }

    /// Before `pages` over TLS, with the newest of `identities`.
    pub(super) fn secure(pages: Router, mut identities: watch::Receiver<Identity>) -> Self {
        identities.mark_changed();
        Self::Secure(Secure { pages, identities, config: None })
    }

    /// How a connection is answered that reached `local`; none while there is no certificate for
    /// it.
    pub(super) fn way(&mut self, local: SocketAddr) -> Option<Way> {
        match self {
            Self::Plain { loopback, .. } if local.ip().to_canonical().is_loopback() => {
                Some(Way::Plain(loopback.clone()))
            }
            Self::Plain { elsewhere, .. } => Some(Way::Plain(elsewhere.clone())),
            Self::Secure(secure) => {
                Some(Way::Secure(TlsAcceptor::from(secure.config()?), secure.pages.clone()))
            }
        }
    }
}

impl Secure {
    /// TLS with the identity that the last reload brought.
    fn config(&mut self) -> Option<Arc<ServerConfig>> {
        // The router ends where nobody has the other end.
        if self.identities.has_changed().unwrap_or(false) {
            match admin_config(&self.identities.borrow_and_update()) {
                Ok(config) => self.config = Some(config),
                Err(error) => tracing::warn!(%error, "the admin page keeps its certificate"),
            }
        }
        self.config.clone()
    }
}

/// The pages for whoever showed these certificates, or why there are none.
pub(super) fn pages_for(
    stream: &tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
    pages: Router,
) -> Router {
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    match shown.map_or(Role::None, role_of) {
        Role::Admin(name) => pages.layer(middleware::from_fn_with_state(Arc::from(name), say_who)),
        role => {
            let who = role.identity().unwrap_or_else(|| "without a role".to_owned());
            let advice = format!(
                "this certificate ({who}) is no operator's: give one of the role admin, which \
                 `millrace certs admin NAME` makes\n"
            );
            Router::new().fallback((StatusCode::FORBIDDEN, advice))
        }
    }
}

/// Logs who changed something.
async fn say_who(State(name): State<Arc<str>>, request: Request, next: Next) -> Response {
    // Other paths are answered by 404, and a log line for each would be a client's to write.
    let path = PATHS.iter().find(|(path, _)| *path == request.uri().path());
    if let (false, Some((path, _))) = (reads(request.method()), path) {
        tracing::info!(admin = ?name, path, "an operator asks over TLS");
    }
    next.run(request).await
}

fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Refuses changes.
async fn only_read(request: Request, next: Next) -> Response {
    if reads(request.method()) {
        return next.run(request).await;
    }
    let advice = "nothing is changed for who comes from another host without a certificate: ask on this router's host, \
                  or over TLS (setting admin.tls_listen, certificate of `millrace certs admin NAME`)\n";
    (StatusCode::FORBIDDEN, advice).into_response()
}

/// Refuses requests that reached loopback under a name that is not loopback's. A web page in a
/// browser on this host can have its own name resolve to 127.0.0.1 and read what it fetches (DNS
/// rebinding); the browser tells that name as `Host`.
async fn check_host(request: Request, next: Next) -> Response {
    if is_addressed_to_loopback(request.version(), request.uri(), request.headers()) {
        return next.run(request).await;
    }
    let advice =
        "this page answers on loopback under localhost, 127.0.0.1 or [::1] only; set Host accordingly\n";
    (StatusCode::MISDIRECTED_REQUEST, advice).into_response()
}

fn is_addressed_to_loopback(version: Version, uri: &Uri, headers: &HeaderMap) -> bool {
    if uri.authority().is_some_and(|authority| !is_loopback(authority.as_str())) {
        return false;
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        // HTTP/1.0 has no Host, and browsers do not speak it.
        (None, _) => version == Version::HTTP_10,
        (Some(host), None) => host.to_str().is_ok_and(is_loopback),
        (Some(_), Some(_)) => false,
    }
}

/// Whether `host` or `host:port` names loopback.
fn is_loopback(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, port))) => (host, port),
        Some(None) => return false,
        None => match authority.split_once(':') {
            Some((host, _)) => (host, &authority[host.len()..]),
            None => (authority, ""),
        },
    };
    let is_port =
        port.is_empty() || port.strip_prefix(':').is_some_and(|number| number.parse::<u16>().is_ok());
    let is_name = host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case("localhost");
    let is_address = || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    is_port && (is_name || is_address())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_its_names_and_addresses_with_and_without_port() {
        for right in [
            "localhost",
            "LocalHost:9900",
            "localhost.",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.8.9.1:1",
            "[::1]",
            "[::1]:9900",
            "[::ffff:127.0.0.1]:9900",
        ] {
            assert!(is_loopback(right), "{right}");
        }
        for wrong in [
            "",
            "evil.example",
            "evil.example:9900",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "[::2]",
            "[::1",
            "[::1]evil",
            "localhost:port",
            "localhost:",
            "0.0.0.0",
        ] {
            assert!(!is_loopback(wrong), "{wrong}");
        }
    }

    #[test]
    fn who_comes_from_elsewhere_reads_and_changes_nothing() {
        use axum::body::Body;
        use axum::routing::get;
        use tower_service::Service;

        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let page = || async { "done" };
        let mut gate = Gate::plain(Router::new().route("/", get(page).post(page)));
        let mut answer = |local: &str, method: Method| {
            let Some(Way::Plain(mut pages)) = gate.way(local.parse().unwrap()) else { panic!("TLS") };
            let host = local.replace("[::ffff:127.0.0.1]", "localhost");
            let request = Request::builder().method(method).uri("/").header(header::HOST, host);
            let answer = runtime.block_on(pages.call(request.body(Body::empty()).unwrap()));
            answer.unwrap().status()
        };
        assert_eq!(answer("127.0.0.1:1", Method::POST), StatusCode::OK);
        assert_eq!(answer("[::ffff:127.0.0.1]:1", Method::POST), StatusCode::OK);
        assert_eq!(answer("10.0.0.1:1", Method::GET), StatusCode::OK);
        assert_eq!(answer("10.0.0.1:1", Method::HEAD), StatusCode::OK);
        assert_eq!(answer("10.0.0.1:1", Method::POST), StatusCode::FORBIDDEN);
        assert_eq!(answer("[2001:db8::1]:1", Method::POST), StatusCode::FORBIDDEN);
    }

    #[test]
    fn a_name_in_the_request_line_and_a_second_host_do_not_pass() {
        let hosts = |hosts: &[&str]| -> HeaderMap {
            hosts.iter().map(|host| (header::HOST, host.parse().unwrap())).collect()
        };
        let check = |version, uri: &str, names: &[&str]| {
            is_addressed_to_loopback(version, &uri.parse().unwrap(), &hosts(names))
        };
        assert!(check(Version::HTTP_11, "/status", &["localhost"]));
        assert!(!check(Version::HTTP_11, "http://evil.example/status", &["localhost"]));
        assert!(!check(Version::HTTP_11, "/status", &["localhost", "evil.example"]));
        assert!(!check(Version::HTTP_11, "/status", &[]));
        assert!(check(Version::HTTP_10, "/status", &[]));
    }
}
