//! Workloads of one kind of request.

use bson::raw::cstr;
use bson::{DateTime, RawArrayBuf, RawBson, rawdoc};

use super::template::Template;
use super::{Context, GUILDS, Source, USERS, fresh_number};
use crate::bench::random::Random;

/// One template, one key.
pub struct Simple {
    template: Template,
    key: Key,
    /// Writes carry a number of their own after the key.
    numbered: bool,
}

/// Where keys come from.
#[derive(Debug, Clone, Copy)]
enum Key {
    /// A number in `0..bound`, whose requests may be repeated to warm caches.
    Read(i32),
    /// One of `count` ranges of `width` numbers each, as its first number and the one after its last.
    Ranges { count: i32, width: i32 },
    /// A number in `0..bound`.
    Write(i32),
    /// A number that no one used before.
    Fresh,
}

/// One document by `_id`.
pub fn point(context: &Context) -> Simple {
    read(context, USERS, |key, context| {
        rawdoc! {
            "find": "users", "filter": {"_id": key}, "limit": 1, "singleBatch": true,
            "$db": context.database.as_str(),
        }
    })
}

/// The ten best of a guild.
pub fn leaderboard(context: &Context) -> Simple {
    read(context, GUILDS, |key, context| {
        rawdoc! {
            "find": "users", "filter": {"guild": key}, "sort": {"score": -1}, "limit": 10,
            "$db": context.database.as_str(),
        }
    })
}

/// Fifty users by a range of `_id`.
pub fn range(context: &Context) -> Simple {
    const WIDTH: i32 = 50;
    let template = Template::new(2, |marks| {
        rawdoc! {
            "find": "users", "filter": {"_id": {"$gte": marks.int32(0), "$lt": marks.int32(1)}},
            "sort": {"_id": 1}, "lsid": marks.lsid.clone(), "$db": context.database.as_str(),
        }
    });
    Simple {
        template: template.of_lane(context.lane),
        key: Key::Ranges {
            count: USERS / WIDTH,
            width: WIDTH,
        },
        numbered: false,
    }
}

/// A guild's members, wealth and best score: a hundred documents in, one out.
pub fn aggregate(context: &Context) -> Simple {
    read(context, GUILDS, |key, context| {
        rawdoc! {
            "aggregate": "users", "pipeline": [
                {"$match": {"guild": key}},
                {"$group": {
                    "_id": "$guild", "members": {"$sum": 1}, "wealth": {"$sum": "$balance"},
                    "best": {"$max": "$score"},
                }},
            ],
            "cursor": {}, "$db": context.database.as_str(),
        }
    })
}

/// One new document of about 200 bytes.
pub fn insert(context: &Context) -> Simple {
    inserts(context, |number| vec![number.into()])
}

/// As many new documents as 64 clients' inserts make together.
pub fn insert_64(context: &Context) -> Simple {
    let id = |number: i64| move |i: i32| RawBson::from(rawdoc! {"n": number, "i": i});
    inserts(context, |number| (0..64).map(id(number)).collect())
}

/// New documents with the ids that are made of a number.
fn inserts(context: &Context, ids: impl FnOnce(i64) -> Vec<RawBson>) -> Simple {
    let template = Template::new(context.style.holes(1), |marks| {
        let mut documents = RawArrayBuf::new();
        for id in ids(marks.int64(0)) {
            documents.push(rawdoc! {
                "_id": id, "user": 4_711, "kind": "transfer", "amount": 250_i64,
                "note": "for the dragon egg, thanks again for carrying me through the dungeon",
                "at": DateTime::from_millis(1_700_000_000_000), "tags": ["guild", "market"],
            });
        }
        let mut command = rawdoc! {
            "insert": "events", "documents": documents, "ordered": true, "lsid": marks.lsid.clone(),
            "$db": context.database.as_str(),
        };
        context.style.apply(1, marks, &mut command);
        command
    });
    write(context, template, Key::Fresh)
}

/// Adds 1 to a balance.
pub fn update(context: &Context) -> Simple {
    let template = Template::new(context.style.holes(1), |marks| {
        let mut command = rawdoc! {
            "update": "users",
            "updates": [{"q": {"_id": marks.int32(0)}, "u": {"$inc": {"balance": 1_i64}}}],
            "ordered": true, "lsid": marks.lsid.clone(), "$db": context.database.as_str(),
        };
        context.style.apply(1, marks, &mut command);
        command
    });
    write(context, template, Key::Write(USERS))
}

fn read(
    context: &Context,
    bound: i32,
    build: impl FnOnce(i32, &Context) -> bson::RawDocumentBuf,
) -> Simple {
    let template = Template::new(1, |marks| {
        let mut command = build(marks.int32(0), context);
        command.append(cstr!("lsid"), marks.lsid.clone());
        command
    });
    Simple {
        template: template.of_lane(context.lane),
        key: Key::Read(bound),
        numbered: false,
    }
}

fn write(context: &Context, template: Template, key: Key) -> Simple {
    Simple {
        template: template.of_lane(context.lane),
        key,
        numbered: context.style.retryable,
    }
}

impl Source for Simple {
    fn fill(&mut self, connection: usize, random: &mut Random, out: &mut Vec<u8>) {
        let key = match self.key {
            Key::Read(bound) | Key::Write(bound) | Key::Ranges { count: bound, .. } => {
                i64::from(random.below(bound as u32))
            }
            Key::Fresh => fresh_number(),
        };
        self.put(connection, key, out);
    }

    fn distinct(&self) -> Option<u32> {
        match self.key {
            Key::Read(bound) | Key::Ranges { count: bound, .. } => Some(bound as u32),
            Key::Write(_) | Key::Fresh => None,
        }
    }

    fn fill_nth(&mut self, connection: usize, index: u32, out: &mut Vec<u8>) {
        self.put(connection, i64::from(index), out);
    }
}

impl Simple {
    fn put(&self, connection: usize, key: i64, out: &mut Vec<u8>) {
        let values = match self.key {
            Key::Ranges { width, .. } => {
                let width = i64::from(width);
                [key * width, (key + 1) * width]
            }
            _ if self.numbered => [key, fresh_number()],
            _ => [key, 0],
        };
        self.template.put(connection, &values, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::reply::body;
    use crate::bench::workload::{Workload, WriteStyle};

    fn context(retryable: bool) -> Context {
        Context {
            database: "bench".to_owned(),
            lane: 9,
            style: WriteStyle {
                concern: None,
                retryable,
            },
            trace: None,
        }
    }

    #[test]
    fn a_point_request_carries_its_key_and_its_connections_session() {
        let mut source = Workload::Point.source(&context(false));
        let mut frame = Vec::new();
        source.fill_nth(3, 1_234, &mut frame);
        assert_eq!(
            frame.len(),
            i32::from_le_bytes(frame[..4].try_into().unwrap()) as usize
        );
        let command = bson::Document::try_from(body(&frame).unwrap()).unwrap();
        assert_eq!(
            command
                .get_document("filter")
                .unwrap()
                .get_i32("_id")
                .unwrap(),
            1_234
        );
        let bson::Bson::Binary(id) = &command.get_document("lsid").unwrap()["id"] else {
            unreachable!("an lsid holds a binary id");
        };
        assert_eq!(id.bytes[..8], 3u64.to_le_bytes());
        assert_eq!(id.bytes[8..], 9u64.to_le_bytes());
        assert_eq!(command.keys().next().unwrap(), "find");
    }

    #[test]
    fn inserts_never_repeat_an_id() {
        let context = context(false);
        let workloads = [Workload::Insert, Workload::Insert, Workload::Insert64];
        let mut sources = workloads.map(|workload| workload.source(&context));
        let mut random = Random::seeded(1);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1_000 {
            for source in &mut sources {
                let mut frame = Vec::new();
                source.fill(0, &mut random, &mut frame);
                let command = bson::Document::try_from(body(&frame).unwrap()).unwrap();
                for document in command.get_array("documents").unwrap() {
                    let id = document.as_document().unwrap().get("_id").unwrap();
                    assert!(seen.insert(id.to_string()));
                }
            }
        }
        assert_eq!(seen.len(), 66_000);
    }

    #[test]
    fn retryable_writes_carry_numbers_that_grow() {
        for workload in [Workload::Insert, Workload::Update] {
            let mut source = workload.source(&context(true));
            let mut random = Random::seeded(1);
            let mut number = || {
                let mut frame = Vec::new();
                source.fill(0, &mut random, &mut frame);
                body(&frame).unwrap().get_i64("txnNumber").unwrap()
            };
            let first = number();
            assert!(number() > first, "{workload:?}");
        }
    }
}
