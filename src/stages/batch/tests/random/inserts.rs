//! Inserts, some of them of ids that others insert too.

use std::collections::HashMap;
use std::sync::Arc;

use bson::{Bson, Document, doc};

use super::super::model::Model;
use super::super::{Setup, retryable};
use super::{Random, persist, troubles};

/// What one document of a write was reported as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reported {
    Inserted,
    Duplicate,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_fails_each_write_is_applied_as_reported() {
    for seed in 1..=40 {
        let model = Model::default();
        let mut random = Random(seed);
        model.trouble(troubles(&mut random));
        let setup = Arc::new(Setup::new(model).await);
        let clients: Vec<_> = (0..24_u8)
            .map(|client| {
                let setup = setup.clone();
                tokio::spawn(async move {
                    let mut random = Random(seed * 1000 + u64::from(client) + 1);
                    let mut reports = Vec::new();
                    for number in 1..=12_i64 {
                        let count = 1 + random.below(3) as i32;
                        let own = i32::from(client) * 1000 + number as i32 * 10;
                        // Some ids of its own, some that others use too.
                        let ids: Vec<i32> = (0..count)
                            .map(|i| match random.below(4) {
                                0 => 100_000 + random.below(300) as i32,
                                _ => own + i,
                            })
                            .collect();
                        let mut write = retryable(client, number, &ids);
                        let tag = i64::from(client) * 1000 + number;
                        for document in write.get_array_mut("documents").unwrap() {
                            document.as_document_mut().unwrap().insert("tag", tag);
                        }
                        let reply = persist(&setup, &write, &mut random).await;
                        reports.push((tag, ids, reply));
                    }
                    reports
                })
            })
            .collect();
        let mut inserted: HashMap<i32, i64> = HashMap::new();
        let stored = |id| Some(setup.model.document(id)?.get_i64("tag").unwrap());
        for client in clients {
            for (tag, ids, reply) in client.await.unwrap() {
                let reported = reported(&reply, ids.len());
                let mut mine = 0;
                for (id, reported) in ids.iter().zip(&reported) {
                    match reported {
                        Reported::Inserted => {
                            mine += 1;
                            assert_eq!(stored(*id), Some(tag), "seed {seed}: {id} of {reply}");
                            assert_eq!(inserted.insert(*id, tag), None, "seed {seed}: {id} twice");
                        }
                        Reported::Duplicate => {
                            // An id that the same write has twice is the one exception.
                            let is_twice = ids.iter().filter(|i| *i == id).count() > 1;
                            assert!(
                                is_twice || stored(*id) != Some(tag),
                                "seed {seed}: {id} is its own duplicate: {reply}"
                            );
                        }
                    }
                }
                assert_eq!(reply.get_i32("n").unwrap(), mine);
            }
        }
        let stored = setup.model.count();
        assert_eq!(
            stored,
            inserted.len() + 1,
            "seed {seed}: and the first of the setup"
        );
        let stats = setup.batch.stats();
        assert!(stats.upstream_commands() < stats.client_writes());
    }
}

fn reported(reply: &Document, count: usize) -> Vec<Reported> {
    let mut reported = vec![Reported::Inserted; count];
    let none = Vec::new();
    for error in reply.get_array("writeErrors").unwrap_or(&none) {
        let error = error.as_document().unwrap();
        assert_eq!(error.get_i32("code").unwrap(), 11000, "{reply}");
        assert_eq!(error.get("keyPattern"), Some(&Bson::from(doc! {"_id": 1})));
        reported[error.get_i32("index").unwrap() as usize] = Reported::Duplicate;
    }
    reported
}
