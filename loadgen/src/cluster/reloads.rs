//! Own routers that read their settings anew from a file that they share.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::process::ask;

/// The name of the file in the folder of the routers' certificates.
const FILE: &str = "router.toml";

/// Where the file is, and whom to tell.
#[derive(Debug)]
pub(crate) struct Reloads {
    file: PathBuf,
    admins: Vec<SocketAddr>,
}

impl Reloads {
    /// Of routers with these admin pages, where they were started with such a file.
    pub(super) fn of(folder: &Path, admins: Vec<SocketAddr>) -> Option<Self> {
        let file = folder.join(FILE);
        file.exists().then_some(Self { file, admins })
    }

    /// Writes the file that routers are started with; its path.
    pub(super) fn begin(folder: &Path, text: &str) -> std::io::Result<PathBuf> {
        let file = folder.join(FILE);
        std::fs::write(&file, text)?;
        Ok(file)
    }

    /// Has all routers read this text, one after the other. How many settings each of them says
    /// have changed; none where it refused, or said nothing.
    pub(crate) fn apply(&self, text: &str) -> Vec<Option<usize>> {
        // Whole or not at all, as an editor would write it.
        let other = self.file.with_extension("new");
        let is_written =
            std::fs::write(&other, text).and_then(|()| std::fs::rename(&other, &self.file)).is_ok();
        let told = |admin: &SocketAddr| {
            let answer = ask(*admin, "POST", "reload").ok().filter(|_| is_written)?;
            let (head, body) = answer.split_once("\r\n\r\n")?;
            let body: serde_json::Value =
                head.starts_with("HTTP/1.1 200").then(|| serde_json::from_str(body).ok())??;
            Some(body["changes"].as_array()?.len())
        };
        self.admins.iter().map(told).collect()
    }
}
