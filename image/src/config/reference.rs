//! The reference of `weir.toml` in Markdown, generated from the schema.

use super::schema::whole;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Text before the tables.
const INTRODUCTION: &str = include_str!("reference.md");

/// Every table and key with type, unit, range, default, description and specific errors.
pub fn reference() -> String {
    let schema = whole().to_value();
    let mut places = BTreeMap::new();
    find(&schema, &schema, "", &mut places);
    // In order of each table's first path.
    let mut tables: Vec<_> = places.into_iter().collect();
    tables.sort_by(|(_, a), (_, b)| a.cmp(b));
    let mut text = INTRODUCTION.to_owned();
    for (name, places) in tables {
        let headings: Vec<_> = places.iter().map(|(path, list)| heading(path, *list)).collect();
        let table = &schema["$defs"][&name];
        let _ = write!(text, "\n## {}\n\n{}\n\n", headings.join(", "), string(table, "description"));
        keys(table, &mut text);
    }
    text
}

/// By table: its paths, and whether each is an array of tables.
type Places = BTreeMap<String, Vec<(String, bool)>>;

/// Collects the tables below `table`, recursively.
fn find(schema: &Value, table: &Value, path: &str, places: &mut Places) {
    for (key, value) in properties(table) {
        let (target, is_list) = match value.get("items") {
            Some(items) => (string(items, "$ref"), true),
            None => (string(value, "$ref"), false),
        };
        let Some(name) = target.strip_prefix("#/$defs/") else { continue };
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        places.entry(name.to_owned()).or_default().push((path.clone(), is_list));
        find(schema, &schema["$defs"][name], &path, places);
    }
}

fn heading(path: &str, is_list: bool) -> String {
    if is_list { format!("`[[{path}]]`") } else { format!("`[{path}]`") }
}

/// The keys of a table, including its subtables.
fn keys(table: &Value, text: &mut String) {
    text.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
    let required: Vec<_> = table["required"].as_array().into_iter().flatten().collect();
    for (key, value) in properties(table) {
        let is_required = required.iter().any(|name| *name == key);
        let what = string(value, "description").replace('\n', " ").replace('|', "\\|");
        let default = if is_required { "required".to_owned() } else { default(value) };
        let _ = writeln!(text, "| `{key}` | {} | {default} | {what} |", kind(value));
    }
}

fn default(value: &Value) -> String {
    let said = value.get("x-default").and_then(Value::as_str).map(str::to_owned);
    let usual = said.or_else(|| value.get("default").map(|value| format!("`{value}`"))).unwrap_or_default();
    match value.get("x-http.sys") {
        Some(other) => format!("{usual}; http.sys: `{other}`"),
        None => usual,
    }
}

/// Type or range of a value.
fn kind(value: &Value) -> String {
    if let Some(all) = value.get("enum").and_then(Value::as_array) {
        return all.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(form) = value.get("x-form").and_then(Value::as_str) {
        return form.to_owned();
    }
    if value.get("$ref").is_some() {
        return "table".to_owned();
    }
    match string(value, "type") {
        "integer" => whole_number(value),
        "boolean" => "`true`, `false`".to_owned(),
        "array" if value["items"].get("$ref").is_some() => "tables".to_owned(),
        "array" => format!("list of: {}", kind(&value["items"])),
        "object" => "table of strings".to_owned(),
        _ => "string".to_owned(),
    }
}

fn whole_number(value: &Value) -> String {
    let unit = string(value, "x-unit");
    format!("{} to {} {unit}", value["minimum"], value["maximum"]).trim_end().to_owned()
}

fn properties(table: &Value) -> impl Iterator<Item = (&String, &Value)> {
    table.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

/// The string under `key`, or an empty string.
fn string<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
