//! The list of pages as a browser shows it: which router, how it stands, and where to look.

use std::fmt::Write as _;

/// Colours are the browser's own, light or dark; nothing is loaded from elsewhere.
const STYLE: &str = "\
    :root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
    body { max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
    h1 { font-size: 1.4rem; margin: 0; }
    dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.5rem; }
    dt { font-family: ui-monospace, monospace; } dd { margin: 0; }
    code { font-family: ui-monospace, monospace; overflow-wrap: anywhere; display: inline-block; }
    .bad { font-weight: bold; }
    @media (max-width: 40rem) { dl { display: block; } dd { margin: 0 0 .6rem; } }";

/// The page of the router of this name, with all paths and a line about each; `trouble` says why it
/// is not ready, if it is not.
pub(super) fn page(name: &str, trouble: Option<&str>, paths: &[(&str, &str)]) -> String {
    let name = escaped(name);
    let stands = match trouble {
        None => "<p>ready: clients should come".to_owned(),
        Some(why) => format!("<p class=bad>not ready: {}", escaped(why.trim_end())),
    };
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width\">\
         <title>Millrace router {name}</title><style>\n{STYLE}\n</style>\n\
         <h1>Millrace router {name}</h1>\n{stands}\n<dl>\n"
    );
    for (path, about) in paths {
        let about = code(&escaped(about));
        // What changes something is no link: a browser would ask for it in the wrong way.
        let path = match about.starts_with("POST") {
            true => (*path).to_owned(),
            false => format!("<a href=\"{path}\">{path}</a>"),
        };
        // A string takes everything.
        let _ = writeln!(page, "<dt>{path}<dd>{about}");
    }
    page.push_str("</dl>\n<p><code>millrace top</code> and <code>millrace ctl</code> read these pages.\n");
    page
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

/// Words between backticks as code.
fn code(text: &str) -> String {
    let mut parts = text.split('`');
    let mut marked = parts.next().unwrap_or_default().to_owned();
    for (number, part) in parts.enumerate() {
        marked.push_str(if number % 2 == 0 { "<code>" } else { "</code>" });
        marked.push_str(part);
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_be_markup_and_what_changes_something_is_no_link() {
        let paths = [("/", "when `Accept` asks"), ("/reload", "POST: reads settings")];
        let page = page("<b>&", Some("no peer"), &paths);
        assert!(
            page.contains("Millrace router &lt;b>&amp;") && page.contains("not ready: no peer"),
            "{page}"
        );
        assert!(page.contains("<dt>/reload<dd>") && page.contains("<code>Accept</code>"), "{page}");
    }
}
