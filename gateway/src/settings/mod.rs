//! What the gateway is told: defaults, then the file, then the environment, then flags; the last
//! one counts.
//!
//! | file | what it has |
//! |---|---|
//! | `file` | the configuration file as it is written |
//! | `cli` | the command line and its environment variables |
//! | `access` | identities of a door, checked |
//! | `door` | what all doors have |
//! | `http`, `syslog`, `nats`, `mqtt` | the sections of doors, checked |
//! | `names` | templates of subjects and topics |
//! | `differences` | what is not as it was, and whether it may change meanwhile |
//! | `error` | [`SettingsError`] |
//! | `checked` | [`Settings`]: everything together, without an invalid state |

mod access;
mod checked;
mod cli;
mod differences;
mod door;
mod error;
mod file;
mod http;
mod mqtt;
mod names;
mod nats;
mod syslog;

pub use access::AccessError;
pub use checked::Settings;
pub(crate) use checked::{change_identity, open_keys, routers};
pub use cli::{Cli, CliError};
pub(crate) use differences::differences;
pub use door::DoorSettings;
pub(crate) use door::listen;
pub use error::SettingsError;
pub use file::{
    AdminFile, File, HttpFile, IdentityFile, LogFile, MqttFile, NatsFile, RoutersFile, SyslogFile,
    TemplateFile, TlsFile,
};
pub use http::HttpSettings;
pub use mqtt::MqttSettings;
pub use nats::NatsSettings;
pub use syslog::SyslogSettings;
pub(crate) use syslog::zone;
