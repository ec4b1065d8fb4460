//! Asks the deployment for its default read concern.

use futures_util::TryStreamExt;
use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::error::ErrorKind;

/// Whether a read without a read concern has `local`. `None`: there is no answer, or no right to one.
pub(super) async fn is_local(client: &Client) -> Option<bool> {
    let question = doc! {"getDefaultRWConcern": 1};
    match client.database("admin").run_command(question).await {
        Ok(reply) => Some(level_is_local(
            reply.get_document("defaultReadConcern").ok(),
        )),
        Err(error) => match error.kind.as_ref() {
            ErrorKind::Command(error) if NO_DEFAULTS.contains(&error.code) => Some(true),
            ErrorKind::Command(error) if error.code == UNAUTHORIZED => by_transaction(client).await,
            _ => None,
        },
    }
}

/// A user that may not ask may still read, and see what it is doing: a transaction's read concern is the default.
async fn by_transaction(client: &Client) -> Option<bool> {
    let mut session = client.start_session().await.ok()?;
    session.start_transaction().await.ok()?;
    let nothing = client.database("petiole").collection::<Document>("nothing");
    let read = nothing.find_one(doc! {}).session(&mut session).await;
    let id = session.id().get("id").cloned();
    let mine =
        doc! {"$match": {"lsid.id": id, "transaction.parameters.readConcern": {"$exists": true}}};
    let look = [
        doc! {"$currentOp": {"allUsers": false, "idleSessions": true}},
        mine,
    ];
    let found: Option<Vec<Document>> = match read {
        Ok(_) => match client.database("admin").aggregate(look).await {
            Ok(cursor) => cursor.try_collect().await.ok(),
            Err(_) => None,
        },
        Err(_) => None,
    };
    let _ = session.abort_transaction().await;
    let transaction = found?.into_iter().next()?;
    let parameters = transaction.get_document("transaction").ok()?;
    let parameters = parameters.get_document("parameters").ok()?;
    let concern = parameters.get_document("readConcern").ok()?;
    Some(level_is_local(Some(concern)))
}

fn level_is_local(concern: Option<&Document>) -> bool {
    let level = concern.and_then(|concern| concern.get("level"));
    level.is_none_or(|level| level.as_str() == Some("local"))
}

const UNAUTHORIZED: i32 = 13;
/// `CommandNotFound` (before MongoDB 4.4), and "not supported on standalone nodes".
const NO_DEFAULTS: [i32; 2] = [59, 51300];
