//! A server that is held while writes come, so that all but the first of them queue, however long they take to come.

use bson::doc;
use bson::oid::ObjectId;
use petiole::embedded::{Deployment, Signal};

use super::ask;
use crate::parts::proxy::Proxy;
use crate::parts::wait;
use crate::raw::RawClient;

/// A deployment of one server that has been stopped, and the proxy before it, of which one write at once goes upstream.
pub struct Held<'a> {
    deployment: &'a Deployment,
    proxy: &'a Proxy,
    /// Writes that had been sent as the first of a queue.
    before: u64,
}

impl<'a> Held<'a> {
    pub fn new(deployment: &'a Deployment, proxy: &'a Proxy) -> Held<'a> {
        let before = first(proxy);
        deployment.signal(0, Signal::Stop).unwrap();
        Held {
            deployment,
            proxy,
            before,
        }
    }

    /// Waits until a write is under way, behind which the next ones queue.
    pub fn until_the_first_is_under_way(&self) {
        wait::until("the first is under way", || first(self.proxy) > self.before);
    }

    /// Lets the server go on when so many wait.
    pub fn until_queued(self, writes: u64) {
        wait::until("the others wait", || {
            self.proxy.count("/batch/waiting") == writes
        });
        self.deployment.signal(0, Signal::Cont).unwrap();
    }
}

/// Writes into an existing collection until the proxy knows what that is, which it asks beside the first write: then it
/// batches.
pub async fn until_it_batches(proxy: &Proxy, db: &str, collection: &str) {
    wait::until_async("it batches", async || {
        let before = first(proxy);
        let mut client = RawClient::connect(proxy.address()).await.unwrap();
        let insert =
            doc! {"insert": collection, "documents": [{"_id": ObjectId::new()}], "$db": db};
        ask(&mut client, &insert).await.unwrap();
        first(proxy) > before
    })
    .await;
}

fn first(proxy: &Proxy) -> u64 {
    proxy.count("/batch/sent_alone/first")
}
