//! The memory that the process has is what the cache says it holds (docs/coherence.md, rule 12).

use super::documents::{self, DOCUMENTS, find, size};
use crate::parts::asker::Asker;
use crate::parts::proxy::Proxy;
use crate::parts::shared;

const READERS: i32 = 4;
/// The cache's size, and what must have been read for it to be full.
const CACHE: u64 = 256 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_cache_takes_the_memory_that_it_says() {
    let rs = shared::rs().await;
    let db = shared::database("memory");
    documents::write(&db).await;
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
