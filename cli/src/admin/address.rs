//! Addresses of admin pages, as people write them.

use std::fmt;
use std::str::FromStr;

use super::secure::Secure;

/// Port of the admin page unless a URL names another.
const DEFAULT_PORT: u16 = 7401;
/// The same over TLS.
const DEFAULT_SECURE_PORT: u16 = 7402;

/// Where routers are asked.
#[derive(Debug, clap::Args)]
pub(crate) struct AdminArgs {
    /// Admin page of a router (its setting `admin.listen`), or https://HOST:7402 (its setting
    /// `admin.tls_listen`; with --ca, --cert and --key). May be given several times, or several
    /// with commas between.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "MILLRACE_ADMIN",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:7401"
    )]
    pub(crate) admin: Vec<AdminUrl>,
}

/// The admin page of one router: `http://HOST:PORT`, of which the scheme and the port may be left
/// out, or `https://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AdminUrl {
    /// HOST:PORT, with brackets around an IPv6 address.
    authority: String,
    /// Over TLS, and how.
    secure: Option<Secure>,
}

impl AdminUrl {
    /// HOST:PORT.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// HOST, without brackets.
    pub(super) fn host(&self) -> &str {
        let host = self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// How it is reached over TLS, if it is.
    pub(super) fn secure(&self) -> Option<&Secure> {
        self.secure.as_ref()
    }

    /// The same, to be changed.
    pub(super) fn secure_mut(&mut self) -> Option<&mut Secure> {
        self.secure.as_mut()
    }
}

impl fmt::Display for AdminUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

impl FromStr for AdminUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            let forms =
                "write http://HOST:PORT or https://HOST:PORT; IPv6 has brackets, as in http://[::1]:7401";
            format!("{text:?} is no admin page: {forms}")
        };
        let (rest, secure) = match text.split_once("://") {
            None => (text, None),
            Some(("http", rest)) => (rest, None),
            Some(("https", rest)) => (rest, Some(Secure::default())),
            Some((scheme, _)) => {
                return Err(format!("{scheme}:// is not spoken by admin pages: write http://HOST:PORT"));
            }
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]%".contains(c);
        if authority.is_empty() || !authority.chars().all(is_plain) {
            return Err(expected());
        }
        let (host, port) = match authority.strip_prefix('[').map(|rest| rest.split_once(']')) {
            Some(Some((host, ""))) => (format!("[{host}]"), None),
            Some(Some((host, port))) => {
                (format!("[{host}]"), Some(port.strip_prefix(':').ok_or_else(expected)?))
            }
            Some(None) => return Err(expected()),
            None => match authority.split_once(':') {
                Some((host, port)) => (host.to_owned(), Some(port)),
                None => (authority.to_owned(), None),
            },
        };
        let port = match port {
            None if secure.is_some() => DEFAULT_SECURE_PORT,
            None => DEFAULT_PORT,
            Some(port) => port.parse().map_err(|_| expected())?,
        };
        if host.is_empty() {
            return Err(expected());
        }
        Ok(Self { authority: format!("{host}:{port}"), secure })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_and_port_may_be_left_out() {
        let read = |text: &str| text.parse::<AdminUrl>().map(|url| url.to_string());
        for (text, url) in [
            ("http://127.0.0.1:7401", "http://127.0.0.1:7401"),
            ("router-0.mesh", "http://router-0.mesh:7401"),
            ("http://[::1]:80/", "http://[::1]:80"),
            ("[fe80::1]", "http://[fe80::1]:7401"),
            ("https://router-0.mesh", "https://router-0.mesh:7402"),
            ("https://[::1]:80", "https://[::1]:80"),
        ] {
            assert_eq!(read(text), Ok(url.to_owned()));
        }
        for wrong in ["", "off ", "http://", "host:port", "host:70000", ":7401", "[::1", "a/b", "[::1]x"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read("::1:7401").is_err_and(|why| why.contains("http://[::1]:7401")));
        assert!(read("ftp://a").is_err_and(|why| why.contains("ftp:// is not spoken")));
    }

    #[test]
    fn the_host_of_a_url_has_no_brackets() {
        let host = |text: &str| text.parse::<AdminUrl>().map(|url| url.host().to_owned());
        assert_eq!(host("https://[fe80::1]:80"), Ok("fe80::1".to_owned()));
        assert_eq!(host("router-0.mesh"), Ok("router-0.mesh".to_owned()));
    }
}
