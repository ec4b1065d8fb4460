//! Random commands that rules apply to, or nearly do, and some that the server refuses.

use bson::{Bson, Document, Regex, doc};

use crate::precision::random::Random;

/// Random commands on a collection.
pub struct Commands {
    pub random: Random,
}

impl Commands {
    /// A read of `collection`, with everything but `$db`.
    pub fn command(&mut self, collection: &str) -> Document {
        let mut command = match self.random.below(12) {
            0..4 => self.find(collection),
            4 | 5 => self.count(collection),
            6 => {
                let key = self.random.path();
                doc! {"distinct": collection, "key": key, "query": self.filter()}
            }
            _ => self.aggregate(collection),
        };
        if self.random.once_in(6) && !command.contains_key("distinct") {
            let strength = self.random.below(3) as i32 + 1;
            command.insert(
                "collation",
                doc! {"locale": "en", "strength": strength, "numericOrdering": self.random.once_in(2)},
            );
        }
        command
    }

    fn find(&mut self, collection: &str) -> Document {
        let mut find = doc! {"find": collection, "filter": self.filter(), "batchSize": 1_000};
        if self.random.once_in(3) {
            find.insert("sort", self.total_sort());
        }
        if self.random.once_in(3) {
            let projection = match self.random.below(4) {
                0 => doc! {"_id": 1},
                1 => doc! {"_id": 0, "b": 1},
                2 => doc! {"a": 1, "b": 1, "_id": 0},
                _ => doc! {"a": 0},
            };
            find.insert("projection", projection);
        }
        if self.random.once_in(4) {
            find.insert("limit", self.random.below(5) as i32);
            find.insert("skip", self.random.below(3) as i32);
        }
        find
    }

    fn count(&mut self, collection: &str) -> Document {
        let mut count = doc! {"count": collection, "query": self.filter()};
        if self.random.once_in(5) {
            count.insert("limit", self.random.below(5) as i32);
            count.insert("skip", self.random.below(3) as i32);
        }
        count
    }

    fn aggregate(&mut self, collection: &str) -> Document {
        let mut stages: Vec<Document> = Vec::new();
        if !self.random.once_in(4) {
            stages.push(doc! {"$match": self.filter()});
        }
        if self.random.once_in(5) {
            let stage = match self.random.below(4) {
                0 => doc! {"$unwind": format!("${}", self.random.path())},
                1 if self.random.once_in(3) => doc! {"$addFields": {"z": {"$divide": [1, "$a"]}}},
                1 => doc! {"$addFields": {"z": {"$ifNull": ["$a", 0]}}},
                2 => doc! {"$unset": "b"},
                _ => doc! {"$match": self.filter()},
            };
            stages.push(stage);
        }
        if self.random.once_in(8) {
            stages.push(doc! {"$sort": {"_id": 1}});
            stages.push(doc! {"$limit": self.random.below(20) as i32 + 1});
        }
        if self.random.once_in(4) {
            if self.random.once_in(3) {
                stages.push(doc! {"$project": {"_id": 0, self.random.pick(&["a", "b", "c"]): 1}});
            }
            return doc! {"aggregate": collection, "pipeline": stages, "cursor": {"batchSize": 1_000}};
        }
        if self.random.once_in(3) {
            stages.push(doc! {"$group": self.group()});
        }
        for _ in 0..self.random.pick(&[0, 1, 1, 1, 2]) {
            let stage = match self.random.below(5) {
                0 => doc! {"$project": self.projection()},
                1 | 2 => doc! {"$project": {self.random.pick(&["a", "b", "c", "_id"]): 1}},
                _ => doc! {"$sort": self.sort()},
            };
            stages.push(stage);
        }
        stages.push(match self.random.below(6) {
            0 => doc! {"$group": {"_id": Bson::Null, "n": {"$sum": 1}}},
            1 => doc! {"$group": {"_id": 1, "n": {"$sum": 2}, "m": {"$sum": 1}}},
            2 => doc! {"$group": {"_id": Bson::Null, "n": {"$sum": "$a"}}},
            3 if self.random.once_in(4) => doc! {"$count": self.random.pick(&["", "$n", "a.b"])},
            _ => doc! {"$count": "n"},
        });
        doc! {"aggregate": collection, "pipeline": stages, "cursor": {}}
    }

    /// A sort that leaves no ties.
    fn total_sort(&mut self) -> Document {
        let mut sort = Document::new();
        if self.random.once_in(2) {
            sort.insert(self.random.pick(&["a", "b", "a.b"]), self.direction());
        }
        sort.insert("_id", self.direction());
        sort
    }

    fn direction(&mut self) -> i32 {
        self.random.pick(&[1, -1])
    }

    fn sort(&mut self) -> Document {
        let mut sort = doc! {self.random.path(): self.direction()};
        if self.random.once_in(4) {
            sort.insert(self.random.path(), self.direction());
        }
        if self.random.once_in(20) {
            let odd: [(&str, Bson); 4] = [
                ("a", 2.into()),
                ("a", "x".into()),
                ("$a", 1.into()),
                ("a.", 1.into()),
            ];
            let (path, way) = self.random.pick(&odd);
            sort.insert(path, way);
        }
        sort
    }

    fn projection(&mut self) -> Document {
        let mut projection = Document::new();
        for _ in 0..=self.random.below(2) {
            let keep: Bson = self.random.pick(&[
                1.into(),
                true.into(),
                1.into(),
                0.into(),
                "$a".into(),
                doc! {"$divide": [1, "$a"]}.into(),
            ]);
            projection.insert(self.random.pick(&["a", "b", "c", "a.b", "d"]), keep);
        }
        if self.random.once_in(3) {
            projection.insert("_id", self.random.pick(&[0, 1]));
        }
        projection
    }

    fn group(&mut self) -> Document {
        let id: Bson = match self.random.below(6) {
            0 => doc! {"a": "$a", "b": "$b"}.into(),
            1 => Bson::Null,
            2 => doc! {"$type": "$a"}.into(),
            _ => format!("${}", self.random.path()).into(),
        };
        let mut group = doc! {"_id": id};
        for n in 0..self.random.below(3) {
            let accumulator = match self.random.below(12) {
                0 => doc! {"$push": "$a"},
                1 => doc! {"$max": {"$divide": [1, "$b"]}},
                // (Not `$mergeObjects`: rarely, 6.0.5 aborts in its builtinMergeObjects.)
                2 => doc! {"$push": {"$toInt": "$a"}},
                3 => doc! {"$count": {}},
                4 => doc! {"$sum": self.random.pick(&[1, 2])},
                _ => {
                    let names = [
                        "$sum",
                        "$avg",
                        "$min",
                        "$max",
                        "$first",
                        "$last",
                        "$stdDevPop",
                        "$stdDevSamp",
                    ];
                    doc! {self.random.pick(&names): format!("${}", self.random.path())}
                }
            };
            group.insert(format!("f{n}"), accumulator);
        }
        group
    }

    /// A filter of the kinds that rules change.
    pub fn filter(&mut self) -> Document {
        let depth = self.random.pick(&[0, 0, 1, 1, 2]);
        let mut filter = self.conditions(depth);
        if self.random.once_in(60) {
            self.spoil(&mut filter);
        }
        filter
    }

    fn conditions(&mut self, depth: usize) -> Document {
        let mut filter = Document::new();
        for _ in 0..self.random.pick(&[1, 1, 2, 2, 3]) {
            if depth > 0 && self.random.once_in(2) {
                let name = self
                    .random
                    .pick(&["$and", "$and", "$or", "$or", "$or", "$nor"]);
                let list = if name == "$or" && self.random.once_in(2) {
                    self.alternatives(depth - 1)
                } else {
                    let members = self.random.pick(&[1, 1, 2, 2, 3]);
                    (0..members).map(|_| self.conditions(depth - 1)).collect()
                };
                filter.insert(name, list);
            } else if self.random.once_in(40) {
                match self.random.below(4) {
                    0 => drop(filter.insert("$nor", vec![doc! {}])),
                    1 => drop(filter.insert("$expr", false)),
                    2 => drop(filter.insert("$alwaysFalse", 1)),
                    _ => drop(filter.insert("$and", vec![doc! {}])),
                }
            } else {
                let path = self.filter_path();
                filter.insert(path, self.condition());
            }
        }
        filter
    }

    /// Branches of `$or` that mostly ask for values at one path.
    fn alternatives(&mut self, depth: usize) -> Vec<Document> {
        let path = self.filter_path();
        let mut branches = Vec::new();
        for _ in 0..self.random.pick(&[1, 2, 2, 3]) {
            branches.push(match self.random.below(8) {
                0 => self.conditions(depth),
                1 => doc! {path: {"$in": self.values(3)}},
                2 => doc! {path: self.condition()},
                _ => doc! {path: self.value()},
            });
        }
        branches
    }

    fn filter_path(&mut self) -> &'static str {
        if self.random.once_in(7) {
            "_id"
        } else {
            self.random.path()
        }
    }

    fn condition(&mut self) -> Bson {
        let least = usize::from(!self.random.once_in(4));
        let condition = match self.random.below(16) {
            0 | 1 => doc! {"$eq": self.value()},
            2 | 3 => doc! {"$in": self.list(least)},
            4 => doc! {"$in": Bson::Array(vec![self.value()])},
            5 => doc! {"$nin": self.list(least)},
            6 => doc! {"$all": Bson::Array(vec![self.value()])},
            7 => doc! {"$nin": []},
            8..11 => {
                let operator = self
                    .random
                    .pick(&["$eq", "$gt", "$gte", "$lt", "$lte", "$in", "$ne"]);
                let operand: Bson = if operator == "$in" {
                    self.list(1).into()
                } else {
                    self.value()
                };
                let exists = !self.random.once_in(6);
                if self.random.once_in(2) {
                    doc! {"$exists": exists, operator: operand}
                } else {
                    doc! {operator: operand, "$exists": exists}
                }
            }
            11 => doc! {"$gt": self.value(), "$lt": self.value()},
            12 => doc! {"$elemMatch": {self.random.pick(&["$eq", "$gt"]): self.value()}},
            13 => doc! {"$not": {"$gt": self.value()}},
            _ => return self.value(),
        };
        condition.into()
    }

    fn list(&mut self, least: usize) -> Vec<Bson> {
        let n = least + self.random.below(4);
        self.values(n)
    }

    /// Some values, now and then the same once more.
    fn values(&mut self, n: usize) -> Vec<Bson> {
        let mut values: Vec<Bson> = (0..n).map(|_| self.value()).collect();
        if let Some(first) = values.first().cloned()
            && self.random.once_in(3)
        {
            values.push(first);
        }
        values
    }

    /// A value to look for.
    pub fn value(&mut self) -> Bson {
        loop {
            let depth = self.random.pick(&[0, 0, 0, 0, 0, 1]);
            let value = self.random.value(depth);
            if !format!("{value:?}").contains("Undefined") {
                return value;
            }
        }
    }

    /// Makes something that the server refuses.
    fn spoil(&mut self, filter: &mut Document) {
        let broken = Regex {
            pattern: "(".try_into().unwrap(),
            options: "".try_into().unwrap(),
        };
        let wrong: [Document; 10] = [
            doc! {"$in": 5},
            doc! {"$foo": 1},
            doc! {"$in": [{"$x": 1}]},
            doc! {"$eq": 1, "b": 2},
            doc! {"$mod": "x"},
            doc! {"$in": [Bson::RegularExpression(broken)]},
            doc! {"$size": "x"},
            doc! {"$exists": true, "$all": 5},
            doc! {"$not": 5},
            doc! {"$elemMatch": 5},
        ];
        match self.random.below(6) {
            0 => drop(filter.insert("$and", Bson::Array(vec![]))),
            1 => drop(filter.insert("$or", vec![Bson::from(1)])),
            2 => drop(filter.insert("$frob", 1)),
            _ => drop(filter.insert("d", self.random.pick(&wrong))),
        }
        if self.random.once_in(2) {
            let spoilt = std::mem::take(filter);
            let beside = doc! {"a": {"$in": []}};
            filter.insert("$or", vec![spoilt, beside]);
        }
    }
}
