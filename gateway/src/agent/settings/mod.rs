//! What the agent is told: defaults, then the file, then the environment, then flags; the last one
//! counts.
//!
//! | file | what it has |
//! |---|---|
//! | `file` | the configuration file as it is written, and its defaults |
//! | `size` | bytes, as `1GiB` |
//! | `cli` | the command line and its environment variables |
//! | `checked` | [`AgentSettings`]: everything together, without an invalid state |

mod checked;
mod cli;
mod file;
mod size;

pub use checked::{AgentSettings, AgentSettingsError, Overflow, SpoolSettings, UnixSettings};
pub use cli::{AgentCli, AgentCliError};
pub use file::{AgentFile, HostFile, LocalFile, LocalSyslogFile, SpoolFile, UnixFile};
pub use size::Size;
