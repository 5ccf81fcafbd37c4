//! Addresses of admin pages, as people write them.

use std::fmt;
use std::str::FromStr;

/// Port of the admin page unless a URL names another.
const DEFAULT_PORT: u16 = 7401;

/// Where routers are asked.
#[derive(Debug, clap::Args)]
pub(crate) struct AdminArgs {
    /// Admin page of a router (its setting `admin.listen`). May be given several times, or several
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
/// out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AdminUrl {
    /// HOST:PORT, with brackets around an IPv6 address.
    authority: String,
}

impl AdminUrl {
    /// HOST:PORT.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }
}

impl fmt::Display for AdminUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl FromStr for AdminUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is no admin page: write http://HOST:PORT");
        let rest = match text.split_once("://") {
            None => text,
            Some(("http", rest)) => rest,
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
            None => DEFAULT_PORT,
            Some(port) => port.parse().map_err(|_| expected())?,
        };
        if host.is_empty() {
            return Err(expected());
        }
        Ok(Self { authority: format!("{host}:{port}") })
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
        ] {
            assert_eq!(read(text), Ok(url.to_owned()));
        }
        for wrong in ["", "off ", "http://", "host:port", "host:70000", ":7401", "[::1", "a/b", "[::1]x"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read("https://a").is_err_and(|why| why.contains("https:// is not spoken")));
    }
}
