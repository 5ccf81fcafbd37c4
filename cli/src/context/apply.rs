//! What a command takes from its context: what neither its command line nor its environment says.
//!
//! Two things go together. Who the client is (`cert` and `key`, or `token_file`, with
//! `accept_open_key`) comes from one place: half of another identity is none. `server_name` is for
//! the context's own addresses, so that another `--router` does without it, as with kubectl's
//! `--server`; the certificates stay.

use super::given::Given;
use super::settings::Settings;
use crate::admin::AdminUrl;
use crate::options::Reach;

/// Whom a command reaches.
#[derive(Debug)]
pub(crate) enum Reaches<'a> {
    /// Nobody: it needs no context.
    Nobody,
    /// Routers, as a client.
    Routers,
    /// Admin pages, these unless the context has others.
    Admins(&'a mut Vec<AdminUrl>),
}

/// Takes what is not given from a context. Returns the options that came from there.
///
/// # Errors
/// The context says where other things are, and not where these are: the default, this host, would
/// be something else than its user believes. In words, what is missing.
pub(super) fn apply(
    settings: &Settings,
    given: &Given,
    reach: &mut Reach,
    reaches: Reaches<'_>,
) -> Result<Vec<&'static str>, &'static str> {
    let mut taken = Vec::new();
    let is_elsewhere = match reaches {
        Reaches::Nobody => return Ok(taken),
        Reaches::Routers => {
            let is_given = given.has("router");
            match settings.router.clone().filter(|_| !is_given) {
                Some(levels) => {
                    reach.router = vec![levels];
                    taken.push("router");
                }
                None if !is_given && !settings.admin.is_empty() => return Err("router"),
                None => {}
            }
            if let Some(zone) = settings.zone.clone().filter(|_| !given.has("zone")) {
                reach.zone = Some(zone);
                taken.push("zone");
            }
            is_given
        }
        Reaches::Admins(urls) => {
            let is_given = given.has("admin");
            if !is_given && !settings.admin.is_empty() {
                urls.clone_from(&settings.admin);
                taken.push("admin");
            } else if !is_given && settings.router.is_some() {
                return Err("admin");
            }
            is_given
        }
    };
    let mut take = |id: &'static str, from: bool, into: &mut dyn FnMut()| {
        if from && !given.has(id) {
            into();
            taken.push(id);
        }
    };
    take("ca", settings.ca.is_some(), &mut || reach.ca.clone_from(&settings.ca));
    if !given.has_identity() {
        take("cert", settings.cert.is_some(), &mut || reach.cert.clone_from(&settings.cert));
        take("key", settings.key.is_some(), &mut || reach.key.clone_from(&settings.key));
        let token = settings.token_file.is_some();
        take("token_file", token, &mut || reach.token_file.clone_from(&settings.token_file));
        take("accept_open_key", settings.accept_open_key, &mut || reach.accept_open_key = true);
    }
    let name = settings.server_name.is_some() && !is_elsewhere;
    take("server_name", name, &mut || reach.server_name.clone_from(&settings.server_name));
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::{CommandFactory, FromArgMatches, Parser};

    use super::super::settings::{Base, router_words};
    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        reach: Reach,
    }

    const ALL: &str = "router = 'a'\nadmin = 'http://a:1'\nca = '/ca'\ncert = '/c'\nkey = '/k'\n\
                       accept_open_key = true\nserver_name = 'r'\nzone = 'eu'";

    fn settings(text: &str) -> Settings {
        let base = Base { folder: Path::new("/"), home: None };
        Settings::read(text, base).unwrap_or_else(|error| panic!("{error}"))
    }

    fn line(args: &[&str]) -> (Reach, Given) {
        // As the environment of whoever runs this is no part of it.
        let command = Line::command().mut_args(|arg| arg.env(clap::builder::Resettable::Reset));
        let matches = command.try_get_matches_from([&["x"], args].concat());
        let matches = matches.unwrap_or_else(|error| panic!("{error}"));
        let line = Line::from_arg_matches(&matches).unwrap_or_else(|error| panic!("{error}"));
        (line.reach, Given::of(&matches))
    }

    /// What a client has that is called so with a context: the options that came from there.
    fn client(text: &str, args: &[&str]) -> (Reach, Vec<&'static str>) {
        let (mut reach, given) = line(args);
        let taken = apply(&settings(text), &given, &mut reach, Reaches::Routers);
        (reach, taken.unwrap_or_else(|option| panic!("no {option}")))
    }

    fn routers(reach: &Reach) -> String {
        router_words(&reach.routers())
    }

    #[test]
    fn what_is_not_given_comes_from_the_context() {
        let (reach, taken) = client(ALL, &[]);
        assert_eq!(taken, ["router", "zone", "ca", "cert", "key", "accept_open_key", "server_name"]);
        assert_eq!((routers(&reach).as_str(), reach.zone.as_deref()), ("a:7400", Some("eu")));
        assert!(reach.accept_open_key && reach.cert.is_some() && reach.server_name.is_some());
        let (reach, taken) = client(ALL, &["--zone", "", "--ca", "/mine"]);
        assert_eq!((reach.zone.as_deref(), reach.ca.as_deref()), (Some(""), Some(Path::new("/mine"))));
        assert!(!taken.contains(&"zone") && !taken.contains(&"ca"), "{taken:?}");
        assert_eq!(routers(&client("", &[]).0), "127.0.0.1:7400");
    }

    #[test]
    fn another_router_keeps_certificates_and_leaves_the_server_name_out() {
        let (reach, taken) = client(ALL, &["--router", "b"]);
        assert_eq!((routers(&reach).as_str(), reach.server_name.as_deref()), ("b:7400", None));
        assert_eq!(taken, ["zone", "ca", "cert", "key", "accept_open_key"]);
        let (reach, _) = client(ALL, &["--router", "b", "--server-name", "s"]);
        assert_eq!(reach.server_name.as_deref(), Some("s"));
    }

    #[test]
    fn half_of_another_identity_is_none() {
        let (reach, taken) = client(ALL, &["--token-file", "/t"]);
        assert!(reach.cert.is_none() && reach.key.is_none() && !reach.accept_open_key);
        assert_eq!(taken, ["router", "zone", "ca", "server_name"]);
        let (reach, _) = client("router = 'a'\ntoken_file = '/t'", &["--cert", "/c", "--key", "/k"]);
        assert!(reach.token_file.is_none() && reach.cert.is_some());
    }

    #[test]
    fn a_context_that_is_elsewhere_sends_nobody_to_this_host() {
        let asks = |text: &str| {
            let (mut reach, given) = line(&[]);
            let mut urls = vec!["http://127.0.0.1:7401".parse().expect("a URL")];
            let taken = apply(&settings(text), &given, &mut reach, Reaches::Admins(&mut urls));
            taken.map(|taken| (taken, urls[0].to_string()))
        };
        assert_eq!(asks("router = 'a'"), Err("admin"));
        assert_eq!(asks(ALL).map(|(_, url)| url), Ok("http://a:1".to_owned()));
        let (taken, url) = asks("ca = '/ca'").expect("it is here");
        assert_eq!((taken, url.as_str()), (vec!["ca"], "http://127.0.0.1:7401"));
        let (mut reach, given) = line(&[]);
        let of_admins = settings("admin = 'http://a:1'");
        assert_eq!(apply(&of_admins, &given, &mut reach, Reaches::Routers), Err("router"));
        assert_eq!(apply(&of_admins, &given, &mut reach, Reaches::Nobody), Ok(vec![]));
    }
}
