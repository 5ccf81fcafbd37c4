//! The secret of the host, from which the publisher ids of its producers follow.
//!
//! A file of 64 hexadecimal digits beside the producers' folders. A spool remembers the secret that
//! it was made with: without the file, what is there keeps its ids, and a connection for each
//! spool.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use millrace_client::PublisherSecret;
use millrace_client::spool::Identity;

use super::folders::BAD;

/// Name of the file. It is that of no folder, because those begin with a number.
const NAME: &str = "secret";
/// Its name while it is written.
const NEW_NAME: &str = "secret.new";

/// The secret of the host whose producers are in `folder`, made where there is none.
pub(super) fn of(folder: &Path) -> io::Result<PublisherSecret> {
    let at = folder.join(NAME);
    match fs::read_to_string(&at) {
        Ok(text) => match read(text.trim_end()) {
            Some(secret) => return Ok(secret),
            None => {
                tracing::error!(file = %at.display(), "the secret of the host cannot be read; set aside");
                fs::rename(&at, folder.join(format!("{NAME}{BAD}")))?;
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let secret = Identity::random().secret;
    write(folder, &secret)?;
    Ok(secret)
}

fn read(text: &str) -> Option<PublisherSecret> {
    let mut secret = [0; 32];
    if text.len() != 2 * secret.len() || !text.is_ascii() {
        return None;
    }
    for (index, byte) in secret.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(PublisherSecret(secret))
}

/// Writes the file, whole or not at all.
fn write(folder: &Path, secret: &PublisherSecret) -> io::Result<()> {
    let text: String = secret.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let new = folder.join(NEW_NAME);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(new, folder.join(NAME))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_stays_and_a_damaged_one_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let first = of(folder.path()).unwrap();
        assert_eq!(of(folder.path()).unwrap().0, first.0);
        let mode = fs::metadata(folder.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for damaged in ["", "abc", &"g".repeat(64), &"ä".repeat(32)] {
            fs::write(folder.path().join(NAME), damaged).unwrap();
            let next = of(folder.path()).unwrap();
            assert_ne!(next.0, first.0);
            assert_eq!(of(folder.path()).unwrap().0, next.0);
            assert_eq!(fs::read_to_string(folder.path().join("secret.bad")).unwrap(), damaged);
        }
    }
}
