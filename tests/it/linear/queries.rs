//! Every read that the readers send: each cacheable command, each shape of query.

use bson::doc;

use super::model::{ANY, GROUPS, KEYS};
use super::query::{Answer, COPY, MAIN, Query, Table, VIEW, VIEWED, placeholder};

/// All of them, against a database.
pub fn all(db: &str) -> Vec<Query> {
    let mut table = Table {
        db,
        list: Vec::new(),
    };
    for key in 0..KEYS {
        table.of_one_key(key);
    }
    for g in 0..GROUPS {
        table.of_a_group(g);
    }
    table.of_many();
    table.of_others();
    table.list
}

/// For each key a read that takes long after it has read.
pub fn slow(db: &str) -> Vec<Query> {
    let mut table = Table {
        db,
        list: Vec::new(),
    };
    for key in 0..KEYS {
        // (Not a constant, which would be worked out before.)
        let end = doc! {"$add": [BURN, "$k"]};
        let shown = doc! {"v": 1, "burn": {"$size": {"$range": [0, end]}}};
        let slow = doc! {"projection": shown};
        table.find("slow", doc! {"_id": key as i32}, slow, vec![key], ANY);
    }
    table.list
}

impl Table<'_> {
    fn of_one_key(&mut self, key: usize) {
        let k = key as i32;
        let phase = k % 4;
        let one = || vec![key];
        self.find("by _id", doc! {"_id": k}, doc! {}, one(), ANY);
        self.find("by field", doc! {"k": k}, doc! {}, one(), ANY);
        let two = doc! {"k": k, "p": phase};
        self.find("by two fields", two, doc! {}, one(), 1 << phase);
        let shown = doc! {"projection": {"v": 1}};
        self.find("by _id, inclusion", doc! {"_id": k}, shown, one(), ANY);
        let shown = doc! {"projection": {"v": 1, "p": 1, "_id": 0}};
        self.find("inclusion without _id", doc! {"k": k}, shown, one(), ANY);
        let shown = doc! {"projection": {"g": 0}};
        self.find("by _id, exclusion", doc! {"_id": k}, shown, one(), ANY);
        let shown = doc! {"projection": {"g": 0, "_id": 0}};
        self.find("exclusion without _id", doc! {"k": k}, shown, one(), ANY);
        let (two, shown) = (
            doc! {"k": k, "p": {"$lt": 2}},
            doc! {"projection": {"_id": 1}},
        );
        self.find("only the _id", two, shown, one(), 0b0011);
        let first = doc! {"limit": 1, "sort": {"v": -1}};
        self.find("by field, first", doc! {"k": k}, first, one(), ANY);
        self.count(
            "of a key",
            doc! {"k": k, "p": {"$gte": 2}},
            0,
            9,
            one(),
            0b1100,
        );
        self.pipeline(
            "by field",
            vec![doc! {"$match": {"k": k}}],
            one(),
            ANY,
            Answer::All,
        );
        let stages = vec![
            doc! {"$match": {"_id": k}},
            doc! {"$project": {"v": 1, "p": 1}},
        ];
        self.pipeline("by _id, $project", stages, one(), ANY, Answer::All);
        self.distinct("versions", "v", doc! {"k": k}, one(), ANY);
        // One placeholder for a time; readers put in one of their own.
        let after = doc! {"readConcern": {"afterClusterTime": placeholder()}};
        self.find("by _id, causal", doc! {"_id": k}, after, one(), ANY);
    }

    fn of_a_group(&mut self, g: usize) {
        let (n, keys) = (g as i32, (g..KEYS).step_by(GROUPS).collect::<Vec<_>>());
        self.find("by group", doc! {"g": n}, doc! {}, keys.clone(), ANY);
        let two = doc! {"g": n, "p": 1};
        self.find(
            "by group and phase",
            two.clone(),
            doc! {},
            keys.clone(),
            0b0010,
        );
        self.count("of a group", two, 0, 9, keys.clone(), 0b0010);
        self.distinct("versions of a group", "v", doc! {"g": n}, keys.clone(), ANY);
        self.distinct("phases of a group", "p", doc! {"g": n}, keys.clone(), ANY);
        let leaders = doc! {"sort": {"v": -1}, "limit": 2};
        self.find(
            "leaders of a group",
            doc! {"g": n},
            leaders,
            keys.clone(),
            ANY,
        );
        let stages = vec![
            doc! {"$match": {"g": n}},
            doc! {"$group": {"_id": null, "n": {"$sum": 1}, "s": {"$sum": "$v"}}},
        ];
        self.pipeline(
            "totals of a group",
            stages,
            keys.clone(),
            ANY,
            Answer::Totals,
        );
        let stages = vec![
            doc! {"$match": {"g": n, "p": {"$in": [0, 3]}}},
            doc! {"$group": {"_id": "$k", "v": {"$max": "$v"}}},
        ];
        self.pipeline("by key of a group", stages, keys, 0b1001, Answer::All);
    }

    fn of_many(&mut self) {
        let all = || (0..KEYS).collect::<Vec<_>>();
        let every = || doc! {"k": {"$gte": 0}};
        let some = vec![1, 4, 7];
        let ids = doc! {"_id": {"$in": [1, 4, 7]}};
        self.find("$in of _id", ids.clone(), doc! {}, some.clone(), ANY);
        let fields = doc! {"k": {"$in": [1, 4, 7]}};
        self.find("$in of field", fields.clone(), doc! {}, some.clone(), ANY);
        self.count("$in", fields.clone(), 0, 9, some.clone(), ANY);
        self.distinct("$in", "v", fields, some, ANY);
        let range = doc! {"k": {"$gte": 2, "$lt": 7}};
        self.find("range", range.clone(), doc! {}, (2..7).collect(), ANY);
        self.find(
            "range of _id",
            doc! {"_id": {"$gt": 8}},
            doc! {},
            (9..KEYS).collect(),
            ANY,
        );
        self.find(
            "range of phases",
            doc! {"p": {"$gte": 2}},
            doc! {},
            all(),
            0b1100,
        );
        let shown = doc! {"projection": {"v": 1, "_id": 0}};
        self.find(
            "$in of phases",
            doc! {"p": {"$in": [0, 3]}},
            shown,
            all(),
            0b1001,
        );
        self.find("$ne", doc! {"p": {"$ne": 1}}, doc! {}, all(), 0b1101);
        self.find("everything", doc! {}, doc! {}, all(), ANY);
        self.find(
            "everything by v",
            doc! {},
            doc! {"sort": {"v": 1}},
            all(),
            ANY,
        );
        let leaders = || doc! {"sort": {"v": -1}, "limit": 3};
        self.find("leaders", doc! {}, leaders(), all(), ANY);
        self.find(
            "leaders of a phase",
            doc! {"p": 2},
            leaders(),
            all(),
            0b0100,
        );
        let page = doc! {"sort": {"_id": 1}, "skip": 2, "limit": 4};
        self.find("page", every(), page, all(), ANY);
        self.find(
            "page of a phase",
            doc! {"p": {"$lt": 2}},
            doc! {"sort": {"_id": 1}, "skip": 1},
            all(),
            0b0011,
        );
        self.find(
            "some",
            doc! {"p": {"$gte": 1}},
            doc! {"limit": 3},
            all(),
            0b1110,
        );
        self.count("of a phase", doc! {"p": 1}, 0, 99, all(), 0b0010);
        self.count("limited", every(), 2, 5, all(), ANY);
        self.distinct("phases", "p", every(), all(), ANY);
        let matching = doc! {"$match": every()};
        let stages = vec![
            matching.clone(),
            doc! {"$sort": {"v": -1}},
            doc! {"$limit": 3},
        ];
        self.pipeline("leaders", stages, all(), ANY, Answer::Leaders(3));
        let stages = vec![
            matching.clone(),
            doc! {"$sort": {"_id": 1}},
            doc! {"$skip": 3},
            doc! {"$limit": 4},
        ];
        self.pipeline(
            "page",
            stages,
            all(),
            ANY,
            Answer::Page { skip: 3, limit: 4 },
        );
        let totals = doc! {"$group": {"_id": null, "n": {"$sum": 1}, "s": {"$sum": "$v"}}};
        self.pipeline(
            "totals",
            vec![matching.clone(), totals],
            all(),
            ANY,
            Answer::Totals,
        );
        let stages = vec![doc! {"$match": {"p": 3}}, doc! {"$count": "n"}];
        self.pipeline("$count", stages, all(), 0b1000, Answer::Totals);
        self.batches(doc! {"find": MAIN, "filter": {}, "batchSize": 3}, all());
        self.batches(
            doc! {"find": MAIN, "filter": every(), "sort": {"_id": 1}, "batchSize": 5},
            all(),
        );
        self.batches(
            doc! {"find": MAIN, "filter": ids, "sort": {"v": 1}, "batchSize": 1},
            vec![1, 4, 7],
        );
        self.batches(
            doc! {"aggregate": MAIN, "pipeline": [matching], "cursor": {"batchSize": 4}},
            all(),
        );
    }

    fn of_others(&mut self) {
        let documents = || {
            vec![
                doc! {"$unwind": "$docs"},
                doc! {"$replaceRoot": {"newRoot": "$docs"}},
            ]
        };
        for key in [2, 5, 8] {
            let (k, one) = (key as i32, || vec![key]);
            let lookup = doc! {"$lookup": {"from": MAIN, "localField": "k", "foreignField": "k", "as": "docs"}};
            let of = doc! {"$match": {"_id": k}};
            self.foreign("$lookup", vec![of.clone(), lookup.clone()], one());
            let unwound = [vec![of.clone(), lookup], documents()].concat();
            self.foreign("$lookup, $unwind", unwound, one());
            let union = doc! {"$unionWith": {"coll": MAIN, "pipeline": [{"$match": {"k": k}}]}};
            self.foreign(
                "$unionWith",
                vec![doc! {"$match": {"_id": -1}}, union],
                one(),
            );
            let graph = doc! {"$graphLookup": {"from": MAIN, "startWith": "$k", "connectFromField": "none", "connectToField": "k", "as": "docs"}};
            self.foreign(
                "$graphLookup",
                [vec![of, graph], documents()].concat(),
                one(),
            );
            let command = doc! {"find": COPY, "filter": {"_id": k}};
            self.add("copy by _id", command, one(), ANY, true, Answer::All);
        }
        let viewed = || (0..VIEWED).collect::<Vec<_>>();
        let add = |table: &mut Self, name, command, keys, phases, answer| {
            table.add(name, command, keys, phases, false, answer);
        };
        let by_id = doc! {"find": VIEW, "filter": {"_id": 3}};
        add(self, "view by _id", by_id, vec![3], ANY, Answer::All);
        let by_phase = doc! {"find": VIEW, "filter": {"p": 2}};
        add(
            self,
            "view by phase",
            by_phase,
            viewed(),
            0b0100,
            Answer::All,
        );
        let leaders = doc! {"find": VIEW, "filter": {}, "sort": {"v": -1}, "limit": 2};
        add(
            self,
            "view, leaders",
            leaders,
            viewed(),
            ANY,
            Answer::Leaders(2),
        );
        let count = doc! {"count": VIEW, "query": {"p": 1}};
        add(
            self,
            "view, count",
            count,
            viewed(),
            0b0010,
            Answer::Count { skip: 0, limit: 99 },
        );
        let distinct = doc! {"distinct": VIEW, "key": "v", "query": {}};
        add(
            self,
            "view, distinct",
            distinct,
            viewed(),
            ANY,
            Answer::Versions,
        );
        let totals = doc! {"$group": {"_id": null, "n": {"$sum": 1}, "s": {"$sum": "$v"}}};
        let pipeline = doc! {"aggregate": VIEW, "pipeline": [totals], "cursor": {}};
        add(
            self,
            "view, totals",
            pipeline,
            viewed(),
            ANY,
            Answer::Totals,
        );
        let all = || (0..KEYS).collect::<Vec<_>>();
        let find = doc! {"find": COPY, "filter": {}};
        self.add("copy", find, all(), ANY, true, Answer::All);
        let count = doc! {"count": COPY, "query": {"p": {"$gte": 2}}};
        let answer = Answer::Count { skip: 0, limit: 99 };
        self.add("copy, count", count, all(), 0b1100, true, answer);
    }
}

/// Elements that keep the server busy for tens of milliseconds once it has read the document.
const BURN: i32 = 150_000;
