//! Names of other protocols as tags: a subject of NATS, a topic of MQTT.
//!
//! A name is tokens between separators. A template of the settings says which tags it stands for
//! (`logs.{host}.{severity}`, `sensors/{room}/{kind}`); a name that fits no template is one tag,
//! `subject` or `topic`. So one name is one tag set and the other way round, and events of other
//! doors have names, too. A pattern with wildcards becomes selectors.
//!
//! | file | what it has |
//! |---|---|
//! | `dialect` | [`Dialect`]: how a protocol writes names and patterns |
//! | `template` | [`Template`]: one template |
//! | `mapping` | [`Mapping`]: names to tags and back, patterns to selectors |
//! | `recent` | what names and tags became lately, for each client |

mod dialect;
mod mapping;
mod recent;
mod template;

pub use dialect::Dialect;
pub use mapping::{Mapping, Named};
pub(crate) use recent::{RecentNames, RecentTags};
pub use template::{Template, TemplateError};
