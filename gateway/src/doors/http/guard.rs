//! Who a request is from, and whether a browser sent it for another site.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::answer::Problem;
use super::query::Query;
use crate::admission::{Access, Admitted, Live, Peer, Refusal, Right, Standing};
use crate::counters::{Counters, Door, Reason};
use crate::http_server::is_meant_for_loopback;

/// Lets requests in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Guard {
    access: Access,
    origins: Live<Vec<String>>,
    counters: Arc<Counters>,
}

impl Guard {
    /// A guard of a door with these identities, and pages of these origins besides its own.
    #[must_use]
    pub fn new(access: Access, origins: Live<Vec<String>>, counters: Arc<Counters>) -> Self {
        Self { access, origins, counters }
    }

    /// Admits a request that needs any of `rights`, or says with which answer it is turned away,
    /// which is counted once. The token is a bearer's
    /// (`Authorization`), or the parameter `access_token`, because browsers let pages set no header
    /// of a WebSocket or an event source.
    ///
    /// # Errors
    /// [`Problem`] with status 401, 403 or 421.
    pub fn admit(
        &self,
        door: Door,
        peer: &Peer,
        headers: &HeaderMap,
        query: &Query,
        rights: &[Right],
    ) -> Result<Standing, Problem> {
        let refuse = |reason, status, message: &dyn ToString| {
            self.counters.refused(door, reason);
            Problem::new(status, reason.name(), message.to_string())
        };
        if self.access.is_open() && !is_meant_for_loopback(peer, headers) {
            let advice =
                "a door without identities answers on loopback under localhost, 127.0.0.1 or [::1] only";
            return Err(refuse(Reason::Origin, StatusCode::MISDIRECTED_REQUEST, &advice));
        }
        if !self.is_own_origin(headers) && self.listed_origin(headers).is_none() {
            let advice =
                "a web page of another origin may not use this door: list the origin in http.origins";
            return Err(refuse(Reason::Origin, StatusCode::FORBIDDEN, &advice));
        }
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = bearer
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let token = bearer.map(|(_, token)| token.trim()).or_else(|| query.first("access_token"));
        let admitted = self.access.stand(peer, token);
        admitted.and_then(|admitted| has_any(&admitted, rights).map(|()| admitted)).map_err(|refusal| {
            let (reason, status) = match refusal {
                Refusal::Unauthenticated | Refusal::Certificate(_) => {
                    (Reason::Unauthenticated, StatusCode::UNAUTHORIZED)
                }
                Refusal::Forbidden(_) => (Reason::Forbidden, StatusCode::FORBIDDEN),
            };
            refuse(reason, status, &refusal)
        })
    }

    /// The origin of the page that asks, if the settings list it.
    #[must_use]
    pub fn listed_origin<'h>(&self, headers: &'h HeaderMap) -> Option<&'h HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        self.origins.now().iter().any(|listed| listed.as_bytes() == origin.as_bytes()).then_some(origin)
    }

    /// Whether no page asks, or one that came from this door. A proxy may have ended TLS before the
    /// door, so that schemes say nothing.
    fn is_own_origin(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        matches!((authority, host), (Some((_, authority)), Some(host)) if authority.eq_ignore_ascii_case(host))
    }
}

/// Whether an identity has one of `rights`; the refusal names the last of them.
fn has_any(admitted: &Admitted, rights: &[Right]) -> Result<(), Refusal> {
    let mut refusal = Ok(());
    for right in rights {
        match admitted.check(*right) {
            Ok(()) => return Ok(()),
            refused => refusal = refused,
        }
    }
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(pairs: &[(&'static str, &str)]) -> u16 {
        let headers: HeaderMap = pairs
            .iter()
            .map(|(name, value)| (axum::http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        let guard =
            Guard::new(Access::default(), Live::new(vec!["https://ops.example".to_owned()]), Arc::default());
        let peer = Peer {
            ip: "127.0.0.1".parse().unwrap(),
            on_loopback: true,
            certificate: None,
            waiting: Default::default(),
        };
        let admitted = guard.admit(Door::Http, &peer, &headers, &Query::default(), &[Right::Publish]);
        match admitted {
            Ok(_) => 200,
            Err(problem) => axum::response::IntoResponse::into_response(problem).status().as_u16(),
        }
    }

    #[test]
    fn pages_of_other_origins_and_rebound_names_are_turned_away() {
        const HOST: (&str, &str) = ("host", "127.0.0.1:7480");
        assert_eq!(status(&[HOST]), 200);
        assert_eq!(status(&[HOST, ("origin", "http://127.0.0.1:7480")]), 200);
        assert_eq!(status(&[HOST, ("origin", "https://ops.example")]), 200);
        assert_eq!(status(&[HOST, ("origin", "https://evil.example")]), 403);
        assert_eq!(status(&[HOST, ("origin", "null")]), 403);
        assert_eq!(status(&[("host", "evil.example")]), 421);
    }
}
