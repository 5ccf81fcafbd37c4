//! One declaration per setting. What reads, prints, checks and documents settings is derived from
//! these.
//!
//! ```text
//! section! {
//!     /// About the section.
//!     pub struct MeshSettings at mesh {
//!         /// The setting's meaning, for the reference page, `--help` and rustdoc.
//!         "mesh.ping_every" Restart () ping_every: Duration = Duration::from_millis(250) => Span { .. };
//!     }
//! }
//! ```
//!
//! makes the struct with its defaults, and a [`Setting`] for each field of `Settings`. In the
//! brackets stand the flag and the environment variable, where there are some.

use toml::Value;

use super::kinds::Form;

/// When a change of a setting counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// A reload applies it at once.
    Live,
    /// A reload applies it to connections that begin afterwards; older ones keep what they began
    /// with.
    Drain,
    /// It counts from the next start. A reload that would change it is refused whole.
    Restart,
}

impl Change {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Drain => "drain",
            Self::Restart => "restart",
        }
    }
}

/// One setting of the settings `S`, apart from its type.
pub(crate) struct Setting<S> {
    /// Its name: `section.key`, or a key of the file's top.
    pub(crate) name: &'static str,
    /// What it means, in lines.
    pub(crate) meaning: &'static [&'static str],
    pub(crate) change: Change,
    /// Name of the flag without `--`.
    pub(crate) flag: Option<&'static str>,
    /// Environment variable.
    pub(crate) env: Option<&'static str>,
    pub(crate) form: fn() -> Form,
    /// Takes a value of the file; the error says what is wrong with it.
    pub(crate) read: fn(&mut S, &Value) -> Result<(), String>,
    /// Takes the text of a flag or an environment variable for a value of the file.
    pub(crate) value_of: fn(&str) -> Value,
    /// Its value in the file; none where it is unset.
    pub(crate) show: fn(&S) -> Option<Value>,
}

impl<S> Setting<S> {
    /// Section in the file, empty at its top, and key.
    pub(crate) fn place(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').unwrap_or(("", self.name))
    }

    /// Its meaning as one text.
    pub(crate) fn meaning(&self) -> String {
        self.meaning.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }
}

/// A section of the file.
pub(crate) struct Section<S: 'static> {
    /// What it is about, in lines.
    pub(crate) about: &'static [&'static str],
    pub(crate) settings: &'static [Setting<S>],
}

macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $vis:vis struct $name:ident at $place:ident {
            $(
                $(#[doc = $meaning:literal])+
                $setting:literal $change:ident ($($flag:literal $($env:literal)?)?)
                $field:ident: $type:ty = $default:expr => $kind:expr;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        $vis struct $name {
            $(
                $(#[doc = $meaning])+
                pub $field: $type,
            )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $name {
            pub(crate) const SECTION: $crate::config::declare::Section<Settings> = $crate::config::declare::Section {
                about: &[$($about),+],
                settings: &[$(
                    $crate::config::declare::Setting {
                        name: $setting,
                        meaning: &[$($meaning),+],
                        change: $crate::config::declare::Change::$change,
                        flag: $crate::config::declare::section!(@first $($flag)?),
                        env: $crate::config::declare::section!(@first $($($env)?)?),
                        form: || $crate::config::kinds::Kind::<$type>::form(&$kind),
                        read: |all, value| {
                            all.$place.$field = $crate::config::kinds::Kind::<$type>::read(&$kind, value)?;
                            Ok(())
                        },
                        value_of: |text| $crate::config::kinds::Kind::<$type>::value_of(&$kind, text),
                        show: |all| $crate::config::kinds::Kind::<$type>::show(&$kind, &all.$place.$field),
                    },
                )+],
            };
        }
    };
    (@first) => { None };
    (@first $word:literal) => { Some($word) };
}
pub(crate) use section;
