//! `petiole advice`: what a running proxy advises, as a table, as JSON, or as a script for mongosh.

use std::fmt::Write;

use serde_json::Value;

use super::admin::AdminAt;
use crate::observe::escaped;

/// Arguments of `petiole advice`.
#[derive(Debug, clap::Args)]
pub(super) struct AdviceArgs {
    #[command(flatten)]
    at: AdminAt,
    /// Print the advice as JSON
    #[arg(long, conflicts_with = "script")]
    json: bool,
    /// Print a script that mongosh can run
    #[arg(long)]
    script: bool,
}

impl AdviceArgs {
    /// What is to be printed.
    pub fn text(&self) -> anyhow::Result<String> {
        let report = self.at.get("/api/advice")?;
        if self.json {
            return Ok(format!("{}\n", serde_json::to_string_pretty(&report)?));
        }
        let none = Vec::new();
        let advice = report["advice"].as_array().unwrap_or(&none);
        Ok(match self.script {
            true => script(advice),
            false => table(advice, &report),
        })
    }
}

/// One statement for each piece of advice, under a comment that says why. Each says what became of it, and one that fails
/// doesn't keep the others from being carried out.
fn script(advice: &[Value]) -> String {
    let mut text = String::new();
    for one in advice {
        for key in ["why", "effect", "cost"] {
            // (A line break in a name would end the comment.)
            let _ = writeln!(text, "// {key}: {}", escaped(field(one, key)));
        }
        let command = field(one, "command");
        let shown = Value::from(command);
        let _ = writeln!(
            text,
            "try {{\n{command};\nprint(\"done: \" + {shown});\n}} catch (error) {{\n\
             print(\"FAILED: \" + {shown} + \": \" + error.message);\n}}\n"
        );
    }
    if advice.is_empty() {
        text.push_str("// no advice\n");
    }
    text
}

fn table(advice: &[Value], report: &Value) -> String {
    let mut text = String::new();
    for one in advice {
        let number = |key: &str| one[key].as_f64().unwrap_or_default();
        let _ = writeln!(
            text,
            "{:<6} {}  {}",
            field(one, "action"),
            escaped(field(one, "namespace")),
            escaped(&one["index"].to_string())
        );
        if number("calls") > 0.0 {
            let _ = writeln!(
                text,
                "  calls   {}, {:.1} s in all, {:.1} examined for {:.1} returned",
                number("calls"),
                number("time_ms") / 1000.0,
                number("examined"),
                number("returned")
            );
        }
        for key in ["why", "effect", "cost", "command"] {
            let _ = writeln!(text, "  {key:<7} {}", escaped(field(one, key)));
        }
        text.push('\n');
    }
    let explained = report["explained"].as_u64().unwrap_or_default();
    let share = report["explain_share"].as_f64().unwrap_or_default() * 100.0;
    let _ = writeln!(
        text,
        "{} to do; {explained} explains so far, {share:.2} % of the time upstream",
        advice.len()
    );
    text
}

fn field<'a>(one: &'a Value, key: &str) -> &'a str {
    one[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn advice() -> Vec<Value> {
        vec![json!({
            "action": "create", "namespace": "game.users", "index": {"user_id": 1},
            "command": "db.getSiblingDB(\"game\").getCollection(\"users\").createIndex({ \"user_id\": 1 })",
            "why": "a\nb", "effect": "e", "cost": "c",
            "calls": 5, "time_ms": 1500.0, "examined": 100.0, "returned": 1.0,
        })]
    }

    #[test]
    fn a_script_has_one_statement_for_each_advice_and_no_broken_comment() {
        let script = script(&advice());
        let statements: Vec<&str> = script.lines().filter(|l| l.starts_with("db.")).collect();
        assert_eq!(
            statements,
            ["db.getSiblingDB(\"game\").getCollection(\"users\").createIndex({ \"user_id\": 1 });"]
        );
        assert!(script.contains("// why: a\\nb\n"));
        // In mongosh an error ends a script: here it ends one statement.
        let lines: Vec<&str> = script.lines().collect();
        let at = lines.iter().position(|l| l.starts_with("db.")).unwrap();
        assert_eq!(lines[at - 1], "try {");
        assert!(
            lines[at + 1].starts_with("print(\"done: \" + \"db.getSiblingDB("),
            "{script}"
        );
        assert_eq!(lines[at + 2], "} catch (error) {");
        assert!(
            lines[at + 3].starts_with("print(\"FAILED: \" + "),
            "{script}"
        );
    }

    #[test]
    fn a_table_says_what_how_often_and_why() {
        let report = json!({"explained": 4, "explain_share": 0.005});
        let table = table(&advice(), &report);
        assert!(
            table.contains("create game.users  {\"user_id\":1}"),
            "{table}"
        );
        // What a terminal would obey.
        assert!(table.contains("  why     a\\nb\n"), "{table}");
        assert!(
            table.contains("5, 1.5 s in all, 100.0 examined for 1.0 returned"),
            "{table}"
        );
        assert!(
            table.ends_with("1 to do; 4 explains so far, 0.50 % of the time upstream\n"),
            "{table}"
        );
    }
}
