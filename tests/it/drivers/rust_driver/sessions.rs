//! Sessions: transactions, causal reads; and writes that have none, the unacknowledged.

use mongodb::bson::{Document, doc};
use mongodb::error::{Error, TRANSIENT_TRANSACTION_ERROR};
use mongodb::options::{CollectionOptions, ReadConcern, WriteConcern};
use mongodb::{ClientSession, Collection};

use super::{Outcome, Suite, fails_with, until_count};

/// What account "a" holds, as seen inside of `session` or outside of any.
async fn balance(
    accounts: &Collection<Document>,
    session: Option<&mut ClientSession>,
) -> anyhow::Result<i32> {
    let read = accounts.find_one(doc! {"_id": "a"});
    let found = match session {
        Some(session) => read.session(session).await?,
        None => read.await?,
    };
    Ok(found.unwrap_or_default().get_i32("n")?)
}

async fn transfer(
    accounts: &Collection<Document>,
    session: &mut ClientSession,
    amount: i32,
) -> mongodb::error::Result<()> {
    for (id, n) in [("a", -amount), ("b", amount)] {
        accounts
            .update_one(doc! {"_id": id}, doc! {"$inc": {"n": n}})
            .session(&mut *session)
            .await?;
    }
    Ok(())
}

pub async fn transaction(s: &Suite) -> Outcome {
    s.db.create_collection("accounts").await?;
    let accounts = s.items("accounts");
    accounts
        .insert_many([doc! {"_id": "a", "n": 100}, doc! {"_id": "b", "n": 0}])
        .await?;
    let mut session = s.client.start_session().await?;

    session
        .start_transaction()
        .read_concern(ReadConcern::snapshot())
        .write_concern(WriteConcern::majority())
        .await?;
    transfer(&accounts, &mut session, 30).await?;
    accounts
        .insert_one(doc! {"_id": "log"})
        .session(&mut session)
        .await?;
    assert_eq!(balance(&accounts, Some(&mut session)).await?, 70);
    let inside = accounts.count_documents(doc! {}).session(&mut session);
    assert_eq!(inside.await?, 3);
    // Outside of it nothing is to be seen before the commit.
    assert_eq!(balance(&accounts, None).await?, 100);
    assert_eq!(accounts.find_one(doc! {"_id": "log"}).await?, None);
    session.commit_transaction().await?;
    assert_eq!(balance(&accounts, None).await?, 70);
    // A second commit of the same transaction is answered the same way.
    session.commit_transaction().await?;

    session.start_transaction().await?;
    transfer(&accounts, &mut session, 1).await?;
    assert_eq!(balance(&accounts, Some(&mut session)).await?, 69);
    session.abort_transaction().await?;
    assert_eq!(balance(&accounts, None).await?, 70);

    let inner = accounts.clone();
    session
        .start_transaction()
        .and_run2(async move |session| transfer(&inner, session, 20).await)
        .await?;
    assert_eq!(balance(&accounts, None).await?, 50);
    let inner = accounts.clone();
    let failed = session
        .start_transaction()
        .and_run2(async move |session| -> mongodb::error::Result<()> {
            inner.delete_many(doc! {}).session(session).await?;
            Err(Error::custom("changed my mind"))
        })
        .await;
    let error = failed.expect_err("the callback's own error");
    assert!(error.get_custom::<&str>().is_some(), "{error:?}");
    assert_eq!(accounts.count_documents(doc! {}).await?, 3);
    Ok(())
}

pub async fn conflict(s: &Suite) -> Outcome {
    let accounts = s.items("accounts");
    let before = balance(&accounts, None).await?;
    let mut first = s.client.start_session().await?;
    let mut second = s.client.start_session().await?;
    first.start_transaction().await?;
    transfer(&accounts, &mut first, 1).await?;
    second.start_transaction().await?;
    let error = fails_with(transfer(&accounts, &mut second, 1).await, 112);
    assert!(
        error.contains_label(TRANSIENT_TRANSACTION_ERROR),
        "{error:?}"
    );
    second.abort_transaction().await?;
    first.commit_transaction().await?;
    assert_eq!(balance(&accounts, None).await?, before - 1);
    Ok(())
}

pub async fn causal(s: &Suite) -> Outcome {
    let options = CollectionOptions::builder()
        .read_concern(ReadConcern::majority())
        .write_concern(WriteConcern::majority())
        .build();
    let items =
        s.db.collection_with_options::<Document>("sessions", options);
    let mut session = s.client.start_session().causal_consistency(true).await?;
    for n in 0..20 {
        items
            .update_one(doc! {"_id": 1}, doc! {"$set": {"n": n}})
            .upsert(true)
            .session(&mut session)
            .await?;
        let found = items.find_one(doc! {}).session(&mut session).await?;
        assert_eq!(found, Some(doc! {"_id": 1, "n": n}));
    }
    let (Some(time), Some(cluster)) = (session.operation_time(), session.cluster_time()) else {
        anyhow::bail!("the session has no time");
    };
    // Another session that is told of this one's time reads this one's writes.
    let mut follower = s.client.start_session().await?;
    follower.advance_operation_time(time);
    follower.advance_cluster_time(cluster);
    let found = items.find_one(doc! {}).session(&mut follower).await?;
    assert_eq!(found, Some(doc! {"_id": 1, "n": 19}));

    let plain = s.items("sessions");
    let mut snapshot = s.client.start_session().snapshot(true).await?;
    let seen = plain.find_one(doc! {"_id": 1}).session(&mut snapshot);
    assert!(seen.await?.is_some());
    items.delete_one(doc! {"_id": 1}).await?;
    let seen = plain.find_one(doc! {"_id": 1}).session(&mut snapshot);
    assert!(seen.await?.is_some(), "a snapshot moved");
    assert_eq!(plain.find_one(doc! {"_id": 1}).await?, None);
    let lsid = session.id().clone();
    drop(session);
    let ended = s.client.database("admin");
    ended.run_command(doc! {"endSessions": [lsid]}).await?;
    Ok(())
}

/// The driver refuses to leave writes unacknowledged, but a command may ask for it: then the
/// server's reply says nothing about the write, but it comes.
pub async fn unacknowledged(s: &Suite) -> Outcome {
    let fire = s.items("fire");
    let w0 = || doc! {"w": 0};
    let docs: Vec<_> = (1..400).map(|i| doc! {"_id": i, "n": 0}).collect();
    let insert = doc! {"insert": "fire", "documents": docs, "writeConcern": w0()};
    let reply = s.db.run_command(insert).await?;
    assert_eq!(reply.get_f64("ok")?, 1.0);
    until_count(&fire, doc! {}, 399).await?;
    for _ in 0..50 {
        let add = doc! {"q": {"_id": 1}, "u": {"$inc": {"n": 1}}};
        let update = doc! {"update": "fire", "updates": [add], "writeConcern": w0()};
        s.db.run_command(update).await?;
    }
    until_count(&fire, doc! {"_id": 1, "n": 50}, 1).await?;
    let all = doc! {"q": {}, "limit": 0};
    let delete = doc! {"delete": "fire", "deletes": [all], "writeConcern": w0()};
    s.db.run_command(delete).await?;
    until_count(&fire, doc! {}, 0).await
}
