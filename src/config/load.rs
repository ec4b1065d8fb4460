//! From a file and `--set` arguments to a [`Config`], with every mistake and not just the first.
//!
//! Serde stops at the first error, so values are tried one at a time: the serialised default is
//! the schema (which keys exist, and each one's TOML type), and a value is right if the default
//! with only that value replaced still deserialises. What a key accepts is thus said in one place
//! only, its Rust type. Checks that concern several keys are in [`super::check`] and are left out
//! for keys that are already wrong.

use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::mistake::{ConfigErrors, Mistake};
use super::secrets::{self, Elsewhere, SECRETS, Secret};
use super::{Config, check};

impl Config {
    /// Reads `path` (defaults if `None`), then applies `sets`, each `dotted.key=value`, in order.
    ///
    /// A value in `sets` is TOML; for a key that holds a string the quotes may be left out.
    pub fn load(path: Option<&Path>, sets: &[String]) -> Result<Self, ConfigErrors> {
        Self::load_with(path, |_| None, sets)
    }

    /// The same with secrets from the environment, which go before `path` and after `sets`. `variable` says
    /// what is in one of its variables.
    pub fn load_with(
        path: Option<&Path>,
        variable: impl Fn(&str) -> Option<String>,
        sets: &[String],
    ) -> Result<Self, ConfigErrors> {
        let mut loader = Loader::new();
        if let Some(path) = path {
            loader.file(path);
        }
        loader.environment(variable);
        for set in sets {
            loader.set(set);
        }
        loader.finish()
    }

    /// The configuration in force as TOML, secrets masked.
    pub fn to_toml(&self) -> String {
        // Infallible: every map key is a field name and every number fits TOML's integer.
        toml::to_string_pretty(self).unwrap_or_default()
    }
}

struct Loader {
    /// The serialised default: which keys there are.
    schema: Table,
    /// The default with every right value replaced.
    merged: Table,
    /// Where the values came from that aren't defaults.
    origins: Vec<(String, String)>,
    mistakes: Vec<Mistake>,
    /// Secrets that came from elsewhere.
    elsewhere: Vec<(&'static Secret, Elsewhere)>,
    /// A file was given and couldn't be read, so that what its keys say isn't known.
    unread: bool,
}

impl Loader {
    fn new() -> Self {
        let schema = Table::try_from(Config::default()).unwrap_or_default();
        Self {
            merged: schema.clone(),
            schema,
            origins: Vec::new(),
            mistakes: Vec::new(),
            elsewhere: Vec::new(),
            unread: false,
        }
    }

    fn file(&mut self, path: &Path) {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => self.text(&name, &text),
            Err(error) => {
                self.unread = true;
                self.mistakes.push(Mistake {
                    key: "--config".to_owned(),
                    what: format!("{name} can't be read: {error}"),
                    help: "name a readable UTF-8 file, or leave --config out for the defaults"
                        .to_owned(),
                    origin: String::new(),
                });
            }
        }
    }

    fn text(&mut self, name: &str, text: &str) {
        let (spans, errors) = DeTable::parse_recoverable(text);
        // Values read past a syntax error may be in the wrong table: judging them would mislead.
        if !errors.is_empty() {
            self.unread = true;
            for error in errors {
                let line = error.span().map_or(1, |span| line_at(text, span.start));
                self.mistakes.push(syntax(name, line, &error));
            }
            return;
        }
        match text.parse::<Table>() {
            Ok(given) => {
                let origin = |path: &[&str]| match find_line(text, spans.get_ref(), path) {
                    Some(line) => format!("{name}:{line}"),
                    None => name.to_owned(),
                };
                self.table(&mut Vec::new(), &given, &origin);
            }
            Err(error) => {
                self.unread = true;
                let line = error.span().map_or(1, |span| line_at(text, span.start));
                self.mistakes.push(syntax(name, line, &error));
            }
        }
    }

    fn table(&mut self, path: &mut Vec<String>, given: &Table, origin: &dyn Fn(&[&str]) -> String) {
        for (key, value) in given {
            path.push(key.clone());
            let parts: Vec<&str> = path.iter().map(String::as_str).collect();
            match (lookup(&self.schema, &parts), value) {
                (Some(Value::Table(_)), Value::Table(inner)) => self.table(path, inner, origin),
                _ => {
                    let at = |item: Option<usize>| match (item, parts.split_last()) {
                        (Some(item), Some((last, parents))) => {
                            let last = format!("{last}[{item}]");
                            origin(&[parents, &[last.as_str()]].concat())
                        }
                        _ => origin(&parts),
                    };
                    self.value(&parts, value.clone(), &at);
                }
            }
            path.pop();
        }
    }

    fn set(&mut self, set: &str) {
        let origin = "command line".to_owned();
        let Some((key, text)) = set.split_once('=') else {
            self.mistakes.push(Mistake {
                key: set.to_owned(),
                what: "has no value".to_owned(),
                help: "write --set key=value, such as --set cache.max_size=1GiB".to_owned(),
                origin,
            });
            return;
        };
        let (key, text) = (key.trim(), text.trim());
        let path: Vec<&str> = key.split('.').map(str::trim).collect();
        // TOML if it is TOML; a string's quotes, which shells eat, may be missing.
        let parsed = format!("v = {text}")
            .parse::<Table>()
            .ok()
            .filter(|table| table.len() == 1)
            .and_then(|mut table| table.remove("v"));
        let bare = || Value::String(text.to_owned());
        let value = match (lookup(&self.schema, &path), parsed) {
            (_, Some(value @ Value::String(_))) => value,
            (Some(Value::String(_)), _) => bare(),
            (_, Some(value)) => value,
            (_, None) => bare(),
        };
        self.supersede(key);
        self.value(&path, value, &|_| origin.clone());
    }

    fn environment(&mut self, variable: impl Fn(&str) -> Option<String>) {
        for secret in &SECRETS {
            let Some(text) = variable(secret.variable).filter(|text| !text.is_empty()) else {
                continue;
            };
            self.supersede(secret.key);
            let origin = format!("environment variable {}", secret.variable);
            self.value(&secret.path, Value::String(text), &|_| origin.clone());
            self.elsewhere.push((secret, Elsewhere::Environment));
        }
    }

    /// A secret is about to be given by its value or by its file: what an earlier source said of either isn't in force.
    fn supersede(&mut self, key: &str) {
        for secret in &SECRETS {
            if ![secret.key, secret.file_key].contains(&key) {
                continue;
            }
            self.elsewhere.retain(|(known, _)| known.key != secret.key);
            for (key, path) in secret.both() {
                if let Some(default) = lookup(&self.schema, path).cloned() {
                    replace(&mut self.merged, path, default);
                }
                self.origins.retain(|(known, _)| known != key);
                self.mistakes.retain(|mistake| mistake.key != key);
            }
        }
    }

    /// Reads the files that hold secrets.
    fn secret_files(&mut self) {
        for secret in &SECRETS {
            let text = |table: &Table, path: &[&str]| {
                let value = lookup(table, path).and_then(Value::as_str);
                value.unwrap_or_default().to_owned()
            };
            let file = text(&self.merged, &secret.file_path);
            if file.is_empty() {
                continue;
            }
            let is_given = |key: &str| self.origins.iter().any(|(known, _)| known == key);
            let read = match is_given(secret.key) && !text(&self.merged, &secret.path).is_empty() {
                true => Err(format!("{} is given too", secret.key)),
                false => secrets::read(&file),
            };
            match read {
                Ok(text) => {
                    replace(&mut self.merged, &secret.path, Value::String(text));
                    self.origins.retain(|(known, _)| known != secret.key);
                    self.origins.push((secret.key.to_owned(), file.clone()));
                    let path = file.into();
                    self.elsewhere.push((secret, Elsewhere::File(path)));
                }
                Err(what) => {
                    let origin = self
                        .origins
                        .iter()
                        .find(|(known, _)| known == secret.file_key);
                    self.mistakes.push(Mistake {
                        key: secret.file_key.to_owned(),
                        what,
                        help: format!(
                            "name a file whose only line is the secret, or give {} instead",
                            secret.key
                        ),
                        origin: origin.map(|(_, origin)| origin.clone()).unwrap_or_default(),
                    });
                }
            }
        }
    }

    /// Takes one value over, or says what is wrong with it. `origin`: of the value, or of an item of a list.
    fn value(&mut self, path: &[&str], value: Value, origin: &dyn Fn(Option<usize>) -> String) {
        let key = path.join(".");
        // The last one wins, also over a mistake: what it replaces is not in force.
        self.mistakes
            .retain(|mistake| !concerns(&mistake.key, &key));
        let Some(default) = lookup(&self.schema, path).cloned() else {
            let (what, help) = self.unknown(path);
            self.mistakes.push(Mistake {
                key,
                what,
                help,
                origin: origin(None),
            });
            return;
        };
        let mut wrong = |key: String, item: Option<usize>, what: String, help: String| {
            let origin = origin(item);
            self.mistakes.push(Mistake {
                key,
                what,
                help,
                origin,
            });
        };
        if let Some(what) = wrong_type(&value, &default) {
            wrong(key.clone(), None, what, example(&key, &default));
            return;
        }
        match try_value(&self.schema, path, value.clone()) {
            Ok(()) => {
                self.origins.retain(|(known, _)| !concerns(known, &key));
                for item in 0..value.as_array().map_or(0, Vec::len) {
                    let at = (format!("{key}[{item}]"), origin(Some(item)));
                    self.origins.push(at);
                }
                replace(&mut self.merged, path, value);
                self.origins.push((key, origin(None)));
            }
            Err(what) => {
                let mut items = 0;
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    let one = Value::Array(vec![item.clone()]);
                    if let Err(what) = try_value(&self.schema, path, one) {
                        items += 1;
                        wrong(
                            format!("{key}[{i}]"),
                            Some(i),
                            what,
                            example(&key, &default),
                        );
                    }
                }
                if items == 0 {
                    wrong(key.clone(), None, what, example(&key, &default));
                }
            }
        }
    }

    /// What to say about a key that isn't in the schema.
    fn unknown(&self, path: &[&str]) -> (String, String) {
        // The deepest table that does exist, and the first part that it hasn't got.
        let mut table = &self.schema;
        let mut parent = String::new();
        let mut missing = "";
        for part in path {
            missing = part;
            match table.get(*part) {
                Some(Value::Table(inner)) => {
                    table = inner;
                    parent = if parent.is_empty() {
                        (*part).to_owned()
                    } else {
                        format!("{parent}.{part}")
                    };
                }
                Some(_) => {
                    let key = if parent.is_empty() {
                        (*part).to_owned()
                    } else {
                        format!("{parent}.{part}")
                    };
                    return (
                        "there is no such key".to_owned(),
                        format!("{key} is a single value and has no keys below it"),
                    );
                }
                None => break,
            }
        }
        let mut names: Vec<&str> = table.keys().map(String::as_str).collect();
        names.sort_unstable();
        let closest = names
            .iter()
            .map(|name| (strsim::damerau_levenshtein(name, missing), *name))
            .min()
            .filter(|(distance, name)| *distance <= 2.max(name.len() / 3));
        let place = if parent.is_empty() {
            "at the top".to_owned()
        } else {
            format!("in [{parent}]")
        };
        let known = format!("known {place}: {}", names.join(", "));
        let help = match closest {
            Some((_, name)) => format!("did you mean {name}? ({known})"),
            None => format!("take it out ({known})"),
        };
        ("there is no such key".to_owned(), help)
    }

    fn finish(mut self) -> Result<Config, ConfigErrors> {
        self.secret_files();
        match self.merged.clone().try_into::<Config>() {
            // Checks between keys would compare with defaults that aren't meant.
            Ok(_) if self.unread => {}
            Ok(mut config) => {
                let mut wrong: Vec<String> = self.mistakes.iter().map(|m| m.key.clone()).collect();
                // A secret whose file can't be read isn't known.
                for secret in &SECRETS {
                    if wrong.iter().any(|key| key == secret.file_key) {
                        wrong.push(secret.key.to_owned());
                    }
                }
                for found in check::check(&config) {
                    let known_wrong = |key: &str| {
                        let below = |table: &str| {
                            key.strip_prefix(table).is_some_and(|k| k.starts_with('.'))
                        };
                        wrong
                            .iter()
                            .any(|wrong| concerns(wrong, key) || below(wrong))
                    };
                    if found.depends_on.iter().any(|key| known_wrong(key)) {
                        continue;
                    }
                    let mut mistake = found.mistake;
                    let key = match found.item {
                        Some(item) => format!("{}[{item}]", mistake.key),
                        None => mistake.key.clone(),
                    };
                    if let Some((_, origin)) = self.origins.iter().find(|(k, _)| *k == key) {
                        mistake.origin.clone_from(origin);
                    }
                    self.mistakes.push(mistake);
                }
                if self.mistakes.is_empty() {
                    for (secret, elsewhere) in self.elsewhere {
                        secret.note(&mut config, elsewhere);
                    }
                    return Ok(config);
                }
            }
            // Each value was tried alone, so this is not reached; it must not pass if it is.
            Err(error) => self.mistakes.push(Mistake {
                key: "configuration".to_owned(),
                what: error.message().to_owned(),
                help: String::new(),
                origin: String::new(),
            }),
        }
        Err(ConfigErrors(self.mistakes))
    }
}

/// Whether a mistake's key is `key` itself or an item of it (`key[3]`).
fn concerns(mistake: &str, key: &str) -> bool {
    mistake
        .strip_prefix(key)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
}

fn lookup<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (last, parents) = path.split_last()?;
    let mut table = table;
    for part in parents {
        table = table.get(*part)?.as_table()?;
    }
    table.get(*last)
}

fn replace(table: &mut Table, path: &[&str], value: Value) {
    let mut table = table;
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    for part in parents {
        match table.get_mut(*part).and_then(Value::as_table_mut) {
            Some(inner) => table = inner,
            None => return,
        }
    }
    table.insert((*last).to_owned(), value);
}

fn try_value(schema: &Table, path: &[&str], value: Value) -> Result<(), String> {
    let mut candidate = schema.clone();
    replace(&mut candidate, path, value);
    match candidate.try_into::<Config>() {
        Ok(_) => Ok(()),
        Err(error) => Err(error.message().to_owned()),
    }
}

fn wrong_type(given: &Value, default: &Value) -> Option<String> {
    if !given.same_type(default) {
        let (given, wanted) = (given.type_str(), default.type_str());
        return Some(format!(
            "must be {}, not {}",
            article(wanted),
            article(given)
        ));
    }
    match given {
        Value::Integer(number) if *number < 0 => Some(format!("{number} is negative")),
        _ => None,
    }
}

fn article(noun: &str) -> String {
    let vowel = noun.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {noun}", if vowel { "an" } else { "a" })
}

fn example(key: &str, default: &Value) -> String {
    match default {
        Value::Table(_) => format!("write its keys under [{key}]"),
        _ => format!("the default is {key} = {default}"),
    }
}

fn syntax(name: &str, line: usize, error: &toml::de::Error) -> Mistake {
    Mistake {
        key: name.to_owned(),
        what: format!("not valid TOML: {}", error.message()),
        help: format!("correct line {line}; the values are looked at once the file can be read"),
        origin: format!("line {line}"),
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    before.filter(|byte| **byte == b'\n').count() + 1
}

/// The line of a key, or of an item of a list (`rules[1]`).
fn find_line(text: &str, table: &DeTable<'_>, path: &[&str]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    if let Some((list, item)) = first.strip_suffix(']').and_then(|f| f.split_once('[')) {
        let (_, value) = table.iter().find(|(key, _)| key.get_ref() == list)?;
        let DeValue::Array(items) = value.get_ref() else {
            return None;
        };
        let item = items.get(item.parse::<usize>().ok()?)?;
        return Some(line_at(text, item.span().start));
    }
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == first)?;
    if let (false, DeValue::Table(inner)) = (rest.is_empty(), value.get_ref()) {
        return find_line(text, inner, rest);
    }
    Some(line_at(text, key.span().start))
}
