//! Only `image/src/place.rs` removes or renames files on the host, because it checks first what is there.

use crate::modules::{is_for_tests, is_test};
use std::path::Path;
use syn::visit::{self, Visit};

/// The host programs.
const SOURCES: &[&str] = &["image/src", "qemu/src", "qemu/agent/src"];
/// The file with the checks.
const RULE: &str = "image/src/place.rs";
/// The module of that file.
const PLACE: &str = "place";
/// Functions without checks, in std, rustix, nix and libc.
const BLIND: &[&str] = &[
    "rename",
    "renameat",
    "renameat2",
    "renameat_with",
    "remove_file",
    "remove_dir",
    "remove_dir_all",
    "rmdir",
    "unlink",
    "unlinkat",
];
/// Methods of tempfile without checks.
const BLIND_METHODS: &[&str] = &["persist", "persist_noclobber"];

/// Calls and imports outside of tests that bypass the checks.
#[derive(Default)]
struct Blind(Vec<String>);

impl Blind {
    fn in_source(source: &str) -> Vec<String> {
        let mut blind = Self::default();
        blind.visit_file(&syn::parse_file(source).expect("Rust"));
        blind.0
    }

    fn look(&mut self, from: Option<&str>, name: &str) {
        if BLIND.contains(&name) && from != Some(PLACE) {
            self.0.push(format!("{}::{name}", from.unwrap_or_default()));
        }
    }

    fn look_at_use(&mut self, tree: &syn::UseTree, from: Option<&str>) {
        match tree {
            syn::UseTree::Path(path) => self.look_at_use(&path.tree, Some(&path.ident.to_string())),
            syn::UseTree::Name(name) => self.look(from, &name.ident.to_string()),
            syn::UseTree::Rename(name) => self.look(from, &name.ident.to_string()),
            syn::UseTree::Glob(_) if from == Some("fs") => self.0.push("fs::*".into()),
            syn::UseTree::Glob(_) => {}
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.look_at_use(tree, from)),
        }
    }
}

impl<'ast> Visit<'ast> for Blind {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_for_tests(item) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.look_at_use(&item.tree, None);
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        let names: Vec<_> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let [.., from, name] = &names[..] {
            self.look(Some(from), name);
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if BLIND_METHODS.contains(&call.method.to_string().as_str()) {
            self.0.push(format!(".{}", call.method));
        }
        visit::visit_expr_method_call(self, call);
    }

    // Macro arguments are not parsed; their words are examined.
    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        let words = called.tokens.to_string().replace(' ', "");
        for name in BLIND.iter().filter(|name| words.contains(&format!("fs::{name}("))) {
            self.0.push(format!("fs::{name}"));
        }
    }
}

#[test]
fn whatever_is_removed_or_renamed_was_looked_at() {
    let root = weir_tests::workspace();
    let mut found = Vec::new();
    for src in SOURCES.iter().map(|src| root.join(src)) {
        let mut files = Vec::new();
        crate::files(&src, "rs", &mut files);
        for file in files.iter().filter(|file| !is_test(&src, file) && !file.ends_with(Path::new(RULE))) {
            let blind = Blind::in_source(&crate::read(file));
            found.extend(blind.into_iter().map(|what| format!("{}: {what}", file.display())));
        }
    }
    assert!(found.is_empty(), "go through {RULE}: {found:#?}");
}

#[test]
fn a_blind_one_is_found() {
    for source in [
        "fn f() { std::fs::remove_file(path)?; }",
        "use std::fs as files; fn f() { files::rename(a, b); }",
        "use std::fs::{self, remove_dir_all}; fn f() { remove_dir_all(a); }",
        "use std::fs::rename as put;",
        "use std::fs::*;",
        "fn f() { paths.iter().try_for_each(std::fs::remove_dir_all) }",
        "fn f() { rustix::fs::unlinkat(a, b, c); }",
        "fn f() { made.persist(path); }",
        "fn f() { assert!(std::fs::remove_file(path).is_ok()); }",
    ] {
        assert_eq!(Blind::in_source(source).len(), 1, "{source}");
    }
    let source = "use crate::place; fn f() { place::remove_file(a); rename(b); }
        #[cfg(test)] mod tests { fn g() { std::fs::remove_file(a); } }";
    assert!(Blind::in_source(source).is_empty());
}
