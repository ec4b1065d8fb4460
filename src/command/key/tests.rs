//! What has one key, what has another, and what has none.

use bson::{Bson, Document, doc};
use bytes::Bytes;

use super::*;

fn command(document: Document) -> Command {
    Command::parse_body(&Bytes::from(document.to_vec().unwrap())).unwrap()
}

fn key_for(principal: u64, document: Document) -> Result<Vec<u8>, Bypass> {
    let mut out = Vec::new();
    canonical(&command(document), principal, &mut out).map(|_| out)
}

fn find(extra: Document) -> Document {
    let mut d = doc! {"find": "c", "filter": {"a": 1}};
    d.extend(extra);
    d.insert("$db", "d");
    d
}

#[test]
fn values_of_different_types_are_different_keys() {
    let with = |v: Bson| key_for(0, doc! {"find": "c", "filter": {"a": v}, "$db": "d"}).unwrap();
    let keys = [
        with(Bson::Int32(1)),
        with(Bson::Int64(1)),
        with(Bson::Double(1.0)),
        with("1".into()),
    ];
    for (i, a) in keys.iter().enumerate() {
        for b in keys.iter().skip(i + 1) {
            assert_ne!(a, b);
        }
    }
}

#[test]
fn every_field_that_changes_the_answer_changes_the_key() {
    let plain = key_for(0, find(doc! {})).unwrap();
    for extra in [
        doc! {"sort": {"a": 1}},
        doc! {"projection": {"a": 1}},
        doc! {"hint": "a_1"},
        doc! {"skip": 1},
        doc! {"limit": 1},
        doc! {"singleBatch": true},
        doc! {"collation": {"locale": "en"}},
        doc! {"let": {"x": 1}},
        doc! {"min": {"a": 1}},
        doc! {"max": {"a": 1}},
        doc! {"returnKey": true},
        doc! {"showRecordId": true},
        doc! {"readConcern": {"level": "local"}},
        doc! {"apiVersion": "1"},
        doc! {"allowPartialResults": true},
    ] {
        assert_ne!(plain, key_for(0, find(extra.clone())).unwrap(), "{extra}");
    }
    assert_ne!(
        plain,
        key_for(1, find(doc! {})).unwrap(),
        "another principal"
    );
    assert_ne!(
        plain,
        key_for(0, doc! {"find": "c", "filter": {"a": 1}, "$db": "e"}).unwrap()
    );
    let ab = doc! {"find": "c", "filter": {"x": {"a": 1, "b": 2}}, "$db": "d"};
    let ba = doc! {"find": "c", "filter": {"x": {"b": 2, "a": 1}}, "$db": "d"};
    assert_ne!(key_for(0, ab).unwrap(), key_for(0, ba).unwrap());
}

#[test]
fn session_comment_and_time_limit_do_not_change_the_key() {
    let plain = key_for(0, find(doc! {})).unwrap();
    for extra in [
        doc! {"lsid": {"id": bson::Uuid::new()}},
        doc! {"comment": "x"},
        doc! {"maxTimeMS": 5},
        doc! {"$clusterTime": {"clusterTime": Bson::Timestamp(bson::Timestamp { time: 1, increment: 1 })}},
        doc! {"$readPreference": {"mode": "primary"}},
    ] {
        assert_eq!(plain, key_for(0, find(extra.clone())).unwrap(), "{extra}");
    }
}

#[test]
fn what_may_not_be_cached_says_why() {
    for (extra, why) in [
        (doc! {"txnNumber": 1_i64}, Bypass::Transaction),
        (
            doc! {"readConcern": {"level": "linearizable"}},
            Bypass::ReadConcern,
        ),
        (
            doc! {"readConcern": {"level": "majority"}},
            Bypass::ReadConcern,
        ),
        (
            doc! {"readConcern": {"afterClusterTime": 1}},
            Bypass::ReadConcern,
        ),
        (
            doc! {"$readPreference": {"mode": "nearest"}},
            Bypass::ReadPreference,
        ),
        (doc! {"tailable": true}, Bypass::CursorKind),
        (doc! {"frobnicate": true}, Bypass::UnknownField),
        (doc! {"tailable": "no"}, Bypass::CursorKind),
        (doc! {"maxTimeMS": -1}, Bypass::UnknownField),
        (doc! {"maxTimeMS": 1.5}, Bypass::UnknownField),
        (doc! {"maxTimeMS": 1_i64 << 40}, Bypass::UnknownField),
        (doc! {"lsid": {"id": 5}}, Bypass::UnknownField),
        (
            doc! {"lsid": {"id": bson::Uuid::new(), "x": 1}},
            Bypass::UnknownField,
        ),
        (doc! {"$clusterTime": 5}, Bypass::UnknownField),
        (
            doc! {"$readPreference": {"mode": "primary", "tags": []}},
            Bypass::ReadPreference,
        ),
    ] {
        assert_eq!(key_for(0, find(extra.clone())), Err(why), "{extra}");
    }
    assert_eq!(
        key_for(0, doc! {"dbStats": 1, "$db": "d"}),
        Err(Bypass::NotCacheable)
    );
}

#[test]
fn batch_sizes_and_cluster_times_are_wishes() {
    let wish = |document: Document| {
        let mut out = Vec::new();
        canonical(&command(document), 0, &mut out).map(|wish| (out, wish))
    };
    let (plain, none) = wish(find(doc! {})).unwrap();
    assert_eq!(none, Wish::default());
    let at = Bson::Timestamp(bson::Timestamp {
        time: 7,
        increment: 2,
    });
    let (key, asked) = wish(find(
        doc! {"batchSize": 5, "readConcern": {"afterClusterTime": at}},
    ))
    .unwrap();
    assert_eq!(key, plain);
    let after = Some((7 << 32) | 2);
    assert_eq!(
        asked,
        Wish {
            after,
            batch_size: Some(5)
        }
    );
    let (one, asked) = wish(find(doc! {"batchSize": 5, "singleBatch": true})).unwrap();
    let (two, _) = wish(find(doc! {"batchSize": 6, "singleBatch": true})).unwrap();
    assert!(one != two && asked.batch_size == Some(u64::MAX));
    let aggregate = |cursor: Document| {
        wish(doc! {"aggregate": "c", "pipeline": [], "cursor": cursor, "$db": "d"})
    };
    assert_eq!(aggregate(doc! {}).unwrap().1, Wish::default());
    assert_eq!(
        aggregate(doc! {"batchSize": 3}).unwrap().1.batch_size,
        Some(3)
    );
    for wrong in [
        doc! {"batchSize": -1},
        doc! {"batchSize": 1.5},
        doc! {"x": 1},
    ] {
        assert_eq!(aggregate(wrong).unwrap_err(), Bypass::UnknownField);
    }
}

#[test]
fn a_command_of_very_many_fields_has_its_key_too() {
    let mut kept = doc! {
        "find": "c", "filter": {"a": 1}, "sort": {"a": 1}, "projection": {"a": 1}, "hint": "a_1", "skip": 1,
        "limit": 1, "collation": {"locale": "en"}, "let": {"x": 1}, "min": {"a": 1}, "max": {"a": 9},
        "returnKey": false, "showRecordId": false, "allowPartialResults": false, "allowDiskUse": true,
        "apiVersion": "1", "apiStrict": false, "apiDeprecationErrors": false,
    };
    let mut command = kept.clone();
    command.extend(doc! {
        "lsid": {"id": bson::Uuid::new()}, "comment": "x", "maxTimeMS": 5, "tailable": false,
        "$db": "d", "singleBatch": true,
    });
    kept.extend(doc! {"$db": "d", "singleBatch": true});
    let key = key_for(0, command.clone()).unwrap();
    let document = Document::from_reader(&mut &key[KEY_COMMAND..]).unwrap();
    assert_eq!(document, kept);
    command.insert("frobnicate", true);
    assert_eq!(key_for(0, command), Err(Bypass::UnknownField));
}

#[test]
fn a_key_holds_a_command_document() {
    let key = key_for(3, find(doc! {"sort": {"a": 1}})).unwrap();
    let document = Document::from_reader(&mut &key[KEY_COMMAND..]).unwrap();
    assert_eq!(
        document,
        doc! {"find": "c", "filter": {"a": 1}, "sort": {"a": 1}, "$db": "d"}
    );
}

#[test]
fn count_distinct_and_aggregate_have_keys_and_writing_pipelines_have_none() {
    assert!(key_for(0, doc! {"count": "c", "query": {}, "$db": "d"}).is_ok());
    assert!(key_for(0, doc! {"distinct": "c", "key": "a", "$db": "d"}).is_ok());
    let aggregate =
        |stage: Document| doc! {"aggregate": "c", "pipeline": [stage], "cursor": {}, "$db": "d"};
    assert!(key_for(0, aggregate(doc! {"$match": {}})).is_ok());
    assert_eq!(
        key_for(0, aggregate(doc! {"$out": "x"})),
        Err(Bypass::NotCacheable)
    );
    let mut explained = aggregate(doc! {"$match": {}});
    explained.insert("explain", true);
    assert_eq!(key_for(0, explained), Err(Bypass::UnknownField));
}
