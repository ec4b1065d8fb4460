//! A client that reads and judges.

use bson::{RawBsonRef, RawDocument, Timestamp};

use super::judge::{Judge, Shown, read_documents};
use super::link::Link;
use super::model::Least;
use super::query::{Answer, Query};
use super::run::{ERA, Random, Run};

/// Reads until there have been enough.
pub fn read(run: &Run, number: u64) {
    let mut link = Link::connect(&run.address);
    let mut random = Random::new(number);
    let mut messages = Vec::new();
    let mut shown = Vec::new();
    while run.goes_on() {
        // All readers are at the same few queries for a while: some hits, and some company.
        let era = run.reads() / ERA;
        let place = era.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ random.below(FOCUS);
        let place = place.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        let slow = random.below(500) == 0;
        let query = match slow {
            true => &run.slow[run.hot_key()],
            false => &run.queries[place as usize % run.queries.len()],
        };
        let burst = match slow || query.more.is_some() {
            true => 1,
            false => 1 + random.below(BURST) as usize,
        };
        messages.clear();
        (0..burst).for_each(|_| messages.extend_from_slice(&query.message));
        if let Some(at) = query.after {
            // Nearly the latest write: others may have asked for the same time.
            let after = run.model.operation_time().to_le_bytes();
            for message in messages.chunks_exact_mut(query.message.len()) {
                message[at..at + 8].copy_from_slice(&after);
            }
        }
        let least = run.model.least(query.copy);
        link.send(&messages);
        for _ in 0..burst {
            answer(run, query, &least, &mut link, &mut shown);
        }
        run.count(burst as u64);
    }
}

/// Receives and judges one answer, with all of its batches. `least`: what it is to show at least.
pub fn answer(run: &Run, query: &Query, least: &Least, link: &mut Link, shown: &mut Vec<Shown>) {
    shown.clear();
    if let Err(why) = verdict(run, query, least, link, shown) {
        run.violation(format!("{}: {why}", query.name));
    }
}

fn verdict(
    run: &Run,
    query: &Query,
    least: &Least,
    link: &mut Link,
    shown: &mut Vec<Shown>,
) -> Result<(), String> {
    let judge = Judge {
        model: &run.model,
        query,
        least,
    };
    let mut name = "firstBatch";
    loop {
        let reply = link.receive();
        if !is_ok(reply) {
            // Its collection was dropped by a copy that took its place.
            if query.copy && reply.get_i32("code").ok() == Some(QUERY_PLAN_KILLED) {
                return Ok(());
            }
            panic!("{}: {reply:?}", query.name);
        }
        let broken = |e: bson::error::Error| e.to_string();
        match query.answer {
            Answer::Count { skip, limit } => {
                let n = reply.get_i32("n").map_err(broken)?;
                return judge.count(i64::from(n), skip, limit);
            }
            Answer::Phases | Answer::Versions => {
                let values = numbers(reply.get_array("values").map_err(broken)?);
                if matches!(query.answer, Answer::Phases) {
                    return judge.phases(&values);
                }
                shown.extend(values.iter().map(|&v| Shown::of(v)));
                return judge.documents(shown);
            }
            _ => {}
        }
        let cursor = reply.get_document("cursor").map_err(broken)?;
        let batch = cursor.get_array(name).map_err(broken)?;
        if matches!(query.answer, Answer::Totals) {
            let Some(totals) = batch.into_iter().next() else {
                return judge.totals(0, Some(0));
            };
            let totals = totals.map_err(|e| e.to_string())?;
            let totals = totals.as_document().ok_or("not a document")?;
            let n = totals.get_i32("n").map_err(broken)?;
            return judge.totals(i64::from(n), totals.get_i64("s").ok());
        }
        read_documents(batch, shown)?;
        match (cursor.get_i64("id").map_err(broken)?, &query.more) {
            (0, _) => return judge.documents(shown),
            (id, Some((more, at))) => {
                let mut more = more.clone();
                more[*at..*at + 8].copy_from_slice(&id.to_le_bytes());
                link.send(&more);
                name = "nextBatch";
            }
            (id, None) => return Err(format!("cursor {id} was left open")),
        }
    }
}

fn is_ok(reply: &RawDocument) -> bool {
    // (Of a `count` on a view it's an int.)
    matches!(
        reply.get("ok"),
        Ok(Some(RawBsonRef::Double(1.0) | RawBsonRef::Int32(1)))
    )
}

fn numbers(values: &bson::RawArray) -> Vec<i64> {
    let number =
        |value: bson::RawBsonRef<'_>| value.as_i64().or_else(|| value.as_i32().map(i64::from));
    // What isn't a number is nobody's.
    values
        .into_iter()
        .map(|v| v.ok().and_then(number).unwrap_or(-1))
        .collect()
}

/// The cluster time that a reply names.
pub fn operation_time(reply: &bson::Document) -> u64 {
    let time = reply.get_timestamp("operationTime");
    let Ok(Timestamp { time, increment }) = time else {
        return 0;
    };
    u64::from(time) << 32 | u64::from(increment)
}

/// Queries that they are at meanwhile.
const FOCUS: u64 = 24;

/// The same query is asked up to so many times in one go.
const BURST: u64 = 8;

/// An error of the server: the collection of a running query was dropped.
const QUERY_PLAN_KILLED: i32 = 175;
