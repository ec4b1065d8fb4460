//! What a filter asks, path by path.

use bson::{Bson, Document, doc};

use super::query::{Op, Predicate};

/// The conjunctions that a filter is made of: one, or one for each branch of an `$or` (every
/// branch finds its documents through an index of its own). `None` if an index can't help in a
/// way that is understood here.
pub(super) fn branches(filter: &Document) -> Option<Vec<Vec<Predicate>>> {
    let mut all = Vec::new();
    let mut either: Option<Vec<Vec<Predicate>>> = None;
    conjuncts(filter, &mut all, &mut either)?;
    let Some(branches) = either else {
        return Some(vec![merged(all)]);
    };
    let with_rest = |branch: Vec<Predicate>| merged(all.iter().cloned().chain(branch).collect());
    Some(branches.into_iter().map(with_rest).collect())
}

fn conjuncts(
    filter: &Document,
    all: &mut Vec<Predicate>,
    either: &mut Option<Vec<Vec<Predicate>>>,
) -> Option<()> {
    for (key, value) in filter {
        match (key.as_str(), value) {
            ("$and", Bson::Array(clauses)) => {
                for clause in clauses {
                    conjuncts(clause.as_document()?, all, either)?;
                }
            }
            // (A second one is looked at after the documents are found.)
            ("$or", Bson::Array(clauses)) if either.is_none() && clauses.len() <= MOST_BRANCHES => {
                let mut branches = Vec::new();
                for clause in clauses {
                    let (mut inner, mut nested) = (Vec::new(), Some(Vec::new()));
                    conjuncts(clause.as_document()?, &mut inner, &mut nested)?;
                    branches.push(inner);
                }
                *either = Some(branches);
            }
            ("$text" | "$where" | "$near" | "$nearSphere", _) => return None,
            (key, _) if key.starts_with('$') => {}
            (path, value) => condition(path, value, all)?,
        }
    }
    Some(())
}

fn condition(path: &str, value: &Bson, all: &mut Vec<Predicate>) -> Option<()> {
    // A position in an array, or a field whose name is a number: an index may mean either.
    let ambiguous = path.split('.').any(|part| part.parse::<u64>().is_ok());
    let predicate = |op: Op, condition: Bson| Predicate {
        path: path.to_owned(),
        op: if ambiguous { Op::Weak } else { op },
        condition,
        share: 1.0,
    };
    let operators = match value {
        Bson::Document(document) if is_operators(document) => document,
        Bson::RegularExpression(regex) => {
            let op = regex_op(regex.pattern.as_str(), regex.options.as_str());
            all.push(predicate(op, value.clone()));
            return Some(());
        }
        _ => {
            all.push(predicate(Op::Equal, value.clone()));
            return Some(());
        }
    };
    for (operator, operand) in operators {
        let one = Bson::Document(doc! {operator: operand.clone()});
        match (operator.as_str(), operand) {
            ("$eq", Bson::RegularExpression(_)) => all.push(predicate(Op::Weak, one)),
            ("$eq", _) => all.push(predicate(Op::Equal, one)),
            ("$in", Bson::Array(list)) => match list.as_slice() {
                [Bson::RegularExpression(_), ..] => all.push(predicate(Op::Range, one)),
                [_] => all.push(predicate(Op::Equal, one)),
                _ => all.push(predicate(Op::List(list.len()), one)),
            },
            ("$all", Bson::Array(_)) => all.push(predicate(Op::Equal, one)),
            ("$gt" | "$gte" | "$lt" | "$lte", _) => all.push(predicate(Op::Range, one)),
            ("$regex", Bson::String(pattern)) => {
                let options = operators.get_str("$options").unwrap_or_default();
                all.push(predicate(regex_op(pattern, options), value.clone()));
            }
            ("$regex", Bson::RegularExpression(regex)) => {
                let op = regex_op(regex.pattern.as_str(), regex.options.as_str());
                all.push(predicate(
                    op,
                    Bson::Document(doc! {"$regex": operand.clone()}),
                ));
            }
            ("$options", _) => {}
            ("$elemMatch", Bson::Document(inner)) if !is_operators(inner) => {
                let mut within = Vec::new();
                conjuncts(inner, &mut within, &mut Some(Vec::new()))?;
                for predicate in within {
                    all.push(Predicate {
                        path: format!("{path}.{}", predicate.path),
                        ..predicate
                    });
                }
            }
            ("$elemMatch", Bson::Document(inner)) => {
                condition(path, &Bson::Document(inner.clone()), all)?;
            }
            ("$near" | "$nearSphere" | "$geoWithin" | "$geoIntersects", _) => return None,
            _ => all.push(predicate(Op::Weak, one)),
        }
    }
    Some(())
}

/// One predicate for each path: the most useful of several.
fn merged(all: Vec<Predicate>) -> Vec<Predicate> {
    let mut kept: Vec<Predicate> = Vec::new();
    for predicate in all {
        match kept.iter_mut().find(|k| k.path == predicate.path) {
            None => kept.push(predicate),
            Some(known) => {
                let both = match (&known.condition, &predicate.condition) {
                    (Bson::Document(a), Bson::Document(b)) if known.op == predicate.op => {
                        // Both ends of a range.
                        let mut both = a.clone();
                        both.extend(b.clone());
                        Some(Bson::Document(both))
                    }
                    _ => None,
                };
                if let Some(both) = both {
                    known.condition = both;
                } else if predicate.op.rank() < known.op.rank() {
                    *known = predicate;
                }
            }
        }
    }
    kept
}

/// A prefix that can be looked up is a range; anything else looks at every key.
fn regex_op(pattern: &str, options: &str) -> Op {
    let rest = pattern.strip_prefix('^').unwrap_or_default();
    let plain = rest
        .chars()
        .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | ':' | '@' | ' '))
        .count();
    match plain > 0 && !options.contains(['i', 'm', 'x']) && !pattern.contains('|') {
        true => Op::Range,
        false => Op::Weak,
    }
}

fn is_operators(document: &Document) -> bool {
    let first = document.keys().next();
    first.is_some_and(|key| key.starts_with('$') && key != "$ref" && key != "$id")
}

/// Branches of an `$or` that are looked at.
const MOST_BRANCHES: usize = 8;
