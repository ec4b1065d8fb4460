//! The virtual database `petiole`: what the proxy knows of itself, for any MongoDB client.
//!
//! Six read-only collections, made anew for every question. A client that `admin.console` doesn't
//! allow gets an error and never data. Commands that aren't about data (`ping`, `buildInfo`, …) go
//! on to the server, as a shell needs them; whatever else names this database is refused here, also
//! as the target of a command on another database, so that nothing meant for the console ever
//! reaches a real database.
//!
//! - `collections.rs`: what is in each collection.
//! - `query.rs`, `order.rs`, `project.rs`: find and the simplest pipelines.
//! - `cursors.rs`: results of several batches.
//! - `reach.rs`: commands on other databases that would write into this one.

mod collections;
mod cursors;
mod order;
mod project;
mod query;
mod reach;

use std::sync::Arc;

use bson::{Bson, Document, doc};

use self::collections::Collection;
use self::cursors::Cursors;
use self::query::{Query, Refused};
use crate::command::matcher::matches;
use crate::command::{Command, ErrorReply, Kind, Strings, Tri, codes};
use crate::config;
use crate::pipeline::{Principal, Request};
use crate::server::{Console, Shared};
use crate::wire::doc;

/// The name of the database.
pub const DATABASE: &str = "petiole";

/// The virtual database, for those who may ask it.
struct VirtualDatabase {
    allowed: config::Console,
    cursors: Cursors,
}

/// The console that the configuration asks for.
pub fn console(allowed: &config::Console) -> Option<Arc<dyn Console>> {
    if *allowed == config::Console::Off {
        return None;
    }
    Some(Arc::new(VirtualDatabase {
        allowed: allowed.clone(),
        cursors: Cursors::default(),
    }))
}

impl Console for VirtualDatabase {
    fn answer(&self, shared: &Shared, request: &Request) -> Option<Vec<u8>> {
        let command = &request.command;
        if command.db() != DATABASE {
            return reach::reaches(command, &request.msg).then(|| refused(command.name()));
        }
        if goes_on(command) {
            return None;
        }
        let answer = match self.allows(&request.principal) {
            true => self.run(shared, request),
            false => Err(Refused::new(
                codes::UNAUTHORIZED,
                "the database petiole is the proxy's console; admin.console doesn't allow it to this user",
            )),
        };
        let reply = answer.and_then(|mut reply| {
            reply.insert("ok", 1.0);
            reply
                .to_vec()
                .map_err(|e| Refused::new(codes::BAD_VALUE, e))
        });
        Some(reply.unwrap_or_else(|refused| ErrorReply::from(refused).document().to_vec()))
    }

    fn amend(&self, request: &Request, reply: &[u8]) -> Option<Vec<u8>> {
        let command = &request.command;
        if command.name() != "listDatabases" || !self.allows(&request.principal) {
            return None;
        }
        let entry = doc! { "name": DATABASE, "sizeOnDisk": 0_i64, "empty": false };
        let filter = doc::find(command.body(), "filter").and_then(|f| f.as_document());
        if let Some(filter) = filter
            && matches(filter, &entry.to_vec().ok()?, Strings::Simple) != Tri::Yes
        {
            return None;
        }
        let mut reply = Document::from_reader(&mut &*reply).ok()?;
        let databases = reply.get_array_mut("databases").ok()?;
        let taken = |database: &Bson| {
            let name = database.as_document().and_then(|d| d.get_str("name").ok());
            name == Some(DATABASE)
        };
        databases.retain(|database| !taken(database));
        let name_only = doc::find(command.body(), "nameOnly").is_some_and(|e| e.is_truthy());
        databases.push(Bson::Document(match name_only {
            true => doc! { "name": DATABASE },
            false => entry,
        }));
        reply.to_vec().ok()
    }
}

impl VirtualDatabase {
    fn allows(&self, principal: &Principal) -> bool {
        match &self.allowed {
            config::Console::Off => false,
            config::Console::Anyone => true,
            // (A principal of several users has a name that is none of theirs.)
            config::Console::Principals(names) => principal
                .name
                .rsplit_once(" (")
                .is_some_and(|(user, _)| names.iter().any(|name| name == user)),
        }
    }

    fn run(&self, shared: &Shared, request: &Request) -> Result<Document, Refused> {
        let command = &request.command;
        if command.in_transaction {
            return Err(Refused::new(
                NOT_IN_TRANSACTION,
                "the console takes no part in transactions",
            ));
        }
        doc::check_deep(command.body(), doc::MAX_DEPTH)
            .map_err(|e| Refused::new(codes::BAD_VALUE, e))?;
        let body = Document::from_reader(&mut command.body().as_ref())
            .map_err(|e| Refused::new(codes::BAD_VALUE, e))?;
        match (command.kind, command.name()) {
            (Kind::Find, _) => {
                let query = Query::of_find(&body)?;
                self.begin(shared, request, query)
            }
            (Kind::Aggregate, _) => {
                let query = Query::of_aggregate(&body)?;
                self.begin(shared, request, query)
            }
            (Kind::Count, _) => {
                let query = Query::of_count(&body)?;
                let found = query.run(of(command).rows(shared))?;
                Ok(doc! { "n": size(found.len()) })
            }
            (Kind::Distinct, _) => Query::distinct(&body, of(command).rows(shared)),
            (Kind::GetMore, _) => self.cursors.more(request, &body),
            (Kind::KillCursors, _) => Ok(self.cursors.kill(request, &body)),
            (_, "listCollections") => list_collections(&body),
            (_, "listIndexes") => {
                let index = doc! { "v": 2, "key": { "_id": 1 }, "name": "_id_" };
                let namespace = namespace(command.collection().unwrap_or_default());
                Ok(whole(&namespace, vec![index]))
            }
            (_, "dbStats" | "dbstats") => Ok(doc! {
                "db": DATABASE, "collections": size(Collection::ALL.len()), "views": 0, "objects": 0,
                "dataSize": 0.0, "storageSize": 0.0, "indexes": 0, "indexSize": 0.0, "totalSize": 0.0,
            }),
            (_, "collStats" | "collstats") => Ok(doc! {
                "ns": namespace(command.collection().unwrap_or_default()),
                "count": size(of(command).rows(shared).len()), "size": 0, "storageSize": 0,
                "nindexes": 1, "totalIndexSize": 0, "capped": false,
            }),
            (_, name) => Err(read_only(name)),
        }
    }

    /// The first batch of a query, with a cursor for the rest.
    fn begin(&self, shared: &Shared, request: &Request, query: Query) -> Result<Document, Refused> {
        let collection = request.command.collection().unwrap_or_default();
        let rows = query.run(of(&request.command).rows(shared))?;
        Ok(self
            .cursors
            .first(request, &namespace(collection), rows, query.batch()))
    }
}

fn read_only(command: &str) -> Refused {
    Refused::new(
        // (Drivers take IllegalOperation for a word on retryable writes.)
        codes::COMMAND_NOT_SUPPORTED,
        format_args!(
            "{command} isn't possible on the database petiole: it is the proxy's own console and can only be \
             read (find, count, distinct). With admin.console = [] the name is the server's again"
        ),
    )
}

fn refused(command: &str) -> Vec<u8> {
    ErrorReply::from(read_only(command)).document().to_vec()
}

/// The collection that a command names; one that there isn't is empty, as on any server.
fn of(command: &Command) -> Collection {
    Collection::of(command.collection().unwrap_or_default())
}

fn namespace(collection: &str) -> String {
    format!("{DATABASE}.{collection}")
}

fn list_collections(body: &Document) -> Result<Document, Refused> {
    let listed = Collection::ALL.iter().map(|collection| {
        doc! {
            "name": collection.name(), "type": "collection", "options": {},
            "info": { "readOnly": true },
            "idIndex": { "v": 2, "key": { "_id": 1 }, "name": "_id_" },
        }
    });
    let query = Query::filter_only(body.get_document("filter").ok())?;
    let mut listed = query.run(listed.collect())?;
    if body.get_bool("nameOnly").unwrap_or(false) {
        for entry in &mut listed {
            let name = entry.get("name").cloned();
            *entry = doc! { "name": name, "type": "collection" };
        }
    }
    Ok(whole(&namespace("$cmd.listCollections"), listed))
}

/// A cursor's reply that holds everything.
fn whole(namespace: &str, rows: Vec<Document>) -> Document {
    doc! { "cursor": { "id": 0_i64, "ns": namespace, "firstBatch": rows } }
}

/// Whether a command isn't about data: the server answers it, whatever database it names.
fn goes_on(command: &Command) -> bool {
    let harmless = [
        "ping",
        "buildInfo",
        "buildinfo",
        "hostInfo",
        "connectionStatus",
        "whatsmyuri",
        "getParameter",
        "getLog",
        "getCmdLineOpts",
        "listCommands",
        "features",
        "isdbgrid",
        "atlasVersion",
        "getFreeMonitoringStatus",
        "serverStatus",
        "startSession",
        "endSessions",
        "refreshSessions",
        "killSessions",
    ];
    matches!(command.kind, Kind::Commit | Kind::Abort) || harmless.contains(&command.name())
}

fn size(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

const NOT_IN_TRANSACTION: (i32, &str) = (263, "OperationNotSupportedInTransaction");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::scripted::request;

    fn database(allowed: config::Console) -> VirtualDatabase {
        VirtualDatabase {
            allowed,
            cursors: Cursors::default(),
        }
    }

    #[test]
    fn only_those_who_are_named_are_let_in() {
        let named = |name: &str| Principal {
            id: 1,
            name: name.to_owned(),
        };
        let root = config::Console::Principals(vec!["admin.root".to_owned()]);
        let console = database(root);
        assert!(console.allows(&named("admin.root (SCRAM-SHA-256)")));
        for other in [
            "",
            "admin.rooter (X)",
            "admin.root, admin.b (X)",
            "admin.root",
        ] {
            assert!(!console.allows(&named(other)), "{other:?}");
        }
        assert!(database(config::Console::Anyone).allows(&named("")));
    }

    #[test]
    fn a_list_of_databases_names_the_console_to_those_who_may_ask_it() {
        let reply = doc! { "databases": [{ "name": "admin" }], "ok": 1.0 }
            .to_vec()
            .unwrap();
        let console = database(config::Console::Anyone);
        let names = |command: Document| {
            let amended = console.amend(&request(&command), &reply)?;
            let amended = Document::from_reader(&mut amended.as_slice()).unwrap();
            Some(amended.get_array("databases").unwrap().len())
        };
        assert_eq!(names(doc! { "listDatabases": 1, "$db": "admin" }), Some(2));
        let other = doc! { "listDatabases": 1, "filter": { "name": "x" }, "$db": "admin" };
        assert_eq!(names(other), None);
        assert_eq!(names(doc! { "ping": 1, "$db": "admin" }), None);
        let nobody = database(config::Console::Principals(vec!["a.b".to_owned()]));
        let list = request(&doc! { "listDatabases": 1, "$db": "admin" });
        assert_eq!(nobody.amend(&list, &reply), None);
    }
}
