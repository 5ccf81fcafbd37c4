//! The command line of `millrace context`.

use clap::Subcommand;

use super::name::Name;
use crate::admin::AdminUrl;

/// Keep connection options under a name, and use them by it.
///
/// A context is a cluster as this user reaches it: --router, --ca, --cert and --key or
/// --token-file, --accept-open-key, --server-name, --zone, and --admin of `ctl`, `top` and `check`.
/// Each is a file, NAME.toml in ~/.config/millrace/contexts ($XDG_CONFIG_HOME/millrace/contexts if
/// that is set), which may be written by hand, too. Files that other users may write are refused.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ContextArgs {
    #[command(subcommand)]
    pub(super) what: What,
}

const EXAMPLES: &str = "\
Examples:
  millrace --router r1,r2 --ca ca.pem context save prod --admin http://r1:7401
  millrace context use prod          from here on
  millrace sub '*'                   everything of prod
  millrace --context stage sub '*'   one command elsewhere
  millrace --context none sub '*'    as if there were no contexts

Which value counts: that of the command line, else of the environment, else of
the context, else the default; for each option by itself, but for two:
  --router, --admin   leave out the context's --server-name, keep certificates
  --cert, --key, --token-file
                      one of them, or MILLRACE_TOKEN, replaces the context's
                      three and its --accept-open-key";

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// List contexts; `*` marks the one that commands use.
    List,
    /// Show what a context says: the one that commands use, unless named.
    Show {
        /// Which.
        #[arg(value_name = "NAME")]
        name: Option<Name>,
    },
    Save(Save),
    /// Use a context from here on, in all shells of this user.
    ///
    /// MILLRACE_CONTEXT chooses another one for a shell, --context for a command.
    Use {
        /// Which.
        #[arg(value_name = "NAME", required_unless_present = "none", conflicts_with = "none")]
        name: Option<Name>,
        /// Use none from here on.
        #[arg(long)]
        none: bool,
    },
    /// Remove a context.
    ///
    /// When it is the current one, none is from here on. The files that it names stay.
    Remove {
        /// Which.
        #[arg(value_name = "NAME")]
        name: Name,
    },
}

/// Keep the connection options of this command line.
///
/// Variables of the environment are not kept. Paths are made absolute; certificates and keys stay
/// where they are, and a token itself is never kept: --token-file names its file.
#[derive(Debug, clap::Args)]
pub(super) struct Save {
    /// The context: letters, digits, and . _ - + @ behind the first.
    #[arg(value_name = "NAME")]
    pub(super) name: Name,
    /// Admin page of a router, for `ctl`, `top` and `check`. May be given several times, or several
    /// with commas between.
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub(super) admin: Vec<AdminUrl>,
    /// Begin with what this context says.
    #[arg(long, value_name = "NAME", conflicts_with = "update")]
    pub(super) from: Option<Name>,
    /// Change what is given here in the context of this name, and keep the rest.
    #[arg(long, conflicts_with = "replace")]
    pub(super) update: bool,
    /// Replace the context of this name, if there is one.
    #[arg(long)]
    pub(super) replace: bool,
    /// Use it from here on, too.
    #[arg(long = "use")]
    pub(super) and_use: bool,
}
