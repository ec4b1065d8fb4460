//! A server in a few lines: writes by `_id`, retryable with statement numbers, `bulkWrite`, and faults
//! on demand.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bson::{Bson, Document, doc};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::pipeline::{
    Backend, BoxFuture, Deployment, Distance, Failure, Fault, Outcome, Reply, Request,
    UpstreamFacts, Writer,
};

/// What goes wrong with one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    None,
    /// No link: nothing is sent.
    Unsent,
    /// The link is lost before the server has the command.
    LostBefore,
    /// The link is lost before the reply has come.
    LostAfter,
    /// An error of the whole command after this many documents.
    Midway(usize, i32),
    /// A label that asks for a retry, after everything was executed.
    Labelled,
    /// A labelled error of the whole command, before anything is executed.
    NotPrimary,
    /// Another such error, of this code and text.
    Refused(i32, &'static str),
    /// After this many documents somebody makes the collection anew.
    MadeAnew(usize),
}

#[derive(Default)]
pub struct Model {
    state: Mutex<State>,
    /// How far away it is.
    pub distance: Distance,
    /// Each write takes one permit; `None` in `gated` lets all pass.
    pub gate: Option<Semaphore>,
    pub standalone: bool,
    pub bulk: Bulk,
    pub release: [u16; 3],
}

/// Whether it has `bulkWrite`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bulk {
    #[default]
    None,
    /// Its operations may have numbers; results come two at a time.
    Numbered,
    /// It takes a `txnNumber` and doesn't heed it, and refuses numbers.
    Unnumbered,
}

/// What a statement did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Did {
    n: i32,
    modified: i32,
    upserted: Option<i32>,
    error: Option<i32>,
    is_for_another: bool,
}

#[derive(Default)]
struct State {
    /// Document by `_id`.
    documents: BTreeMap<i32, Document>,
    sessions: HashMap<Vec<u8>, (i64, HashMap<i32, Did>)>,
    /// Results that weren't fetched yet, and the API version of the command that made them.
    cursors: HashMap<i64, (Vec<Document>, Option<Bson>)>,
    /// Cursors there have been; batches may be under way beside each other.
    opened: i64,
    troubles: VecDeque<Trouble>,
    /// Commands, with their documents in the body.
    asked: Vec<Document>,
    arrived: usize,
    /// How often the collection was made anew.
    made: u8,
    /// Its `type` and `options`, if it isn't an ordinary one.
    special: Option<Document>,
    /// How often somebody asked what it is.
    looked_up: usize,
}

impl Model {
    pub fn gated() -> Model {
        Model {
            gate: Some(Semaphore::new(0)),
            ..Model::default()
        }
    }

    pub fn with(bulk: Bulk) -> Model {
        Model {
            bulk,
            ..Model::default()
        }
    }

    /// What its monitor would have heard.
    pub fn facts(&self) -> Arc<UpstreamFacts> {
        let writer = Writer {
            wire_version: if self.bulk == Bulk::None { 17 } else { 27 },
            numbers: !self.standalone,
            release: Some(self.release),
            max_documents: 1000,
            max_message: 48_000_000,
            distance: self.distance.clone(),
            ..Writer::default()
        };
        let facts = UpstreamFacts::default();
        facts.publish(|facts| {
            facts.writer = Some(Arc::new(writer));
            facts.deployment = match self.standalone {
                true => Deployment::Single,
                false => Deployment::ReplicaSet,
            };
        });
        Arc::new(facts)
    }

    /// Somebody drops the collection and makes another of its name, with this `type` and these `options`. (Its documents
    /// are there still, to be looked at.)
    pub fn make_anew(&self, special: Option<Document>) {
        let mut state = self.state.lock();
        state.made += 1;
        state.special = special;
    }

    /// How often somebody asked what the collection is.
    pub fn looked_up(&self) -> usize {
        self.state.lock().looked_up
    }

    pub fn trouble(&self, troubles: impl IntoIterator<Item = Trouble>) {
        self.state.lock().troubles.extend(troubles);
    }

    pub fn document(&self, id: i32) -> Option<Document> {
        self.state.lock().documents.get(&id).cloned()
    }

    pub fn count(&self) -> usize {
        self.state.lock().documents.len()
    }

    /// Writes that were executed or met trouble, in order.
    pub fn asked(&self) -> Vec<Document> {
        self.state.lock().asked.clone()
    }

    /// Writes that have come, those at the gate included.
    pub fn arrived(&self) -> usize {
        self.state.lock().arrived
    }

    async fn answer(&self, request: &Request) -> Result<Document, Failure> {
        let mut command = Document::from_reader(request.command.body().as_ref()).unwrap();
        if command.contains_key("listCollections") {
            return Ok(self.state.lock().describe());
        }
        if command.contains_key("find") {
            // What is for another collection is refused, but by a server that doesn't know of that.
            return Ok(match self.bulk {
                Bulk::Unnumbered => doc! {"cursor": {"id": 0_i64, "firstBatch": []}, "ok": 1.0},
                Bulk::None | Bulk::Numbered => doc! {"code": 361, "ok": 0.0},
            });
        }
        if let Ok(id) = command.get_i64("getMore") {
            let (rest, version) = self.state.lock().cursors.remove(&id).unwrap_or_default();
            if version.as_ref() != command.get("apiVersion") {
                return Ok(doc! {"ok": 0.0, "code": 322, "codeName": "APIMismatchError"});
            }
            let cursor = doc! {"id": 0_i64, "ns": "admin.$cmd.bulkWrite", "nextBatch": rest};
            return Ok(doc! {"cursor": cursor, "ok": 1.0});
        }
        for sequence in &request.msg.sequences {
            let read = |d: Result<&[u8], _>| Bson::from(Document::from_reader(d.unwrap()).unwrap());
            let documents: Vec<Bson> = sequence.iter().map(read).collect();
            command.insert(sequence.identifier.as_str(), documents);
        }
        self.state.lock().arrived += 1;
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        tokio::task::yield_now().await;
        let done = self.state.lock().run(command, self.standalone, self.bulk);
        tokio::task::yield_now().await;
        done
    }
}

impl Backend for Model {
    fn call<'a>(&'a self, request: &'a mut Request) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let callers = request.callers.clone();
            let Some(_under_way) = callers.set_out() else {
                return Err(Failure::unsent(Fault::ClientGone));
            };
            let reply = self.answer(request).await?;
            Ok(Reply::document(&request.frame, &reply.to_vec().unwrap()))
        })
    }
}

impl State {
    fn identity(&self) -> Bson {
        bson::Uuid::from_bytes([self.made; 16]).into()
    }

    fn describe(&mut self) -> Document {
        self.looked_up += 1;
        let ordinary = doc! {"type": "collection", "options": {}};
        let mut description = self.special.clone().unwrap_or(ordinary);
        description.insert("info", doc! {"uuid": self.identity()});
        doc! {"cursor": {"id": 0_i64, "firstBatch": [description]}, "ok": 1.0}
    }

    fn run(
        &mut self,
        command: Document,
        standalone: bool,
        bulk: Bulk,
    ) -> Result<Document, Failure> {
        // (The proxy's own question of whether the server demands a login.)
        if command.contains_key("dbStats") {
            return Ok(doc! {"ok": 1.0});
        }
        let trouble = self.troubles.pop_front().unwrap_or(Trouble::None);
        self.asked.push(command.clone());
        match trouble {
            Trouble::Unsent => return Err(Failure::unsent(Fault::PrincipalGone)),
            Trouble::LostBefore => return Err(Failure::lost("before")),
            Trouble::NotPrimary => {
                let labels = vec!["RetryableWriteError"];
                return Ok(doc! {"ok": 0.0, "code": 10107, "errorLabels": labels});
            }
            Trouble::Refused(code, errmsg) => {
                return Ok(doc! {"ok": 0.0, "code": code, "errmsg": errmsg});
            }
            _ => {}
        }
        let name = command.keys().next().unwrap().clone();
        let is_bulk = name == "bulkWrite";
        if is_bulk && bulk == Bulk::Unnumbered && command.contains_key("stmtIds") {
            let what = "BSON field 'bulkWrite.stmtIds' is an unknown field.";
            return Ok(doc! {"ok": 0.0, "errmsg": what, "code": 40415});
        }
        let heeds = !(is_bulk && bulk == Bulk::Unnumbered);
        let number = command.get_i64("txnNumber").ok().filter(|_| heeds);
        if standalone && number.is_some() {
            return Ok(doc! {"ok": 0.0, "code": 20});
        }
        let session = match command.get_document("lsid") {
            Ok(lsid) => lsid.to_vec().unwrap(),
            Err(_) => Vec::new(),
        };
        if let Some(number) = number {
            let known = self.sessions.entry(session.clone()).or_default();
            if known.0 > number {
                return Ok(doc! {"ok": 0.0, "code": 225, "codeName": "TransactionTooOld"});
            }
            if known.0 < number {
                *known = (number, HashMap::new());
            }
        }
        let list = match name.as_str() {
            "insert" => "documents",
            "update" => "updates",
            "delete" => "deletes",
            _ => "ops",
        };
        let statements: Vec<Document> = command
            .get_array(list)
            .unwrap()
            .iter()
            .map(|s| statement(&name, s.as_document().unwrap()))
            .collect();
        let is_broken = |s: &Document| {
            let what = s.get_document("document").or(s.get_document("u"));
            what.is_ok_and(|d| d.contains_key("broken"))
        };
        if statements.iter().any(is_broken) {
            return Ok(doc! {"ok": 0.0, "code": 22, "codeName": "InvalidBSON"});
        }
        let meant = match command.get_array("nsInfo") {
            Ok(namespaces) => namespaces[0].as_document().unwrap().get("collectionUUID"),
            Err(_) => command.get("collectionUUID"),
        };
        let ordered = command.get_bool("ordered").unwrap_or(true);
        let (mut done, mut retried) = (Vec::new(), Vec::new());
        for (index, statement) in statements.iter().enumerate() {
            if let Trouble::Midway(after, code) = trouble
                && index == after
            {
                return Ok(doc! {"ok": 0.0, "code": code});
            }
            let id = match command.get_array("stmtIds") {
                Ok(ids) => ids[index].as_i32().unwrap(),
                Err(_) => index as i32,
            };
            let executed = self.sessions.get(&session).filter(|_| number.is_some());
            if let Some(before) = executed.and_then(|(_, done)| done.get(&id)) {
                retried.push(id);
                done.push(*before);
                continue;
            }
            if trouble == Trouble::MadeAnew(index) {
                self.made += 1;
            }
            let is_for_another = heeds && meant.is_some_and(|meant| *meant != self.identity());
            let did = match is_for_another {
                true => Did {
                    error: Some(0),
                    is_for_another,
                    ..Did::default()
                },
                false => self.apply(statement),
            };
            done.push(did);
            if number.is_some() && (did.modified > 0 || did.upserted.is_some()) {
                let known = self.sessions.entry(session.clone()).or_default();
                known.1.insert(id, did);
            }
            if did.error.is_some() && ordered {
                break;
            }
        }
        let mut reply = match is_bulk {
            true => self.bulk_reply(&done, &statements, command.get("apiVersion").cloned()),
            false => plain_reply(&name, &done, &statements, retried),
        };
        match trouble {
            Trouble::LostAfter => return Err(Failure::lost("after")),
            Trouble::Labelled => {
                reply.insert("writeConcernError", doc! {"code": 91});
                if number.is_some() {
                    reply.insert("errorLabels", ["RetryableWriteError"].as_slice());
                }
            }
            _ => {}
        }
        reply.insert("ok", 1.0);
        reply.insert("operationTime", 3);
        Ok(reply)
    }

    fn apply(&mut self, statement: &Document) -> Did {
        let changed = Did {
            n: 1,
            modified: 1,
            ..Did::default()
        };
        if let Ok(document) = statement.get_document("document") {
            let Ok(id) = document.get_i32("_id") else {
                return Did {
                    error: Some(-1),
                    ..Did::default()
                };
            };
            if self.documents.contains_key(&id) {
                return Did {
                    error: Some(id),
                    ..Did::default()
                };
            }
            self.documents.insert(id, document.clone());
            return changed;
        }
        let Ok(id) = statement.get_document("q").unwrap().get_i32("_id") else {
            return Did::default();
        };
        let Ok(update) = statement.get_document("u") else {
            return match self.documents.remove(&id) {
                Some(_) => changed,
                None => Did::default(),
            };
        };
        if update.contains_key("$refused") {
            return Did {
                error: Some(id),
                ..Did::default()
            };
        }
        let is_there = self.documents.contains_key(&id);
        if !is_there && !statement.get_bool("upsert").unwrap_or(false) {
            return Did::default();
        }
        let document = self.documents.entry(id).or_insert_with(|| doc! {"_id": id});
        let before = document.clone();
        for (field, value) in update.get_document("$set").unwrap_or(&Document::new()) {
            document.insert(field, value.clone());
        }
        for (field, by) in update.get_document("$inc").unwrap_or(&Document::new()) {
            let sum = document.get_i32(field).unwrap_or(0) + by.as_i32().unwrap();
            document.insert(field, sum);
        }
        Did {
            n: 1,
            modified: i32::from(is_there && *document != before),
            upserted: (!is_there).then_some(id),
            ..Did::default()
        }
    }

    /// Results come two at a time.
    fn bulk_reply(
        &mut self,
        done: &[Did],
        statements: &[Document],
        version: Option<Bson>,
    ) -> Document {
        let mut results: Vec<Document> = done
            .iter()
            .enumerate()
            .map(|(i, did)| result(i, did, statements))
            .collect();
        let rest = results.split_off(results.len().min(2));
        let mut id = 0;
        if !rest.is_empty() {
            self.opened += 1;
            id = self.opened;
            self.cursors.insert(id, (rest, version));
        }
        let cursor = doc! {"id": id, "ns": "admin.$cmd.bulkWrite", "firstBatch": results};
        doc! {"cursor": cursor, "nErrors": 0, "nModified": 0, "electionId": 1, "opTime": 2}
    }
}

/// The parts of a statement, by the names of `update` and `delete`; `document` of an insert.
fn statement(command: &str, raw: &Document) -> Document {
    match command {
        "insert" => doc! {"document": raw},
        "bulkWrite" => {
            let mut statement = doc! {"q": raw.get_document("filter").unwrap()};
            if let Some(update) = raw.get("updateMods") {
                statement.insert("u", update);
            }
            statement.extend(raw.clone());
            statement
        }
        _ => raw.clone(),
    }
}

fn plain_reply(name: &str, done: &[Did], statements: &[Document], retried: Vec<i32>) -> Document {
    let n: i32 = done.iter().map(|d| d.n).sum();
    let mut reply = doc! {"n": n, "electionId": 1, "opTime": 2};
    let (mut errors, mut upserted) = (Vec::new(), Vec::new());
    for (index, did) in done.iter().enumerate() {
        if let Some(id) = did.error {
            let index = index as i32;
            errors.push(match did.is_for_another {
                true => {
                    doc! {"index": index, "code": 361, "errmsg": "Collection UUID does not match"}
                }
                false => error(index, id, statements),
            });
        }
        if let Some(id) = did.upserted {
            upserted.push(doc! {"index": index as i32, "_id": id});
        }
    }
    if !errors.is_empty() {
        reply.insert("writeErrors", errors);
    }
    if !retried.is_empty() {
        reply.insert("retriedStmtIds", retried);
    }
    if !upserted.is_empty() {
        reply.insert("upserted", upserted);
    }
    if name == "update" {
        let modified: i32 = done.iter().map(|d| d.modified).sum();
        reply.insert("nModified", modified);
    }
    reply
}

fn error(index: i32, id: i32, statements: &[Document]) -> Document {
    match statements[index as usize].contains_key("document") {
        true => super::duplicate(index, id),
        false => doc! {"index": index, "code": 66, "errmsg": "refused"},
    }
}

fn result(index: usize, did: &Did, statements: &[Document]) -> Document {
    let index = index as i32;
    if did.error.is_some() {
        return doc! {"ok": 0.0, "idx": index, "code": 66, "errmsg": "refused", "n": 0};
    }
    let mut result = doc! {"ok": 1.0, "idx": index, "n": did.n};
    if statements[index as usize].contains_key("u") {
        result.insert("nModified", did.modified);
    }
    if let Some(id) = did.upserted {
        result.insert("upserted", doc! {"_id": id});
    }
    result
}
