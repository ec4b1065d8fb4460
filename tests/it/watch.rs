//! Writes that go around the proxy reach whoever listens, whatever happens to the deployment.

mod faults;
mod left_out;
mod listener;
mod own;
mod served;

use std::time::Duration;

use bson::{Bson, Document, doc};
use futures_util::future::join_all;
use mongodb::Client;
use petiole::command::{Footprint, Namespace, Paths, Statement};
use petiole::pipeline::WatchState;

use crate::parts::shared;
use crate::parts::wait::until;
pub use faults::{be_patient, deployment};
use listener::{Heard, Listener};

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_write_is_heard_with_its_paths() {
    let rs = shared::rs().await;
    let listener = Listener::start(&rs.uri());
    listener.wait_for(WatchState::Watching);
    let name = shared::database("watched");
    let client = Client::with_uri_str(rs.uri()).await.unwrap();
    let db = client.database(&name);
    let c = db.collection::<Document>("c");
    c.insert_one(doc! {"_id": 1, "a": {"b": 1}, "arr": [1, 2, 3], "old": 1})
        .await
        .unwrap();
    let set = doc! {"$set": {"a.b": 2, "arr.1": 5, "p.q": 3}, "$unset": {"old": 1}};
    c.update_one(doc! {"_id": 1}, set).await.unwrap();
    let cut = doc! {"$set": {"arr": {"$slice": ["$arr", 2]}}};
    c.update_one(doc! {"_id": 1}, vec![cut]).await.unwrap();
    c.replace_one(doc! {"_id": 1}, doc! {"y": 1}).await.unwrap();
    let upsert = c.update_one(doc! {"_id": 2}, doc! {"$set": {"z": 1}});
    upsert.upsert(true).await.unwrap();
    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    for id in [3, 4] {
        let insert = c.insert_one(doc! {"_id": id});
        insert.session(&mut session).await.unwrap();
    }
    session.commit_transaction().await.unwrap();
    c.delete_many(doc! {"_id": {"$gte": 3}}).await.unwrap();
    let index = mongodb::IndexModel::builder().keys(doc! {"y": 1}).build();
    c.create_index(index).await.unwrap();
    c.drop_index("y_1").await.unwrap();
    let admin = client.database("admin");
    let (from, to) = (format!("{name}.c"), format!("{name}_to.c"));
    admin
        .run_command(doc! {"renameCollection": from, "to": &to})
        .await
        .unwrap();
    client.database(&format!("{name}_to")).drop().await.unwrap();
    db.run_command(doc! {"create": "view", "viewOn": "c", "pipeline": []})
        .await
        .unwrap();
    db.collection::<Document>("view").drop().await.unwrap();

    let bytes = |d: Document| d.to_vec().unwrap();
    let key = |id: i32| bytes(doc! {"_id": id});
    let paths = |list: &[&str]| {
        let mut paths = Paths::none();
        list.iter().for_each(|path| paths.insert(path));
        paths
    };
    let statement = |s| Heard::Statement(Namespace::new(&name, "c"), s);
    let inserted = |d: Document| statement(Statement::landed_insert(&bytes(d)));
    let updated = |list: &[&str], sets| {
        let sets = bytes(sets);
        statement(Statement::landed_update(&key(1), paths(list), &sets))
    };
    let deleted = |id| statement(Statement::landed_delete(&key(id)));
    let database = |name: &String| Heard::Footprint(Footprint::Databases(vec![name.clone()]));
    let collection = Heard::Footprint(Footprint::Namespaces(vec![Namespace::new(&name, "c")]));
    let (here, there) = (name.clone(), format!("{name}_to"));
    let expected = vec![
        database(&here),
        inserted(doc! {"_id": 1, "a": {"b": 1}, "arr": [1, 2, 3], "old": 1}),
        updated(&["a.b", "arr", "p", "old"], doc! {"p": {"q": 3}, "a.b": 2}),
        updated(&["arr"], doc! {}),
        statement(Statement::landed_replace(
            &key(1),
            &bytes(doc! {"_id": 1, "y": 1}),
        )),
        inserted(doc! {"_id": 2, "z": 1}),
        inserted(doc! {"_id": 3}),
        inserted(doc! {"_id": 4}),
        deleted(3),
        deleted(4),
        collection.clone(),
        collection,
        // A rename to another database is a copy, a rename there and a drop here.
        database(&there),
        statement_in(&there, doc! {"_id": 1, "y": 1}),
        statement_in(&there, doc! {"_id": 2, "z": 1}),
        database(&there),
        database(&here),
        // The database there: its collection, itself.
        database(&there),
        database(&there),
        // The view, and its end.
        database(&here),
        database(&here),
    ];
    let heard = || {
        let mut heard = listener.heard_of(&name);
        // The copy's name isn't known.
        for item in &mut heard {
            if let Heard::Statement(namespace, _) = item
                && namespace.collection.starts_with("tmp")
            {
                namespace.collection = "tmp".to_owned();
            }
        }
        heard
    };
    until("all is heard", || heard().len() >= expected.len());
    for (index, (heard, expected)) in heard().iter().zip(&expected).enumerate() {
        assert_eq!(heard, expected, "number {index}");
    }
    assert_eq!(heard().len(), expected.len());
}

fn statement_in(db: &str, document: Document) -> Heard {
    let statement = Statement::landed_insert(&document.to_vec().unwrap());
    Heard::Statement(Namespace::new(db, "tmp"), statement)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_heard_of_a_time_that_has_been_passed() {
    const WRITERS: i32 = 4;
    const ROUNDS: i32 = 60;
    let rs = shared::rs().await;
    let listener = Listener::start(&rs.uri());
    listener.wait_for(WatchState::Watching);
    let name = shared::database("passed");
    let client = Client::with_uri_str(rs.uri()).await.unwrap();
    let c = client.database(&name).collection::<Document>("c");
    c.insert_one(doc! {"_id": -1}).await.unwrap();
    let write = async |writer: i32| {
        let mut session = client.start_session().await.unwrap();
        for round in 0..ROUNDS {
            let id = (writer * ROUNDS + round) * 4;
            if round % 2 == 0 {
                session.start_transaction().await.unwrap();
                for i in 0..4 {
                    let insert = c.insert_one(doc! {"_id": id + i});
                    insert.session(&mut session).await.unwrap();
                }
                session.commit_transaction().await.unwrap();
            } else {
                let many = (0..4).map(|i| doc! {"_id": id + i});
                c.insert_many(many).await.unwrap();
            }
        }
    };
    join_all((0..WRITERS).map(write)).await;
    let expected = (WRITERS * ROUNDS * 4 + 1) as usize;
    until("all is heard", || listener.inserts(&name).len() >= expected);
    assert_eq!(listener.inserts(&name).len(), expected, "each once");
    assert_eq!(listener.late(), 0, "heard at or before the position");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_passed_once_it_has_been_heard_although_nothing_follows_it() {
    let rs = shared::rs().await;
    let listener = Listener::start(&rs.uri());
    listener.wait_for(WatchState::Watching);
    let name = shared::database("alone");
    let client = Client::with_uri_str(rs.uri()).await.unwrap();
    let db = client.database(&name);
    for id in 0..5 {
        let insert = doc! {"insert": "c", "documents": [{"_id": id}]};
        let reply = db.run_command(insert).await.unwrap();
        let time = reply.get_timestamp("operationTime").unwrap();
        let time = u64::from(time.time) << 32 | u64::from(time.increment);
        until("the write is passed", || listener.horizon.passed(time));
        let ids = listener.inserts(&name);
        assert!(ids.contains(&Bson::Int32(id)), "{ids:?}");
    }
    listener.wait_for(WatchState::Watching);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_heard_soon() {
    let rs = shared::rs().await;
    let listener = Listener::start(&rs.uri());
    listener.wait_for(WatchState::Watching);
    let name = shared::database("soon");
    let client = Client::with_uri_str(rs.uri()).await.unwrap();
    let c = client.database(&name).collection::<Document>("c");
    let mut delays = Vec::new();
    for id in 0..200 {
        c.insert_one(doc! {"_id": id}).await.unwrap();
        let acknowledged = std::time::Instant::now();
        until("it is heard", || {
            listener.last_insert(&name) == Some(Bson::Int32(id))
        });
        delays.push(acknowledged.elapsed());
    }
    delays.sort();
    let (median, most) = (delays[100], delays[199]);
    println!("from acknowledged to heard: median {median:?}, most {most:?}");
    assert!(median < Duration::from_millis(500), "{median:?}");
}
