//! Which file of a crate uses which: paths resolved to the files that declare what they name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::source::{Crate, Import, Module, ModuleId};

/// Re-exports that one path is followed through, at most: they may form circles of their own.
const HOPS_MAX: usize = 16;

/// A use of one file by another, by the first line that shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edge {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
    line: usize,
    name: String,
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} uses `{}` of {}", self.from.display(), self.line, self.name, self.to.display())
    }
}

/// All uses within one crate.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    edges: BTreeMap<(PathBuf, PathBuf), Edge>,
}

impl Uses {
    pub(crate) fn of(krate: &Crate) -> Self {
        let mut uses = Self::default();
        for (id, module) in krate.modules.iter().enumerate() {
            let is_face = is_face(&module.file);
            let imports = module.imports.iter().filter(|import| !(is_face && import.is_reexport));
            let imports = imports.map(|Import { path, line, .. }| (path, *line));
            let named = module.named.iter().map(|named| (&named.path, named.line));
            for (path, line) in imports.chain(named) {
                // A local name is this file's, or came by an import that is looked at by itself.
                let is_bare = path.len() == 1 && !module.children.contains_key(&path[0]);
                if is_bare && !module.imports.iter().any(|import| import.name.is_none()) {
                    continue;
                }
                if let Some((declarer, name)) = resolve(krate, id, path, HOPS_MAX) {
                    uses.add(module, &krate.modules[declarer], line, name);
                }
            }
        }
        uses
    }

    fn add(&mut self, from: &Module, to: &Module, line: usize, name: String) {
        if from.file == to.file {
            return;
        }
        let key = (from.file.clone(), to.file.clone());
        let edge = Edge { from: from.file.clone(), to: to.file.clone(), line, name };
        self.edges.entry(key).or_insert(edge);
    }

    /// All files that use or are used.
    pub(crate) fn files(&self) -> BTreeSet<&Path> {
        self.edges.keys().flat_map(|(from, to)| [from.as_path(), to.as_path()]).collect()
    }

    /// What a file uses.
    pub(crate) fn from<'a>(&'a self, file: &'a Path) -> impl Iterator<Item = &'a Edge> {
        self.edges.values().filter(move |edge| edge.from == file)
    }
}

impl fmt::Display for Uses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.edges.values().try_for_each(|edge| writeln!(f, "{edge}"))
    }
}

/// A file that is a table of contents.
fn is_face(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == "mod.rs" || name == "lib.rs" || name == "main.rs")
}

/// The module that declares what a path names, seen from a module, and the name that it has there.
fn resolve(krate: &Crate, from: ModuleId, path: &[String], hops: usize) -> Option<(ModuleId, String)> {
    let hops = hops.checked_sub(1)?;
    let (mut at, mut rest) = match path.first()?.as_str() {
        "crate" => (0, &path[1..]),
        "self" => (from, &path[1..]),
        "super" => (krate.modules[from].parent?, &path[1..]),
        _ => (from, path),
    };
    while let Some(first) = rest.first().filter(|first| *first == "super") {
        debug_assert_eq!(first, "super");
        at = krate.modules[at].parent?;
        rest = &rest[1..];
    }
    let is_start = std::ptr::eq(rest, path);
    for (number, name) in rest.iter().enumerate() {
        let module = &krate.modules[at];
        if module.declared.contains(name) {
            return Some((at, name.clone()));
        }
        if let Some(&child) = module.children.get(name) {
            at = child;
            continue;
        }
        // Imported there: on from what the import names.
        let own = is_start && number == 0;
        let behind = &rest[number + 1..];
        let named = module.imports.iter().find(|import| import.name.as_ref() == Some(name));
        if let Some(import) = named {
            if own && import.path.first() == Some(name) {
                return None; // A crate of that name.
            }
            let path: Vec<_> = import.path.iter().chain(behind).cloned().collect();
            return resolve(krate, at, &path, hops);
        }
        let globs = module.imports.iter().filter(|import| import.name.is_none());
        return globs.into_iter().find_map(|glob| {
            let path: Vec<_> = glob.path.iter().chain([name]).chain(behind).cloned().collect();
            (glob.path.first() != Some(name)).then(|| resolve(krate, at, &path, hops)).flatten()
        });
    }
    // The path names a module: its file.
    Some((at, rest.last().or(path.last())?.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circles;

    /// A crate of these files.
    fn uses(files: &[(&str, &str)]) -> Uses {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join("it/src").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Uses::of(&Crate::read(folder.path(), Path::new("it")).unwrap())
    }

    fn circle_sizes(files: &[(&str, &str)]) -> Vec<usize> {
        circles::find(&uses(files)).iter().map(|circle| circle.files.len()).collect()
    }

    #[test]
    fn two_files_that_name_each_other_are_a_circle_however_they_do_it() {
        let lib = ("lib.rs", "mod a; mod b;");
        let a = ("a.rs", "pub struct A; fn f() { super::b::g() }");
        for b in [
            "use crate::a::A; pub fn g() {}",
            "use super::a; pub fn g() { let _ = a::A; }",
            "pub fn g() { let _ = crate::a::A; }",
            "pub fn g() -> Option<crate::a::A> { None }",
            "pub fn g() { debug_assert!(matches!(x, super::a::A)); }",
            "use crate::a::{self}; pub fn g() {}",
            "use crate::a::*; pub fn g() { let _ = A; }",
            "pub fn g() { use crate::a::A; }",
        ] {
            assert_eq!(circle_sizes(&[lib, a, ("b.rs", b)]), [2], "{b}");
        }
        for b in ["pub fn g() {}", "#[cfg(test)] mod t { use crate::a::A; } pub fn g() {}"] {
            assert_eq!(circle_sizes(&[lib, a, ("b.rs", b)]), [0; 0], "{b}");
        }
    }

    #[test]
    fn a_table_of_contents_is_no_part_of_a_circle_unless_something_lives_there() {
        let children = [("p/a.rs", "use super::B; pub struct A;"), ("p/b.rs", "pub struct B;")];
        let with = |face| [("lib.rs", "mod p;"), ("p/mod.rs", face), children[0], children[1]];
        assert_eq!(circle_sizes(&with("mod a; mod b; pub use a::A; pub use b::B;")), [0; 0]);
        let face = "mod a; pub use a::A; pub struct B; fn f(_: a::A) {}";
        assert_eq!(circle_sizes(&with(face)), [2]);
    }

    #[test]
    fn circles_through_a_reexport_and_of_three_files_are_found() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c; pub use c::C;"),
            ("a.rs", "pub struct A; use crate::b::B;"),
            ("b.rs", "pub struct B; use crate::C;"),
            ("c.rs", "pub struct C; use crate::a::A;"),
        ];
        assert_eq!(circle_sizes(&files), [3]);
    }
}
