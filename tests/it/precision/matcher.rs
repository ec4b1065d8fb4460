//! The matcher's promises against a real mongod: `No` is no match and `Yes` is one, whatever the
//! document, the filter and the collation; and it makes them often enough to be of use.

use std::collections::{BTreeMap, BTreeSet};

use bson::raw::{RawDocument, RawDocumentBuf};
use bson::{Bson, Document, doc};
use mongodb::{Client, Database};
use petiole::command::matcher::{
    Equality, Reached, equalities, matches, matches_partial, paths, values_at,
};
use petiole::command::{Paths, Strings, Tri};

use super::random::Random;
use crate::parts::shared;

/// Collections, each with other documents.
const ROUNDS: u64 = 8;
/// Each is there a second time, after an update.
const DOCUMENTS: usize = 100;
const FILTERS: usize = 150;

#[tokio::test(flavor = "multi_thread")]
async fn the_matcher_never_contradicts_the_server() {
    let client = Client::with_uri_str(shared::rs().await.uri())
        .await
        .unwrap();
    let db = client.database(&shared::database("matcher"));
    let rounds = std::env::var("PETIOLE_TEST_ROUNDS").map_or(ROUNDS, |n| n.parse().unwrap());
    let mut tally = Tally::default();
    for seed in 0..rounds {
        round(&db, seed, &mut tally).await;
        assert!(
            tally.wrong.is_empty(),
            "seed {seed}: {} contradictions:\n{}",
            tally.wrong.len(),
            tally.wrong[..tally.wrong.len().min(8)].join("\n")
        );
    }
    println!("{tally:#?}");
    tally.check(rounds);
}

/// What was found, and how often it could be said.
#[derive(Default, Debug)]
struct Tally {
    pairs: usize,
    refused: usize,
    yes: usize,
    no: usize,
    unknown: usize,
    /// Of filters of one operator: answers, and those that are Unknown.
    by_operator: BTreeMap<String, (usize, usize)>,
    partial_no: usize,
    partial_yes: usize,
    collated_decided: usize,
    equalities: usize,
    unsure: usize,
    /// Updates that miss the filter's paths, and of those such as changed the document.
    apart: usize,
    apart_changed: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn check(&self, rounds: u64) {
        let share = |part: usize, of: usize| part as f64 / of as f64;
        let per_round = |n: usize| n / rounds as usize;
        assert!(per_round(self.pairs) >= 25_000, "few filters were refused");
        assert!(share(self.unknown, self.pairs) < 0.03, "mostly decided");
        assert!(share(self.yes, self.pairs) > 0.08, "there are matches");
        assert!(share(self.no, self.pairs) > 0.3, "and documents that don't");
        for (operator, (all, unknown)) in &self.by_operator {
            let most = match operator.as_str() {
                // No engine; and bounds are sometimes null, MinKey or an array.
                "$regex" => 0.06,
                "$gt" | "$gte" | "$lt" | "$lte" => 0.15,
                _ => 0.06,
            };
            assert!(
                share(*unknown, *all) < most,
                "{operator}: {unknown} of {all} unknown"
            );
        }
        assert!(
            share(self.partial_no, self.pairs) > 0.05,
            "{}",
            self.partial_no
        );
        assert!(self.partial_yes > 0);
        assert!(share(self.collated_decided, self.pairs) > 0.1);
        assert!(per_round(self.equalities) > 80, "{}", self.equalities);
        assert!(share(self.unsure, self.equalities) < 0.1, "{}", self.unsure);
        assert!(
            per_round(self.apart_changed) > 500,
            "{}",
            self.apart_changed
        );
    }
}

/// A document as it is stored.
struct Stored {
    id: i32,
    bytes: RawDocumentBuf,
    /// A part of its fields.
    seed: RawDocumentBuf,
}

impl Stored {
    fn document(&self) -> Document {
        (&*self.bytes).try_into().unwrap()
    }
}

async fn round(db: &Database, seed: u64, tally: &mut Tally) {
    let mut random = Random(seed);
    let name = format!("c{seed}");
    let touched = fill(db, &name, &mut random).await;
    let stored = read(db, &name, &mut random).await;
    let documents: Vec<Document> = stored.iter().map(Stored::document).collect();
    for n in 0..FILTERS {
        let filter = random.filter(&documents);
        let bytes = filter.to_vec().unwrap();
        let Some(found) = find(db, &name, &filter, false).await else {
            tally.refused += 1;
            continue;
        };
        for document in &stored {
            let is = found.contains(&document.id);
            judge(&filter, &bytes, document, is, tally);
        }
        let equal = equalities(&bytes, Strings::Simple);
        for document in stored.iter().filter(|d| found.contains(&d.id)) {
            reach(&filter, &equal, document, tally);
        }
        miss(&filter, &paths(&bytes), &touched, &stored, &found, tally);
        if n % 3 == 0
            && let Some(found) = find(db, &name, &filter, true).await
        {
            for document in &stored {
                let said = matches(&bytes, document.bytes.as_bytes(), Strings::Collated);
                let is = found.contains(&document.id);
                tally.collated_decided += usize::from(said != Tri::Unknown);
                if said == Tri::from(!is) {
                    tally.accuse("collated", &filter, document, said);
                }
            }
        }
    }
}

impl Tally {
    fn accuse(
        &mut self,
        what: &str,
        filter: &Document,
        document: &Stored,
        said: impl std::fmt::Debug,
    ) {
        let document = document.document();
        self.wrong
            .push(format!("{what} said {said:?}: {filter} on {document}"));
    }
}

/// `matches` and `matches_partial` against what the server found.
fn judge(filter: &Document, bytes: &[u8], document: &Stored, is: bool, tally: &mut Tally) {
    tally.pairs += 1;
    let said = matches(bytes, document.bytes.as_bytes(), Strings::Simple);
    match said {
        Tri::Yes => tally.yes += 1,
        Tri::No => tally.no += 1,
        Tri::Unknown => tally.unknown += 1,
    }
    if let Some(operator) = only_operator(filter) {
        let (all, unknown) = tally.by_operator.entry(operator).or_default();
        *all += 1;
        *unknown += usize::from(said == Tri::Unknown);
    }
    if said == Tri::from(!is) {
        tally.accuse("matches", filter, document, said);
    }
    let said = matches_partial(bytes, document.seed.as_bytes(), Strings::Simple);
    tally.partial_no += usize::from(said == Tri::No);
    tally.partial_yes += usize::from(said == Tri::Yes);
    if said == Tri::from(!is) {
        let part = format!("{:?}: matches_partial", document.seed);
        tally.accuse(&part, filter, document, said);
    }
}

/// The operator of a filter that has one path and one operator.
fn only_operator(filter: &Document) -> Option<String> {
    let (key, value) = filter.iter().next().filter(|_| filter.len() == 1)?;
    match value {
        _ if key.starts_with('$') => Some(key.clone()),
        Bson::Document(inner) if inner.keys().any(|k| k.starts_with('$')) => {
            inner.keys().next().filter(|_| inner.len() == 1).cloned()
        }
        Bson::RegularExpression(_) => Some("$regex".into()),
        _ => Some("literal".into()),
    }
}

/// A matching document has one of the values of each equality.
fn reach(filter: &Document, equal: &[Equality], document: &Stored, tally: &mut Tally) {
    for Equality { path, values } in equal {
        let Reached {
            values: there,
            unsure,
        } = values_at(document.bytes.as_bytes(), path);
        tally.equalities += 1;
        tally.unsure += usize::from(unsure);
        if !unsure && !there.iter().any(|key| values.contains(key)) {
            tally.accuse("values_at", filter, document, path);
        }
    }
}

/// An update that misses the filter's paths doesn't change whether it matches.
fn miss(
    filter: &Document,
    depends: &Paths,
    touched: &[Vec<String>],
    stored: &[Stored],
    found: &BTreeSet<i32>,
    tally: &mut Tally,
) {
    let (before, after) = stored.split_at(DOCUMENTS);
    for ((before, after), touched) in before.iter().zip(after).zip(touched) {
        let mut meets = Paths::none();
        touched.iter().for_each(|path| meets.insert(path));
        if meets.meets(depends) {
            continue;
        }
        tally.apart += 1;
        tally.apart_changed += usize::from(fields(before) != fields(after));
        if found.contains(&before.id) != found.contains(&after.id) {
            let was = before.document();
            tally.accuse(&format!("paths, from {was}"), filter, after, touched);
        }
    }
}

fn fields(document: &Stored) -> Vec<u8> {
    let document: &RawDocument = &document.bytes;
    let mut fields = RawDocumentBuf::new();
    for (name, value) in document.iter().map(Result::unwrap).skip(1) {
        fields.append(name, bson::raw::RawBson::from(value));
    }
    fields.into_bytes()
}

/// Random documents, and each once more after an update; what the updates touch.
async fn fill(db: &Database, name: &str, random: &mut Random) -> Vec<Vec<String>> {
    let mut documents = Vec::new();
    for id in 0..DOCUMENTS as i32 {
        for id in [id, id + DOCUMENTS as i32] {
            let mut document = doc! {"_id": id};
            document.extend(random.document());
            documents.push(document);
        }
        let (after, before) = (documents.len() - 1, documents.len() - 2);
        documents[after] = documents[before].clone();
        documents[after].insert("_id", id + DOCUMENTS as i32);
    }
    db.run_command(doc! {"insert": name, "documents": documents})
        .await
        .unwrap();
    let mut touched = Vec::new();
    let mut updates = Vec::new();
    for id in 0..DOCUMENTS as i32 {
        let (update, paths) = random.update();
        updates.push(doc! {"q": {"_id": id + DOCUMENTS as i32}, "u": update});
        touched.push(paths);
    }
    // Some don't fit their document: then it stays as it is.
    let update = doc! {"update": name, "updates": updates, "ordered": false};
    let reply = db.run_command(update).await.unwrap();
    let modified = reply.get_i32("nModified").unwrap();
    assert!(modified > DOCUMENTS as i32 / 8, "{modified}");
    touched
}

async fn read(db: &Database, name: &str, random: &mut Random) -> Vec<Stored> {
    let mut cursor = db
        .collection::<RawDocumentBuf>(name)
        .find(doc! {})
        .sort(doc! {"_id": 1})
        .await
        .unwrap();
    let mut stored = Vec::new();
    while cursor.advance().await.unwrap() {
        let bytes = cursor.current().to_owned();
        let mut seed = RawDocumentBuf::new();
        for (name, value) in bytes.iter().map(Result::unwrap) {
            if random.once_in(2) {
                seed.append(name, bson::raw::RawBson::from(value));
            }
        }
        let id = bytes.get_i32("_id").unwrap();
        stored.push(Stored { id, bytes, seed });
    }
    assert_eq!(stored.len(), 2 * DOCUMENTS);
    stored
}

/// The ids of what matches; `None` if the server refuses the filter.
async fn find(
    db: &Database,
    name: &str,
    filter: &Document,
    collated: bool,
) -> Option<BTreeSet<i32>> {
    let mut find = doc! {
        "find": name, "filter": filter, "projection": {"_id": 1}, "batchSize": 1_000, "singleBatch": true,
    };
    if collated {
        find.insert("collation", doc! {"locale": "en", "strength": 1});
    }
    let reply = db.run_command(find).await.ok()?;
    let found = reply
        .get_document("cursor")
        .unwrap()
        .get_array("firstBatch")
        .unwrap();
    let id = |found: &Bson| found.as_document().unwrap().get_i32("_id").unwrap();
    Some(found.iter().map(id).collect())
}
