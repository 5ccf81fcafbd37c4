//! What the gateway is told: defaults, then the file, then the environment, then flags; the last one
//! counts.
//!
//! | file | what it has |
//! |---|---|
//! | `file` | the configuration file as it is written |
//! | `cli` | the command line and its environment variables |
//! | `access` | identities of a door, checked |
//! | `door` | what all doors have |
//! | `http`, `syslog`, `nats` | the sections of doors, checked |
//! | `error` | [`SettingsError`] |
//! | `checked` | [`Settings`]: everything together, without an invalid state |

mod access;
mod checked;
mod cli;
mod door;
mod error;
mod file;
mod http;
mod nats;
mod syslog;

pub use access::AccessError;
pub use checked::Settings;
pub use cli::{Cli, CliError};
pub use door::DoorSettings;
pub use error::SettingsError;
pub use file::{
    AdminFile, File, HttpFile, IdentityFile, LogFile, NatsFile, RoutersFile, SubjectFile, SyslogFile,
};
pub use http::HttpSettings;
pub use nats::NatsSettings;
pub use syslog::SyslogSettings;
