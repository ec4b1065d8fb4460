//! What administrators do, and what goes wrong.

use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::IndexModel;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::{Hint, IndexOptions};

use super::{MIB, Outcome, Suite, all, fails_with, numbered};

pub async fn server_commands(s: &Suite) -> Outcome {
    let admin = s.client.database("admin");
    let hello = admin.run_command(doc! {"hello": 1}).await?;
    assert!(hello.get_bool("isWritablePrimary")?);
    assert!(hello.get_i32("maxBsonObjectSize")? >= 16 * MIB as i32);
    assert!(hello.get_i32("minWireVersion")? <= hello.get_i32("maxWireVersion")?);
    let ping = admin.run_command(doc! {"ping": 1}).await?;
    assert_eq!(ping.get_f64("ok")?, 1.0);
    let build = admin.run_command(doc! {"buildInfo": 1}).await?;
    assert!(build.get_array("versionArray")?.len() >= 3);
    let status = admin.run_command(doc! {"serverStatus": 1}).await?;
    let connections = status.get_document("connections")?;
    assert!(connections.get_i32("current")? >= 1);
    assert!(status.get_document("opcounters").is_ok());
    let stats = s.db.run_command(doc! {"dbStats": 1}).await?;
    assert_eq!(stats.get_str("db")?, s.db.name());
    Ok(())
}

pub async fn indexes(s: &Suite) -> Outcome {
    let items = s.items("indexed");
    items
        .insert_many((0..30).map(|i| doc! {"_id": i, "a": i, "b": i % 3}))
        .await?;
    let index = |keys: Document, options: IndexOptions| {
        IndexModel::builder().keys(keys).options(options).build()
    };
    let named = |name: &str| IndexOptions::builder().name(name.to_string()).build();
    let unique = IndexOptions::builder().unique(true).sparse(true).build();
    let plain = IndexModel::builder().keys(doc! {"a": 1, "b": -1}).build();
    assert_eq!(items.create_index(plain).await?.index_name, "a_1_b_-1");
    let made = items
        .create_indexes([
            index(doc! {"b": 1}, named("by_b")),
            index(doc! {"u": 1}, unique),
        ])
        .await?;
    assert_eq!(made.index_names, ["by_b", "u_1"]);
    let names = items.list_index_names().await?;
    assert_eq!(names, ["_id_", "a_1_b_-1", "by_b", "u_1"]);
    let listed: Vec<IndexModel> = items.list_indexes().await?.try_collect().await?;
    assert_eq!(listed.len(), 4);
    items.insert_one(doc! {"_id": "u", "u": 1}).await?;
    fails_with(items.insert_one(doc! {"u": 1}).await, 11000);
    let hinted = || {
        items
            .find(doc! {"b": 1})
            .hint(Hint::Name("by_b".to_string()))
    };
    assert_eq!(all(hinted().await?).await?.len(), 10);
    items.drop_index("by_b").await?;
    fails_with(hinted().await.map(|_| ()), 2);
    fails_with(items.drop_index("by_b").await, 27);
    items.drop_indexes().await?;
    assert_eq!(items.list_index_names().await?, ["_id_"]);
    Ok(())
}

pub async fn users(s: &Suite) -> Outcome {
    let user = s.db.name();
    let role = |role: &str| doc! {"role": role, "db": s.db.name()};
    let create = || doc! {"createUser": user, "pwd": "secret", "roles": [role("read")]};
    let info = async || -> anyhow::Result<Vec<Bson>> {
        let reply = s.db.run_command(doc! {"usersInfo": user}).await?;
        Ok(reply.get_array("users")?.clone())
    };
    s.db.run_command(create()).await?;
    assert_eq!(info().await?.len(), 1);
    fails_with(s.db.run_command(create()).await, 51003);
    s.db.run_command(doc! {"updateUser": user, "roles": [role("readWrite")]})
        .await?;
    let found = info().await?;
    let roles = found
        .first()
        .and_then(Bson::as_document)
        .map(|u| u.get_array("roles"));
    assert_eq!(
        roles.transpose()?,
        Some(&vec![Bson::from(role("readWrite"))])
    );
    s.db.run_command(doc! {"dropUser": user}).await?;
    assert_eq!(info().await?, []);
    Ok(())
}

pub async fn collections(s: &Suite) -> Outcome {
    let (made, renamed, view) = (s.items("made"), s.items("renamed"), s.items("seen"));
    s.db.create_collection("made")
        .validator(doc! {"n": {"$type": "number"}})
        .await?;
    let again = s.db.create_collection("made").capped(true).size(4096);
    fails_with(again.await, 48);
    fails_with(made.insert_one(doc! {"n": "text"}).await, 121);
    let one = || doc! {"_id": 1};
    made.insert_one(doc! {"_id": 1, "n": 1}).await?;
    let mut listed =
        s.db.list_collections()
            .filter(doc! {"name": "made"})
            .await?;
    let options = listed.try_next().await?.map(|c| c.options.validator);
    assert_eq!(options.flatten(), Some(doc! {"n": {"$type": "number"}}));
    assert_eq!(renamed.find_one(one()).await?, None);
    let [from, to] = [&made, &renamed].map(|c| c.namespace().to_string());
    s.client
        .database("admin")
        .run_command(doc! {"renameCollection": from, "to": to})
        .await?;
    assert_eq!(
        renamed.find_one(one()).await?,
        Some(doc! {"_id": 1, "n": 1})
    );
    assert_eq!(made.find_one(one()).await?, None);
    s.db.create_collection("seen")
        .view_on("renamed".to_string())
        .pipeline([doc! {"$match": {"_id": 1}}])
        .await?;
    for n in [2, 3] {
        renamed.update_one(one(), doc! {"$set": {"n": n}}).await?;
        assert_eq!(
            all(view.find(doc! {}).await?).await?,
            [doc! {"_id": 1, "n": n}]
        );
    }
    view.drop().await?;
    renamed.drop().await?;
    assert_eq!(renamed.find_one(one()).await?, None);
    let names = s.db.list_collection_names().await?;
    for gone in ["made", "renamed", "seen"] {
        assert!(!names.iter().any(|n| n == gone), "{gone} in {names:?}");
    }
    let databases = s.client.list_database_names().await?;
    assert!(databases.iter().any(|d| d == s.db.name()), "{databases:?}");
    let drops = s.other.collection::<Document>("drops");
    drops.insert_one(one()).await?;
    assert_eq!(drops.find_one(doc! {}).await?, Some(one()));
    s.other.drop().await?;
    assert_eq!(drops.find_one(doc! {}).await?, None);
    Ok(())
}

pub async fn errors(s: &Suite) -> Outcome {
    let items = s.items("errors");
    items.insert_one(doc! {"_id": 1, "n": "text"}).await?;
    items.insert_many(numbered(2..12)).await?;
    fails_with(items.insert_one(doc! {"_id": 1}).await, 11000);
    let find = items.find(doc! {"n": {"$nonsense": 1}});
    fails_with(find.await.map(|_| ()), 2);
    let one = || doc! {"_id": 1};
    let update = items.update_one(one(), doc! {"$nonsense": {"n": 1}});
    fails_with(update.await, 9);
    let update = items.update_one(one(), doc! {"$inc": {"n": 1}});
    fails_with(update.await, 14);
    let stages = items.aggregate([doc! {"$nonsense": {}}]);
    fails_with(stages.await.map(|_| ()), 40324);
    fails_with(s.db.run_command(doc! {"noSuchCommandAtAll": 1}).await, 59);
    let unknown = doc! {"find": "errors", "nonsense": 1};
    fails_with(s.db.run_command(unknown).await, 40415);
    let slow = items
        .find(doc! {"$where": "sleep(2000) || true"})
        .max_time(Duration::from_millis(20));
    fails_with(slow.await.map(|_| ()), 50);
    assert_eq!(
        items.find_one(one()).await?,
        Some(doc! {"_id": 1, "n": "text"})
    );
    Ok(())
}
