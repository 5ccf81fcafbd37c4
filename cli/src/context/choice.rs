//! Which context a command uses: `--context`, else the variable, else the current one.

use std::path::PathBuf;

use anyhow::anyhow;

use super::apply::{Reaches, apply};
use super::folder::Folder;
use super::given::Given;
use super::name::{Choice, Name};
use crate::failure::Failure;
use crate::nearest::nearest;
use crate::options::Reach;

/// Names that are told, at most.
const NAMES_TOLD_MAX: usize = 20;

/// Who has named a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The command line.
    CommandLine,
    /// `MILLRACE_CONTEXT`.
    Environment,
    /// `millrace context use`.
    Use,
}

/// The context of a command.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) name: Name,
    pub(super) by: By,
}

/// The context that a command uses with these options, if any.
///
/// # Errors
/// The name of the current one cannot be read.
pub(super) fn chosen(folder: &Folder, reach: &Reach, given: &Given) -> Result<Option<Chosen>, Failure> {
    let by = if given.has_here("context") { By::CommandLine } else { By::Environment };
    Ok(match &reach.context {
        Some(Choice::Nothing) => None,
        Some(Choice::Name(name)) => Some(Chosen { name: name.clone(), by }),
        None => folder.current()?.map(|name| Chosen { name, by: By::Use }),
    })
}

/// There is no such context: which there are, and what to do.
pub(super) fn missing(folder: &Folder, Chosen { name, by }: &Chosen) -> Failure {
    let names = folder.names().unwrap_or_default();
    let near = nearest(name.as_str(), names.iter().map(Name::as_str));
    let near = near.map(|near| format!("; is it \"{near}\"?")).unwrap_or_default();
    let error = match by {
        By::CommandLine => anyhow!("there is no context \"{name}\"{near}"),
        By::Environment => anyhow!("MILLRACE_CONTEXT: there is no context \"{name}\"{near}"),
        By::Use => {
            anyhow!("the current context \"{name}\" is gone: there is no {}", folder.file(name).display())
        }
    };
    let told: Vec<&str> = names.iter().take(NAMES_TOLD_MAX).map(Name::as_str).collect();
    let more = names.len() - told.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let known = match told.as_slice() {
        [] => "There are none".to_owned(),
        told => format!("There are {}{more}", told.join(", ")),
    };
    let cure = match by {
        By::Use => {
            "`millrace context use NAME` takes another one, `millrace context use --none` none.".to_owned()
        }
        _ => format!("`millrace --router HOST --ca FILE context save {name}` makes this one."),
    };
    Failure::usage(error).hint(format!("{known}. {cure}"))
}

/// What a command has from its context.
#[derive(Debug)]
pub(crate) struct Used {
    name: Name,
    file: PathBuf,
    options: Vec<&'static str>,
}

impl Used {
    /// The same failure; one that is about the way to routers says what of it the context gave.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        if !failure.is_about_reach || self.options.is_empty() {
            return failure;
        }
        let options: Vec<String> =
            self.options.iter().map(|id| format!("--{}", id.replace('_', "-"))).collect();
        failure.add_hint(format!(
            "The context \"{}\" gives {} here ({}); --context none leaves it out.",
            self.name,
            options.join(", "),
            self.file.display()
        ))
    }
}

/// Takes what neither the command line nor the environment says from the context of a command, if
/// it has one and reaches somebody.
///
/// # Errors
/// The context is missing, cannot be read, or does not say where to go.
pub(crate) fn choose(
    reach: &mut Reach,
    reaches: Reaches<'_>,
    given: &Given,
) -> Result<Option<Used>, Failure> {
    let is_named = matches!(reach.context, Some(Choice::Name(_)));
    if matches!(reaches, Reaches::Nobody) || reach.context == Some(Choice::Nothing) {
        return Ok(None);
    }
    let folder = match Folder::of_user() {
        Err(failure) if is_named => return Err(failure),
        // Without a place there is no current one.
        Err(_) => return Ok(None),
        Ok(folder) => folder,
    };
    let Some(chosen) = chosen(&folder, reach, given)? else { return Ok(None) };
    let Some(settings) = folder.read(&chosen.name)? else { return Err(missing(&folder, &chosen)) };
    let name = chosen.name;
    match apply(&settings, given, reach, reaches) {
        Ok(options) => Ok(Some(Used { file: folder.file(&name), name, options })),
        Err(option) => {
            let what = if option == "admin" { "admin page" } else { "router" };
            Err(Failure::usage(anyhow!("the context \"{name}\" names no {what}")).hint(format!(
                "Give --{option}, keep it with `millrace context save {name} --update --{option} …`, or \
                 ask on this host with --context none."
            )))
        }
    }
}
