//! What the rules of survival keep is what the server would answer now (docs/coherence.md, rule 7).
//!
//! Random reads of a small collection, then random writes to it; before each write the rules say
//! which answers survive it, after it the server is asked again. Every write is judged three times: by
//! what the command says, by that and some fields of the document that it selects, and by what a change
//! stream would tell of what it did.
//!
//! `PETIOLE_SEED` repeats a run or tries another; the default is always the same.

use std::collections::BTreeMap;

use bson::{Document, RawDocumentBuf, doc};
use petiole::command::matcher::{Reached, values_at};
use petiole::command::{
    Change, Command, Paths, Reach, ReadPlan, Selector, Statement, Work, document_keys, known_at,
    reach, selected_ids, statements, survives,
};
use petiole::wire::{Frame, build, op_msg::OpMsg};

use self::answer::{Answer, all, answer, lawful};
use self::reads::Read;
use super::random::Random;
use crate::parts::shared;
use crate::raw::RawClient;

mod answer;
mod random;
mod reads;
mod writes;

const CASES: usize = 100_000;
const WORKERS: u64 = 2;
const READS: usize = 40;
const WRITES: usize = 12;
const DOCUMENTS: usize = 8;

#[derive(Default)]
struct Tally {
    cases: usize,
    unchanged: usize,
    kept: usize,
    /// Of those that the command alone doesn't keep.
    kept_by_pre_image: usize,
    /// By kind of write and read: all unchanged ones, and those that were kept.
    kinds: BTreeMap<(String, String), (usize, usize)>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_survives_a_write_is_what_the_server_answers_after_it() {
    let seed = std::env::var("PETIOLE_SEED").map_or(1, |seed| seed.parse().unwrap());
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| tokio::spawn(work(seed * WORKERS + worker)))
        .collect();
    let mut sum = Tally::default();
    for worker in workers {
        let tally = worker.await.unwrap();
        sum.cases += tally.cases;
        sum.unchanged += tally.unchanged;
        sum.kept += tally.kept;
        sum.kept_by_pre_image += tally.kept_by_pre_image;
        for (kind, (unchanged, kept)) in tally.kinds {
            let at = sum.kinds.entry(kind).or_default();
            *at = (at.0 + unchanged, at.1 + kept);
        }
    }
    let Tally {
        cases,
        unchanged,
        kept,
        kept_by_pre_image,
        kinds,
    } = sum;
    println!(
        "{cases} cases, {unchanged} unchanged, {kept} of those kept, {kept_by_pre_image} more by a pre-image"
    );
    for ((write, read), (unchanged, kept)) in kinds {
        println!(
            "{write:>14} {read:<10} {:3} % of {unchanged}",
            kept * 100 / unchanged.max(1)
        );
    }
    assert!(cases >= CASES);
    assert!(
        kept_by_pre_image * 100 >= unchanged,
        "{kept_by_pre_image} of {unchanged} by a pre-image"
    );
    assert!(
        kept * 100 >= unchanged * 30,
        "{kept} of {unchanged} unchanged answers were kept"
    );
}

async fn work(seed: u64) -> Tally {
    let server = shared::standalone().await;
    let mut client = RawClient::connect(&server.addresses()[0]).await.unwrap();
    let db = shared::database("survival");
    let mut r = Random(seed << 32);
    let partial = doc! {"a": {"$exists": true}};
    let indexes = doc! {"createIndexes": "c", "$db": &db, "indexes": [
        {"key": {"a": 1}, "name": "a_1"},
        {"key": {"b": 1}, "name": "b_sparse", "sparse": true},
        {"key": {"c": 1}, "name": "c_partial", "partialFilterExpression": partial},
    ]};
    assert!(answer::is_ok(&client.command(&indexes).await.unwrap()));
    let mut tally = Tally::default();
    while tally.cases < CASES / WORKERS as usize {
        round(&mut client, &mut r, &db, &mut tally).await;
    }
    tally
}

struct Entry {
    read: Read,
    plan: Option<ReadPlan>,
    answer: Answer,
}

async fn round(client: &mut RawClient, r: &mut Random, db: &str, tally: &mut Tally) {
    let documents: Vec<_> = (0..DOCUMENTS).map(|_| random::document(r)).collect();
    let fill = [
        doc! {"delete": "c", "deletes": [{"q": {}, "limit": 0}], "$db": db},
        doc! {"insert": "c", "documents": documents, "ordered": false, "$db": db},
    ];
    all(client, &fill).await;
    let reads: Vec<_> = (0..READS).map(|_| reads::read(r, "c", db)).collect();
    let mut entries = Vec::new();
    for (read, reply) in reads.iter().zip(ask(client, &reads).await) {
        if let Some(answer) = answer(&reply) {
            let plan = ReadPlan::of(&read.command.to_vec().unwrap());
            entries.push(Entry {
                read: read.clone(),
                plan,
                answer,
            });
        }
    }
    let everything = doc! {"find": "c", "batchSize": 1000, "$db": db};
    let mut before = all(client, std::slice::from_ref(&everything))
        .await
        .remove(0);
    for _ in 0..WRITES {
        let write = writes::write(r, "c", db);
        let said = said(&write).expect("every write here can be read");
        let mut commands = vec![write.clone(), everything.clone()];
        commands.extend(entries.iter().map(|entry| entry.read.command.clone()));
        let mut replies = all(client, &commands).await;
        let fresh = replies.split_off(2);
        let after = replies.remove(1);
        let landed = landed(&before, &after);
        let pre_images = pre_images(r, &said, &before);
        let mut next = Vec::new();
        for (entry, fresh) in entries.into_iter().zip(fresh) {
            let kept_by = kept_by(&entry, &said, &pre_images, &landed);
            let fresh = answer(&fresh);
            let is_lawful = match &fresh {
                Some(fresh) => lawful(client, &entry.read, &entry.answer, fresh).await,
                None => false,
            };
            assert!(
                is_lawful || kept_by.is_empty(),
                "wrongly kept, by {kept_by:?}\nread   {}\nanswer {}\nwrite  {write}\nbefore {}\nafter  {}\nfresh  {}",
                entry.read.command,
                show(&entry.answer),
                show(&answer(&before).unwrap()),
                show(&answer(&after).unwrap()),
                fresh.as_ref().map_or("an error".to_owned(), show),
            );
            tally.cases += 1;
            if is_lawful {
                let kind = |command: &Document| command.keys().next().unwrap().clone();
                let at = tally
                    .kinds
                    .entry((kind(&write), kind(&entry.read.command)))
                    .or_default();
                tally.unchanged += 1;
                at.0 += 1;
                if kept_by.contains(&"command") {
                    tally.kept += 1;
                    at.1 += 1;
                } else if kept_by.contains(&"pre-image") {
                    tally.kept_by_pre_image += 1;
                }
            }
            next.extend(fresh.map(|answer| Entry { answer, ..entry }));
        }
        entries = next;
        before = after;
    }
}

async fn ask(client: &mut RawClient, reads: &[Read]) -> Vec<RawDocumentBuf> {
    let commands: Vec<_> = reads.iter().map(|read| read.command.clone()).collect();
    all(client, &commands).await
}

fn show(answer: &Answer) -> String {
    match answer {
        Answer::Value(value) => value.to_string(),
        Answer::Documents(list) => list
            .iter()
            .map(|d| format!("\n  {}", Document::try_from(d).unwrap()))
            .collect(),
    }
}

/// What the command says.
fn said(write: &Document) -> Option<Vec<Statement>> {
    let body = write.to_vec().unwrap();
    let bytes = build::op_msg(1, 0, 0, &body);
    let msg = OpMsg::parse(&Frame { bytes }).unwrap();
    statements(&Command::parse(&msg).unwrap(), &msg)
}

/// What a change stream would tell.
fn landed(before: &RawDocumentBuf, after: &RawDocumentBuf) -> Vec<Statement> {
    let by_id = |reply: &RawDocumentBuf| -> BTreeMap<String, Document> {
        let Some(Answer::Documents(list)) = answer(reply) else {
            panic!("{reply:?}");
        };
        let list = list.iter().map(|d| Document::try_from(d).unwrap());
        list.map(|d| (format!("{:?}", d.get("_id")), d)).collect()
    };
    let (before, after) = (by_id(before), by_id(after));
    let mut statements = Vec::new();
    for (id, old) in &before {
        let key = doc! {"_id": old.get("_id").unwrap().clone()}
            .to_vec()
            .unwrap();
        match after.get(id) {
            None => statements.push(Statement::landed_delete(&key)),
            Some(new) if new.to_vec().unwrap() == old.to_vec().unwrap() => {}
            Some(new) if new.len() % 2 == 0 => {
                statements.push(Statement::landed_replace(&key, &new.to_vec().unwrap()));
            }
            Some(new) => {
                let (mut paths, mut sets) = (Paths::none(), Document::new());
                for field in old.keys().chain(new.keys()) {
                    // NaN is not equal to itself, which does no harm here.
                    if old.get(field) != new.get(field) {
                        paths.insert(field);
                        if let Some(value) = new.get(field) {
                            sets.insert(field.clone(), value.clone());
                        }
                    }
                }
                // The order of fields is of no interest to any of the rules but those of results.
                if paths.is_empty() {
                    paths = Paths::all();
                }
                let sets = sets.to_vec().unwrap();
                statements.push(Statement::landed_update(&key, paths, &sets));
            }
        }
    }
    for (_, new) in after.iter().filter(|(id, _)| !before.contains_key(*id)) {
        statements.push(Statement::landed_insert(&new.to_vec().unwrap()));
    }
    statements
}

/// Who says that the entry survives. Also checks that the statements reach what doesn't.
fn kept_by(
    entry: &Entry,
    said: &[Statement],
    pre_images: &[Option<Vec<u8>>],
    landed: &[Statement],
) -> Vec<&'static str> {
    let Some(plan) = &entry.plan else {
        return Vec::new();
    };
    let survives_all = |statements: &[Statement], pre_images: &[Option<Vec<u8>>]| {
        statements.iter().enumerate().all(|(at, statement)| {
            let known = pre_images.get(at).and_then(Option::as_deref);
            let survives = survives_one(plan, &entry.answer, statement, known);
            assert!(
                survives || reached(plan, &entry.answer, statement, known),
                "{statement:?} doesn't reach {} with {}: {:?}",
                entry.read.command,
                show(&entry.answer),
                reach(plan.shape(), statement, known),
            );
            survives
        })
    };
    let mut by = Vec::new();
    if survives_all(said, &[]) {
        by.push("command");
    }
    if survives_all(said, pre_images) {
        by.push("pre-image");
    }
    if survives_all(landed, &[]) {
        by.push("change stream");
    }
    by
}

/// Some fields of the documents that statements select by `_id`, if all of them leave those as they are.
fn pre_images(r: &mut Random, said: &[Statement], before: &RawDocumentBuf) -> Vec<Option<Vec<u8>>> {
    let Some(Answer::Documents(all)) = answer(before) else {
        panic!("{before:?}");
    };
    let all: Vec<_> = all.iter().map(|d| Document::try_from(d).unwrap()).collect();
    let mut of = |statement: &Statement| {
        if !matches!(statement.change, Change::Paths { .. }) {
            return None;
        }
        let [wanted] = &selected_ids(statement.selects.as_ref()?)?[..] else {
            return None;
        };
        let has_id = |d: &&Document| {
            let document = d.to_vec().unwrap();
            values_at(&document, "_id").values.contains(wanted)
        };
        let document = all.iter().find(has_id)?;
        let fields = document
            .keys()
            .filter(|key| *key == "_id" || r.below(2) == 0);
        let mut shown: Document = fields.map(|key| (key.clone(), 1.into())).collect();
        shown.insert("_id", 1);
        let read = doc! {"find": "c", "filter": {"_id": document.get("_id")}, "projection": &shown};
        let read = ReadPlan::of(&read.to_vec().unwrap())?;
        let told = document.iter().filter(|(key, _)| shown.contains_key(*key));
        let told: Document = told
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let told = told.to_vec().unwrap();
        let stays = |s: &Statement| {
            survives(
                &read,
                Some(&mut std::iter::once(told.as_slice())),
                s,
                None,
                &Work::unbounded(),
            )
        };
        said.iter().all(stays).then(|| told.clone())
    };
    said.iter().map(&mut of).collect()
}

fn survives_one(
    plan: &ReadPlan,
    answer: &Answer,
    statement: &Statement,
    pre_image: Option<&[u8]>,
) -> bool {
    match answer {
        Answer::Value(_) => survives(plan, None, statement, pre_image, &Work::unbounded()),
        Answer::Documents(list) => {
            let mut documents = list.iter().map(|d| d.as_bytes());
            survives(
                plan,
                Some(&mut documents),
                statement,
                pre_image,
                &Work::unbounded(),
            )
        }
    }
}

/// Whether an index of entries would find this one.
fn reached(
    plan: &ReadPlan,
    answer: &Answer,
    statement: &Statement,
    pre_image: Option<&[u8]>,
) -> bool {
    let Reach::Entries {
        by_filter,
        by_sets,
        by_document,
        by_id,
        by_pre_image,
    } = reach(plan.shape(), statement, pre_image)
    else {
        return reach(plan.shape(), statement, pre_image) == Reach::Everything;
    };
    let anchored = |at: &dyn Fn(&str) -> Option<Reached>| {
        plan.anchor()
            .iter()
            .all(|wanted| at(&wanted.path).is_none_or(|found| agree(&found, &wanted.values)))
    };
    by_filter && anchored(&|path| statement.inserts.values_at(path))
        || by_sets && anchored(&|path| statement.change.values_at(path))
        || by_document && shows_selected(answer, statement.selects.as_ref().unwrap())
        || by_pre_image && anchored(&|path| known_at(pre_image.unwrap(), path))
        || by_id && {
            let ids = selected_ids(statement.selects.as_ref().unwrap()).unwrap();
            assert_eq!(plan.shape().anchor(), ["_id"]);
            plan.anchor()[0].values.iter().any(|id| ids.contains(id))
        }
}

fn shows_selected(answer: &Answer, selector: &Selector) -> bool {
    let Answer::Documents(list) = answer else {
        return true;
    };
    let keys = document_keys(selector);
    list.iter().any(|document| {
        let has = |path: &str| values_at(document.as_bytes(), path);
        keys.iter().all(|key| agree(&has(&key.path), &key.values))
    })
}

fn agree(found: &Reached, wanted: &[petiole::command::ValueKey]) -> bool {
    found.unsure || found.values.iter().any(|value| wanted.contains(value))
}
