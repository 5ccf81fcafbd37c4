//! Templates of a door whose messages have names, checked.

use super::error::SettingsError;
use super::file::TemplateFile;
use crate::doors::naming::{Dialect, Mapping, Template};

/// The mapping of a door's templates; `key` is their section.
///
/// # Errors
/// [`SettingsError::Template`] names the template.
pub(super) fn mapping(
    dialect: Dialect,
    key: &'static str,
    templates: &[TemplateFile],
) -> Result<Mapping, SettingsError> {
    let templates = templates.iter().map(|file| Template::parse(dialect, &file.template, file.tags.clone()));
    let templates: Result<Vec<Template>, _> = templates.collect();
    Ok(Mapping::new(dialect, templates.map_err(|source| SettingsError::Template { key, source })?))
}
