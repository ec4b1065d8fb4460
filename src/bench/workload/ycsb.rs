//! The six core workloads of YCSB: 10,000 records of ten fields of 100 bytes, asked for by Zipf (0.99).
//!
//! | | |
//! |---|---|
//! | A | 50 % reads, 50 % updates of one field |
//! | B | 95 % reads, 5 % updates |
//! | C | reads |
//! | D | 95 % reads of the latest records, 5 % inserts |
//! | E | 95 % scans of 1 to 100 records by `_id`, 5 % inserts |
//! | F | 50 % reads, 50 % reads followed by an update of the same record |

use bson::raw::cstr;
use bson::{RawDocumentBuf, rawdoc};

use super::template::{Marks, Template, field};
use super::{Context, Source, data, fresh_number};
use crate::bench::connection::{Asker, ConnectionError};
use crate::bench::random::{Random, Zipf};

const RECORDS: u32 = 10_000;
const FIELDS: u32 = 10;
const ZIPF_EXPONENT: f64 = 0.99;
const LONGEST_SCAN: u32 = 100;

/// Which of the six.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "see the module's table")]
pub enum Letter {
    A,
    B,
    C,
    D,
    E,
    F,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Update,
    Insert,
    Scan,
    ReadModifyWrite,
}

/// One workload's requests.
pub struct Ycsb {
    letter: Letter,
    zipf: Zipf,
    read: Template,
    scan: Template,
    insert: Template,
    /// One per field.
    updates: Vec<Template>,
    numbered: bool,
    /// Keys inserted by this source, oldest first.
    inserted: Vec<i64>,
    /// By connection: the record that was read to be updated.
    pending: Vec<Option<i64>>,
}

impl Ycsb {
    /// One workload on a lane's own data.
    pub fn new(letter: Letter, context: &Context) -> Ycsb {
        let db = context.database.as_str();
        let style = &context.style;
        let write = |own: usize, build: &dyn Fn(&Marks) -> RawDocumentBuf| {
            let whole = |marks: &Marks| {
                let mut command = build(marks);
                style.apply(own, marks, &mut command);
                command
            };
            Template::new(style.holes(own), whole).of_lane(context.lane)
        };
        let update = |number: u32| {
            write(2, &|marks| {
                let mut set = RawDocumentBuf::new();
                set.append(
                    field(&format!("field{number}")),
                    field_value(&marks.digits(1)),
                );
                rawdoc! {
                    "update": "usertable",
                    "updates": [{"q": {"_id": key(&marks.digits(0))}, "u": {"$set": set}}],
                    "lsid": marks.lsid.clone(), "$db": db,
                }
            })
        };
        let read = Template::new(1, |marks| {
            rawdoc! {
                "find": "usertable", "filter": {"_id": key(&marks.digits(0))}, "limit": 1, "singleBatch": true,
                "lsid": marks.lsid.clone(), "$db": db,
            }
        });
        let scan = Template::new(2, |marks| {
            rawdoc! {
                "find": "usertable", "filter": {"_id": {"$gte": key(&marks.digits(0))}}, "sort": {"_id": 1},
                "limit": marks.int32(1), "lsid": marks.lsid.clone(), "$db": db,
            }
        });
        Ycsb {
            letter,
            zipf: Zipf::new(RECORDS, ZIPF_EXPONENT),
            read: read.of_lane(context.lane),
            scan: scan.of_lane(context.lane),
            insert: write(1, &|marks| {
                rawdoc! {
                    "insert": "usertable", "documents": [record(&marks.digits(0))],
                    "lsid": marks.lsid.clone(), "$db": db,
                }
            }),
            updates: (0..FIELDS).map(update).collect(),
            numbered: style.retryable,
            inserted: Vec::new(),
            pending: Vec::new(),
        }
    }

    fn draw(&self, random: &mut Random) -> Kind {
        let other = random.below(100);
        match self.letter {
            Letter::A if other < 50 => Kind::Update,
            Letter::B if other < 5 => Kind::Update,
            Letter::D | Letter::E if other < 5 => Kind::Insert,
            Letter::E => Kind::Scan,
            Letter::F if other < 50 => Kind::ReadModifyWrite,
            _ => Kind::Read,
        }
    }

    /// A key by popularity; with D, the latest are the most popular.
    fn key(&self, random: &mut Random) -> i64 {
        let rank = self.zipf.draw(random);
        if self.letter == Letter::D {
            let back = rank as usize + 1;
            return match self.inserted.len().checked_sub(back) {
                Some(index) => self.inserted[index],
                None => i64::from(RECORDS) - (back - self.inserted.len()) as i64,
            };
        }
        // Popular records lie anywhere (7,919 and 10,000 have no common divisor).
        i64::from((rank * 7_919 + 31) % RECORDS)
    }

    fn update(&self, connection: usize, key: i64, random: &mut Random, out: &mut Vec<u8>) {
        let field = random.below(FIELDS) as usize;
        let value = i64::from(random.below(u32::MAX));
        let mut values = vec![key, value];
        self.number(&mut values);
        self.updates[field].put(connection, &values, out);
    }

    fn number(&self, values: &mut Vec<i64>) {
        if self.numbered {
            values.push(fresh_number());
        }
    }
}

impl Source for Ycsb {
    fn fill(&mut self, connection: usize, random: &mut Random, out: &mut Vec<u8>) {
        if self.pending.len() <= connection {
            self.pending.resize(connection + 1, None);
        }
        if let Some(key) = self.pending[connection].take() {
            return self.update(connection, key, random, out);
        }
        match self.draw(random) {
            Kind::Read => self.read.put(connection, &[self.key(random)], out),
            Kind::Update => {
                let key = self.key(random);
                self.update(connection, key, random, out);
            }
            Kind::ReadModifyWrite => {
                let key = self.key(random);
                self.pending[connection] = Some(key);
                self.read.put(connection, &[key], out);
            }
            Kind::Scan => {
                let length = i64::from(1 + random.below(LONGEST_SCAN));
                self.scan.put(connection, &[self.key(random), length], out);
            }
            Kind::Insert => {
                let key = fresh_number();
                self.inserted.push(key);
                let mut values = vec![key];
                self.number(&mut values);
                self.insert.put(connection, &values, out);
            }
        }
    }

    fn distinct(&self) -> Option<u32> {
        (self.letter != Letter::E).then_some(RECORDS)
    }

    fn fill_nth(&mut self, connection: usize, index: u32, out: &mut Vec<u8>) {
        self.read.put(connection, &[i64::from(index)], out);
    }
}

fn key(digits: &str) -> String {
    format!("user{digits}")
}

fn field_value(digits: &str) -> String {
    format!("{digits:x<100}")
}

fn record(digits: &str) -> RawDocumentBuf {
    let mut record = RawDocumentBuf::new();
    record.append(cstr!("_id"), key(digits));
    for number in 0..FIELDS {
        record.append(
            field(&format!("field{number}")),
            field_value(&number.to_string()),
        );
    }
    record
}

/// Makes the records, from scratch.
pub fn fill(asker: &mut Asker, database: &str) -> Result<(), ConnectionError> {
    asker.command(&rawdoc! {"dropDatabase": 1, "$db": database})?;
    let records = (0..RECORDS).map(|id| record(&format!("{id:019}")));
    data::insert_all(asker, database, "usertable", records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::reply::body;

    fn asked(letter: Letter, count: usize) -> Vec<RawDocumentBuf> {
        let mut source = Ycsb::new(letter, &Context::default());
        let mut random = Random::seeded(3);
        let ask = |_| {
            let mut frame = Vec::new();
            source.fill(0, &mut random, &mut frame);
            body(&frame).unwrap().to_owned()
        };
        (0..count).map(ask).collect()
    }

    fn share(commands: &[RawDocumentBuf], name: &str) -> f64 {
        let named = |command: &&RawDocumentBuf| matches!(command.get(name), Ok(Some(_)));
        commands.iter().filter(named).count() as f64 / commands.len() as f64
    }

    #[test]
    fn each_letter_has_its_mix() {
        assert!((0.45..0.55).contains(&share(&asked(Letter::A, 10_000), "update")));
        assert!((0.03..0.07).contains(&share(&asked(Letter::B, 10_000), "update")));
        assert_eq!(share(&asked(Letter::C, 1_000), "find"), 1.0);
        assert!((0.03..0.07).contains(&share(&asked(Letter::D, 10_000), "insert")));
        assert!((0.9..0.97).contains(&share(&asked(Letter::E, 10_000), "sort")));
        // A third of F's requests: each read-modify-write is two.
        assert!((0.3..0.37).contains(&share(&asked(Letter::F, 10_000), "update")));
    }

    #[test]
    fn an_update_follows_the_read_of_its_record() {
        let commands = asked(Letter::F, 100);
        let update = commands
            .iter()
            .position(|command| matches!(command.get("update"), Ok(Some(_))))
            .unwrap();
        let read = commands[update - 1].get_document("filter").unwrap();
        let statements = commands[update].get_array("updates").unwrap();
        let first = statements.get_document(0).unwrap();
        let written = first.get_document("q").unwrap();
        assert_eq!(
            read.get_str("_id").unwrap(),
            written.get_str("_id").unwrap()
        );
    }
}
