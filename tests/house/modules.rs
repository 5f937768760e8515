//! The modules of a crate, and the imports between them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};

/// A module path below the crate's root: `["http", "request"]`.
type ModulePath = Vec<String>;

/// One source file.
pub(crate) struct Module {
    /// Its path.
    pub(crate) file: PathBuf,
    /// Names in its `use` items, resolved against the crate's root.
    imports: Vec<ModulePath>,
    /// Its re-exports: the name here, and its origin.
    exports: Vec<(String, ModulePath)>,
}

/// Files of a crate, except tests.
pub(crate) struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

impl Crate {
    /// Reads all modules below a crate's `src`.
    pub(crate) fn read(src: &Path) -> Self {
        let mut files = Vec::new();
        crate::files(src, "rs", &mut files);
        let modules = files.into_iter().filter(|file| !is_test(src, file)).map(|file| {
            let path = module_path(src, &file);
            let syntax = syn::parse_file(&crate::read(&file))
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let mut uses = Uses { here: path.clone(), imports: Vec::new(), exports: Vec::new() };
            uses.visit_file(&syntax);
            (path, Module { file, imports: uses.imports, exports: uses.exports })
        });
        Self { modules: modules.collect() }
    }

    /// All imports between two files: importer and imported. A module that uses what its parent defines is a part of the parent,
    /// like an `impl` block in a separate file, and does not count.
    pub(crate) fn edges(&self) -> Vec<(&Module, &Module)> {
        let mut edges = Vec::new();
        for (path, module) in &self.modules {
            for import in &module.imports {
                if let Some(found) = self.origin(import, 0).filter(|found| !path.starts_with(found)) {
                    edges.push((module, &self.modules[found]));
                }
            }
        }
        edges
    }

    /// The module in which an imported name is defined, following re-exports.
    fn origin(&self, import: &[String], depth: usize) -> Option<&ModulePath> {
        let (path, module) =
            (0..=import.len()).rev().find_map(|len| self.modules.get_key_value(&import[..len]))?;
        let re_exported = import
            .get(path.len())
            .and_then(|name| module.exports.iter().find(|(exported, _)| exported == name))
            .filter(|_| depth < 8);
        match re_exported {
            Some((_, from)) => self.origin(from, depth + 1),
            None => Some(path),
        }
    }
}

/// Whether the file contains tests, by its name.
pub(crate) fn is_test(src: &Path, file: &Path) -> bool {
    let file = file.strip_prefix(src).expect("a file below src");
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    stem == "tests" || stem.ends_with("_tests") || file.components().any(|c| c.as_os_str() == "tests")
}

/// Whether the module is compiled for tests only.
pub(crate) fn is_for_tests(item: &syn::ItemMod) -> bool {
    item.attrs.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

fn module_path(src: &Path, file: &Path) -> ModulePath {
    let inner = file.strip_prefix(src).expect("a file below src").with_extension("");
    let mut path: ModulePath = inner.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if path.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        path.pop();
    }
    path
}

/// Collects `use` items, except those for tests.
struct Uses {
    here: ModulePath,
    imports: Vec<ModulePath>,
    exports: Vec<(String, ModulePath)>,
}

impl<'ast> Visit<'ast> for Uses {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_for_tests(item) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_public = !matches!(item.vis, syn::Visibility::Inherited);
        self.tree(&item.tree, &mut Vec::new(), is_public);
    }
}

impl Uses {
    fn tree(&mut self, tree: &syn::UseTree, prefix: &mut Vec<String>, is_public: bool) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.tree(&path.tree, prefix, is_public);
                prefix.pop();
            }
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.tree(tree, prefix, is_public));
            }
            syn::UseTree::Name(name) => self.name(prefix, &name.ident, &name.ident, is_public),
            syn::UseTree::Rename(rename) => self.name(prefix, &rename.ident, &rename.rename, is_public),
            syn::UseTree::Glob(_) => {
                if let Some(path) = self.resolve(prefix) {
                    self.imports.push(path);
                }
            }
        }
    }

    fn name(&mut self, prefix: &[String], name: &syn::Ident, known_as: &syn::Ident, is_public: bool) {
        let mut path = prefix.to_vec();
        if name != "self" {
            path.push(name.to_string());
        }
        let Some(path) = self.resolve(&path) else { return };
        // A re-export passes on a name without depending on it.
        if is_public {
            self.exports.push((known_as.to_string(), path));
        } else {
            self.imports.push(path);
        }
    }

    /// The path from the crate's root; `None` for other crates.
    fn resolve(&self, path: &[String]) -> Option<ModulePath> {
        let (first, rest) = path.split_first()?;
        let mut resolved = match first.as_str() {
            "crate" => Vec::new(),
            "self" => self.here.clone(),
            "super" => self.here[..self.here.len().checked_sub(1)?].to_vec(),
            // A child module, referred to without `self::`.
            _ => [&self.here[..], std::slice::from_ref(first)].concat(),
        };
        for part in rest {
            if part == "super" {
                resolved.pop();
            } else {
                resolved.push(part.clone());
            }
        }
        Some(resolved)
    }
}
