//! `docs/configuration.md` is proxy.toml as a page: made from it, so that the two can't differ.

use std::fmt::Write as _;

use super::SHIPPED;

const TOP: &str = "# Configuration

This page is made from [proxy.toml](../proxy.toml), which holds every key with its default. A key that is left out has its default. Sizes
and times carry their unit: `\"64MiB\"`, `\"48000000B\"`, `\"250ms\"`, `\"1m 30s\"`. `\"\"` means \"not set\". Any key can be set on the
command line: `--set cache.max_size=1GiB`. `petiole check --config FILE` names every mistake; `petiole config` prints what is in force.
";

/// The page: a section for each table, with a row for each key.
fn page(shipped: &str) -> String {
    let mut page = TOP.to_owned();
    let (mut comment, mut example) = (Vec::new(), Vec::new());
    let mut rows = false;
    // The lines at the top of the file are about the file.
    let tables = shipped.split_once("\n\n").map_or("", |(_, rest)| rest);
    for line in tables.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            if text.starts_with("[[") || !example.is_empty() && text.contains(" = ") {
                example.push(text);
            } else {
                comment.push(text);
            }
        } else if let Some(table) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            let _ = writeln!(page, "\n## [{table}]\n\n{}", comment.join(" "));
            comment.clear();
            rows = false;
        } else if let Some((key, default)) = line.split_once(" = ") {
            if !rows {
                page.push_str("\n| key | default | |\n|---|---|---|\n");
                rows = true;
            }
            let meaning = comment.join(" ").replace('|', "\\|");
            let _ = writeln!(page, "| `{key}` | `{default}` | {meaning} |");
            if !example.is_empty() {
                let _ = writeln!(page, "\n```toml\n{}\n```", example.join("\n"));
                rows = false;
            }
            comment.clear();
            example.clear();
        }
    }
    page
}

#[test]
fn the_page_of_the_configuration_is_made_from_proxy_toml() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let made = page(SHIPPED);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &made).expect("docs can be written");
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/configuration.md isn't what proxy.toml says: UPDATE_DOCS=1 cargo test --lib page"
    );
}
