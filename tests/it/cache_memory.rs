//! The memory that the process has is what the cache says it holds (DESIGN §4 rule 12).

use bson::{Document, doc};

use crate::parts::asker::Asker;
use crate::parts::proxy::Proxy;
use crate::parts::shared;

/// Documents from 100 B to 100 KB, as many of each magnitude.
const DOCUMENTS: i32 = 1500;
const READERS: i32 = 4;
/// The cache's size, and what must have been read for it to be full.
const CACHE: u64 = 256 << 20;

fn size(id: i32) -> usize {
    (100.0 * 1000_f64.powf(f64::from(id * 7 % DOCUMENTS) / f64::from(DOCUMENTS))) as usize
}

/// One document, in as many wordings as are wanted: each is an entry of its own.
fn find(db: &str, id: i32, wording: i32) -> Document {
    doc! {"find": "c", "filter": {"_id": id, "w": {"$ne": wording}}, "$db": db}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_cache_takes_the_memory_that_it_says() {
    let rs = shared::rs().await;
    let db = shared::database("memory");
    let mut direct = Asker::connect(&rs.addresses()[0]).await;
    for chunk in (0..DOCUMENTS).collect::<Vec<_>>().chunks(100) {
        let document = |id: &i32| doc! {"_id": id, "filler": "x".repeat(size(*id))};
        let documents: Vec<Document> = chunk.iter().map(document).collect();
        direct
            .ask(&doc! {"insert": "c", "documents": documents, "$db": &db})
            .await;
    }
    let settings = [
        ("cache.external_writes", "\"none\""),
        ("cache.max_size", "\"256MiB\""),
    ];
    let proxy = Proxy::start(&rs.seed_uri(), &settings);
    let mut askers = Vec::new();
    for _ in 0..READERS {
        askers.push(Asker::connect(proxy.address()).await);
    }
    // Links, buffers, tables: all but what is cached. (`comment` doesn't; an unknown option does.)
    for asker in &mut askers {
        for id in 0..DOCUMENTS / 10 {
            let mut uncached = find(&db, id * 10, 0);
            uncached.insert("noCursorTimeout", true);
            asker.ask(&uncached).await;
        }
    }
    assert_eq!(proxy.count("/cache/entries"), 0);
    let baseline = proxy.rss();
    let mut read = 0;
    for round in [1, 2] {
        let filling = askers.into_iter().zip(0..).map(|(mut asker, reader)| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut bytes = 0;
                let mut wording = round * 1000 + reader;
                while bytes < CACHE / READERS as u64 * 5 / 4 {
                    for id in 0..DOCUMENTS {
                        // Twice, for what is never asked again isn't worth a place.
                        let command = find(&db, id, wording);
                        asker.ask(&command).await;
                        bytes += asker.ask(&command).await.batch().len() as u64 * size(id) as u64;
                    }
                    wording += READERS;
                }
                (asker, bytes)
            })
        });
        askers = Vec::new();
        for task in filling.collect::<Vec<_>>() {
            let (asker, bytes) = task.await.unwrap();
            askers.push(asker);
            read += bytes;
        }
        let (bytes, entries, rss) = (
            proxy.count("/cache/bytes"),
            proxy.count("/cache/entries"),
            proxy.rss(),
        );
        let says = bytes + baseline;
        let ratio = rss as f64 / says as f64;
        println!(
            "round {round}: {entries} entries, {bytes} bytes and {baseline} before, {rss} resident: {ratio:.3}"
        );
        assert!(bytes > CACHE * 9 / 10, "it is full");
        assert!(
            read > bytes && proxy.count("/cache/stores") > entries,
            "entries had to go"
        );
        assert!((0.85..1.15).contains(&ratio), "{ratio:.3}");
    }
}
