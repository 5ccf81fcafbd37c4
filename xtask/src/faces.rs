//! Faces of folders (`mod.rs`, `lib.rs`) that hold more than a table of contents.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use syn::Item;
use syn::spanned::Spanned;

use crate::files;
use crate::source::{attributes, is_test};

/// Names of the files that stand for their folder.
const FACES: [&str; 2] = ["mod.rs", "lib.rs"];

/// Something in a face that belongs into a file of its folder.
#[derive(Debug)]
pub(crate) struct Misplaced {
    path: PathBuf,
    line: usize,
    what: &'static str,
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, what } = self;
        write!(f, "{}:{line}: {what} in a table of contents; give it a file of its own", path.display())
    }
}

/// What is misplaced in the faces below a folder of the root. Code that only tests are built with
/// is left out.
pub(crate) fn find(root: &Path, place: &Path) -> Result<Vec<Misplaced>> {
    let mut found = Vec::new();
    for path in files::below(place, ".rs")? {
        let relative = path.strip_prefix(root)?;
        let in_tests = relative.components().any(|part| part.as_os_str() == "tests");
        if in_tests || !FACES.iter().any(|name| relative.ends_with(name)) {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("cannot parse {}", path.display()))?;
        for item in parsed.items.iter().filter(|item| !is_test(attributes(item))) {
            if let Some(what) = misplaced(item) {
                found.push(Misplaced { path: relative.to_owned(), line: item.span().start().line, what });
            }
        }
    }
    Ok(found)
}

/// What an item is, unless a table of contents has it: imports, declarations of modules, modules of
/// imports alone, and calls of macros such as `compile_error!`.
fn misplaced(item: &Item) -> Option<&'static str> {
    match item {
        Item::Use(_) | Item::ExternCrate(_) => None,
        Item::Mod(module) => module.content.iter().flat_map(|(_, items)| items).find_map(misplaced),
        Item::Macro(call) => call.ident.is_some().then_some("a macro"),
        Item::Fn(_) => Some("a function"),
        Item::Struct(_) | Item::Enum(_) | Item::Union(_) | Item::Type(_) => Some("a type"),
        Item::Trait(_) | Item::TraitAlias(_) => Some("a trait"),
        Item::Impl(_) => Some("an implementation"),
        Item::Const(_) | Item::Static(_) => Some("a constant"),
        _ => Some("an item"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, text: &str) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        find(root.path(), root.path()).unwrap().iter().map(ToString::to_string).collect()
    }

    const CONTENTS: &str = "//! Rooms.\nmod a;\npub use a::A;\ncompile_error!(\"no\");\n";

    #[test]
    fn a_table_of_contents_is_found_good() {
        assert_eq!(found("it/src/lib.rs", CONTENTS), [""; 0]);
        let tests = format!("{CONTENTS}#[cfg(test)]\nmod tests {{ fn check() {{}} }}\n");
        assert_eq!(found("it/src/lib.rs", &tests), [""; 0]);
        let gathered = format!("{CONTENTS}pub mod b {{ pub use crate::c::C; }}\n");
        assert_eq!(found("it/src/lib.rs", &gathered), [""; 0]);
    }

    #[test]
    fn what_is_more_than_a_table_is_named_with_its_line() {
        for (text, what) in [
            ("fn f() {}", "a function"),
            ("pub struct A;", "a type"),
            ("enum A {}", "a type"),
            ("impl A {}", "an implementation"),
            ("pub(crate) trait A {}", "a trait"),
            ("const A: u8 = 0;", "a constant"),
            ("macro_rules! a { () => {} }", "a macro"),
            ("mod b { fn f() {} }", "a function"),
        ] {
            let message =
                format!("it/src/b/mod.rs:5: {what} in a table of contents; give it a file of its own");
            assert_eq!(found("it/src/b/mod.rs", &format!("{CONTENTS}{text}\n")), [message]);
        }
    }

    #[test]
    fn other_files_and_tests_hold_what_they_like() {
        for name in ["it/src/a.rs", "it/src/main.rs", "it/tests/it/mod.rs", "it/src/a/tests/mod.rs"] {
            assert_eq!(found(name, "fn f() {}\n"), [""; 0], "{name}");
        }
    }
}
