//! Each cacheable command is served from memory on the second ask, until any collection that it
//! reads is written: its own, those of its pipeline however deep, and those of views under it.

use bson::{Document, doc};

use crate::parts::asker::Asker;
use crate::parts::proxy::Proxy;
use crate::parts::shared;

struct Place {
    through: Asker,
    direct: Asker,
    db: String,
    writes: i32,
}

impl Place {
    async fn new() -> (Proxy, Place) {
        let rs = shared::rs().await;
        let settings = [("cache.external_writes", "\"none\"")];
        let proxy = Proxy::start(&rs.seed_uri(), &settings);
        let place = Place {
            through: Asker::connect(proxy.address()).await,
            direct: Asker::connect(&rs.addresses()[0]).await,
            db: shared::database("dependencies"),
            writes: 0,
        };
        (proxy, place)
    }

    async fn run(&mut self, mut command: Document) {
        command.insert("$db", &self.db);
        self.through.ask(&command).await;
    }

    /// Collections `a` to `e` with three documents each, alike but for their marks.
    async fn collections(&mut self) {
        for name in ["a", "b", "c", "d", "e"] {
            let document = |id: i32| doc! {"_id": id, "next": id + 1, "mark": format!("{name}0")};
            let documents: Vec<Document> = (0..3).map(document).collect();
            self.run(doc! {"insert": name, "documents": documents})
                .await;
        }
    }

    /// Changes a collection so that every read of its marks gives another answer.
    async fn write(&mut self, collection: &str) {
        self.writes += 1;
        let mark = format!("{collection}{}", self.writes);
        let update = doc! {"q": {"_id": 1}, "u": {"$set": {"mark": mark}}};
        self.run(doc! {"update": collection, "updates": [update]})
            .await;
    }

    /// Asks for what isn't in memory, then again for what is.
    async fn is_stored(&mut self, read: &Document) -> Document {
        let fresh = self.through.ask(read).await;
        assert!(!fresh.hit, "{read}");
        let mut again = self.through.ask(read).await;
        assert!(again.hit, "{read}");
        let mut truth = self.direct.ask(read).await.reply;
        for reply in [&mut truth, &mut again.reply] {
            reply.remove("$clusterTime");
            reply.remove("operationTime");
            // (The values of a distinct of a view come in any order.)
            if let Ok(values) = reply.get_array_mut("values") {
                values.sort_by_key(ToString::to_string);
            }
        }
        assert_eq!(again.reply, truth, "{read}");
        truth
    }

    /// A write to any of `collections`, and to no other, ends the answer.
    async fn depends_on(&mut self, mut read: Document, collections: &[&str]) {
        read.insert("$db", &self.db);
        let mut before = self.is_stored(&read).await;
        for collection in collections {
            self.write(collection).await;
            let now = self.is_stored(&read).await;
            assert_ne!(now, before, "{collection} matters to {read}");
            before = now;
        }
    }
}

fn aggregate(on: &str, pipeline: Vec<Document>) -> Document {
    doc! {"aggregate": on, "pipeline": pipeline, "cursor": {}}
}

/// All of another collection, as a field of each document.
fn lookup(from: &str, inner: Vec<Document>) -> Document {
    doc! {"$lookup": {"from": from, "pipeline": inner, "as": format!("of_{from}")}}
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_is_served_from_memory_until_its_collection_is_written() {
    let (proxy, mut place) = Place::new().await;
    place.collections().await;
    let by_mark = doc! {"mark": "a0"};
    let count = || vec![doc! {"$match": {"mark": "a0"}}, doc! {"$count": "n"}];
    for read in [
        doc! {"find": "a", "filter": {"_id": 1}},
        doc! {"find": "a", "filter": {"next": {"$gt": 0}}, "sort": {"_id": 1}, "limit": 2},
        doc! {"find": "a", "filter": {}, "sort": {"mark": 1, "_id": 1}, "skip": 1, "limit": 2},
        doc! {"find": "a", "filter": {"_id": 1}, "projection": {"mark": 1}, "limit": 1, "singleBatch": true},
        doc! {"count": "a", "query": &by_mark},
        doc! {"count": "a", "query": {"mark": {"$gte": "a0"}}, "limit": 2},
        doc! {"distinct": "a", "key": "mark"},
        doc! {"distinct": "a", "key": "_id", "query": &by_mark},
        aggregate("a", count()),
        aggregate(
            "a",
            vec![
                doc! {"$group": {"_id": "$mark"}},
                doc! {"$sort": {"_id": 1}},
            ],
        ),
    ] {
        let mut read = read;
        read.insert("$db", &place.db);
        place.is_stored(&read).await;
        place.write("b").await;
        let hit = place.through.ask(&read).await.hit;
        assert!(hit, "another collection is none of its business: {read}");
        let set = |mark: &str| doc! {"update": "a", "updates": [{"q": {"_id": 1}, "u": {"$set": {"mark": mark}}}]};
        place.run(set("changed")).await;
        place.is_stored(&read).await;
        place.run(set("a0")).await;
        place.is_stored(&read).await;
    }
    assert_eq!(proxy.count("/cache/shadow/mismatches"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_depends_on_every_collection_it_reads_however_deep() {
    let (_proxy, mut place) = Place::new().await;
    place.collections().await;
    place
        .depends_on(aggregate("a", vec![lookup("b", vec![])]), &["a", "b"])
        .await;
    let plain =
        doc! {"$lookup": {"from": "b", "localField": "next", "foreignField": "_id", "as": "x"}};
    place
        .depends_on(aggregate("a", vec![plain]), &["a", "b"])
        .await;
    let union = |coll: &str| doc! {"$unionWith": {"coll": coll, "pipeline": []}};
    place
        .depends_on(
            aggregate("a", vec![union("b"), doc! {"$unionWith": "c"}]),
            &["a", "b", "c"],
        )
        .await;
    let graph = doc! {"$graphLookup": {"from": "b", "startWith": "$_id", "connectFromField": "next", "connectToField": "_id", "as": "x"}};
    // (The order of what it finds isn't defined.)
    let sorted = vec![
        graph.clone(),
        doc! {"$unwind": "$x"},
        doc! {"$sort": {"_id": 1, "x._id": 1}},
    ];
    place
        .depends_on(aggregate("a", sorted.clone()), &["a", "b"])
        .await;
    let facet = doc! {"$facet": {
        "one": [lookup("b", vec![union("c")])],
        "two": [{"$sort": {"_id": 1}}, union("d")],
    }};
    place
        .depends_on(aggregate("a", vec![facet]), &["a", "b", "c", "d"])
        .await;
    let deep = lookup("b", vec![lookup("c", vec![lookup("d", vec![union("e")])])]);
    place
        .depends_on(
            aggregate("a", vec![doc! {"$match": {"_id": 1}}, deep]),
            &["a", "b", "c", "d", "e"],
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_a_view_depends_on_every_collection_under_it() {
    let (_proxy, mut place) = Place::new().await;
    place.collections().await;
    let union = doc! {"$unionWith": {"coll": "c", "pipeline": []}};
    let facet = doc! {"$facet": {"all": [{"$unionWith": "d"}, {"$sort": {"mark": 1, "_id": 1}}]}};
    for view in [
        doc! {"create": "plain", "viewOn": "a", "pipeline": []},
        doc! {"create": "joined", "viewOn": "plain", "pipeline": [lookup("b", vec![union])]},
        doc! {"create": "cut", "viewOn": "joined", "pipeline": [&facet, {"$unwind": "$all"}, {"$replaceWith": "$all"}]},
    ] {
        place.run(view).await;
    }
    let under: [(&str, &[&str]); 3] = [
        ("plain", &["a"]),
        ("joined", &["a", "b", "c"]),
        ("cut", &["a", "b", "c", "d"]),
    ];
    for (view, collections) in under {
        place.depends_on(doc! {"find": view}, collections).await;
        place
            .depends_on(
                doc! {"find": view, "sort": {"mark": 1, "_id": 1}, "limit": 50},
                collections,
            )
            .await;
        place.depends_on(aggregate(view, vec![]), collections).await;
        let own = &collections[..1];
        place
            .depends_on(doc! {"distinct": view, "key": "mark"}, own)
            .await;
    }
    // A pipeline over a collection that looks into a view.
    place
        .depends_on(
            aggregate("e", vec![lookup("joined", vec![])]),
            &["a", "b", "c", "e"],
        )
        .await;
    // The view itself is something else from now on.
    let read = doc! {"find": "plain", "$db": &place.db};
    let before = place.is_stored(&read).await;
    place
        .run(doc! {"collMod": "plain", "viewOn": "a", "pipeline": [{"$match": {"_id": 1}}]})
        .await;
    assert_ne!(place.is_stored(&read).await, before);
    place.run(doc! {"drop": "plain"}).await;
    place
        .run(doc! {"insert": "plain", "documents": [{"_id": 9}]})
        .await;
    let now = place.is_stored(&read).await;
    let batch = now
        .get_document("cursor")
        .unwrap()
        .get_array("firstBatch")
        .unwrap();
    assert_eq!(batch, &[doc! {"_id": 9}.into()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_of_a_view_depends_on_what_the_view_reads() {
    let (_proxy, mut place) = Place::new().await;
    place.collections().await;
    let pipeline = vec![
        doc! {"$unionWith": "b"},
        doc! {"$match": {"mark": {"$regex": "0$"}}},
    ];
    place
        .run(doc! {"create": "v", "viewOn": "a", "pipeline": pipeline})
        .await;
    place
        .depends_on(doc! {"count": "v", "query": {}}, &["a", "b"])
        .await;
}
