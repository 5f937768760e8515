//! The committed schema and reference are up to date, and agree with the parser.

use crate::config::{check_text, reference, schema};
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn parsed() -> Value {
    serde_json::from_str(&schema()).expect("JSON")
}

fn validator() -> Validator {
    let schema = parsed();
    jsonschema::draft202012::meta::validate(&schema).expect("a schema of draft 2020-12");
    jsonschema::draft202012::new(&schema).expect("a schema")
}

fn committed(name: &str, made: &str, command: &str) {
    let file = root().join("image").join(name);
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(there == made, "image/{name} is not what the parser reads: {command} > image/{name}");
}

#[test]
fn the_schema_is_committed() {
    committed("weir.schema.json", &schema(), "./qemu/weir schema");
}

#[test]
fn the_reference_is_committed() {
    committed("REFERENCE.md", &reference(), "./qemu/weir schema --reference");
}

fn json(text: &str) -> Value {
    let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}: {text}"));
    serde_json::to_value(table).expect("a value")
}

/// The schema's errors, one line each.
fn refusals(validator: &Validator, value: &Value) -> Vec<String> {
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// Files below a directory with this name or extension, except build output.
fn files(dir: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory").flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        match entry.file_type().expect("a type").is_dir() {
            true if name != "target" && !name.starts_with('.') => files(&path, ending, found),
            false if name.ends_with(ending) => found.push(path),
            _ => {}
        }
    }
}

#[test]
fn every_configuration_of_the_repository_is_valid() {
    let (validator, mut found) = (validator(), Vec::new());
    files(&root(), "weir.toml", &mut found);
    assert!(found.iter().any(|path| path.ends_with("qemu/demo/weir.toml")), "{found:?}");
    for path in found {
        let wrong = refusals(&validator, &json(&std::fs::read_to_string(&path).expect("a file")));
        assert!(wrong.is_empty(), "{}: {wrong:?}", path.display());
    }
}

/// Examples are partial, so required keys may be missing; everything else must be valid.
#[test]
fn every_example_of_the_documentation_is_valid() {
    let mut open = parsed();
    without_required(&mut open);
    let validator = jsonschema::draft202012::new(&open).expect("a schema");
    let (mut found, mut examples) = (Vec::new(), 0);
    files(&root(), ".md", &mut found);
    for path in found {
        let text = std::fs::read_to_string(&path).expect("a file");
        let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```"));
        for (block, _) in blocks {
            // Tables below [[site]] and [[pool]] appear alone in examples.
            let nests = ["site", "pool"].into_iter().filter(|list| !block.contains(&format!("[[{list}]]")));
            let before: String = nests.map(|list| format!("[[{list}]]\n")).collect();
            let wrong = refusals(&validator, &json(&format!("{before}{block}")));
            assert!(wrong.is_empty(), "{}: {wrong:?}: {block}", path.display());
            examples += 1;
        }
    }
    assert!(examples > 10, "{examples} examples");
}

fn without_required(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            for key in ["required", "oneOf", "anyOf", "allOf", "minItems"] {
                // Keep alternatives between types, drop those between keys.
                if !(key == "anyOf" && object.contains_key("x-form")) {
                    object.remove(key);
                }
            }
            object.values_mut().for_each(without_required);
        }
        Value::Array(all) => all.iter_mut().for_each(without_required),
        _ => {}
    }
}

const SITE: &str = "[[site]]\nname = \"a\"\n[[site.prefix]]\nurl = \"http://*:80/\"\n";

#[test]
fn what_is_wrong_is_refused() {
    let validator = validator();
    let good = format!("{SITE}nobody = \"reserved\"\n");
    assert_eq!(refusals(&validator, &json(&good)), Vec::<String>::new());
    for (wrong, what) in [
        (String::new(), "site"),
        ("[[site]]\nname = \"a\"\n".into(), "prefix"),
        (SITE.into(), "oneOf"),
        (format!("{good}files = \"www\"\n"), "oneOf"),
        (format!("{good}fils = \"www\"\n"), "fils"),
        (format!("{good}[site.http]\nheader_wait = 0\n"), "minimum"),
        (format!("{good}[site.http]\nheader_wait = 65536\n"), "maximum"),
        (format!("{good}[site.http]\nheader_wait = \"30\"\n"), "integer"),
        (format!("{good}[site.http]\ncompat = \"iis\"\n"), "http.sys"),
        (format!("{good}[site.bandwidth]\nceil = \"5 parsecs\"\n"), "parsecs"),
        (format!("{good}[site.limits]\nrequests = \"1/day\"\n"), "1/day"),
        (format!("{good}[log]\ndirectory = \"logs\"\nfields = [\"cs-shoe-size\"]\n"), "cs-shoe-size"),
        (format!("{good}[[site.certificate]]\nchain = \"a.pem\"\n"), "anyOf"),
        (format!("{good}[[pool]]\nname = \"p\"\n[[pool.worker]]\nkind = \"vm\"\n"), "memory"),
        (format!("{good}[[pool]]\nname = \"p\"\n[pool.ping]\nexpect = []\n"), "worker"),
    ] {
        let errors = refusals(&validator, &json(&wrong)).join("\n");
        assert!(errors.contains(what), "{wrong}: {what} in {errors:?}");
        assert!(check_text(Path::new("weir.toml"), &wrong).is_err(), "the parser takes {wrong}");
    }
}

/// A table at one of its paths, and its keys.
struct Table {
    path: Vec<String>,
    keys: Map<String, Value>,
}

/// All tables, once per path.
fn tables() -> Vec<Table> {
    let schema = parsed();
    let mut found = vec![];
    below(&schema, &schema, &[], &mut found);
    found
}

fn below(schema: &Value, table: &Value, path: &[String], found: &mut Vec<Table>) {
    let keys = table["properties"].as_object().cloned().unwrap_or_default();
    for (key, value) in &keys {
        let target = value.get("items").unwrap_or(value).get("$ref").and_then(Value::as_str);
        if let Some(name) = target.and_then(|target| target.strip_prefix("#/$defs/")) {
            let path: Vec<_> = path.iter().chain([key]).cloned().collect();
            below(schema, &schema["$defs"][name], &path, found);
        }
    }
    found.push(Table { path: path.to_vec(), keys });
}

const LISTS: &[&str] = &["site", "site.prefix", "site.certificate", "pool", "pool.worker"];

/// A configuration with this line in this table.
fn with_line(path: &[String], line: &str) -> String {
    let heading = |end: usize| {
        let name = path[..end].join(".");
        if LISTS.contains(&&*name) { format!("[[{name}]]\n") } else { format!("[{name}]\n") }
    };
    let mut headings: Vec<_> = (1..=path.len()).map(heading).collect();
    // TLS settings are checked only if there are certificates.
    if path == ["site", "tls"] {
        headings.insert(1, "[[site.certificate]]\n".into());
    }
    format!("{}{line}\n", headings.concat())
}

/// The parser's message for a line, if any.
fn said_of(path: &[String], line: &str) -> Option<String> {
    let text = with_line(path, line);
    let number = text.lines().count();
    let errors = match check_text(Path::new("weir.toml"), &text) {
        Ok(_) => return None,
        Err(errors) => errors.0,
    };
    errors.into_iter().find(|error| error.at.is_some_and(|(at, _)| at == number)).map(|error| error.what)
}

#[test]
fn the_parser_knows_the_keys_of_the_schema_and_no_others() {
    for table in tables() {
        let what = said_of(&table.path, "no_such_key = 1").unwrap_or_default();
        let (_, known) = what.split_once("expected ").unwrap_or_else(|| panic!("{:?}: {what}", table.path));
        // `a` or `b`; one of `a`, `b`, `c`
        let mut known: Vec<_> = known.split('`').skip(1).step_by(2).collect();
        known.sort_unstable();
        let keys: Vec<_> = table.keys.keys().map(String::as_str).collect();
        assert_eq!(known, keys, "{:?}", table.path);
    }
}

#[test]
fn the_parser_has_the_bounds_of_the_schema() {
    let mut numbers = 0;
    for table in tables() {
        for (key, schema) in &table.keys {
            let (Some(min), Some(max)) = (schema["minimum"].as_i64(), schema["maximum"].as_i64()) else {
                continue;
            };
            // The upper bound here is the pool's list of workers, which is empty.
            if schema["x-unit"].as_str().is_some_and(|unit| unit.contains("as the pool has")) {
                continue;
            }
            let path = &table.path;
            // A burst requires a rate.
            let rate =
                key.strip_suffix("_burst").map(|rate| format!("{rate} = \"1/s\"\n")).unwrap_or_default();
            let said = |value: i64| said_of(path, &format!("{rate}{key} = {value}"));
            for value in [min - 1, max + 1] {
                assert!(said(value).is_some(), "{path:?}: {key} = {value} is taken");
            }
            for value in [min, max] {
                let what = said(value)
                    .filter(|what| what.starts_with(&format!("{key} {value}, expected {min} to ")));
                assert_eq!(what, None, "{path:?}: {key} = {value}");
            }
            numbers += 1;
        }
    }
    assert!(numbers > 30, "{numbers} numbers");
}

#[test]
fn the_parser_takes_the_words_of_the_schema_and_no_others() {
    let mut words = 0;
    for table in tables() {
        for (key, schema) in &table.keys {
            let Some(all) = schema["enum"].as_array() else { continue };
            let refused = format!("{key} \"");
            let refuses = |value: &Value| {
                said_of(&table.path, &format!("{key} = {value}"))
                    .is_some_and(|what| what.starts_with(&refused))
            };
            assert!(refuses(&json!("no such word")), "{:?}: {key}", table.path);
            for value in all {
                assert!(!refuses(value), "{:?}: {key} = {value}", table.path);
            }
            words += 1;
        }
    }
    assert!(words > 9, "{words} keys");
}

/// String formats: every value the parser accepts matches the pattern, and obviously malformed ones do not.
#[test]
fn patterns_are_no_stricter_than_the_parser() {
    let validator = validator();
    let good = format!("{SITE}nobody = \"reserved\"\n");
    for (line, is_valid) in [
        ("[site.bandwidth]\nceil = \"2 MB/s\"", true),
        ("[site.bandwidth]\nceil = \"10 Mbit/s\"", true),
        ("[site.bandwidth]\nceil = \"1.5 GiB/s\"", true),
        ("[site.bandwidth]\nceil = \"9000bit/s\"", true),
        ("[site.bandwidth]\nceil = \"5000 Kib/s\"", false),
        ("[site.bandwidth]\nceil = \"5000 Mibit/s\"", false),
        ("[site.bandwidth]\nceil = \"5  MB/s\"", false),
        ("[site.bandwidth]\nceil = \"5 MB\"", false),
        ("[site.http]\nmax_content = \"64 KiB\"", true),
        ("[site.http]\nmax_content = \"64 KiB/s\"", false),
        ("[site.limits]\nrequests = \"90 / min\"", true),
        ("[site.limits]\nrequests = \"01/s\"", false),
        ("[server]\naddress = \"10.0.2.15/24\"", true),
        ("[server]\naddress = \"ten\"", false),
        ("[server]\ntrusted_proxies = [\"10.1.0.0/16\", \"fd00::/8\", \"::ffff:10.0.0.1\"]", true),
        ("[server]\ntrusted_proxies = [\"proxy.test\"]", false),
        ("[server]\nclient_field = \"x-FORWARDED-for\"", true),
    ] {
        let text = format!("{good}{line}\n");
        assert_eq!(refusals(&validator, &json(&text)).is_empty(), is_valid, "schema: {line}");
        assert_eq!(check_text(Path::new("weir.toml"), &text).is_ok(), is_valid, "parser: {line}");
    }
}

#[test]
fn every_key_and_table_is_documented() {
    let text = reference();
    for table in tables() {
        let path = table.path.join(".");
        assert!(path.is_empty() || text.contains(&format!("[{path}]")), "{path}");
        for (key, schema) in &table.keys {
            let said = schema["description"].as_str().unwrap_or_default();
            assert!(!said.is_empty(), "{path}: {key}");
            assert!(text.contains(&format!("| `{key}` |")) || path.is_empty(), "{path}: {key}");
        }
    }
}

/// Defaults that come from the appliance and not from the parser.
const OF_THE_APPLIANCE: &[&str] = &[
    "queue_length",
    "queue_timeout",
    "response_timeout",
    "requests_per_worker",
    "response_head_bytes",
    "response_fields",
];

#[test]
fn a_key_that_is_left_out_is_what_the_schema_says() {
    let sections = [
        ("server", "[server]\n"),
        ("site", "[[site]]\nname = \"a\"\n"),
        ("site.prefix", "[[site.prefix]]\nurl = \"http://*:80/\"\npool = \"p\"\n"),
        ("site.bandwidth", "[site.bandwidth]\n"),
        ("pool", "[[pool]]\nname = \"p\"\n"),
        ("pool.ping", "[pool.ping]\npath = \"/\"\n"),
        ("pool.rapid_fail", "[pool.rapid_fail]\n"),
        ("pool.recycle", "[pool.recycle]\n"),
        ("pool.worker", "[[pool.worker]]\nkind = \"process\"\ncommand = [\"sh\"]\n"),
        ("log", "[log]\ndirectory = \"logs\"\n"),
    ];
    let read = |table: &str, line: &str| {
        let text: String = sections
            .iter()
            .map(|(name, text)| if *name == table { format!("{text}{line}\n") } else { (*text).to_owned() })
            .collect();
        check_text(Path::new("weir.toml"), &text).unwrap_or_else(|errors| panic!("{errors}: {text}"))
    };
    let (usual, mut keys) = (read("", ""), 0);
    for table in tables() {
        let path = table.path.join(".");
        for (key, schema) in table.keys.iter().filter(|_| sections.iter().any(|(name, _)| *name == path)) {
            let Some(value) = schema.get("default").filter(|_| key != "append") else { continue };
            if !OF_THE_APPLIANCE.contains(&key.as_str()) {
                assert_eq!(read(&path, &format!("{key} = {value}")), usual, "{path}: {key} = {value}");
                keys += 1;
            }
        }
    }
    assert!(keys > 15, "{keys} keys");
}
