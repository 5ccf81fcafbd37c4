//! What the gateway is told: defaults, then the file, then the environment, then flags; the last one
//! counts.
//!
//! | file | what it has |
//! |---|---|
//! | `file` | the configuration file as it is written |
//! | `cli` | the command line and its environment variables |
//! | `access` | identities of a door, checked |
//! | `checked` | [`Settings`]: everything together, without an invalid state |

mod access;
mod checked;
mod cli;
mod file;

pub use access::AccessError;
pub use checked::{DoorSettings, HttpSettings, Settings, SettingsError};
pub use cli::{Cli, CliError};
pub use file::{AdminFile, File, HttpFile, IdentityFile, LogFile, RoutersFile};
