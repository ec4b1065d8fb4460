//! Writes of one key.

use bson::{Document, doc};

use super::model::{GROUPS, KEYS, STEP, v_of};
use super::query::{BASE, MAIN};
use super::reader::answer;
use super::writer::{Writer, document, fields, phase};

/// Writes a key in some way.
pub fn write(writer: &mut Writer<'_>) {
    let model = &writer.run.model;
    let key = writer.key();
    if writer.random.below(4) == 0 {
        return increment(writer, key);
    }
    let _alone = model.alone(key);
    match model.state(key) {
        None => create(writer, key),
        Some(p) if writer.random.below(5) == 0 => {
            remove(writer, key, p);
            if writer.random.below(2) == 0 {
                model.acknowledge(key);
                create(writer, key);
            }
        }
        Some(p) => change(writer, key, p),
    }
    model.acknowledge(key);
}

/// A slow read is under way while the key is written; whoever comes then and asks the same must
/// see what was written.
pub fn ambush(writer: &mut Writer<'_>) {
    let (run, model) = (writer.run, &writer.run.model);
    let key = writer.key();
    let _alone = model.alone(key);
    if model.state(key).is_none() {
        return;
    }
    let query = &run.slow[key];
    let write = |writer: &mut Writer<'_>| {
        let p = phase(&mut writer.random);
        let n = model.send(key, Some(p));
        let set = doc! {"$set": {"v": v_of(key, n), "p": p}};
        let statement = doc! {"q": {"_id": key as i32}, "u": set};
        let at_once = doc! {"w": 1};
        writer.command(doc! {"update": MAIN, "updates": [statement], "writeConcern": at_once});
        model.acknowledge(key);
        model.least(false)
    };
    // (What is cached is no flight.)
    let early = write(writer);
    writer.side.send(&query.message);
    let late = write(writer);
    writer.link.send(&query.message);
    let mut shown = Vec::new();
    answer(run, query, &early, &mut writer.side, &mut shown);
    answer(run, query, &late, &mut writer.link, &mut shown);
    run.count(2);
}

/// A write that changes nothing.
pub fn nothing(writer: &mut Writer<'_>) {
    let k = writer.random.below(KEYS as u64) as i32;
    let update = |statement: Document| doc! {"update": MAIN, "updates": [statement]};
    let unchanged = doc! {"$max": {"v": 0_i64}};
    let command = match writer.random.below(5) {
        0 => update(doc! {"q": {"k": k}, "u": unchanged, "multi": true}),
        1 => update(doc! {"q": {"g": 1, "p": 99}, "u": {"$set": {"p": 98}}, "multi": true}),
        2 => doc! {"delete": MAIN, "deletes": [{"q": {"k": k, "g": 99}, "limit": 0}]},
        3 => doc! {"findAndModify": MAIN, "query": {"k": k, "p": 99}, "remove": true},
        _ => doc! {"findAndModify": MAIN, "query": {"_id": 99}, "update": {"$set": {"p": 98}}},
    };
    writer.acknowledged(command);
}

fn increment(writer: &mut Writer<'_>, key: usize) {
    let model = &writer.run.model;
    let _shared = model.shared(key);
    if model.state(key).is_none() {
        return;
    }
    let (k, more) = (key as i32, doc! {"$inc": {"v": STEP}});
    model.send_increment(key);
    match writer.random.below(4) {
        0 => writer.update(doc! {"q": {"_id": k}, "u": more}, 1),
        1 => writer.update(doc! {"q": {"k": k}, "u": more, "multi": true}, 1),
        2 => {
            let pipeline = [doc! {"$set": {"v": {"$add": ["$v", STEP]}}}];
            writer.update(doc! {"q": {"k": k}, "u": &pipeline[..]}, 1);
        }
        _ => found(
            writer,
            doc! {"query": {"k": k}, "update": more, "sort": {"v": 1}},
        ),
    }
    model.acknowledge_increment(key);
}

/// `findAndModify`, which must find.
fn found(writer: &mut Writer<'_>, rest: Document) {
    let mut command = doc! {"findAndModify": MAIN};
    command.extend(rest);
    let reply = writer.acknowledged(command);
    assert!(reply.get_document("value").is_ok(), "{reply}");
}

/// Gives a document another state.
fn change(writer: &mut Writer<'_>, key: usize, old: i32) {
    let p = phase(&mut writer.random);
    let n = writer.run.model.send(key, Some(p));
    let (k, g, v) = (key as i32, (key % GROUPS) as i32, v_of(key, n));
    let set = doc! {"$set": {"v": v, "p": p}};
    match writer.random.below(14) {
        0 => writer.update(doc! {"q": {"_id": k}, "u": set}, 1),
        1 => writer.update(doc! {"q": {"k": k}, "u": set}, 1),
        2 => writer.update(doc! {"q": {"g": g, "k": k, "p": old}, "u": set}, 1),
        3 => writer.update(doc! {"q": {"_id": k}, "u": document(key, n, p)}, 1),
        4 => writer.update(
            doc! {"q": {"k": k}, "u": fields(key, n, p), "upsert": true},
            1,
        ),
        5 => found(writer, doc! {"query": {"k": k}, "update": set, "new": true}),
        6 => found(
            writer,
            doc! {"query": {"_id": k}, "update": fields(key, n, p)},
        ),
        7 => found(
            writer,
            doc! {"query": {"k": k, "p": old}, "update": set, "upsert": true},
        ),
        8 => writer.update(doc! {"q": {"_id": k}, "u": [set]}, 1),
        9 => {
            let pipeline = [doc! {"$set": {"p": {"$literal": p}, "v": {"$add": ["$v", STEP]}}}];
            writer.update(doc! {"q": {"k": k}, "u": &pipeline[..], "multi": true}, 1);
        }
        10 => {
            let own = doc! {"$match": {"_id": k}};
            let merge = doc! {"$merge": {"into": MAIN, "whenMatched": "merge"}};
            aggregate(writer, MAIN, vec![own, set, merge]);
        }
        11 => merge(writer, key, n, p),
        12 => {
            let find = doc! {"find": MAIN, "filter": {"k": k}};
            let update = doc! {"update": MAIN, "updates": [{"q": {"_id": k}, "u": set}]};
            shows(&writer.unacknowledged(update, find), Some(v));
        }
        _ => {
            let statement = doc! {"q": {"k": k}, "u": {"$setOnInsert": {"_id": k}, "$set": fields(key, n, p)}, "upsert": true};
            writer.update(statement, 1);
        }
    }
}

/// Ends a document.
fn remove(writer: &mut Writer<'_>, key: usize, old: i32) {
    writer.run.model.send(key, None);
    let k = key as i32;
    let delete =
        |q: Document, limit: i32| doc! {"delete": MAIN, "deletes": [{"q": q, "limit": limit}]};
    let command = match writer.random.below(5) {
        0 => delete(doc! {"_id": k}, 1),
        1 => delete(doc! {"k": k}, 0),
        2 => delete(doc! {"p": old, "k": k}, 1),
        3 => return found(writer, doc! {"query": {"k": k}, "remove": true}),
        _ => {
            let find = doc! {"find": MAIN, "filter": {"_id": k}};
            let reply = writer.unacknowledged(delete(doc! {"_id": k}, 1), find);
            return shows(&reply, None);
        }
    };
    let reply = writer.acknowledged(command);
    assert_eq!(reply.get_i32("n").ok(), Some(1), "{reply}");
}

/// Makes a document.
fn create(writer: &mut Writer<'_>, key: usize) {
    let p = phase(&mut writer.random);
    let n = writer.run.model.send(key, Some(p));
    let (k, whole) = (key as i32, document(key, n, p));
    let set = doc! {"$set": fields(key, n, p)};
    match writer.random.below(8) {
        0 | 1 => drop(writer.acknowledged(doc! {"insert": MAIN, "documents": [whole]})),
        2 => writer.update(doc! {"q": {"_id": k}, "u": set, "upsert": true}, 1),
        3 => writer.update(
            doc! {"q": {"_id": k}, "u": fields(key, n, p), "upsert": true},
            1,
        ),
        4 => writer.update(doc! {"q": {"_id": k}, "u": [set], "upsert": true}, 1),
        5 => {
            let by_field = doc! {"$setOnInsert": {"_id": k}, "$set": {"g": (key % GROUPS) as i32, "p": p, "v": v_of(key, n)}};
            let upsert =
                doc! {"findAndModify": MAIN, "query": {"k": k}, "update": by_field, "upsert": true};
            writer.acknowledged(upsert);
        }
        6 => merge(writer, key, n, p),
        _ => {
            let find = doc! {"find": MAIN, "filter": {"k": k}};
            let insert = doc! {"insert": MAIN, "documents": [whole]};
            shows(&writer.unacknowledged(insert, find), Some(v_of(key, n)));
        }
    }
}

/// `$merge` from the documents that never change.
fn merge(writer: &mut Writer<'_>, key: usize, n: i64, p: i32) {
    let own = doc! {"$match": {"_id": key as i32}};
    let merge = doc! {"$merge": {"into": MAIN, "whenMatched": "replace"}};
    let stages = vec![own, doc! {"$set": fields(key, n, p)}, merge];
    aggregate(writer, BASE, stages);
}

fn aggregate(writer: &mut Writer<'_>, from: &str, stages: Vec<Document>) {
    writer.acknowledged(doc! {"aggregate": from, "pipeline": stages, "cursor": {}});
}

/// The client's own next read shows what it wrote, acknowledged or not.
fn shows(reply: &Document, v: Option<i64>) {
    let cursor = reply.get_document("cursor").expect("a cursor");
    let batch = cursor.get_array("firstBatch").expect("a batch");
    let first = batch.first().and_then(|d| d.as_document());
    assert_eq!(first.and_then(|d| d.get_i64("v").ok()), v, "{reply}");
}
