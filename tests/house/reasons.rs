//! Every reason and every error status is used; unused ones must be removed.

use crate::modules::{is_for_tests, is_test};
use appliance::http::error::phrase;
use model::reason::Reason;
use std::collections::BTreeSet;
use syn::visit::{self, Visit};

/// Names and numbers in expressions outside of tests. Patterns and macro arguments only test for values, so they do not count.
#[derive(Default)]
struct Said {
    /// Variants after `Reason::`.
    reasons: BTreeSet<String>,
    numbers: BTreeSet<u16>,
}

impl<'ast> Visit<'ast> for Said {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_for_tests(item) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_pat(&mut self, _: &'ast syn::Pat) {}

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        let names: Vec<_> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let [.., of, variant] = &names[..]
            && of == "Reason"
        {
            self.reasons.insert(variant.clone());
        }
    }

    fn visit_lit_int(&mut self, number: &'ast syn::LitInt) {
        self.numbers.extend(number.base10_parse::<u16>());
    }
}

impl Said {
    fn in_appliance() -> Self {
        let src = weir_tests::workspace().join("appliance/src");
        let (mut files, mut said) = (Vec::new(), Self::default());
        crate::files(&src, "rs", &mut files);
        for file in files.iter().filter(|file| !is_test(&src, file)) {
            said.visit_file(&syn::parse_file(&crate::read(file)).expect("Rust"));
        }
        said
    }
}

#[test]
fn every_reason_and_status_is_given() {
    let said = Said::in_appliance();
    let reasons: BTreeSet<_> = Reason::ALL.iter().map(|reason| format!("{reason:?}")).collect();
    let unsaid: Vec<_> = reasons.difference(&said.reasons).collect();
    assert!(unsaid.is_empty(), "unused reasons: {unsaid:?}");
    let statuses = (400..600).filter(|status| phrase(*status) != "Unknown");
    let unsaid: Vec<_> = statuses.filter(|status| !said.numbers.contains(status)).collect();
    assert!(unsaid.is_empty(), "unused statuses: {unsaid:?}");
}

#[test]
fn what_is_only_asked_for_is_not_given() {
    let source = "const A: R = r(400, Reason::Url); fn f(x: R) { match x { Reason::Verb => g(crate::Reason::Header), _ => {} }
        if let Reason::Number = x {} }
        #[cfg(test)] mod tests { const B: R = r(404, Reason::Forbidden); }";
    let mut said = Said::default();
    said.visit_file(&syn::parse_str(source).expect("Rust"));
    assert_eq!(said.reasons, BTreeSet::from(["Header".to_owned(), "Url".to_owned()]));
    assert_eq!(said.numbers, BTreeSet::from([400]));
}
