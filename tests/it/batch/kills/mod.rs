//! Clients that behave like drivers, while something is killed under them: their own socket, the
//! link upstream, the server, the proxy.
//!
//! Every client must get an answer or an error that tells it to try again, and what the answers
//! say must be what the server holds in the end. `numbered` are clients that send a write again
//! until it is answered, `unnumbered` ones that never do; `mongod` and `secantus` hold them to what
//! either server promises. What both go through is in `scenes`.

mod mongod;
mod numbered;
mod scenes;
mod secantus;

mod unnumbered;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use bson::Document;
use mongodb::{Client, Collection};
use tokio::task::JoinHandle;

use crate::parts::proxy::Proxy;
use crate::parts::wait;

const CLIENTS: i32 = 32;

/// What a load has seen so far.
#[derive(Default)]
struct Seen {
    acknowledged: AtomicUsize,
    stop: AtomicBool,
}

/// What clients do with their connections.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// They keep them.
    Calm,
    /// Now and then they drop theirs right after sending.
    Restless,
}

/// What many clients write, and what must have come of it.
trait Load: Copy {
    /// What one client's life has brought.
    type Life: Send + 'static;

    /// One client's life: it writes until there's enough, or its connection is gone.
    fn live(
        self,
        number: i32,
        address: String,
        seen: Arc<Seen>,
        manner: Manner,
    ) -> impl Future<Output = Self::Life> + Send + 'static;

    /// All that was acknowledged is there, and nothing is that nobody sent.
    async fn check(self, uri: &str, lives: &[Self::Life]);
}

/// All clients begin.
fn crowd<L: Load>(
    load: L,
    address: &str,
    seen: &Arc<Seen>,
    manner: Manner,
) -> Vec<JoinHandle<L::Life>> {
    (0..CLIENTS)
        .map(|number| tokio::spawn(load.live(number, address.to_owned(), Arc::clone(seen), manner)))
        .collect()
}

async fn lives<L>(tasks: Vec<JoinHandle<L>>) -> Vec<L> {
    let mut lives = Vec::new();
    for task in tasks {
        lives.push(task.await.unwrap());
    }
    lives
}

async fn stop<L>(seen: &Seen, tasks: Vec<JoinHandle<L>>) -> Vec<L> {
    seen.stop.store(true, Relaxed);
    lives(tasks).await
}

async fn until_acknowledged(seen: &Seen, more: usize) {
    let target = seen.acknowledged.load(Relaxed) + more;
    wait::until_async("writes go on", async || {
        seen.acknowledged.load(Relaxed) >= target
    })
    .await;
}

/// What the clients write to, asked directly.
async fn collection(uri: &str) -> Collection<Document> {
    let client = Client::with_uri_str(uri).await.unwrap();
    client.database("d").collection("c")
}

/// Writes have left together.
fn batched(proxy: &Proxy) {
    let status = proxy.status();
    println!("{:#}", status["batch"]);
    assert!(proxy.count("/batch/size/max") >= 8, "{status}");
}

/// With what may be applied twice batched though its client may send it again: not the default.
const IDEMPOTENT: (&str, &str) = ("batch.retryable_updates", "\"idempotent\"");
/// With `$inc`s batched too: exact as long as the proxy lives.
const ALWAYS: (&str, &str) = ("batch.retryable_updates", "\"always\"");
