//! What the commands of `millrace context` do and say.

use std::io::{self, Write};

use anyhow::anyhow;
use serde_json::{Map, Value, json};

use super::args::{ContextArgs, What};
use super::choice::{By, Chosen, chosen, missing};
use super::folder::Folder;
use super::given::{self, Given};
use super::name::Name;
use super::save::save;
use super::settings::{Settings, router_words};
use crate::ctl::table::{self, Column};
use crate::failure::Failure;
use crate::options::Reach;
use crate::tell::tell;
use crate::{show, tell};

/// Schema of the objects that `context … --json` prints.
const SCHEMA: &str = "millrace.context/1";

/// Runs `millrace context`.
pub(crate) fn run(command: &ContextArgs, reach: &Reach, given: &Given) -> Result<(), Failure> {
    let (folder, json) = (Folder::of_user()?, reach.json);
    if let (Some(option), false) = (given.first_here(), matches!(command.what, What::Save(_))) {
        let option = option.replace('_', "-");
        return Err(Failure::usage(anyhow!("--{option} is kept by `millrace context save NAME` alone")));
    }
    match &command.what {
        What::List => list(&folder, chosen(&folder, reach, given)?.as_ref(), json),
        What::Show { name } => {
            let in_use = chosen(&folder, reach, given);
            let shown = match (name, in_use) {
                (Some(name), Ok(in_use)) => {
                    let is_used = in_use.filter(|used| used.name == *name);
                    is_used.unwrap_or_else(|| Chosen { name: name.clone(), by: By::CommandLine })
                }
                (None, Ok(Some(in_use))) => in_use,
                (None, Ok(None)) => {
                    return Err(Failure::usage(anyhow!("no context is in use")).hint(
                        "`millrace context list` lists them, `millrace context show NAME` shows one.",
                    ));
                }
                (_, Err(failure)) => return Err(failure),
            };
            show(&folder, &shown, reach, given, json)
        }
        What::Save(args) => {
            let settings = save(&folder, args, reach, given)?;
            if args.and_use {
                folder.set_current(Some(&args.name))?;
            }
            let (name, file) = (&args.name, folder.file(&args.name));
            let next = if args.and_use {
                "it is the current one".to_owned()
            } else {
                format!("`millrace context use {name}` makes it the current one")
            };
            said(json, &object(&folder, name, &settings, args.and_use), || {
                format!("saved as {}; {next}", file.display())
            })?;
            if args.and_use {
                tell_what_comes_before(name, &settings, true);
            }
            Ok(())
        }
        What::Use { name: Some(name), .. } => {
            let named = Chosen { name: name.clone(), by: By::CommandLine };
            let settings = folder.read(name)?.ok_or_else(|| missing(&folder, &named))?;
            folder.set_current(Some(name))?;
            said(json, &object(&folder, name, &settings, true), || format!("the current context is {name}"))?;
            tell_what_comes_before(name, &settings, true);
            Ok(())
        }
        What::Use { name: None, .. } => {
            folder.set_current(None)?;
            let object = json!({ "schema": SCHEMA, "type": "none" });
            said(json, &object, || "no context is the current one".to_owned())
        }
        What::Remove { name } => remove(&folder, name, json),
    }
}

fn remove(folder: &Folder, name: &Name, json: bool) -> Result<(), Failure> {
    // Before: what is broken beside it is no reason to keep it.
    let is_current = folder.current().is_ok_and(|current| current.as_ref() == Some(name));
    if !folder.remove(name)? && !is_current {
        return Err(missing(folder, &Chosen { name: name.clone(), by: By::CommandLine }));
    }
    if is_current {
        folder.set_current(None)?;
    }
    let object = json!({ "schema": SCHEMA, "type": "removed", "name": name.as_str(), "current": is_current });
    said(json, &object, || match is_current {
        true => format!("removed {name}, which was the current context: there is none from here on"),
        false => format!("removed {name}"),
    })
}

fn list(folder: &Folder, in_use: Option<&Chosen>, json: bool) -> Result<(), Failure> {
    let names = folder.names()?;
    let is_used = |name: &Name| in_use.is_some_and(|used| used.name == *name);
    let mut rows = Vec::new();
    let mut out = io::stdout().lock();
    for name in &names {
        let settings = folder.read(name).map(Option::unwrap_or_default);
        let shown = match &settings {
            Ok(settings) if json => object(folder, name, settings, is_used(name)),
            Err(failure) if json => {
                let mut object = object(folder, name, &Settings::default(), is_used(name));
                object["error"] = failure.words().into();
                object
            }
            Ok(settings) => {
                let router = settings.router.as_ref().map(router_words).unwrap_or_default();
                rows.push(row(name, is_used(name), router));
                continue;
            }
            Err(failure) => {
                tell(failure.words());
                rows.push(row(name, is_used(name), "cannot be used".to_owned()));
                continue;
            }
        };
        written(show::json_line(&mut out, &shown))?;
    }
    if let Some(used) = in_use.filter(|used| !names.contains(&used.name)) {
        tell(missing(folder, used).words());
    }
    if json {
        return Ok(());
    }
    if names.is_empty() {
        tell::line("There are no contexts: `millrace --router HOST --ca FILE context save NAME` makes one.");
        return Ok(());
    }
    let mut text = String::new();
    table::write(&mut text, &[Column::left(""), Column::left("NAME"), Column::elastic("ROUTER")], &rows);
    written(out.write_all(tell::safe(&text).as_bytes()))
}

fn row(name: &Name, is_used: bool, router: String) -> Vec<String> {
    vec![if is_used { "*" } else { " " }.to_owned(), name.to_string(), router]
}

fn show(folder: &Folder, shown: &Chosen, reach: &Reach, given: &Given, json: bool) -> Result<(), Failure> {
    let name = &shown.name;
    let settings = folder.read(name)?.ok_or_else(|| missing(folder, shown))?;
    let in_use = chosen(folder, reach, given)?.filter(|used| used.name == *name);
    if json {
        let object = object(folder, name, &settings, in_use.is_some());
        return written(show::json_line(&mut io::stdout().lock(), &object));
    }
    let by = match in_use.as_ref().map(|used| used.by) {
        None => "",
        Some(By::Use) => " (the current one)",
        Some(By::Environment) => " (by MILLRACE_CONTEXT)",
        Some(By::CommandLine) => " (by --context)",
    };
    let mut text = format!("{:<15} {name}{by}\n", "context");
    for (key, value) in settings.values() {
        let words = match &value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Array(texts) => {
                texts.iter().filter_map(|text| text.as_str()).collect::<Vec<_>>().join(",")
            }
            other => other.to_string(),
        };
        text.push_str(&format!("{key:<15} {words}\n"));
    }
    text.push_str(&format!("{:<15} {}\n", "file", folder.file(name).display()));
    written(io::stdout().lock().write_all(tell::safe(&text).as_bytes()))?;
    if in_use.is_some() {
        tell_what_comes_before(name, &settings, false);
    }
    Ok(())
}

/// Says which variables of the environment keep commands from what the context says: that is
/// noticed late otherwise. For one that has just become the current one, also that another is
/// named there.
fn tell_what_comes_before(name: &Name, settings: &Settings, is_current: bool) {
    let other = std::env::var("MILLRACE_CONTEXT").ok();
    if let Some(other) = other.filter(|other| is_current && !other.is_empty() && other != name.as_str()) {
        tell(format_args!("MILLRACE_CONTEXT={other} is set here, and comes before the current context"));
        return;
    }
    let values = settings.values();
    let has_identity = settings.has_identity();
    let says = |key: &str| match key {
        "cert" | "key" | "token_file" => has_identity,
        key => values.iter().any(|(said, _)| *said == key),
    };
    let before: Vec<&str> = given::before(says).collect();
    if !before.is_empty() {
        let (is, come) = if before.len() == 1 { ("is", "comes") } else { ("are", "come") };
        tell(format_args!("{} {is} set here, and {come} before what the context says", before.join(", ")));
    }
}

/// A context for programs.
fn object(folder: &Folder, name: &Name, settings: &Settings, is_current: bool) -> Value {
    let mut object = Map::new();
    object.insert("schema".to_owned(), SCHEMA.into());
    object.insert("type".to_owned(), "context".into());
    object.insert("name".to_owned(), name.as_str().into());
    object.insert("current".to_owned(), is_current.into());
    object.insert("file".to_owned(), folder.file(name).display().to_string().into());
    for (key, value) in settings.values() {
        object.insert(key.to_owned(), json!(value));
    }
    Value::Object(object)
}

/// Says what was done: to programs on standard output, to people on standard error.
fn said(json: bool, object: &Value, words: impl FnOnce() -> String) -> Result<(), Failure> {
    if json {
        return written(show::json_line(&mut io::stdout().lock(), object));
    }
    tell::line(words());
    Ok(())
}

/// What became of writing to standard output.
fn written(written: io::Result<()>) -> Result<(), Failure> {
    match written.and_then(|()| io::stdout().lock().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::other(anyhow!(error).context("cannot write")))
        }
        _ => Ok(()),
    }
}
