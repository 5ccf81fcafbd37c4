//! `millrace context save`: what of the command line is kept, and how.

use std::path::{Path, PathBuf, absolute};

use anyhow::{Context, anyhow};
use millrace_client::RouterLevels;

use super::args::Save;
use super::choice::{By, Chosen, missing};
use super::folder::Folder;
use super::given::Given;
use super::name::Choice;
use super::settings::Settings;
use crate::failure::Failure;
use crate::options::Reach;
use crate::tell::tell;

/// Writes the context.
///
/// # Errors
/// Nothing is given, it is there already, or it cannot be kept.
pub(super) fn save(folder: &Folder, save: &Save, reach: &Reach, given: &Given) -> Result<Settings, Failure> {
    let name = &save.name;
    if given.has_here("context") && matches!(reach.context, Some(Choice::Name(_))) {
        let what = anyhow!("--context says which context a command uses, and `save` uses none");
        return Err(Failure::usage(what).hint("--from NAME begins with what that one says."));
    }
    let begin_with = save.from.as_ref().or_else(|| save.update.then_some(name));
    let below = match begin_with {
        Some(name) => folder
            .read(name)?
            .ok_or_else(|| missing(folder, &Chosen { name: name.clone(), by: By::CommandLine }))?,
        None => Settings::default(),
    };
    let here = here(save, reach, given)?;
    if here == Settings::default() && save.from.is_none() {
        let example = format!("millrace --router HOST --ca FILE context save {name}");
        return Err(Failure::usage(anyhow!("nothing is given that a context keeps"))
            .hint(format!("Options of this command line are kept, not the environment's: {example}")));
    }
    let is_there = folder.file(name).symlink_metadata().is_ok();
    if is_there && !save.update && !save.replace {
        return Err(Failure::usage(anyhow!("there is a context \"{name}\" already"))
            .hint("--update changes in it what is given here, --replace replaces it."));
    }
    let settings = here.over(below);
    settings.check().map_err(|problem| Failure::usage(anyhow!(problem)))?;
    folder.write(name, &settings)?;
    Ok(settings)
}

/// What the command line says.
fn here(save: &Save, reach: &Reach, given: &Given) -> Result<Settings, Failure> {
    let text = |id: &str, text: &Option<String>| match text {
        Some(text) if given.has_here(id) && text.is_empty() => {
            let option = id.replace('_', "-");
            Err(Failure::usage(anyhow!("--{option} is empty: a context has it with a value, or not at all")))
        }
        text => Ok(text.clone().filter(|_| given.has_here(id))),
    };
    let file = |id: &str, path: &Option<PathBuf>| {
        path.as_deref().filter(|_| given.has_here(id)).map(|path| file(id, path)).transpose()
    };
    let levels = || reach.router.iter().cloned().fold(RouterLevels::default(), RouterLevels::and);
    Ok(Settings {
        router: given.has_here("router").then(levels),
        admin: save.admin.clone(),
        ca: file("ca", &reach.ca)?,
        cert: file("cert", &reach.cert)?,
        key: file("key", &reach.key)?,
        token_file: file("token_file", &reach.token_file)?,
        accept_open_key: given.has_here("accept_open_key"),
        server_name: text("server_name", &reach.server_name)?,
        zone: text("zone", &reach.zone)?,
    })
}

/// The whole path of a file that a context is to name. One that is not there may come later; what
/// is no file would be gone.
fn file(id: &str, path: &Path) -> Result<PathBuf, Failure> {
    let option = id.replace('_', "-");
    let path = absolute(path).with_context(|| format!("--{option}")).map_err(Failure::usage)?;
    match path.metadata() {
        Ok(metadata) if !metadata.is_file() => {
            let what = anyhow!("--{option}: {} is no file that a context could name", path.display());
            Err(Failure::usage(what))
        }
        Ok(_) => Ok(path),
        Err(error) => {
            tell(format_args!("--{option}: {}: {error}; the context names it all the same", path.display()));
            Ok(path)
        }
    }
}
