//! A crate as its files tell it: modules, what each declares and imports, and which paths it names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use proc_macro2::{Span, TokenStream, TokenTree};
use syn::visit::Visit;
use syn::{Attribute, Ident, Item, UseTree, Visibility};

/// A module by its place in [`Crate::modules`].
pub(crate) type ModuleId = usize;

/// All modules of a crate that are built without `cfg(test)`.
#[derive(Debug)]
pub(crate) struct Crate {
    /// Its root is the first.
    pub(crate) modules: Vec<Module>,
}

/// One module.
#[derive(Debug)]
pub(crate) struct Module {
    /// The file that holds it, from the workspace's root.
    pub(crate) file: PathBuf,
    pub(crate) parent: Option<ModuleId>,
    pub(crate) children: BTreeMap<String, ModuleId>,
    /// Names of items that stand in it.
    pub(crate) declared: BTreeSet<String>,
    pub(crate) imports: Vec<Import>,
    pub(crate) named: Vec<Named>,
}

/// A name that a `use` brings into a module.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) path: Vec<String>,
    /// The name in this module; `None` for a glob.
    pub(crate) name: Option<String>,
    /// It is visible outside of the module.
    pub(crate) is_reexport: bool,
    pub(crate) line: usize,
}

/// A path in code.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

impl Crate {
    /// Reads the crate in a folder of the workspace.
    pub(crate) fn read(workspace: &Path, folder: &Path) -> Result<Self> {
        let root = ["src/lib.rs", "src/main.rs"].map(|name| folder.join(name));
        let Some(root) = root.iter().find(|root| workspace.join(root).is_file()) else {
            bail!("{} holds no crate: it has neither src/lib.rs nor src/main.rs", folder.display());
        };
        let mut this = Self { modules: Vec::new() };
        let below = root.parent().unwrap_or(folder).to_owned();
        this.read_file(workspace, root, &below, None)?;
        Ok(this)
    }

    /// Reads a module's file; its child modules lie below `below`.
    fn read_file(
        &mut self,
        workspace: &Path,
        file: &Path,
        below: &Path,
        parent: Option<ModuleId>,
    ) -> Result<ModuleId> {
        let text = fs::read_to_string(workspace.join(file))
            .with_context(|| format!("cannot read {}", file.display()))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("cannot parse {}", file.display()))?;
        self.add(workspace, file, below, parent, &parsed.items)
    }

    fn add(
        &mut self,
        workspace: &Path,
        file: &Path,
        below: &Path,
        parent: Option<ModuleId>,
        items: &[Item],
    ) -> Result<ModuleId> {
        let id = self.modules.len();
        self.modules.push(Module {
            file: file.to_owned(),
            parent,
            children: BTreeMap::new(),
            declared: BTreeSet::new(),
            imports: Vec::new(),
            named: Vec::new(),
        });
        for item in items {
            if is_test(attributes(item)) {
                continue;
            }
            match item {
                Item::Mod(module) => {
                    let name = module.ident.to_string();
                    let inner = below.join(&name);
                    let child = match &module.content {
                        Some((_, items)) => self.add(workspace, file, &inner, Some(id), items)?,
                        None => {
                            let flat = below.join(format!("{name}.rs"));
                            let path =
                                if workspace.join(&flat).is_file() { flat } else { inner.join("mod.rs") };
                            self.read_file(workspace, &path, &inner, Some(id))?
                        }
                    };
                    self.modules[id].children.insert(name, child);
                }
                Item::Use(item) => {
                    let is_reexport = !matches!(item.vis, Visibility::Inherited);
                    let mut prefix = Vec::new();
                    import(&item.tree, &mut prefix, is_reexport, &mut self.modules[id].imports);
                }
                other => {
                    if let Some(name) = declared(other) {
                        self.modules[id].declared.insert(name.to_string());
                    }
                    let mut names = Names { named: &mut self.modules[id].named };
                    names.visit_item(other);
                }
            }
        }
        Ok(id)
    }
}

/// The name that an item declares, where it declares one.
fn declared(item: &Item) -> Option<&Ident> {
    match item {
        Item::Const(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Macro(item) => item.ident.as_ref(),
        Item::Static(item) => Some(&item.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::TraitAlias(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        Item::Union(item) => Some(&item.ident),
        _ => None,
    }
}

/// The attributes of an item.
pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(syn::ItemConst { attrs, .. })
        | Item::Enum(syn::ItemEnum { attrs, .. })
        | Item::Fn(syn::ItemFn { attrs, .. })
        | Item::Impl(syn::ItemImpl { attrs, .. })
        | Item::Macro(syn::ItemMacro { attrs, .. })
        | Item::Mod(syn::ItemMod { attrs, .. })
        | Item::Static(syn::ItemStatic { attrs, .. })
        | Item::Struct(syn::ItemStruct { attrs, .. })
        | Item::Trait(syn::ItemTrait { attrs, .. })
        | Item::Type(syn::ItemType { attrs, .. })
        | Item::Use(syn::ItemUse { attrs, .. }) => attrs,
        _ => &[],
    }
}

/// Whether an item is built for tests only.
pub(crate) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute.parse_args::<Ident>().is_ok_and(|condition| condition == "test")
    })
}

/// Flattens a tree of imports.
fn import(tree: &UseTree, prefix: &mut Vec<String>, is_reexport: bool, imports: &mut Vec<Import>) {
    let mut add = |prefix: &[String], last: Option<String>, name: Option<String>, span: Span| {
        let path = prefix.iter().cloned().chain(last).collect();
        imports.push(Import { path, name, is_reexport, line: span.start().line });
    };
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            import(&path.tree, prefix, is_reexport, imports);
            prefix.pop();
        }
        UseTree::Name(name) if name.ident == "self" => {
            add(prefix, None, prefix.last().cloned(), name.ident.span());
        }
        UseTree::Name(name) => {
            let ident = name.ident.to_string();
            add(prefix, Some(ident.clone()), Some(ident), name.ident.span());
        }
        UseTree::Rename(rename) => {
            let last = (rename.ident != "self").then(|| rename.ident.to_string());
            add(prefix, last, Some(rename.rename.to_string()), rename.ident.span());
        }
        UseTree::Glob(glob) => add(prefix, None, None, glob.star_token.spans[0]),
        UseTree::Group(group) => {
            for tree in &group.items {
                import(tree, prefix, is_reexport, imports);
            }
        }
    }
}

/// Collects the paths of an item.
struct Names<'a> {
    named: &'a mut Vec<Named>,
}

impl Names<'_> {
    /// Paths among tokens, of macro calls and attributes.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end(&mut path, line);
                        line = ident.span().start().line;
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.end(&mut path, line);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.end(&mut path, line);
    }

    fn end(&mut self, path: &mut Vec<String>, line: usize) {
        if !path.is_empty() {
            self.named.push(Named { path: std::mem::take(path), line });
        }
    }
}

impl<'ast> Visit<'ast> for Names<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let line = path.segments.first().map_or(0, |segment| segment.ident.span().start().line);
        let path_of = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.named.push(Named { path: path_of, line });
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            syn::visit::visit_impl_item_fn(self, item);
        }
    }

    /// A `use` within a function.
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut imports = Vec::new();
        import(&item.tree, &mut Vec::new(), false, &mut imports);
        self.named.extend(imports.into_iter().map(|Import { path, line, .. }| Named { path, line }));
    }
}
