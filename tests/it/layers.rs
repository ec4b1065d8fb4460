//! The layer table of docs/ARCHITECTURE.md, held against the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Module → what it may use of this crate.
const TABLE: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("command", &["wire"]),
    ("pipeline", &["wire", "command", "memory"]),
    ("advice", &["command"]),
    (
        "stages",
        &["wire", "command", "pipeline", "config", "memory", "advice"],
    ),
    (
        "upstream",
        &["wire", "command", "pipeline", "config", "memory"],
    ),
    (
        "server",
        &[
            "wire", "command", "pipeline", "stages", "upstream", "config", "memory", "observe",
        ],
    ),
    (
        "admin",
        &[
            "wire", "command", "pipeline", "stages", "upstream", "server", "config", "memory",
            "observe",
        ],
    ),
    ("config", &[]),
    ("memory", &["config"]),
    ("observe", &["config"]),
    ("embedded", &[]),
    ("bench", &["wire", "embedded"]),
    ("proxy", &["admin", "config", "embedded", "server"]),
    ("top", &[]),
    ("cli", &["bench", "config", "observe", "proxy", "top"]),
];

#[test]
fn every_module_uses_only_what_the_layer_table_allows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let allowed: BTreeMap<&str, &[&str]> = TABLE.iter().copied().collect();
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (module, file, text) in sources(&root) {
        for name in uses(&text) {
            if name == module {
                continue;
            }
            used.entry(module.clone()).or_default().insert(name.clone());
            if !allowed
                .get(module.as_str())
                .is_some_and(|list| list.contains(&name.as_str()))
            {
                wrong.push(format!("{file} uses crate::{name}: {module} may not"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (module, list) in TABLE {
        for name in *list {
            let is_used = used.get(*module).is_some_and(|u| u.contains(*name));
            assert!(
                is_used,
                "the table lets {module} use {name}, which it no longer does"
            );
        }
    }
}

#[test]
fn stages_do_not_use_each_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (module, file, text) in sources(&root) {
        if module == "stages" && !file.ends_with("stages/mod.rs") {
            assert!(
                !text.contains("crate::stages::"),
                "{file} uses another stage"
            );
        }
    }
}

#[test]
fn only_figures_and_spans_read_the_trail() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let readers = [
        "pipeline/trail.rs",
        "server/durations.rs",
        "server/latency.rs",
        "server/traces.rs",
        "stages/profile/mod.rs",
        "stages/profile/tally.rs",
    ];
    for (_, file, text) in sources(&root) {
        let reads = ["trail.has(", "trail.iter(", ".has(Decision::"]
            .iter()
            .any(|word| text.contains(word));
        let may = file.contains("/tests/") || readers.iter().any(|reader| file.ends_with(reader));
        assert!(
            may || !reads,
            "{file} reads the trail, which drops decisions; what is sent and answered depends on `Progress`"
        );
    }
}

#[test]
fn the_table_names_every_module() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = fs::read_to_string(root.join("lib.rs")).unwrap();
    let modules = lib
        .lines()
        .filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';'));
    for module in modules {
        assert!(
            TABLE.iter().any(|(name, _)| *name == module),
            "{module} isn't in the layer table"
        );
    }
}

#[test]
fn wire_and_command_are_pure() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (module, file, text) in sources(&root) {
        if matches!(module.as_str(), "wire" | "command") {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for name in [
                "tokio::",
                "tracing::",
                "std::net",
                "std::fs",
                "Instant::now",
                "SystemTime",
            ] {
                assert!(!code.contains(name), "{file} uses {name}");
            }
        }
    }
}

/// Module, file and text without comments and tests of every source file.
fn sources(root: &Path) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|e| e != "rs") {
                continue;
            }
            let inside = path.strip_prefix(root).unwrap();
            let first = inside
                .components()
                .next()
                .unwrap()
                .as_os_str()
                .to_string_lossy()
                .into_owned();
            let module = first.trim_end_matches(".rs").to_owned();
            if matches!(module.as_str(), "lib" | "main") || path.ends_with("tests.rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code: Vec<&str> = text
                .lines()
                .filter(|l| !l.trim_start().starts_with("//"))
                .collect();
            let code = code.join("\n");
            let code = code
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap_or_default()
                .to_owned();
            found.push((module, path.display().to_string(), code));
        }
    }
    assert!(found.len() > 50, "the sources are found");
    found
}

/// Every `crate::name` in a text, also in `use crate::{a, b::c}`.
fn uses(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut item = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        names.insert(first_word(&std::mem::take(&mut item)));
                        continue;
                    }
                    _ => {}
                }
                item.push(c);
            }
            names.insert(first_word(&item));
        } else {
            names.insert(first_word(rest));
        }
    }
    names.remove("");
    names
}

fn first_word(text: &str) -> String {
    text.trim()
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}
