//! A server in a few lines: inserts, retryable writes with statement numbers, and faults on demand.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use bson::{Bson, Document, doc};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::pipeline::{Backend, BoxFuture, Failure, Fault, Outcome, Reply, Request};

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
}

#[derive(Default)]
pub struct Model {
    state: Mutex<State>,
    /// Each insert takes one permit; `None` in `gated` lets all pass.
    pub gate: Option<Semaphore>,
    pub standalone: bool,
}

#[derive(Default)]
struct State {
    /// Document by `_id`.
    documents: BTreeMap<i32, Document>,
    sessions: HashMap<Vec<u8>, (i64, HashSet<i32>)>,
    troubles: VecDeque<Trouble>,
    /// Commands, with their documents in the body.
    asked: Vec<Document>,
    arrived: usize,
}

impl Model {
    pub fn gated() -> Model {
        Model {
            gate: Some(Semaphore::new(0)),
            ..Model::default()
        }
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

    /// Inserts that were executed or met trouble, in order.
    pub fn asked(&self) -> Vec<Document> {
        self.state.lock().asked.clone()
    }

    /// Inserts that have come, those at the gate included.
    pub fn arrived(&self) -> usize {
        self.state.lock().arrived
    }

    async fn answer(&self, request: &Request) -> Result<Document, Failure> {
        let mut command = Document::from_reader(request.command.body().as_ref()).unwrap();
        if command.contains_key("hello") {
            let mut hello = doc! {
                "maxWriteBatchSize": 1000, "maxMessageSizeBytes": 48_000_000, "maxWireVersion": 17,
                "logicalSessionTimeoutMinutes": 30, "ok": 1.0,
            };
            if !self.standalone {
                hello.insert("setName", "r");
            }
            return Ok(hello);
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
        let done = self.state.lock().insert(command, self.standalone);
        tokio::task::yield_now().await;
        done
    }
}

impl Backend for Model {
    fn call<'a>(&'a self, request: &'a mut Request) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let reply = self.answer(request).await?;
            Ok(Reply::document(&request.frame, &reply.to_vec().unwrap()))
        })
    }
}

impl State {
    fn insert(&mut self, command: Document, standalone: bool) -> Result<Document, Failure> {
        let trouble = self.troubles.pop_front().unwrap_or(Trouble::None);
        self.asked.push(command.clone());
        match trouble {
            Trouble::Unsent => return Err(Failure::unsent(Fault::PrincipalGone)),
            Trouble::LostBefore => return Err(Failure::lost("before")),
            _ => {}
        }
        let number = command.get_i64("txnNumber").ok();
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
                *known = (number, HashSet::new());
            }
        }
        let documents = command.get_array("documents").unwrap();
        if documents
            .iter()
            .any(|d| d.as_document().unwrap().contains_key("broken"))
        {
            return Ok(doc! {"ok": 0.0, "code": 22, "codeName": "InvalidBSON"});
        }
        let ordered = command.get_bool("ordered").unwrap_or(true);
        let (mut n, mut errors, mut retried) = (0, Vec::new(), Vec::new());
        for (index, document) in documents.iter().enumerate() {
            if let Trouble::Midway(after, code) = trouble
                && index == after
            {
                return Ok(doc! {"ok": 0.0, "code": code});
            }
            let statement = match command.get_array("stmtIds") {
                Ok(ids) => ids[index].as_i32().unwrap(),
                Err(_) => index as i32,
            };
            let executed = self.sessions.get_mut(&session).filter(|_| number.is_some());
            if executed
                .as_ref()
                .is_some_and(|(_, done)| done.contains(&statement))
            {
                retried.push(statement);
                n += 1;
                continue;
            }
            let document = document.as_document().unwrap();
            let id = document.get_i32("_id").unwrap();
            if self.documents.contains_key(&id) {
                errors.push(doc! {
                    "index": index as i32, "code": 11000, "errmsg": format!("E11000 dup key: {id}"),
                    "keyPattern": {"_id": 1}, "keyValue": {"_id": id},
                });
                if ordered {
                    break;
                }
                continue;
            }
            self.documents.insert(id, document.clone());
            if let Some((_, done)) = executed {
                done.insert(statement);
            }
            n += 1;
        }
        let mut reply = doc! {"n": n, "electionId": 1, "opTime": 2};
        if !errors.is_empty() {
            reply.insert("writeErrors", errors);
        }
        if !retried.is_empty() {
            reply.insert("retriedStmtIds", retried);
        }
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
}
