//! Write batching against real servers: each client's reply is the one it gets without batching,
//! and whatever is killed, no acknowledged write is lost and none is applied twice.

mod changes;
mod crowd;
mod few;
pub mod held;
mod kills;
mod kinds;
mod large_errors;
mod order;
mod replies;
mod tries;

use bson::spec::BinarySubtype;
use bson::{Binary, Document};

use crate::raw::{ClientError, RawClient};

/// Switches batching on.
pub const ON: (&str, &str) = ("batch.enabled", "true");

/// Clients here look at codes, and keep their connection when mongod is lost.
pub const ERRORS: (&str, &str) = ("server.lost_upstream", "\"error\"");

/// Whoever comes while another write is under way waits: there are more batches than by default.
pub const ONE_AT_ONCE: (&str, &str) = ("batch.at_once", "1");

/// Repeatable by its seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A session id as drivers make them.
pub fn lsid() -> Document {
    let id = Binary {
        subtype: BinarySubtype::Uuid,
        bytes: bson::Uuid::new().bytes().to_vec(),
    };
    bson::doc! {"id": id}
}

pub async fn ask(client: &mut RawClient, command: &Document) -> Result<Document, ClientError> {
    let reply = client.command(command).await?;
    Ok(Document::try_from(&*reply).expect("sound BSON"))
}

/// Sets the failpoint; how many commands it has met so far.
pub async fn failpoint(direct: &mut RawClient, how: Document) -> i64 {
    let mut set = bson::doc! {"configureFailPoint": "failCommand"};
    set.extend(how);
    set.insert("$db", "admin");
    let reply = ask(direct, &set).await.unwrap();
    assert_eq!(reply.get_f64("ok").ok(), Some(1.0), "{reply}");
    let count = reply.get_i64("count");
    count
        .or_else(|_| reply.get_i32("count").map(i64::from))
        .unwrap_or(0)
}
