//! Values with captures in them: `${name}` stands for a captured text, `$${` for `${`.

use super::bounds::CAPTURE_BYTES_MAX;
use crate::tag::TagSetRef;

/// A piece of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Literal(String),
    /// The value of a published tag, by key.
    Tag(String),
    /// A group of a payload pattern, by its place among the rule's groups.
    Group(usize),
}

/// A value as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    parts: Vec<Part>,
}

/// Why a value cannot be made for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unmade {
    /// A group took no part in the match.
    Absent,
    /// What a group has matched is not UTF-8.
    NotText,
    /// A captured text is longer than [`CAPTURE_BYTES_MAX`].
    TooLong,
}

impl Unmade {
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Absent => "a captured group took no part in the match",
            Self::NotText => "what was captured is not UTF-8",
            Self::TooLong => "what was captured is too long",
        }
    }
}

impl Template {
    /// Reads a value; `resolve` says what a capture stands for.
    pub(super) fn parse(
        text: &str,
        mut resolve: impl FnMut(&str) -> Result<Part, String>,
    ) -> Result<Self, String> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find("${") {
            if let Some(before) = rest[..at].strip_suffix('$') {
                literal.push_str(before);
                literal.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            literal.push_str(&rest[..at]);
            let (name, behind) = rest[at + 2..].split_once('}').ok_or_else(|| {
                format!("`{text}` has a `${{` without `}}`; `$${{` stands for `${{` itself")
            })?;
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(resolve(name)?);
            rest = behind;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts })
    }

    /// Whether its value depends on the event.
    pub(super) fn has_captures(&self) -> bool {
        !matches!(self.parts[..], [] | [Part::Literal(_)])
    }

    /// The value for an event; `groups` are what the rule's groups have matched.
    pub(super) fn make(&self, tags: TagSetRef<'_>, groups: &[Option<&[u8]>]) -> Result<String, Unmade> {
        let mut value = String::new();
        for part in &self.parts {
            let captured = match part {
                Part::Literal(text) => {
                    value.push_str(text);
                    continue;
                }
                Part::Tag(key) => tags.get(key).ok_or(Unmade::Absent)?,
                Part::Group(place) => {
                    let bytes = groups.get(*place).copied().flatten().ok_or(Unmade::Absent)?;
                    std::str::from_utf8(bytes).map_err(|_| Unmade::NotText)?
                }
            };
            if captured.len() > CAPTURE_BYTES_MAX {
                return Err(Unmade::TooLong);
            }
            value.push_str(captured);
        }
        Ok(value)
    }
}
