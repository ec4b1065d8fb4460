//! Clients whose writes have no numbers: updates, upserts and deletes by `_id`, none of them sent
//! twice. Each client knows what its document is, and so exactly what each reply must say: a reply
//! to somebody else's write would give itself away. An error leaves it with two possibilities, and
//! a document that it doesn't touch again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bson::{Document, doc};
use futures_util::TryStreamExt;

use super::{Load, Manner, Seen, collection};
use crate::batch::{Random, ask};
use crate::raw::{ClientError, RawClient, Section, encode};

/// Changes of documents of each client's own.
#[derive(Clone, Copy)]
pub struct Changes;

impl Load for Changes {
    type Life = Vec<Own>;

    async fn live(self, number: i32, address: String, seen: Arc<Seen>, manner: Manner) -> Vec<Own> {
        live(number, &address, &seen, manner).await
    }

    async fn check(self, uri: &str, lives: &[Vec<Own>]) {
        compare(uri, lives, |own, stored| {
            own.known == stored || own.open == Some(stored)
        })
        .await;
    }
}

/// A document: nothing, or its `n`.
type State = Option<i32>;

/// A document of a client's own.
pub struct Own {
    id: i32,
    /// By all that was acknowledged.
    known: State,
    /// And by the one write that wasn't.
    open: Option<State>,
}

/// One write of one document.
#[derive(Clone, Copy, Debug)]
enum Write {
    Increment,
    IncrementOrInsert,
    /// To what it is already.
    SetAgain,
    Delete,
}

impl Write {
    fn random(random: &mut Random) -> Write {
        match random.below(8) {
            0..=2 => Write::IncrementOrInsert,
            3 | 4 => Write::Increment,
            5 | 6 => Write::SetAgain,
            _ => Write::Delete,
        }
    }

    /// What the document is afterwards.
    fn apply(self, state: State) -> State {
        match self {
            Write::Increment => state.map(|n| n + 1),
            Write::IncrementOrInsert => Some(state.unwrap_or(0) + 1),
            Write::SetAgain => state,
            Write::Delete => None,
        }
    }

    fn command(self, id: i32, state: State) -> Document {
        let update = |u: Document, upsert: bool| {
            doc! {"update": "c", "updates": [{"q": {"_id": id}, "u": u, "upsert": upsert}]}
        };
        let mut command = match self {
            Write::Increment => update(doc! {"$inc": {"n": 1}}, false),
            Write::IncrementOrInsert => update(doc! {"$inc": {"n": 1}}, true),
            Write::SetAgain => update(doc! {"$set": {"n": state}}, false),
            Write::Delete => doc! {"delete": "c", "deletes": [{"q": {"_id": id}, "limit": 1}]},
        };
        command.extend(doc! {"writeConcern": {"w": "majority", "j": true}, "$db": "d"});
        command
    }

    /// What the reply must say of the write itself.
    fn reply(self, id: i32, state: State) -> Document {
        let is_there = i32::from(state.is_some());
        match self {
            Write::Increment => doc! {"n": is_there, "nModified": is_there},
            Write::IncrementOrInsert if state.is_none() => {
                doc! {"n": 1, "upserted": [{"index": 0, "_id": id}], "nModified": 0}
            }
            Write::IncrementOrInsert => doc! {"n": 1, "nModified": 1},
            Write::SetAgain => doc! {"n": is_there, "nModified": 0},
            Write::Delete => doc! {"n": is_there},
        }
    }
}

async fn live(number: i32, address: &str, seen: &Seen, manner: Manner) -> Vec<Own> {
    let mut random = Random(15_485_863 * (number as u64 + 1));
    let mut documents: Vec<Own> = Vec::new();
    let Ok(mut client) = RawClient::connect(address).await else {
        return documents;
    };
    while !seen.stop.load(Relaxed) {
        if documents.last().is_none_or(|d| d.open.is_some()) || random.below(10) == 0 {
            documents.push(Own {
                id: number * 1_000_000 + documents.len() as i32,
                known: None,
                open: None,
            });
        }
        let Some(own) = documents.last_mut() else {
            return documents;
        };
        let write = Write::random(&mut random);
        let command = write.command(own.id, own.known);
        let after = write.apply(own.known);
        own.open = Some(after);
        if manner == Manner::Restless && random.below(10) == 0 {
            let _ = client.send(0, &[Section::Body(encode(&command))]).await;
            match RawClient::connect(address).await {
                Ok(another) => client = another,
                Err(_) => return documents,
            }
            continue;
        }
        match ask(&mut client, &command).await {
            Ok(reply) if reply.get_f64("ok").unwrap() == 1.0 => {
                assert_eq!(
                    of_the_write(&reply),
                    write.reply(own.id, own.known),
                    "{write:?} of {:?}: {reply}",
                    own.known
                );
                (own.known, own.open) = (after, None);
                seen.acknowledged.fetch_add(1, Relaxed);
            }
            Ok(reply) => {
                let code = reply.get_i32("code").unwrap();
                assert!(MAY_BE_TRIED_AGAIN.contains(&code), "{reply}");
            }
            Err(ClientError::Closed | ClientError::Io(_)) => return documents,
            Err(error) => panic!("{error}"),
        }
    }
    documents
}

/// A reply without what it says of the server.
fn of_the_write(reply: &Document) -> Document {
    let fields = ["n", "upserted", "nModified", "writeErrors"];
    let of_it = |(key, _): &(String, _)| fields.contains(&key.as_str());
    reply.clone().into_iter().filter(of_it).collect()
}

/// Each document is what the replies said, and the writes that had none weren't done.
pub async fn check_nothing_was_begun(uri: &str, lives: &[Vec<Own>]) {
    compare(uri, lives, |own, stored| own.known == stored).await;
}

async fn compare(uri: &str, lives: &[Vec<Own>], fits: impl Fn(&Own, State) -> bool) {
    let c = collection(uri).await;
    let stored: Vec<Document> = c.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    let of = |d: &Document| (d.get_i32("_id").unwrap(), d.get_i32("n").unwrap());
    let mut stored: HashMap<i32, i32> = stored.iter().map(of).collect();
    for own in lives.iter().flatten() {
        let stored = stored.remove(&own.id);
        assert!(
            fits(own, stored),
            "{} is {stored:?}, was acknowledged as {:?}, and may be {:?}",
            own.id,
            own.known,
            own.open
        );
    }
    assert!(stored.is_empty(), "nobody has written {stored:?}");
}

/// What drivers call transient: HostUnreachable, HostNotFound, ShutdownInProgress, FailedToSatisfyReadPreference,
/// NotWritablePrimary, InterruptedAtShutdown, InterruptedDueToReplStateChange.
const MAY_BE_TRIED_AGAIN: [i32; 7] = [6, 7, 91, 133, 10107, 11600, 11602];
