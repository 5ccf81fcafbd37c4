//! Functions that are too long to hold in one's head, and structs with too many fields.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use syn::visit::Visit;
use syn::{Block, ImplItemFn, Item, ItemFn, ItemStruct, Signature, TraitItemFn};

use crate::files;
use crate::source::{attributes, is_test};

/// Most lines of a function, from its signature to its closing brace.
pub(crate) const FUNCTION_LINES_MAX: usize = 80;

/// Most fields of a struct in a folder of [`FEW_FIELDS`].
pub(crate) const FIELDS_MAX: usize = 16;

/// Folders whose structs may have at most [`FIELDS_MAX`] fields: a core's state is to stay in named
/// parts.
const FEW_FIELDS: [&str; 1] = ["engine/src/core"];

/// Something that is larger than it may be.
#[derive(Debug)]
pub(crate) enum Large {
    /// A function of more than [`FUNCTION_LINES_MAX`] lines.
    Function { path: PathBuf, line: usize, name: String, lines: usize },
    /// A struct of more than [`FIELDS_MAX`] fields.
    Struct { path: PathBuf, line: usize, name: String, fields: usize },
}

impl fmt::Display for Large {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function { path, line, name, lines } => {
                let path = path.display();
                write!(f, "{path}:{line}: `{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}")
            }
            Self::Struct { path, line, name, fields } => {
                write!(f, "{}:{line}: `{name}` has {fields} fields, at most {FIELDS_MAX}", path.display())
            }
        }
    }
}

/// What is too large in the sources below a folder of the root. Code that only tests are built with
/// is left out.
pub(crate) fn find(root: &Path, place: &Path) -> Result<Vec<Large>> {
    let mut found = Vec::new();
    for path in files::below(place, ".rs")? {
        let relative = path.strip_prefix(root)?.to_owned();
        if relative.components().any(|part| part.as_os_str() == "tests") || relative.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("cannot parse {}", path.display()))?;
        let few_fields = FEW_FIELDS.iter().any(|folder| relative.starts_with(folder));
        let mut visitor = Sizes { path: &relative, few_fields, found: &mut found };
        visitor.visit_file(&parsed);
    }
    Ok(found)
}

/// Measures the items of one file.
struct Sizes<'a> {
    path: &'a Path,
    few_fields: bool,
    found: &'a mut Vec<Large>,
}

impl Sizes<'_> {
    fn measure(&mut self, signature: &Signature, body: &Block) {
        let first = signature.fn_token.span.start().line;
        let lines = body.brace_token.span.close().end().line + 1 - first;
        if lines > FUNCTION_LINES_MAX {
            let (path, name) = (self.path.to_owned(), signature.ident.to_string());
            self.found.push(Large::Function { path, line: first, name, lines });
        }
    }
}

impl<'ast> Visit<'ast> for Sizes<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.measure(&function.sig, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.measure(&function.sig, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(body) = &function.default {
            self.measure(&function.sig, body);
        }
        syn::visit::visit_trait_item_fn(self, function);
    }

    fn visit_item_struct(&mut self, item: &'ast ItemStruct) {
        let fields = item.fields.len();
        if self.few_fields && fields > FIELDS_MAX {
            let (path, name) = (self.path.to_owned(), item.ident.to_string());
            self.found.push(Large::Struct { path, line: item.ident.span().start().line, name, fields });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(folder: &str, text: &str) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join(folder);
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("a.rs"), text).unwrap();
        find(root.path(), &place).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_function_is_measured_from_its_signature_to_its_closing_brace() {
        let function = |lines: usize| format!("fn long() {{\n{}}}\n", "    step();\n".repeat(lines - 2));
        assert_eq!(found("it/src", &function(FUNCTION_LINES_MAX)), [""; 0]);
        let message = ["it/src/a.rs:1: `long` has 81 lines, at most 80"];
        assert_eq!(found("it/src", &function(FUNCTION_LINES_MAX + 1)), message);
        for around in ["impl A {", "trait A {", "fn outer() { let _ = || {"] {
            let ends = if around.contains("||") { "};}" } else { "}" };
            let text = format!("{around}\n{}{ends}\n", function(FUNCTION_LINES_MAX + 1));
            assert!(found("it/src", &text).iter().any(|line| line.contains("`long`")), "{around}");
        }
        let test = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function(200));
        assert_eq!(found("it/src", &test), [""; 0]);
    }

    #[test]
    fn fields_are_counted_where_few_are_allowed() {
        let of = |fields: usize| {
            let fields: String = (0..fields).map(|n| format!("f{n}: u8, ")).collect();
            format!("struct Wide {{ {fields} }}\n")
        };
        assert_eq!(found("engine/src/core", &of(FIELDS_MAX)), [""; 0]);
        let message = ["engine/src/core/a.rs:1: `Wide` has 17 fields, at most 16"];
        assert_eq!(found("engine/src/core", &of(FIELDS_MAX + 1)), message);
        assert_eq!(found("it/src", &of(FIELDS_MAX + 1)), [""; 0]);
    }
}
