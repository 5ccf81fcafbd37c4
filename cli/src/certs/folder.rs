//! The files of an authority in their folder.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, anyhow, bail};
use millrace_certs::{ClusterAuthority, write_private};

/// The authority's certificate.
pub(super) const CA: &str = "ca.pem";
/// The authority's key.
pub(super) const CA_KEY: &str = "ca.key";
/// The cluster's secret.
pub(super) const SECRET: &str = "cluster.secret";

/// The cluster's id.
pub(super) const CLUSTER: &str = "cluster.id";

/// A folder with an authority, or one that gets it.
pub(super) struct Folder<'a> {
    path: &'a Path,
    force: bool,
}

impl<'a> Folder<'a> {
    pub(super) fn new(path: &'a Path, force: bool) -> Self {
        Self { path, force }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The cluster's id, if it has one.
    pub(super) fn cluster(&self) -> Option<String> {
        fs::read_to_string(self.file(CLUSTER)).ok().map(|id| id.trim().to_owned())
    }

    /// The authority that is here, and what is unsafe about it.
    pub(super) fn authority(&self, now: SystemTime) -> anyhow::Result<(ClusterAuthority, Option<String>)> {
        let (certificate, key) = (self.file(CA), self.file(CA_KEY));
        let read = |path: &Path| fs::read_to_string(path);
        let texts = read(&certificate).and_then(|text| Ok((text, read(&key)?)));
        let (certificate_pem, key_pem) = texts.with_context(|| {
            format!(
                "there is no authority in {} ({CA} and {CA_KEY}): make one with `millrace certs init`, or name its folder \
                 with --dir",
                self.path.display()
            )
        })?;
        let names = [certificate.display().to_string(), key.display().to_string()];
        let names = names.each_ref().map(String::as_str);
        let authority = ClusterAuthority::from_pem(&certificate_pem, &key_pem, names, now)?;
        Ok((authority, open_to_others(&key)))
    }

    /// Refuses to go on when one of the files is there and must not be replaced; `because` says
    /// what would be lost.
    pub(super) fn must_lack(&self, names: &[&str], because: &str) -> anyhow::Result<()> {
        let taken = names.iter().map(|name| self.file(name)).find(|path| path.symlink_metadata().is_ok());
        match taken {
            Some(path) if !self.force => bail!("{} is there already: {because}", path.display()),
            _ => Ok(()),
        }
    }

    /// Writes files for their owner alone; makes the folder when there is none.
    pub(super) fn write(&self, files: &[(&str, &str)]) -> anyhow::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(self.path)
            .with_context(|| format!("cannot make the folder {}", self.path.display()))?;
        for (name, text) in files {
            let path = self.file(name);
            write_private(&path, text)
                .map_err(|error| anyhow!("cannot write {}: {error}", path.display()))?;
        }
        Ok(())
    }
}

fn open_to_others(key: &Path) -> Option<String> {
    let mode = fs::metadata(key).ok()?.mode();
    let path = key.display();
    (mode & 0o077 != 0).then(|| {
        format!(
            "other users may use the authority's key {path} (mode {:o}), and so pose as any router: `chmod 600 {path}`",
            mode & 0o777
        )
    })
}
