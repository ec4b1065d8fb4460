//! Whether an answer may be given: by the states that each key may have shown while it was read.
//!
//! A read of several documents isn't a snapshot on the server, so each key is judged by itself;
//! sums and counts lie between what all keys allow together.

use bson::{RawArray, RawBsonRef, RawDocument};

use super::model::{ANY, KEYS, Least, Model, PHASES, parts_of, v_of};
use super::query::{Answer, Query};

/// A read that has ended.
pub struct Judge<'a> {
    pub model: &'a Model,
    pub query: &'a Query,
    /// The bounds at its beginning.
    pub least: &'a Least,
}

/// What a document shows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shown {
    pub key: usize,
    pub v: Option<i64>,
    pub p: Option<i32>,
}

impl Shown {
    /// What a version alone shows.
    pub fn of(v: i64) -> Shown {
        Shown {
            key: parts_of(v).0,
            v: Some(v),
            p: None,
        }
    }
}

type Verdict = Result<(), String>;

impl Judge<'_> {
    /// The documents of all batches of an answer.
    pub fn documents(&self, shown: &[Shown]) -> Verdict {
        for document in shown {
            self.document(document)?;
        }
        let full = match self.query.answer {
            Answer::Leaders(limit) => {
                if !shown.is_sorted_by(|a, b| a.v >= b.v) {
                    return Err(format!("out of order: {shown:?}"));
                }
                (shown.len() >= limit).then(|| shown.last().and_then(|s| s.v))
            }
            Answer::Page { skip, limit } => return self.page(shown, skip, limit),
            Answer::Some(limit) => (shown.len() >= limit).then_some(None),
            _ => None,
        };
        if let Answer::Leaders(limit) | Answer::Some(limit) = self.query.answer
            && shown.len() > limit
        {
            return Err(format!("more than {limit} documents"));
        }
        let is_shown = |key: usize| shown.iter().any(|s| s.key == key);
        for &key in self.query.keys.iter().filter(|&&k| !is_shown(k)) {
            let span = self.model.span(key, self.least[key], self.query.phases);
            match full {
                // Whoever isn't among the leaders isn't ahead of the last of them.
                Some(Some(last)) if span.must && v_of(key, span.lowest) > last => {
                    return Err(format!("key {key} isn't among the leaders: {span:?}"));
                }
                Some(_) => {}
                None => self.missing(key)?,
            }
        }
        Ok(())
    }

    /// A key isn't among all that match.
    fn missing(&self, key: usize) -> Verdict {
        let span = self.model.span(key, self.least[key], self.query.phases);
        match span.missed {
            Some(n) => {
                self.model.observe(key, n, self.query.copy);
                Ok(())
            }
            None => Err(format!(
                "key {key} is missing; state {} was known before: {span:?}",
                self.least[key]
            )),
        }
    }

    fn document(&self, shown: &Shown) -> Verdict {
        let key = shown.key;
        if !self.query.keys.contains(&key) {
            return Err(format!("key {key} doesn't match"));
        }
        let phases = shown.p.map_or(self.query.phases, |p| {
            self.query.phases & 1_u8.checked_shl(p as u32).unwrap_or(0)
        });
        let Some(v) = shown.v else {
            let span = self.model.span(key, self.least[key], phases);
            return match span.chances {
                0 => Err(format!("key {key} can't be there: {span:?}")),
                _ => Ok(()),
            };
        };
        let (of, n) = parts_of(v);
        if of != key {
            return Err(format!("key {key} shows the version of {of}"));
        }
        match self.model.judge(key, n, self.least[key])? {
            Some(p) if phases & (1 << p) != 0 => {
                self.model.observe(key, n, self.query.copy);
                Ok(())
            }
            state => Err(format!("key {key} in state {n}, which is {state:?}")),
        }
    }

    /// Documents number `skip`, … by `_id`.
    fn page(&self, shown: &[Shown], skip: usize, limit: usize) -> Verdict {
        if shown.len() > limit || !shown.is_sorted_by(|a, b| a.key < b.key) {
            return Err(format!("out of order: {shown:?}"));
        }
        let span = |key: usize| self.model.span(key, self.least[key], self.query.phases);
        let keys = || self.query.keys.iter().copied();
        let first = shown.first().map_or(KEYS, |s| s.key);
        let before = || keys().filter(|&k| k < first);
        let must = before().filter(|&k| span(k).must).count();
        let can = before().filter(|&k| span(k).chances > 0).count();
        if must > skip || !shown.is_empty() && can < skip {
            return Err(format!(
                "begins with key {first} after {skip}, but {must} to {can} are before it"
            ));
        }
        let end = match (shown.len() == limit, shown.last()) {
            (true, Some(last)) => last.key,
            _ => KEYS,
        };
        let among = |k: &usize| (first..end).contains(k) && !shown.iter().any(|s| s.key == *k);
        keys().filter(among).try_for_each(|key| self.missing(key))
    }

    /// The reply to a `count`.
    pub fn count(&self, n: i64, skip: usize, limit: usize) -> Verdict {
        let spans = self.spans();
        let must = spans.iter().filter(|(_, s)| s.must).count();
        let can: usize = spans.iter().map(|(_, s)| s.chances).sum();
        let cut = |n: usize| n.saturating_sub(skip).min(limit) as i64;
        if (cut(must)..=cut(can)).contains(&n) {
            return Ok(());
        }
        Err(format!(
            "{n} counted, {} to {} expected",
            cut(must),
            cut(can)
        ))
    }

    /// Number and sum of the versions that match.
    pub fn totals(&self, n: i64, sum: Option<i64>) -> Verdict {
        self.count(n, 0, usize::MAX)?;
        let spans = self.spans();
        let must = spans.iter().filter(|(_, s)| s.must);
        let low: i64 = must.map(|(k, s)| v_of(*k, s.lowest)).sum();
        let can = spans.iter();
        let high: i64 = can
            .map(|(k, s)| v_of(0, s.highest) + (k * s.chances) as i64)
            .sum();
        match sum {
            Some(sum) if !(low..=high).contains(&sum) => {
                Err(format!("sum {sum}, {low} to {high} expected"))
            }
            _ => Ok(()),
        }
    }

    /// The values of `p` that there are.
    pub fn phases(&self, values: &[i64]) -> Verdict {
        for p in 0..PHASES {
            let spans = || {
                let keys = self.query.keys.iter();
                keys.map(|&k| self.model.span(k, self.least[k], 1 << p))
            };
            if values.contains(&i64::from(p)) {
                if !spans().any(|s| s.chances > 0) {
                    return Err(format!("{p} is nobody's phase"));
                }
            } else if spans().any(|s| s.must) {
                return Err(format!("phase {p} is missing"));
            }
        }
        Ok(())
    }

    fn spans(&self) -> Vec<(usize, super::model::Span)> {
        let keys = self.query.keys.iter();
        keys.map(|&k| (k, self.model.span(k, self.least[k], self.query.phases)))
            .collect()
    }
}

/// Reads the documents of a batch (or those that a document holds in `docs`).
pub fn read_documents(batch: &RawArray, into: &mut Vec<Shown>) -> Verdict {
    for document in batch {
        let document = document.ok().and_then(|d| d.as_document());
        read_document(document.ok_or("not a document")?, into)?;
    }
    Ok(())
}

fn read_document(document: &RawDocument, into: &mut Vec<Shown>) -> Verdict {
    let (mut v, mut p, mut id, mut k) = (None, None, None, None);
    for field in document {
        match field.map_err(|e| e.to_string())? {
            (name, RawBsonRef::Array(docs)) if name == "docs" => return read_documents(docs, into),
            (name, RawBsonRef::Int64(value)) if name == "v" => v = Some(value),
            (name, RawBsonRef::Int32(value)) if name == "p" => p = Some(value),
            (name, RawBsonRef::Int32(value)) if name == "_id" => id = Some(value),
            (name, RawBsonRef::Int32(value)) if name == "k" => k = Some(value),
            _ => {}
        }
    }
    let of_v = v.map(|v| parts_of(v).0);
    let [id, k] = [id, k].map(|field| field.and_then(|f| usize::try_from(f).ok()));
    let key = of_v.or(id).or(k).filter(|&key| key < KEYS);
    let key = key.ok_or_else(|| format!("whose document is {document:?}?"))?;
    if [id, k].into_iter().flatten().any(|other| other != key) {
        return Err(format!("a document of two keys: {document:?}"));
    }
    into.push(Shown { key, v, p });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::queries;

    fn verdict(model: &Model, name: &str, least: &Least, shown: &[(usize, i64)]) -> Verdict {
        let queries = queries::all("d");
        let query = queries.iter().find(|q| q.name.starts_with(name)).unwrap();
        let shown: Vec<Shown> = shown
            .iter()
            .map(|&(key, n)| Shown {
                key,
                v: Some(v_of(key, n)),
                p: None,
            })
            .collect();
        Judge {
            model,
            query,
            least,
        }
        .documents(&shown)
    }

    #[test]
    fn the_past_the_future_what_is_missing_and_what_does_not_match_are_violations() {
        let model = Model::new();
        let old = model.least(false);
        {
            let _alone = model.alone(0);
            model.send(0, None);
            model.acknowledge(0);
            model.send(0, Some(1));
            model.acknowledge(0);
        }
        let (new, by_id) = (model.least(false), "find by _id ");
        assert_eq!(verdict(&model, by_id, &new, &[(0, 3)]), Ok(()));
        assert_eq!(verdict(&model, by_id, &old, &[(0, 1)]), Ok(()));
        assert_eq!(
            verdict(&model, by_id, &old, &[]),
            Ok(()),
            "deleted for a while"
        );
        for wrong in [&[(0, 1)][..], &[(0, 2)], &[(0, 4)], &[], &[(1, 1)]] {
            assert!(verdict(&model, by_id, &new, wrong).is_err(), "{wrong:?}");
        }
        let group = "find by group and phase";
        // Of keys 0, 3, 6 and 9, the first and the last are in phase 1.
        assert_eq!(verdict(&model, group, &new, &[(0, 3), (9, 1)]), Ok(()));
        assert!(verdict(&model, group, &new, &[(0, 3)]).is_err());
        assert!(verdict(&model, group, &new, &[(0, 3), (9, 1), (6, 1)]).is_err());
        let leaders = "find leaders {";
        assert_eq!(
            verdict(&model, leaders, &new, &[(0, 3), (11, 1), (10, 1)]),
            Ok(())
        );
        assert!(verdict(&model, leaders, &new, &[(11, 1), (10, 1), (9, 1)]).is_err());
        let page = "find page {";
        let from = |first: usize| [0, 1, 2, 3].map(|k| (first + k, 1));
        assert_eq!(verdict(&model, page, &new, &from(2)), Ok(()));
        assert!(verdict(&model, page, &new, &from(3)).is_err());
        assert!(verdict(&model, page, &new, &from(2)[..3]).is_err());
        assert_eq!(
            verdict(&model, page, &old, &from(3)),
            Ok(()),
            "without key 0"
        );
    }

    #[test]
    fn counts_sums_and_phases_lie_between_what_the_keys_allow() {
        let model = Model::new();
        let queries = queries::all("d");
        let find = |name: &str| queries.iter().find(|q| q.name.starts_with(name)).unwrap();
        let least = model.least(false);
        let judge = |name| Judge {
            model: &model,
            query: find(name),
            least: &least,
        };
        let count = judge("count of a phase");
        assert_eq!(count.count(3, 0, 99), Ok(()));
        assert!(count.count(2, 0, 99).is_err() && count.count(4, 0, 99).is_err());
        let sum: i64 = (0..KEYS).map(|k| v_of(k, 1)).sum();
        let totals = judge("aggregate totals {");
        assert_eq!(totals.totals(12, Some(sum)), Ok(()));
        assert!(totals.totals(12, Some(sum - 1)).is_err());
        assert!(totals.totals(12, Some(sum + 1)).is_err());
        let phases = judge("distinct phases {");
        assert_eq!(phases.phases(&[0, 1, 2, 3]), Ok(()));
        assert!(phases.phases(&[0, 1, 2]).is_err());
        assert_eq!(find("find by _id ").phases, ANY);
    }
}
