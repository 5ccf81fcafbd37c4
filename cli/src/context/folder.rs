//! The files of contexts: `$XDG_CONFIG_HOME/millrace/contexts/NAME.toml`, `~/.config/…` without the
//! variable, `%APPDATA%\…` on Windows. The file `current` beside them has the name of the current
//! one.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::guard;
use super::name::Name;
use super::settings::{Base, Settings};
use crate::failure::Failure;

/// What files of contexts end with.
const ENDING: &str = "toml";
/// The file with the current context's name.
const CURRENT: &str = "current";
/// Bytes of a file, at most.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Files of the folder that are looked at, at most.
const FILES_MAX: usize = 10_000;

/// The folder of this user's contexts. It need not exist.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    home: Option<PathBuf>,
}

impl Folder {
    /// The folder of this user.
    ///
    /// # Errors
    /// Nothing says where it is.
    pub(super) fn of_user() -> Result<Self, Failure> {
        Self::by(|name| std::env::var_os(name)).ok_or_else(|| {
            let set = if cfg!(windows) { "APPDATA" } else { "HOME, or XDG_CONFIG_HOME" };
            Failure::usage(anyhow!("there is no place for contexts")).hint(format!("Set {set}."))
        })
    }

    fn by(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        // A relative one is to be ignored (XDG Base Directory Specification 0.8): each folder of
        // work would have its own.
        let folder = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = folder("HOME");
        let config = folder("XDG_CONFIG_HOME");
        let config = config.or_else(|| if cfg!(windows) { folder("APPDATA") } else { None });
        let config = config.or_else(|| home.as_ref().map(|home| home.join(".config")))?;
        Some(Self { path: config.join("millrace").join("contexts"), home })
    }

    /// The file of a context.
    pub(super) fn file(&self, name: &Name) -> PathBuf {
        // Not by `set_extension`: a name may have dots.
        self.path.join(format!("{name}.{ENDING}"))
    }

    /// The names of all contexts, in order.
    ///
    /// # Errors
    /// The folder cannot be read, or others may write it.
    pub(super) fn names(&self) -> Result<Vec<Name>, Failure> {
        self.check()?;
        let files = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            files => files.with_context(|| self.cannot("read")).map_err(Failure::other)?,
        };
        let files = files.take(FILES_MAX).filter_map(|file| file.ok()?.file_name().into_string().ok());
        let mut names: Vec<Name> =
            files.filter_map(|file| file.strip_suffix(ENDING)?.strip_suffix('.')?.parse().ok()).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// What a context says; nothing where there is none of this name.
    ///
    /// # Errors
    /// It cannot be read or understood, or others may write it.
    pub(super) fn read(&self, name: &Name) -> Result<Option<Settings>, Failure> {
        self.check()?;
        let path = self.file(name);
        let Some(text) = read(&path)? else { return Ok(None) };
        let base = Base { folder: &self.path, home: self.home.as_deref() };
        Settings::read(&text, base).map(Some).map_err(|problem| {
            Failure::usage(anyhow!("the context \"{name}\" cannot be used: {}, {problem}", path.display()))
                .hint("--context none does without one.")
        })
    }

    /// Writes a context, whole or not at all; one of this name is replaced.
    ///
    /// # Errors
    /// It cannot be written, or others may write the folder.
    pub(super) fn write(&self, name: &Name, settings: &Settings) -> Result<(), Failure> {
        let toml = settings.to_toml().map_err(|problem| Failure::usage(anyhow!(problem)))?;
        self.put(&self.file(name), &toml)
    }

    /// Removes a context; whether there was one.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn remove(&self, name: &Name) -> Result<bool, Failure> {
        remove(&self.file(name))
    }

    /// The current context's name, if there is a current one.
    ///
    /// # Errors
    /// The file that says so cannot be read or understood, or others may write it.
    pub(super) fn current(&self) -> Result<Option<Name>, Failure> {
        self.check()?;
        let path = self.path.join(CURRENT);
        let Some(text) = read(&path)? else { return Ok(None) };
        let name = text.trim_end();
        name.parse().map(Some).map_err(|problem| {
            Failure::usage(anyhow!("{} holds no name of a context: {problem}", path.display()))
                .hint("`millrace context use NAME` writes it anew, `millrace context use --none` removes it.")
        })
    }

    /// Makes a context the current one, or none.
    ///
    /// # Errors
    /// The system's, or others may write the folder.
    pub(super) fn set_current(&self, name: Option<&Name>) -> Result<(), Failure> {
        let path = self.path.join(CURRENT);
        match name {
            Some(name) => self.put(&path, &format!("{name}\n")),
            None => remove(&path).map(drop),
        }
    }

    fn put(&self, path: &Path, text: &str) -> Result<(), Failure> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let made = builder.recursive(true).create(&self.path).with_context(|| self.cannot("make"));
        made.map_err(Failure::other)?;
        self.check()?;
        write(path, text).with_context(|| format!("cannot write {}", path.display())).map_err(Failure::other)
    }

    /// Whether only this user writes here: the folder itself, and the one that holds it.
    fn check(&self) -> Result<(), Failure> {
        for folder in self.path.parent().into_iter().chain([self.path.as_path()]) {
            match fs::metadata(folder) {
                Ok(metadata) => believe(folder, &metadata)?,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    let shown = folder.display();
                    return Err(Failure::other(anyhow!(error).context(format!("cannot look at {shown}"))));
                }
            }
        }
        Ok(())
    }

    fn cannot(&self, what: &str) -> String {
        format!("cannot {what} the folder {}", self.path.display())
    }
}

/// Refuses what others may write.
fn believe(path: &Path, metadata: &fs::Metadata) -> Result<(), Failure> {
    match guard::objection(path, metadata) {
        Some(problem) => Err(Failure::usage(anyhow!(problem)).hint("--context none does without a context.")),
        None => Ok(()),
    }
}

/// The text of a file, if there is one.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    let shown = path.display();
    // A pipe is not opened: that waits for whoever writes it.
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Ok(metadata) if !metadata.is_file() => return Err(Failure::usage(anyhow!("{shown} is no file"))),
        _ => {}
    }
    let cannot = || format!("cannot read {shown}");
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.with_context(cannot).map_err(Failure::usage)?,
    };
    believe(path, &file.metadata().with_context(cannot).map_err(Failure::usage)?)?;
    let mut text = String::new();
    let bytes = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    let bytes = bytes.with_context(cannot).map_err(Failure::usage)?;
    if bytes as u64 > FILE_BYTES_MAX {
        return Err(Failure::usage(anyhow!(
            "{shown} is larger than {} KiB: that is another file",
            FILE_BYTES_MAX >> 10
        )));
    }
    Ok(Some(text))
}

/// Removes a file; whether there was one.
fn remove(path: &Path) -> Result<bool, Failure> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => {
            Err(Failure::other(anyhow!(error).context(format!("cannot remove {}", path.display()))))
        }
    }
}

#[cfg(unix)]
fn write(path: &Path, text: &str) -> io::Result<()> {
    millrace_certs::write_private(path, text)
}

#[cfg(not(unix))]
fn write(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension(format!("{}.new", std::process::id()));
    fs::write(&new, text)?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_where_the_environment_says() {
        let by = |variables: &[(&str, &str)]| {
            let variable =
                |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            Folder::by(variable).map(|folder| folder.path)
        };
        let home = ("HOME", "/home/ann");
        assert_eq!(by(&[home]), Some(PathBuf::from("/home/ann/.config/millrace/contexts")));
        assert_eq!(by(&[home, ("XDG_CONFIG_HOME", "/x")]), Some(PathBuf::from("/x/millrace/contexts")));
        for ignored in ["", "relative"] {
            assert_eq!(by(&[home, ("XDG_CONFIG_HOME", ignored)]), by(&[home]));
        }
        assert_eq!(by(&[]), None);
    }

    #[test]
    fn names_with_dots_keep_them() {
        let base = tempfile::tempdir().expect("a folder");
        let folder = Folder { path: base.path().join("contexts"), home: None };
        let names: Vec<Name> = ["a.b", "a"].iter().map(|name| name.parse().expect("a name")).collect();
        for name in &names {
            folder.write(name, &Settings::default()).expect("room");
        }
        folder.set_current(Some(&names[0])).expect("room");
        fs::write(folder.path.join("a.1.new"), "left by a process that was killed").expect("room");
        assert_eq!(folder.names().expect("it is there"), [names[1].clone(), names[0].clone()]);
        assert_eq!(folder.current().expect("it is there"), Some(names[0].clone()));
        assert!(folder.remove(&names[0]).expect("it is there"));
        assert_eq!(folder.names().expect("it is there"), [names[1].clone()]);
    }
}
