//! The JSON Schema of `weir.toml` (draft 2020-12), generated from the structs the parser deserializes into (`raw`).
//!
//! It is never stricter than the parser, which alone sees files, other tables and the machine: whatever the schema rejects, the
//! parser rejects as well.

use super::raw;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform as _};
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

/// The published schema, for editors: tables have only the first paragraph of their documentation.
pub fn schema() -> String {
    let mut schema = whole().to_value();
    shorten(&mut schema);
    if let Some(Value::Object(tables)) = schema.get_mut("$defs") {
        tables.values_mut().for_each(shorten);
    }
    format!("{schema:#}\n")
}

/// The schema with complete documentation.
pub(super) fn whole() -> Schema {
    let mut generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
    let mut schema = generator.root_schema_for::<raw::File>();
    RecursiveTransform(tidy).transform(&mut schema);
    schema
}

/// Truncates a table's documentation after its first paragraph.
fn shorten(table: &mut Value) {
    if let Some(Value::String(text)) = table.get_mut("description") {
        let end = text.find("\n\n").unwrap_or(text.len());
        text.truncate(end);
    }
}

/// Removes what applies only to Rust: null, integer sizes, and empty defaults of lists.
fn tidy(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("format");
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(names)) = object.get_mut("enum") {
        names.retain(|name| !name.is_null());
    }
    if let Some(Value::Array(all)) = object.get_mut("anyOf") {
        all.retain(|one| one.get("type").is_none_or(|name| name != "null"));
        if let [Value::Object(only)] = &all[..] {
            let only = only.clone();
            object.remove("anyOf");
            for (key, value) in only {
                object.entry(key).or_insert(value);
            }
        }
    }
    // An array of tables, whose serde default is empty.
    let is_empty_list = object.get("default").is_some_and(|value| value == &Value::Array(Vec::new()));
    if object.get("items").is_some_and(|items| items.get("$ref").is_some()) && is_empty_list {
        object.remove("default");
    }
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
