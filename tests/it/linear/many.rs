//! Writes of several keys: multi updates, several statements, transactions, `$out`.

use bson::{Bson, Document, doc};

use super::model::{GROUPS, KEYS, PHASES, STEP, State, v_of};
use super::query::{COPY, MAIN};
use super::writer::{Writer, document, fields, phase, succeeded};

/// Numbers that no key ever reaches, for what must not be seen.
const NEVER: i64 = 1_000_000;

/// Increments of all that match, together with increments by others.
pub fn increments(writer: &mut Writer<'_>) {
    let model = &writer.run.model;
    let of = writer.random.below(KEYS as u64 - 3) as usize;
    let p = phase(&mut writer.random);
    let (keys, filter): (Vec<usize>, _) = match writer.random.below(4) {
        0 => {
            let keys = vec![of, of + 1, of + 3];
            let list: Vec<Bson> = keys.iter().map(|&k| Bson::from(k as i32)).collect();
            (keys, doc! {"k": {"$in": list}})
        }
        1 => {
            let g = of % GROUPS;
            ((g..KEYS).step_by(GROUPS).collect(), doc! {"g": g as i32})
        }
        2 => {
            let range = doc! {"$gte": of as i32, "$lt": of as i32 + 3};
            ((of..of + 3).collect(), doc! {"_id": range})
        }
        _ => ((0..KEYS).collect(), doc! {"p": p}),
    };
    let _shared: Vec<_> = keys.iter().map(|&k| model.shared(k)).collect();
    let by_phase = filter.contains_key("p");
    let matches = |state: State| match state {
        Some(of) => !by_phase || of == p,
        None => false,
    };
    let keys: Vec<usize> = keys
        .into_iter()
        .filter(|&k| matches(model.state(k)))
        .collect();
    keys.iter().for_each(|&k| model.send_increment(k));
    let statement = doc! {"q": filter, "u": {"$inc": {"v": STEP}}, "multi": true};
    writer.update(statement, keys.len());
    keys.iter().for_each(|&k| model.acknowledge_increment(k));
}

/// A new state for a whole group.
pub fn group(writer: &mut Writer<'_>) {
    let model = &writer.run.model;
    let g = writer.random.below(GROUPS as u64) as usize;
    let (p, keys) = (phase(&mut writer.random), (g..KEYS).step_by(GROUPS));
    let _alone: Vec<_> = keys.clone().map(|k| model.alone(k)).collect();
    let keys: Vec<usize> = keys.filter(|&k| model.state(k).is_some()).collect();
    for &key in &keys {
        model.send(key, Some(p));
    }
    let change = doc! {"$set": {"p": p}, "$inc": {"v": STEP}};
    writer.update(
        doc! {"q": {"g": g as i32}, "u": change, "multi": true},
        keys.len(),
    );
    keys.iter().for_each(|&k| model.acknowledge(k));
}

/// Several statements in a transaction, which commits or not.
pub fn transaction(writer: &mut Writer<'_>) {
    let model = &writer.run.model;
    let keys = pick(writer);
    let _alone: Vec<_> = keys.iter().map(|&k| model.alone(k)).collect();
    let commits = writer.random.below(3) > 0;
    if writer.random.below(4) == 0 {
        // One that the next one ends.
        writer.begin();
        let never = doc! {"$set": {"v": v_of(keys[0], NEVER), "p": 0}};
        let statement = doc! {"q": {"k": keys[0] as i32}, "u": never, "upsert": false};
        writer.within(doc! {"update": MAIN, "updates": [statement]}, true);
    }
    writer.begin();
    let mut planned: Vec<(usize, State)> = Vec::new();
    for &key in &keys {
        let n = if commits { model.next(key) } else { NEVER };
        let p = phase(&mut writer.random);
        let (k, set) = (key as i32, doc! {"$set": fields(key, n, p)});
        let (command, state) = match (model.state(key), writer.random.below(5)) {
            (None, _) => {
                let whole = document(key, n, p);
                (doc! {"insert": MAIN, "documents": [whole]}, Some(p))
            }
            (Some(_), 0) => {
                let delete = doc! {"delete": MAIN, "deletes": [{"q": {"k": k}, "limit": 0}]};
                (delete, None)
            }
            (Some(_), 1) => {
                let modify = doc! {"findAndModify": MAIN, "query": {"k": k}, "update": set};
                (modify, Some(p))
            }
            (Some(_), 2) => {
                let statement = doc! {"q": {"_id": k}, "u": document(key, n, p)};
                (doc! {"update": MAIN, "updates": [statement]}, Some(p))
            }
            (Some(_), _) => {
                let statement = doc! {"q": {"k": k}, "u": set, "multi": true};
                (doc! {"update": MAIN, "updates": [statement]}, Some(p))
            }
        };
        let reply = writer.within(command, planned.is_empty());
        if !succeeded(&reply) {
            return fail(writer, &reply);
        }
        let find = doc! {"find": MAIN, "filter": {"k": k}};
        let reply = writer.within(find, false);
        if !succeeded(&reply) {
            return fail(writer, &reply);
        }
        let batch = reply
            .get_document("cursor")
            .map(|c| c.get_array("firstBatch"));
        let seen = batch.unwrap().unwrap().first().and_then(Bson::as_document);
        let seen = seen.map(|d| d.get_i64("v").unwrap());
        assert_eq!(seen, state.map(|_| v_of(key, n)), "its own write: {reply}");
        planned.push((key, state));
    }
    if !commits {
        return end(writer, "abortTransaction");
    }
    for &(key, state) in &planned {
        model.send(key, state);
    }
    end(writer, "commitTransaction");
    planned.iter().for_each(|&(key, _)| model.acknowledge(key));
    writer.run.committed();
}

/// A statement has failed, which nobody can help: the transaction is over.
fn fail(writer: &mut Writer<'_>, reply: &Document) {
    let labels = reply.get_array("errorLabels");
    let transient = Bson::from("TransientTransactionError");
    assert!(labels.is_ok_and(|l| l.contains(&transient)), "{reply}");
    let abort = doc! {"abortTransaction": 1, "$db": "admin"};
    writer.within(abort, false);
}

fn end(writer: &mut Writer<'_>, how: &str) {
    let reply = writer.within(doc! {how: 1, "$db": "admin"}, false);
    assert!(succeeded(&reply), "{how}: {reply}");
}

/// Several updates in a command, one of which may fail.
pub fn updates(writer: &mut Writer<'_>) {
    let model = &writer.run.model;
    let keys = pick(writer);
    let _alone: Vec<_> = keys.iter().map(|&k| model.alone(k)).collect();
    let ordered = writer.random.below(2) == 0;
    let fails = keys.len() > 1 && writer.random.below(2) == 0;
    let (mut statements, mut written) = (Vec::new(), Vec::new());
    for (place, &key) in keys.iter().enumerate() {
        let p = phase(&mut writer.random);
        if fails && place == 1 {
            let wrong = doc! {"q": {"_id": key as i32}, "u": {"$inc": {"v": "no number"}}};
            statements.push(wrong);
        }
        let reached = !(fails && ordered && place > 0);
        let n = match reached {
            true => model.send(key, Some(p)),
            false => NEVER,
        };
        let set = doc! {"$set": fields(key, n, p)};
        statements.push(doc! {"q": {"_id": key as i32}, "u": set, "upsert": true});
        written.extend(reached.then_some(key));
    }
    let command = doc! {"update": MAIN, "updates": statements, "ordered": ordered};
    let reply = writer.try_command(command, None);
    assert_eq!(
        reply.get_i32("n").ok(),
        Some(written.len() as i32),
        "{reply}"
    );
    assert_eq!(succeeded(&reply), !fails, "{reply}");
    written.iter().for_each(|&k| model.acknowledge(k));
}

/// Several inserts in a command: those of keys that exist fail.
pub fn inserts(writer: &mut Writer<'_>) {
    let model = &writer.run.model;
    let keys = pick(writer);
    let _alone: Vec<_> = keys.iter().map(|&k| model.alone(k)).collect();
    let (ordered, mut failed) = (writer.random.below(2) == 0, false);
    let (mut documents, mut written) = (Vec::new(), Vec::new());
    for &key in &keys {
        let p = phase(&mut writer.random);
        failed |= model.state(key).is_some();
        let n = match model.state(key) {
            None if !(failed && ordered) => {
                written.push(key);
                model.send(key, Some(p))
            }
            _ => NEVER,
        };
        documents.push(document(key, n, p));
    }
    let command = doc! {"insert": MAIN, "ordered": ordered};
    let reply = writer.try_command(command, Some(("documents", &documents)));
    assert_eq!(
        reply.get_i32("n").ok(),
        Some(written.len() as i32),
        "{reply}"
    );
    assert_eq!(succeeded(&reply), !failed, "{reply}");
    written.iter().for_each(|&k| model.acknowledge(k));
}

/// Several deletes in a command.
pub fn deletes(writer: &mut Writer<'_>) {
    let model = &writer.run.model;
    let keys = pick(writer);
    let _alone: Vec<_> = keys.iter().map(|&k| model.alone(k)).collect();
    let (mut statements, mut there) = (Vec::new(), 0);
    for &key in &keys {
        there += i32::from(model.state(key).is_some());
        model.send(key, None);
        statements.push(match key as i32 % PHASES {
            0 => doc! {"q": {"k": key as i32}, "limit": 0},
            _ => doc! {"q": {"_id": key as i32}, "limit": 1},
        });
    }
    let reply = writer.acknowledged(doc! {"delete": MAIN, "deletes": statements});
    assert_eq!(reply.get_i32("n").ok(), Some(there), "{reply}");
    keys.iter().for_each(|&k| model.acknowledge(k));
}

/// `$out`: a copy of everything takes the place of the last one.
pub fn copy(writer: &mut Writer<'_>) {
    let Some(_turn) = writer.run.copying.try_lock() else {
        return;
    };
    let least = writer.run.model.least(false);
    let command = doc! {"aggregate": MAIN, "pipeline": [{"$out": COPY}], "cursor": {}};
    let reply = writer.try_command(command, None);
    if succeeded(&reply) {
        writer.run.model.copied(&least);
    } else {
        // A document that was made anew meanwhile came twice: nothing was copied.
        assert_eq!(reply.get_i32("code").ok(), Some(DUPLICATE_KEY), "{reply}");
    }
}

/// Two or three keys, in order.
fn pick(writer: &mut Writer<'_>) -> Vec<usize> {
    let mut keys: Vec<usize> = (0..3).map(|_| writer.key()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// An error of the server.
const DUPLICATE_KEY: i32 = 11000;
