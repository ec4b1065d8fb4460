//! Advice in words.

use std::time::Duration;

use bson::{Bson, Document, doc};

use super::choose::{Choice, Need};
use super::data::Data;
use super::index::Index;
use super::surplus::Surplus;
use super::{Action, Words};
use crate::command::Namespace;

/// Creating an index, for these needs.
#[must_use]
pub fn create(
    namespace: &Namespace,
    choice: &Choice,
    needs: &[Need],
    existing: &[Index],
    data: &Data,
    writes_per_second: f64,
    taken: &[String],
) -> Words {
    let keys = pattern(choice);
    let mut options = Document::new();
    if let Some(collation) = &choice.collation {
        options.insert("collation", collation.clone());
    }
    let name = name(choice, &keys, existing, taken);
    if name != default_name(&keys) {
        options.insert("name", name);
    }
    let command = match options.is_empty() {
        true => format!("{}.createIndex({})", collection(namespace), js(&keys)),
        false => format!(
            "{}.createIndex({}, {})",
            collection(namespace),
            js(&keys),
            js(&options)
        ),
    };
    let paths = keys.keys().cloned().collect::<Vec<_>>();
    let bytes = data.documents * data.key_bytes(paths.iter().map(String::as_str));
    Words {
        action: Action::Create,
        command,
        why: why(choice, needs),
        effect: effect(choice, needs),
        cost: format!(
            "about {} of index; each insert and delete, and each update of {}, writes one key more ({} writes a second lately)",
            size(bytes),
            paths.join(", "),
            number(writes_per_second)
        ),
        keys,
        options,
    }
}

/// Showing a hidden index again.
#[must_use]
pub fn unhide(namespace: &Namespace, choice: &Choice, name: &str, needs: &[Need]) -> Words {
    Words {
        action: Action::Unhide,
        keys: pattern(choice),
        options: doc! {"name": name},
        command: format!(
            "{}.unhideIndex({})",
            collection(namespace),
            Bson::String(name.to_owned())
        ),
        why: format!("{}; {name} would serve, and is hidden", why(choice, needs)),
        effect: effect(choice, needs),
        cost: "none: a hidden index is kept up as any other".to_owned(),
    }
}

/// Dropping or hiding an index.
#[must_use]
pub fn surplus_words(namespace: &Namespace, surplus: &Surplus, index: &Index) -> Words {
    let name = Bson::String(index.name.clone());
    let unused = humantime::format_duration(Duration::from_secs(surplus.unused_for.as_secs()));
    let (why, effect) = match (&surplus.replaced_by, surplus.action) {
        (Some(longer), Action::Hide) => (
            format!(
                "{longer} begins with the same fields and serves all that it does; it is still in use, so hide it first"
            ),
            format!("queries move to {longer}; if none gets slower, it can be dropped"),
        ),
        (Some(longer), _) => (
            format!(
                "{longer} begins with the same fields and serves all that it does; unused for {unused}"
            ),
            "each write keeps one key less; its memory is freed".to_owned(),
        ),
        (None, _) => (
            format!("unused for {unused} on every server"),
            "each write keeps one key less; its memory is freed".to_owned(),
        ),
    };
    let (verb, cost) = match surplus.action {
        Action::Hide => (
            "hideIndex",
            "none: it is still kept up, and unhideIndex undoes it",
        ),
        _ => (
            "dropIndex",
            "building it again, should it be needed after all",
        ),
    };
    Words {
        action: surplus.action,
        keys: index.pattern.clone(),
        options: doc! {"name": &index.name},
        command: format!("{}.{verb}({name})", collection(namespace)),
        why,
        effect,
        cost: cost.to_owned(),
    }
}

fn why(choice: &Choice, needs: &[Need]) -> String {
    let served = choice.serves.iter().filter_map(|at| needs.get(*at));
    let of = |need: &Need| {
        let how = match (need.uses.is_empty(), need.sorts) {
            (true, false) => "scanning the collection".to_owned(),
            (true, true) => "scanning the collection and sorting".to_owned(),
            (false, sorts) => {
                let sorting = if sorts { " and sorting" } else { "" };
                format!("by {}{sorting}", need.uses.join(", "))
            }
        };
        format!(
            "{} calls examined {} documents each for {} returned, {how}",
            number(need.calls as f64),
            number(need.examined),
            number(need.returned)
        )
    };
    let list: Vec<String> = served.map(of).collect();
    list.join("; ")
}

fn effect(choice: &Choice, needs: &[Need]) -> String {
    let of = |(at, examines): (&usize, &f64)| {
        let need = needs.get(*at)?;
        let (now, then) = (number(need.examined), number(examines.max(1.0)));
        let documents = if then == "1" { "document" } else { "documents" };
        Some(format!(
            "about {then} {documents} examined instead of {now}"
        ))
    };
    let list: Vec<String> = choice
        .serves
        .iter()
        .zip(&choice.examines)
        .filter_map(of)
        .collect();
    list.join("; ")
}

fn pattern(choice: &Choice) -> Document {
    let keys = choice.keys.iter();
    keys.map(|(path, direction)| (path.clone(), Bson::Int32(*direction)))
        .collect()
}

/// A name that no index has: the one that the server would give, unless other options ask for another.
/// `taken`: by indexes that are advised as well.
fn name(choice: &Choice, keys: &Document, existing: &[Index], taken: &[String]) -> String {
    let mut base = default_name(keys);
    if let Some(collation) = &choice.collation {
        for key in ["locale", "strength"] {
            match collation.get(key) {
                Some(Bson::String(text)) => base = format!("{base}_{text}"),
                Some(value) => base = format!("{base}_{value}"),
                None => {}
            }
        }
    }
    let free =
        |name: &String| !existing.iter().any(|index| index.name == *name) && !taken.contains(name);
    let first = [base.clone(), format!("{base}_advised")];
    let further = (2..).map(|n| format!("{base}_advised_{n}"));
    first.into_iter().chain(further).find(free).unwrap_or(base)
}

impl Words {
    /// The name that the index has, or will have.
    #[must_use]
    pub fn index_name(&self) -> String {
        let given = self.options.get_str("name").map(str::to_owned);
        given.unwrap_or_else(|_| default_name(&self.keys))
    }
}

/// The name that the server gives to an index.
fn default_name(keys: &Document) -> String {
    let parts: Vec<String> = keys
        .iter()
        .map(|(path, way)| format!("{path}_{way}"))
        .collect();
    parts.join("_")
}

fn collection(namespace: &Namespace) -> String {
    let (db, name) = (&namespace.db, &namespace.collection);
    let quoted = |text: &String| Bson::String(text.clone());
    format!(
        "db.getSiblingDB({}).getCollection({})",
        quoted(db),
        quoted(name)
    )
}

/// A document as mongosh reads it.
fn js(document: &Document) -> String {
    Bson::Document(document.clone()).to_string()
}

/// As people read it: `0.1`, `2.5`, `10`, `20,004`.
fn number(value: f64) -> String {
    let text = match value {
        10.0.. => format!("{value:.0}"),
        _ => format!("{value:.1}"),
    };
    let text = text.strip_suffix(".0").unwrap_or(&text);
    let digits = text.find('.').unwrap_or(text.len());
    let mut parted = String::with_capacity(text.len() + 4);
    for (at, digit) in text.char_indices() {
        if at > 0 && at < digits && (digits - at) % 3 == 0 {
            parted.push(',');
        }
        parted.push(digit);
    }
    parted
}

fn size(bytes: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a size"
    )]
    let bytes = bytesize::ByteSize(bytes as u64);
    bytes.display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_more_digits_than_people_read() {
        for (value, text) in [
            (0.0, "0"),
            (0.125, "0.1"),
            (2.5, "2.5"),
            (9.99, "10"),
            (15.2, "15"),
            (999.6, "1,000"),
            (20_004.0, "20,004"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
