//! The Rust driver against one server: everything an application does.
//!
//! The same script as those in `tests/clients`, for the official driver of this project's own
//! language: sections in a fixed order, hard assertions, "ok <section>" for each.
//!
//! - `crud`: reads and writes; `cursors`: batches, change streams, tailing, GridFS, large results;
//!   `sessions`: transactions, causal reads, unacknowledged writes; `administration`: indexes,
//!   users, collections, errors.
//!
//! Invariants: nothing depends on the kind of deployment that the server presents; every run works
//! in databases of its own and drops them, so runs may overlap.
//!
//! Absent on purpose: exhaust cursors, which this driver does not offer.

mod administration;
mod crud;
mod cursors;
mod sessions;

use std::fmt::Debug;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::{Client, Collection, Cursor, Database};

/// How long a condition may take to become true.
const DEADLINE: Duration = Duration::from_secs(20);

const MIB: usize = 1024 * 1024;

/// What a section ends with: its first error.
type Outcome = anyhow::Result<()>;

/// One run's client and its databases.
pub struct Suite {
    client: Client,
    db: Database,
    other: Database,
    /// The highest wire version that the server offers.
    wire: i32,
}

impl Suite {
    async fn connect(uri: &str) -> anyhow::Result<Suite> {
        let client = Client::with_uri_str(uri).await?;
        let tag = ObjectId::new().to_hex();
        let hello = client
            .database("admin")
            .run_command(doc! {"hello": 1})
            .await?;
        Ok(Suite {
            db: client.database(&format!("petiole_rust_{tag}")),
            other: client.database(&format!("petiole_rust_other_{tag}")),
            wire: hello.get_i32("maxWireVersion")?,
            client,
        })
    }

    fn items(&self, name: &str) -> Collection<Document> {
        self.db.collection(name)
    }
}

/// Runs every section against the server at `uri`; panics at the first one that fails.
pub async fn run(uri: &str) {
    let suite = Suite::connect(uri).await.expect("the server answers");
    let mut count = 0;
    macro_rules! sections {
        ($($title:literal => $section:path),* $(,)?) => {
            $(
                if let Err(error) = $section(&suite).await {
                    panic!("section {}: {error:?}", $title);
                }
                println!("ok {}", $title);
                count += 1;
            )*
        };
    }
    sections! {
        "server commands" => administration::server_commands,
        "insert" => crud::insert,
        "find" => crud::find,
        "update" => crud::update,
        "find and modify" => crud::find_and_modify,
        "delete" => crud::delete,
        "count and distinct" => crud::count_and_distinct,
        "aggregate" => crud::aggregate,
        "out and merge" => crud::out_and_merge,
        "bulk write" => crud::bulk_write,
        "client bulk write" => crud::client_bulk_write,
        "cursor" => cursors::many_batches,
        "change stream" => cursors::change_stream,
        "tailable" => cursors::tailable,
        "gridfs" => cursors::gridfs,
        "large" => cursors::large,
        "transaction" => sessions::transaction,
        "conflict" => sessions::conflict,
        "sessions" => sessions::causal,
        "unacknowledged" => sessions::unacknowledged,
        "indexes" => administration::indexes,
        "users" => administration::users,
        "collections" => administration::collections,
        "errors" => administration::errors,
    }
    suite.db.drop().await.expect("the database is dropped");
    suite.other.drop().await.expect("the database is dropped");
    suite.client.shutdown().await;
    println!("all {count} sections ok");
}

/// Documents `{_id: i, n: i}` for the numbers of `range`.
fn numbered(range: std::ops::Range<i32>) -> Vec<Document> {
    range.map(|i| doc! {"_id": i, "n": i}).collect()
}

/// All documents of a cursor.
async fn all(cursor: Cursor<Document>) -> mongodb::error::Result<Vec<Document>> {
    cursor.try_collect().await
}

/// The integers in `field` of `docs`, in their order.
fn pluck(docs: &[Document], field: &str) -> Vec<i32> {
    docs.iter()
        .map(|d| d.get_i32(field).unwrap_or_else(|e| panic!("{e} in {d}")))
        .collect()
}

/// The server's code in `error`, if it holds one.
fn code(error: &Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        _ => None,
    }
}

/// Asserts that `result` is an error of the server with that `code`.
#[track_caller]
fn fails_with<T: Debug>(result: mongodb::error::Result<T>, expected: i32) -> Error {
    let error = result.expect_err("the server refuses");
    assert_eq!(code(&error), Some(expected), "another error: {error:?}");
    error
}

/// Waits until a collection holds exactly `expected` documents that match `filter`.
async fn until_count(items: &Collection<Document>, filter: Document, expected: u64) -> Outcome {
    let end = Instant::now() + DEADLINE;
    loop {
        let count = items.count_documents(filter.clone()).await?;
        if count == expected {
            return Ok(());
        }
        anyhow::ensure!(
            Instant::now() < end,
            "{count} documents match {filter}, not {expected}"
        );
    }
}

/// `count` bytes that no compressor makes small and that differ by `seed`.
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// `bytes` as a BSON binary of the generic subtype.
fn binary(bytes: Vec<u8>) -> Bson {
    Bson::Binary(mongodb::bson::Binary {
        subtype: mongodb::bson::spec::BinarySubtype::Generic,
        bytes,
    })
}
