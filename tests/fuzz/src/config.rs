//! `weir.toml`: checking never panics, and an accepted configuration makes a bundle that the appliance accepts.

use appliance::flow;
use appliance::serving::Router;
use model::bundle::{Bundle, encode};
use std::path::Path;
use std::sync::LazyLock;
use tempfile::TempDir;

static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| {
    let directory = TempDir::new().expect("a temporary directory");
    std::fs::create_dir(directory.path().join("www")).expect("a directory");
    std::fs::write(directory.path().join("www/index.html"), "hello").expect("a file");
    directory
});

/// Refers to nothing on this machine outside of the target's own directory.
fn stays_here(value: &toml::Value) -> bool {
    match value {
        toml::Value::String(text) => !text.starts_with('/') && !text.contains(".."),
        toml::Value::Array(values) => values.iter().all(stays_here),
        toml::Value::Table(table) => table.values().all(stays_here),
        _ => true,
    }
}

/// A configuration.
pub fn config(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    if toml::from_str::<toml::Table>(text).is_ok_and(|t| !stays_here(&toml::Value::Table(t))) {
        return;
    }
    let path: &Path = &DIRECTORY.path().join("weir.toml");
    match image::config::check_text(path, text) {
        Err(errors) => {
            assert!(!errors.0.is_empty() && errors.0.is_sorted_by_key(|error| error.at), "{errors}");
            for error in &errors.0 {
                let line = error.to_string();
                assert!(!line.contains('\n'), "{line:?}");
                let (lines, (row, column)) = (text.split('\n').count(), error.at.expect("it was read"));
                assert!((1..=lines).contains(&row) && column >= 1, "{line}");
            }
        }
        Ok(config) => {
            let settings = config.settings();
            let bytes = encode(&settings, Vec::new());
            let bundle = Bundle::parse(&bytes).expect("what was encoded");
            assert_eq!(bundle.manifest.settings, settings);
            assert!(Router::new(&settings).is_ok() && flow::check(&settings).is_ok());
        }
    }
}
