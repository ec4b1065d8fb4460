//! Whatever comes in batches: cursors, change streams, tailing, files, large results.

use std::time::{Duration, Instant};

use futures_util::{AsyncReadExt, AsyncWriteExt, StreamExt, TryStreamExt};
use mongodb::bson::{Bson, Document, doc};
use mongodb::change_stream::event::{ChangeStreamEvent, OperationType};
use mongodb::options::{CursorType, GridFsBucketOptions};

use super::{DEADLINE, MIB, Outcome, Suite, all, binary, fails_with, noise, pluck};

pub async fn many_batches(s: &Suite) -> Outcome {
    let many = s.items("many");
    let pad = "x".repeat(50);
    many.insert_many((0..1000).map(|i| doc! {"_id": i, "pad": pad.as_str()}))
        .await?;
    let up: Vec<i32> = (0..1000).collect();
    let by = |way: i32| many.find(doc! {}).sort(doc! {"_id": way}).batch_size(7);
    assert_eq!(pluck(&all(by(1).await?).await?, "_id"), up);
    let (mut rising, mut falling) = (by(1).await?, by(-1).await?);
    for i in &up {
        let pair = (rising.try_next().await?, falling.try_next().await?);
        let (Some(a), Some(b)) = pair else {
            anyhow::bail!("a cursor ended at {i}");
        };
        assert_eq!((a.get_i32("_id")?, b.get_i32("_id")?), (*i, 999 - i));
    }
    let mut early = by(1).await?;
    for i in 0..20 {
        let next = early.try_next().await?;
        assert_eq!(next.and_then(|d| d.get_i32("_id").ok()), Some(i));
    }
    drop(early);
    let reply =
        s.db.run_command(doc! {"find": "many", "batchSize": 3})
            .await?;
    let cursor = reply.get_document("cursor")?;
    let id = cursor.get_i64("id")?;
    assert_eq!(cursor.get_array("firstBatch")?.len(), 3);
    let more = || doc! {"getMore": id, "collection": "many", "batchSize": 5};
    let reply = s.db.run_command(more()).await?;
    assert_eq!(
        reply.get_document("cursor")?.get_array("nextBatch")?.len(),
        5
    );
    let killed =
        s.db.run_command(doc! {"killCursors": "many", "cursors": [id, 12345_i64]})
            .await?;
    assert_eq!(killed.get_array("cursorsKilled")?, &[Bson::Int64(id)]);
    assert_eq!(killed.get_array("cursorsNotFound")?, &[Bson::Int64(12345)]);
    fails_with(s.db.run_command(more()).await, 43);
    Ok(())
}

pub async fn change_stream(s: &Suite) -> Outcome {
    s.db.create_collection("watched").await?;
    let items = s.items("watched");
    items.insert_one(doc! {"_id": 0}).await?;
    let mut stream = items
        .watch()
        .max_await_time(Duration::from_millis(200))
        .await?;
    items.insert_one(doc! {"_id": 1, "n": 1}).await?;
    items
        .update_one(doc! {"_id": 1}, doc! {"$set": {"n": 2}})
        .await?;
    items.delete_one(doc! {"_id": 0}).await?;
    let mut events: Vec<ChangeStreamEvent<Document>> = Vec::new();
    while events.len() < 3 {
        events.extend(stream.next().await.transpose()?);
    }
    let kinds: Vec<_> = events.iter().map(|e| e.operation_type.clone()).collect();
    let expected = [
        OperationType::Insert,
        OperationType::Update,
        OperationType::Delete,
    ];
    assert_eq!(kinds, expected);
    assert_eq!(events[0].full_document, Some(doc! {"_id": 1, "n": 1}));
    let changed = events[1].update_description.as_ref();
    assert_eq!(
        changed.map(|d| d.updated_fields.clone()),
        Some(doc! {"n": 2})
    );
    assert_eq!(events[2].document_key, Some(doc! {"_id": 0}));
    assert!(stream.resume_token().is_some());
    drop(stream);
    let mut resumed = items.watch().resume_after(events[1].id.clone()).await?;
    let next = resumed.next().await.transpose()?;
    assert_eq!(
        next.and_then(|e| e.document_key),
        Some(doc! {"_id": 0}),
        "the resumed stream"
    );
    Ok(())
}

pub async fn tailable(s: &Suite) -> Outcome {
    let capped = s.db.create_collection("log").capped(true).size(MIB as u64);
    capped.await?;
    let log = s.items("log");
    log.insert_many((0..3).map(|i| doc! {"_id": i})).await?;
    let mut cursor = log
        .find(doc! {})
        .cursor_type(CursorType::TailableAwait)
        .max_await_time(Duration::from_millis(100))
        .await?;
    log.insert_many((3..200).map(|i| doc! {"_id": i})).await?;
    let end = Instant::now() + DEADLINE;
    for i in 0..200 {
        let next = tokio::time::timeout_at(end.into(), cursor.try_next()).await??;
        assert_eq!(next, Some(doc! {"_id": i}));
    }
    Ok(())
}

pub async fn gridfs(s: &Suite) -> Outcome {
    let data = noise(1, MIB);
    let mut options = GridFsBucketOptions::default();
    options.bucket_name = Some("files".into());
    options.chunk_size_bytes = Some(16 * 1024);
    let bucket = s.db.gridfs_bucket(options);
    let mut upload = bucket.open_upload_stream("a.bin").await?;
    let id = upload.id().clone();
    for part in data.chunks(70_000) {
        upload.write_all(part).await?;
    }
    upload.close().await?;
    let mut back = Vec::new();
    let mut download = bucket.open_download_stream(id.clone()).await?;
    download.read_to_end(&mut back).await?;
    assert!(back == data, "the file came back changed");
    let chunks = s.items("files.chunks");
    assert_eq!(
        chunks
            .count_documents(doc! {"files_id": id.clone()})
            .await?,
        64
    );
    bucket.rename(id.clone(), "b.bin").await?;
    let file = bucket.find_one(doc! {"filename": "b.bin"}).await?;
    assert_eq!(file.map(|f| f.length), Some(MIB as u64));
    bucket.delete(id.clone()).await?;
    assert_eq!(chunks.count_documents(doc! {}).await?, 0);
    let gone = bucket.open_download_stream(id).await;
    assert!(gone.is_err(), "a deleted file opened");
    Ok(())
}

pub async fn large(s: &Suite) -> Outcome {
    let items = s.items("large");
    let big = noise(2, 10 * MIB);
    items
        .insert_one(doc! {"_id": -1, "data": binary(big.clone())})
        .await?;
    let found = items.find_one(doc! {"_id": -1}).await?.unwrap_or_default();
    assert!(
        found.get_binary_generic("data")? == &big,
        "the document came back changed"
    );
    let pads: Vec<_> = (0..20_i32).map(|i| noise(100 + i as u64, MIB)).collect();
    items
        .insert_many(
            (0..)
                .zip(&pads)
                .map(|(i, pad): (i32, _)| doc! {"_id": i, "pad": binary(pad.clone())}),
        )
        .await?;
    let filter = doc! {"pad": {"$exists": true}};
    let mut cursor = items.find(filter).sort(doc! {"_id": 1}).await?;
    let mut count = 0;
    while let Some(found) = cursor.try_next().await? {
        assert_eq!(found.get_i32("_id")?, count as i32);
        let same = found.get_binary_generic("pad")? == &pads[count];
        assert!(same, "document {count} came back changed");
        count += 1;
    }
    assert_eq!(count, pads.len());
    let doubled = vec![doc! {"$set": {"again": "$data"}}];
    let result = items.update_one(doc! {"_id": -1}, doubled).await;
    let code = super::code(&result.expect_err("it is too big"));
    assert!(matches!(code, Some(17419 | 10334)), "{code:?}");
    Ok(())
}
