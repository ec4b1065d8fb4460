//! Random documents, filters and updates from small domains, so that they often meet.

use bson::spec::{BinarySubtype, ElementType};
use bson::{Binary, Bson, DateTime, Document, Regex, Timestamp, doc, oid::ObjectId};

/// SplitMix64: the same numbers for the same seed everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    /// True once in `n`.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// A document without `_id`.
    pub fn document(&mut self) -> Document {
        self.fields(&["a", "b", "c"], 3)
    }

    fn fields(&mut self, names: &[&str], depth: usize) -> Document {
        let mut document = Document::new();
        for name in names {
            if !self.once_in(3) {
                document.insert(*name, self.value(depth));
            }
        }
        document
    }

    /// Any value that may be stored.
    pub fn value(&mut self, depth: usize) -> Bson {
        match self.below(if depth == 0 { 6 } else { 10 }) {
            0..4 => self.common(),
            4 | 5 => self.scalar(),
            6 | 7 => Bson::Array((0..self.below(4)).map(|_| self.value(depth - 1)).collect()),
            _ if self.once_in(4) => self.fields(&["0", "1", "b"], depth - 1).into(),
            _ => self.fields(&["a", "b"], depth - 1).into(),
        }
    }

    /// What real documents are made of.
    fn common(&mut self) -> Bson {
        match self.below(9) {
            0..4 => Bson::Int32(self.below(4) as i32),
            4 => Bson::Int64(self.below(4) as i64),
            5 => Bson::Double(self.below(8) as f64 / 2.0),
            6 => self.pick(&["", "a", "A", "ab", "b", "b.c"]).into(),
            7 => self.once_in(2).into(),
            _ => Bson::Null,
        }
    }

    /// Every type, and the odd values of each.
    fn scalar(&mut self) -> Bson {
        match self.below(12) {
            0 | 1 => {
                let odd = [
                    "0",
                    "-0",
                    "1",
                    "1.0",
                    "10E-1",
                    "1.5",
                    "2",
                    "0.1",
                    "0.3",
                    "NaN",
                    "Infinity",
                    "-Infinity",
                    "9007199254740993",
                    "1E20",
                    "1E-30",
                    "0.1000000000000000055511",
                ];
                Bson::Decimal128(self.pick(&odd).parse().unwrap())
            }
            2 => Bson::Double(self.pick(&[
                -0.0,
                0.1,
                0.3,
                -1.5,
                f64::NAN,
                f64::INFINITY,
                f64::NEG_INFINITY,
                1e20,
                1e300,
                9_007_199_254_740_992.0,
                9_223_372_036_854_775_808.0,
            ])),
            3 => Bson::Int64(self.pick(&[-1, 1 << 53, (1 << 53) + 1, i64::MAX, i64::MIN])),
            4 => Bson::DateTime(DateTime::from_millis(self.below(4) as i64 - 1)),
            5 => ObjectId::from_bytes([self.below(3) as u8; 12]).into(),
            6 => Bson::Binary(Binary {
                subtype: BinarySubtype::from(self.pick(&[0, 4, 128])),
                bytes: vec![1; self.below(3) * 8],
            }),
            7 => Bson::Timestamp(Timestamp {
                time: self.below(2) as u32,
                increment: 1,
            }),
            8 => self.regex(),
            9 => self
                .pick(&["é", "a\0", "\u{212a}", "a\nb", "aB", "abcdefgh"])
                .into(),
            10 => self.pick(&[Bson::MinKey, Bson::MaxKey]),
            _ if self.once_in(3) => self.pick(&[
                Bson::Undefined,
                Bson::Symbol("a".into()),
                Bson::JavaScriptCode("a".into()),
                Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope {
                    code: "a".into(),
                    scope: doc! {"a": 1},
                }),
            ]),
            _ => Bson::Null,
        }
    }

    fn regex(&mut self) -> Bson {
        let pattern = self.pick(&["a", "^a", "^ab", "b", "^", "a.b", "B", "^b.c"]);
        let options = if self.once_in(6) { "i" } else { "" };
        let (pattern, options) = (pattern.try_into().unwrap(), options.try_into().unwrap());
        Bson::RegularExpression(Regex { pattern, options })
    }

    pub fn path(&mut self) -> &'static str {
        self.pick(&[
            "a", "a", "a", "a", "b", "b", "b", "c", "c", "a.b", "a.b", "a.a", "b.a", "b.b", "a.0",
            "b.1", "a.0.b", "a.b.0", "a.0.0", "a.b.a", "b.a.b", "a.1.b", "b.0.1", "a.b.1.b",
            "a.0.0.b", "c.b.a.b",
        ])
    }

    /// A filter; some of what it looks for is in one of these documents.
    pub fn filter(&mut self, documents: &[Document]) -> Document {
        let mut filter = Document::new();
        if self.once_in(2) {
            let (path, value) = self.found(documents);
            let operator = self.pick(&["$eq", "$in", "$gte", "$lte", "$all", "$nin", "$ne"]);
            let predicate = match operator {
                _ if self.once_in(2) => value,
                "$in" | "$all" | "$nin" if self.once_in(2) => {
                    doc! {operator: [value, self.literal()]}.into()
                }
                "$in" | "$all" | "$nin" => doc! {operator: [value]}.into(),
                _ if value.element_type() == ElementType::RegularExpression => value,
                _ => doc! {operator: value}.into(),
            };
            filter.insert(path, predicate);
        }
        if filter.is_empty() || self.once_in(3) {
            filter.extend(self.filter_at(2));
        }
        filter
    }

    /// A path and a value that is there, in one of these documents.
    fn found(&mut self, documents: &[Document]) -> (String, Bson) {
        loop {
            let document = &documents[self.below(documents.len())];
            let mut path = self.pick(&["a", "b", "c"]).to_owned();
            let Some(mut value) = document.get(&path).cloned() else {
                continue;
            };
            while !self.once_in(3) {
                let (part, inner) = match &value {
                    Bson::Document(inner) if !inner.is_empty() => {
                        let (key, value) = inner.iter().nth(self.below(inner.len())).unwrap();
                        (Some(key.clone()), value.clone())
                    }
                    Bson::Array(inner) if !inner.is_empty() => {
                        let at = self.below(inner.len());
                        (self.once_in(2).then(|| at.to_string()), inner[at].clone())
                    }
                    _ => break,
                };
                if let Some(part) = part {
                    path = format!("{path}.{part}");
                }
                value = inner;
            }
            if !format!("{value:?}").contains("Undefined") {
                return (path, value);
            }
        }
    }

    fn filter_at(&mut self, depth: usize) -> Document {
        let mut filter = Document::new();
        for _ in 0..self.pick(&[1, 1, 1, 1, 2, 3]) {
            if depth > 0 && self.once_in(5) {
                let name = self.pick(&["$and", "$or", "$nor"]);
                let list = (0..=self.below(2)).map(|_| self.filter_at(depth - 1));
                filter.insert(name, list.collect::<Vec<_>>());
            } else {
                let path = self.path();
                filter.insert(path, self.predicate(depth));
            }
        }
        filter
    }

    fn predicate(&mut self, depth: usize) -> Bson {
        if self.once_in(3) {
            return self.literal();
        }
        self.operators(depth).into()
    }

    /// A value to look for: as stored ones, but not undefined, which the server refuses.
    fn literal(&mut self) -> Bson {
        loop {
            let depth = self.pick(&[0, 0, 1, 2]);
            let value = self.value(depth);
            if !format!("{value:?}").contains("Undefined") {
                return value;
            }
        }
    }

    fn no_regex(&mut self) -> Bson {
        loop {
            let value = self.literal();
            if value.element_type() != ElementType::RegularExpression {
                return value;
            }
        }
    }

    /// A bound that is a scalar, most of the time.
    fn bound(&mut self) -> Bson {
        loop {
            let value = if self.once_in(20) {
                self.no_regex()
            } else {
                self.common()
            };
            if value != Bson::Null || self.once_in(20) {
                return value;
            }
        }
    }

    fn operators(&mut self, depth: usize) -> Document {
        let mut operators = Document::new();
        for _ in 0..self.pick(&[1, 1, 1, 2]) {
            self.operator(&mut operators, depth);
        }
        operators
    }

    fn operator(&mut self, to: &mut Document, depth: usize) {
        let literals = |r: &mut Random| (0..=r.below(3)).map(|_| r.literal()).collect::<Vec<_>>();
        match self.below(if depth > 0 { 17 } else { 13 }) {
            0 => drop(to.insert("$eq", self.literal())),
            1 => drop(to.insert("$ne", self.no_regex())),
            2 => drop(to.insert("$gt", self.bound())),
            3 => drop(to.insert("$gte", self.bound())),
            4 => drop(to.insert("$lt", self.bound())),
            5 => drop(to.insert("$lte", self.bound())),
            6 => drop(to.insert("$in", literals(self))),
            7 => drop(to.insert("$nin", literals(self))),
            8 => drop(to.insert("$exists", self.once_in(2))),
            9 => drop(to.insert("$size", self.below(4) as i32)),
            10 => {
                let numbers = [
                    Bson::from(self.below(3) as i32 + 1),
                    Bson::from(self.below(2) as f64),
                ];
                to.insert("$mod", numbers.to_vec());
            }
            11 => {
                let types: [Bson; 12] = [
                    "number".into(),
                    "string".into(),
                    "object".into(),
                    "array".into(),
                    1.into(),
                    16.0.into(),
                    "null".into(),
                    (-1).into(),
                    127.into(),
                    "bool".into(),
                    6.into(),
                    "regex".into(),
                ];
                let one = self.pick(&types);
                let both = vec![one.clone(), self.pick(&types)];
                to.insert("$type", if self.once_in(2) { one } else { both.into() });
            }
            12 => drop(to.insert("$regex", self.regex())),
            13 => drop(to.insert("$not", self.operators(depth - 1))),
            14 if self.once_in(3) => {
                let inner = (0..=self.below(2)).map(|_| self.elem_match(depth - 1));
                let inner = inner.map(|inner| doc! {"$elemMatch": inner});
                to.insert("$all", inner.collect::<Vec<_>>());
            }
            14 => drop(to.insert("$all", literals(self))),
            _ => drop(to.insert("$elemMatch", self.elem_match(depth - 1))),
        }
    }

    fn elem_match(&mut self, depth: usize) -> Document {
        if self.once_in(2) {
            return self.operators(depth);
        }
        let mut filter = Document::new();
        for _ in 0..=self.below(2) {
            let path = self.pick(&["a", "b", "b", "0", "1", "b.a", "a.b", "b.0", "0.b"]);
            filter.insert(path, self.predicate(depth));
        }
        filter
    }

    /// An update by operators, and the paths that docs/coherence.md, rule 7 says it touches.
    pub fn update(&mut self) -> (Document, Vec<String>) {
        let path = self.pick(&[
            "a",
            "b",
            "c",
            "a.b",
            "a.a",
            "b.a",
            "b.b",
            "a.0",
            "a.b.a",
            "b.1.a",
            "a.$[].b",
            "a.$[]",
            "b.$[].a",
            "a.$[].a.b",
            "a.b.$[].a",
            "d",
            "a.d",
            "a.$[].d",
            "b.d.a",
            "c.0.b",
        ]);
        let update = match self.below(7) {
            0..3 => doc! {"$set": {path: self.literal()}},
            3 => doc! {"$unset": {path: 1}},
            4 => doc! {"$push": {path: self.literal()}},
            5 => doc! {"$inc": {path: 1}},
            _ => doc! {"$pop": {path: 1}},
        };
        let numeric = |part: &&str| part.bytes().all(|b| b.is_ascii_digit());
        let kept = path.split('.').take_while(|part| !numeric(part));
        let kept = kept.filter(|part| *part != "$[]").collect::<Vec<_>>();
        (update, vec![kept.join(".")])
    }
}
