//! What the collection is, and what becomes of a batch when it has become another.

use std::sync::Arc;
use std::time::Duration;

use bson::{Document, doc};

use super::model::{Bulk, Model, Trouble};
use super::singles::{self, updated};
use super::{Alone, Setup, answers, insert, inserted, retryable, up_to_date};
use crate::command::Footprint;
use crate::config::{self, RetryableUpdates};
use crate::pipeline::Horizon;

fn batches(model: &Model) -> usize {
    let is_batch = |c: &&Document| {
        let count = |list: &str| c.get_array(list).map_or(0, Vec::len);
        count("documents") + count("updates") + count("deletes") + count("ops") > 1
    };
    model.asked().iter().filter(is_batch).count()
}

#[tokio::test]
async fn what_is_for_another_collection_is_refused_and_each_write_goes_alone() {
    let setup = Setup::new(Model::gated()).await;
    let numbered = retryable(1, 1, &[2, 3]);
    let handles = setup.queued([insert(1), numbered.clone()]).await;
    setup.model.make_anew(None);
    setup.open_gate(1000);
    let mut replies = Vec::new();
    for handle in handles {
        replies.push(handle.await.unwrap());
    }
    assert_eq!(answers(replies), [inserted(1), inserted(2)]);
    let asked = setup.model.asked();
    assert_eq!(batches(&setup.model), 2, "{asked:?}");
    assert!(asked.contains(&numbered), "under its own number: {asked:?}");
    assert_eq!(setup.alone(Alone::Refused), 2);
    // Nobody relies on what was known before.
    assert_eq!(setup.model.count(), 1 + 1 + 3);
    setup.send(insert(8)).await.unwrap().unwrap();
    setup.until(|| setup.model.looked_up() == 2).await;
    setup.until(|| setup.knows_collection()).await;
    setup.together([insert(10), insert(11)]).await;
    assert_eq!(batches(&setup.model), 3);
}

#[tokio::test]
async fn updates_and_deletes_are_refused_likewise_in_both_forms() {
    for bulk in [Bulk::None, Bulk::Numbered] {
        let setup = singles::setup(bulk, RetryableUpdates::Always).await;
        let update = |id: i32| doc! {"update": "c", "updates": [{"q": {"_id": id}, "u": {"$inc": {"n": 1}}}], "$db": "d"};
        let before = setup.model.arrived();
        let leader = setup.send(update(9));
        setup.until(|| setup.model.arrived() > before).await;
        let handles = [1, 2].map(|id| setup.send(update(id)));
        let shared = &setup.batch.shared;
        setup.until(|| shared.groups.queued() == 2).await;
        setup.model.make_anew(None);
        setup.open_gate(1000);
        for handle in handles {
            assert_eq!(handle.await.unwrap().unwrap(), updated(1, 1));
        }
        leader.await.unwrap().unwrap();
        for id in [1, 2] {
            let document = setup.model.document(id).unwrap();
            assert_eq!(document, doc! {"_id": id, "n": 1}, "{bulk:?}");
        }
        assert_eq!(setup.alone(Alone::Refused), 2, "{bulk:?}");
    }
}

#[tokio::test]
async fn a_batch_that_may_have_been_executed_before_is_asked_for_under_its_own_numbers() {
    let setup = Setup::new(Model::gated()).await;
    let handles = setup
        .queued([retryable(1, 1, &[1]), retryable(2, 1, &[2])])
        .await;
    // It is executed, its reply is lost, and the collection isn't the same when it is sent again.
    setup.model.trouble([Trouble::None, Trouble::LostAfter]);
    let model = Arc::clone(&setup.model);
    setup.open_gate(2);
    setup.until(|| model.count() == 4).await;
    setup.model.make_anew(None);
    setup.open_gate(1000);
    for handle in handles {
        assert_eq!(handle.await.unwrap().unwrap().get_i32("n").unwrap(), 1);
    }
    assert_eq!(setup.model.count(), 4);
}

#[tokio::test]
async fn kinds_that_are_not_ordinary_and_options_that_are_not_known_are_never_batched() {
    let options = |options: Document| doc! {"type": "collection", "options": options};
    let cases = [
        (
            doc! {"type": "timeseries", "options": {"timeseries": {"timeField": "t"}}},
            false,
        ),
        (
            doc! {"type": "view", "options": {"viewOn": "x", "pipeline": []}},
            false,
        ),
        (options(doc! {"capped": true, "size": 10_000}), false),
        (options(doc! {"encryptedFields": {"fields": []}}), false),
        (options(doc! {"timeseries": {"timeField": "t"}}), false),
        (options(doc! {"of a later release": 1}), false),
        (doc! {"type": "collection"}, false),
        (
            options(doc! {"clusteredIndex": {"unique": true}, "expireAfterSeconds": 5_i64}),
            true,
        ),
        (
            options(
                doc! {"validator": {"a": 1}, "validationLevel": "strict", "collation": {"locale": "fr"}},
            ),
            true,
        ),
    ];
    for (description, is_ordinary) in cases {
        let model = Model::default();
        model.make_anew(Some(description.clone()));
        let setup = Setup::new(model).await;
        setup.send(insert(1)).await.unwrap().unwrap();
        let alone = (setup.alone(Alone::First), setup.alone(Alone::Collection));
        let expected = if is_ordinary { (1, 0) } else { (0, 1) };
        assert_eq!(alone, expected, "{description}");
    }
}

/// Whether an insert (or else an update) may still be batched so long after it was learnt what the collection is.
async fn still_batched(
    model: Model,
    horizon: Arc<Horizon>,
    later: Duration,
    inserts: bool,
) -> bool {
    let setup = Setup::under(model, config::Batch::default(), Arc::clone(&horizon)).await;
    horizon.clock().sleep(later);
    let update =
        doc! {"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$set": {"a": 1}}}], "$db": "d"};
    let command = if inserts { insert(1) } else { update };
    setup.send(command).await.unwrap().unwrap();
    setup.alone(Alone::First) == 1
}

#[tokio::test]
async fn how_long_an_answer_counts_depends_on_what_the_server_refuses_and_on_the_watch() {
    let (second, long) = (Duration::from_millis(1100), Duration::from_secs(31));
    let of = |release: [u16; 3]| {
        let bulk = match release {
            [0, 0, 0] => Bulk::Unnumbered,
            _ => Bulk::Numbered,
        };
        let mut model = Model::with(bulk);
        model.release = release;
        model
    };
    // Release (0.0.0: a server that refuses nothing), watched, for how long; whether inserts and updates are still batched.
    let cases = [
        ([6, 0, 12], false, second, [true, true]),
        ([7, 0, 3], false, second, [true, true]),
        ([8, 0, 0], false, second, [true, true]),
        ([8, 0, 0], false, long, [false, false]),
        // Their time series take inserts for any collection.
        ([6, 0, 5], false, second, [false, true]),
        ([7, 0, 2], false, second, [false, true]),
        ([6, 3, 1], false, second, [false, true]),
        ([6, 0, 5], true, second, [true, true]),
        ([0, 0, 0], false, second, [false, false]),
        ([0, 0, 0], true, second, [true, true]),
        ([0, 0, 0], true, long, [false, false]),
    ];
    for (release, watched, later, expected) in cases {
        for (inserts, expected) in [true, false].into_iter().zip(expected) {
            let horizon = if watched {
                up_to_date()
            } else {
                Horizon::off()
            };
            let still = still_batched(of(release), horizon, later, inserts).await;
            assert_eq!(still, expected, "{release:?} {watched} {later:?} {inserts}");
        }
    }
}

#[tokio::test]
async fn what_redefines_a_name_ends_what_is_known_of_it() {
    let setup = Setup::new(Model::default()).await;
    let elsewhere = Footprint::Databases(vec!["other".to_owned()]);
    setup.fences.landed(&elsewhere, 0);
    setup.send(insert(1)).await.unwrap().unwrap();
    assert_eq!(setup.alone(Alone::First), 1);
    setup
        .model
        .make_anew(Some(doc! {"type": "timeseries", "options": {}}));
    setup
        .fences
        .landed(&Footprint::Databases(vec!["d".to_owned()]), 0);
    setup.send(insert(2)).await.unwrap().unwrap();
    assert_eq!(setup.alone(Alone::Unknown), 2, "and the first of the setup");
    setup.until(|| setup.model.looked_up() == 2).await;
    setup.until(|| setup.knows_collection()).await;
    setup.send(insert(3)).await.unwrap().unwrap();
    assert_eq!(setup.alone(Alone::Collection), 1);
}

#[tokio::test]
async fn a_client_whose_documents_are_in_part_in_the_collection_that_was_dropped_is_told_of_all() {
    let setup = Setup::new(Model::gated()).await;
    let handles = setup.queued([retryable(1, 1, &[1, 2, 3]), insert(4)]).await;
    setup.model.trouble([Trouble::None, Trouble::MadeAnew(2)]);
    setup.open_gate(1000);
    let mut replies = Vec::new();
    for handle in handles {
        replies.push(handle.await.unwrap().unwrap().get_i32("n").unwrap());
    }
    assert_eq!(replies, [3, 1]);
    assert_eq!(setup.model.count(), 2 + 4);
}
