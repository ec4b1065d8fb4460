//! Rules of the operator's own (`[[rewrite.rules]]`): the first that fits a command counts.
//!
//! They look at the command as the client sent it. What they change is said on the command itself, so that
//! everything behind (cache key, read preference, time limit) sees nothing special about it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::command::{Command, Kind, filters};
use crate::config::{RuledCommand, UserRule};
use crate::wire::build::DocBuf;
use crate::wire::doc::{self, Element, kind};
use crate::wire::op_msg::Sequence;

/// The rules with their counters.
pub(super) struct UserRules(Vec<Counted>);

struct Counted {
    rule: UserRule,
    name: String,
    applied: AtomicU64,
}

/// A rule that fits a command.
#[derive(Clone, Copy)]
pub(super) struct Fitting<'a>(&'a Counted);

impl UserRules {
    pub fn new(rules: &[UserRule]) -> UserRules {
        let counted = (1..).zip(rules).map(|(n, rule)| Counted {
            rule: rule.clone(),
            name: rule.name.clone().unwrap_or_else(|| format!("rule {n}")),
            applied: AtomicU64::new(0),
        });
        UserRules(counted.collect())
    }

    /// The rule for a command, if there is one.
    pub fn first(&self, command: &Command, sequences: &[Sequence]) -> Option<Fitting<'_>> {
        if self.0.is_empty() {
            return None;
        }
        let name = ruled(command.kind)?;
        let collection = command.collection().unwrap_or_default();
        let fits = |rule: &UserRule| {
            rule.namespace.matches(command.db(), collection)
                && rule.command.is_none_or(|c| c == name)
                && rule
                    .filter
                    .as_ref()
                    .is_none_or(|fields| filters(command, sequences).any_names(fields))
                && rule
                    .filter_includes
                    .as_ref()
                    .is_none_or(|fields| filters(command, sequences).any_includes(fields))
        };
        self.0
            .iter()
            .find(|counted| fits(&counted.rule))
            .map(Fitting)
    }

    /// Each rule's name and how often it applied.
    pub fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        let count = |c: &Counted| c.applied.load(Relaxed);
        self.0.iter().map(move |c| (c.name.as_str(), count(c)))
    }
}

impl<'a> Fitting<'a> {
    pub fn name(self) -> &'a str {
        &self.0.name
    }

    pub fn count(self) {
        self.0.applied.fetch_add(1, Relaxed);
    }

    /// What the client is told, if the command is refused.
    pub fn denial(self) -> Option<String> {
        let reason = self.0.rule.deny.as_ref()?;
        Some(format!(
            "denied by [[rewrite.rules]] {:?}: {reason}",
            self.name()
        ))
    }

    /// The command document with what the rule says, if that differs from what is there.
    pub fn apply(self, command: &Command) -> Option<Vec<u8>> {
        let rule = &self.0.rule;
        let asked = Asked::read(command);
        let mut edits = Edits::default();
        if let Some(index) = &rule.hint
            && matches!(command.kind, Kind::Find | Kind::Aggregate | Kind::Count)
            && !asked.hinted
        {
            edits.set("hint", |out| {
                out.append_str("hint", index);
            });
        }
        if let Some(limit) = rule.max_time
            && !asked.streams
        {
            let most = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            if command.max_time_ms.is_none_or(|ms| ms == 0 || ms > most) {
                let most = i64::try_from(most).unwrap_or(i64::MAX);
                edits.set("maxTimeMS", |out| {
                    out.append_i64("maxTimeMS", most);
                });
            }
        }
        if let Some(most) = rule.max_limit {
            limit(command, &asked, most, &mut edits);
        }
        if let Some(mode) = rule.read_preference
            && reads(command)
            && !command.in_transaction
        {
            edits.set("$readPreference", |out| {
                out.append_doc_with("$readPreference", |p| {
                    p.append_str("mode", mode.as_str());
                });
            });
        }
        edits.apply(command.body())
    }
}

/// What the client asked for, where rules depend on it.
#[derive(Default)]
struct Asked<'a> {
    hinted: bool,
    /// A cursor that waits for more.
    streams: bool,
    limit: Option<Element<'a>>,
    pipeline: Option<Element<'a>>,
}

impl<'a> Asked<'a> {
    fn read(command: &'a Command) -> Asked<'a> {
        let mut asked = Asked::default();
        for field in doc::elements(command.body()).map_while(Result::ok) {
            match field.key {
                "hint" | "min" | "max" => asked.hinted = true,
                "tailable" => asked.streams |= field.is_truthy(),
                "limit" => asked.limit = Some(field),
                "pipeline" => {
                    asked.streams |= first_stage(&field) == Some("$changeStream");
                    asked.pipeline = Some(field);
                }
                _ => {}
            }
        }
        asked
    }
}

fn limit(command: &Command, asked: &Asked<'_>, most: u32, edits: &mut Edits) {
    let most = i64::from(most);
    match (command.kind, asked.pipeline) {
        (Kind::Find, _) => {
            let is_more = |limit: Element<'_>| {
                // A limit that isn't one is the server's to refuse.
                matches!(limit.kind, kind::INT32 | kind::INT64)
                    && limit.as_i64().is_some_and(|n| n == 0 || n > most)
            };
            if asked.limit.is_none_or(is_more) {
                edits.set("limit", |out| {
                    out.append_i64("limit", most);
                });
            }
        }
        (Kind::Aggregate, Some(pipeline)) if !command.pipeline_writes && !asked.streams => {
            let stages = pipeline.as_array().into_iter().flat_map(doc::elements);
            edits.set("pipeline", |out| {
                out.append_array("pipeline", |list| {
                    for stage in stages.map_while(Result::ok) {
                        list.push_value(stage.kind, stage.value);
                    }
                    list.push_doc_with(|last| {
                        last.append_i64("$limit", most);
                    });
                });
            });
        }
        _ => {}
    }
}

/// Fields in their new form, one after the other.
#[derive(Default)]
struct Edits {
    fields: Vec<(&'static str, Vec<u8>)>,
}

impl Edits {
    fn set(&mut self, key: &'static str, write: impl FnOnce(&mut DocBuf)) {
        let mut field = DocBuf::new();
        write(&mut field);
        self.fields.push((key, field.finish()));
    }

    /// Each in its field's place, or at the end.
    fn apply(self, body: &[u8]) -> Option<Vec<u8>> {
        if self.fields.is_empty() {
            return None;
        }
        let mut out = DocBuf::with_capacity(body.len() + 64);
        let raw = |field: &[u8], out: &mut DocBuf| {
            for element in doc::elements(field).map_while(Result::ok) {
                out.append_raw(element.raw);
            }
        };
        let mut placed = Vec::new();
        for element in doc::elements(body) {
            let element = element.ok()?;
            match self.fields.iter().find(|(key, _)| *key == element.key) {
                Some((key, field)) => {
                    raw(field, &mut out);
                    placed.push(*key);
                }
                None => {
                    out.append_raw(element.raw);
                }
            }
        }
        for (_, field) in self.fields.iter().filter(|(key, _)| !placed.contains(key)) {
            raw(field, &mut out);
        }
        Some(out.finish())
    }
}

fn reads(command: &Command) -> bool {
    ruled(command.kind).is_some_and(RuledCommand::reads) && !command.pipeline_writes
}

fn first_stage<'a>(pipeline: &Element<'a>) -> Option<&'a str> {
    let first = doc::elements(pipeline.as_array()?).next()?.ok()?;
    Some(doc::elements(first.as_document()?).next()?.ok()?.key)
}

/// The commands that rules may be about.
fn ruled(kind: Kind) -> Option<RuledCommand> {
    Some(match kind {
        Kind::Find => RuledCommand::Find,
        Kind::Aggregate => RuledCommand::Aggregate,
        Kind::Count => RuledCommand::Count,
        Kind::Distinct => RuledCommand::Distinct,
        Kind::Insert => RuledCommand::Insert,
        Kind::Update => RuledCommand::Update,
        Kind::Delete => RuledCommand::Delete,
        Kind::FindAndModify => RuledCommand::FindAndModify,
        _ => return None,
    })
}
