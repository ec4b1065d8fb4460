//! Events of this proxy's own writes: what they end, and what they leave.

use std::collections::VecDeque;

use bson::{Document, doc};

use super::interleavings::{Answer, Players, Random, Write, footprint_of};
use super::*;

const READS: Reads<'static> = Reads::Documents {
    db: "d",
    collection: "c",
};

fn player(id: i32) -> Document {
    doc! {"find": "c", "filter": {"_id": id}, "$db": "d"}
}

fn set(collection: &str, id: i32) -> Footprint {
    footprint_of(&doc! {"update": collection, "$db": "d", "updates": [
        {"q": {"_id": id}, "u": {"$set": {"score": 1}}},
    ]})
}

/// A write of this proxy's own that is over: its event is still to come.
fn write(f: &Arc<Fences>, footprint: &Footprint, time: u64) {
    let mut fence = f.begin(footprint);
    fence.note_change(time);
    fence.settle(Effect::ChangedInPlace);
}

fn opened(f: &Arc<Fences>, read: &Document) -> Window {
    let plan = ReadPlan::of(&read.to_vec().unwrap());
    f.open_window(READS, plan).unwrap()
}

fn answer(window: &Window, read: &Document, documents: &[Document]) -> Arc<dyn Tied> {
    Arc::new(Answer {
        tie: window.tie(),
        command: read.to_vec().unwrap(),
        read: read.clone(),
        documents: documents.iter().map(|d| d.to_vec().unwrap()).collect(),
    })
}

fn stored(f: &Arc<Fences>, id: i32) -> Arc<dyn Tied> {
    let window = opened(f, &player(id));
    let answer = answer(&window, &player(id), &[doc! {"_id": id, "score": 0}]);
    assert!(window.admit(&answer));
    answer
}

/// Fences to which an event has come: from then on they note their own writes.
fn watched() -> Arc<Fences> {
    let f = fences();
    f.landed(&set("elsewhere", 1), 1);
    f
}

#[test]
fn an_own_event_leaves_what_was_read_before_the_write_was_over() {
    let f = watched();
    let board = doc! {"find": "c", "filter": {"guild": 7}, "$db": "d"};
    let (early, late) = (opened(&f, &board), opened(&f, &board));
    // Of another guild's players the write says nothing; of an event that isn't sure.
    let joined =
        footprint_of(&doc! {"insert": "c", "documents": [{"_id": 9, "guild": 7}], "$db": "d"});
    let other = stored(&f, 2);
    write(&f, &joined, 5);
    let stale = answer(&early, &board, &[]);
    assert!(
        !early.admit(&stale),
        "it was sent before the write was over"
    );
    f.landed(&joined, 5);
    assert!(f.holds(other.tie()));
    let stale = answer(&late, &board, &[]);
    assert!(!late.admit(&stale));
}

#[test]
fn an_own_event_ends_what_was_read_since_the_reply_and_may_have_missed_the_write() {
    let f = watched();
    write(&f, &set("c", 1), 5);
    let (same, other) = (stored(&f, 1), stored(&f, 2));
    let (late, late_other) = (opened(&f, &player(1)), opened(&f, &player(2)));
    f.landed(&set("c", 1), 5);
    assert!(!f.holds(same.tie()) && f.holds(other.tie()));
    let stale = answer(&late, &player(1), &[doc! {"_id": 1, "score": 0}]);
    assert!(!late.admit(&stale), "it was under way");
    let right = answer(&late_other, &player(2), &[doc! {"_id": 2, "score": 0}]);
    assert!(late_other.admit(&right));
    let after = stored(&f, 1);
    f.landed(&set("c", 2), 6);
    assert!(f.holds(after.tie()));
}

#[test]
fn answers_that_depend_on_a_whole_collection_or_database_are_ended_only_if_they_were_read_since() {
    let names = ["v", "b", "c"].map(str::to_owned);
    let all = [
        Reads::Collection {
            db: "d",
            collection: "c",
        },
        Reads::View { db: "d" },
        Reads::Named {
            db: "d",
            names: &names,
        },
    ];
    for reads in all {
        let f = watched();
        write(&f, &set("c", 1), 5);
        f.landed(&set("c", 1), 5);
        let after = f.open(reads).unwrap();
        f.landed(&set("c", 1), 6);
        assert!(!f.valid(&after), "another's write");
        write(&f, &set("c", 1), 7);
        let since = f.open(reads).unwrap();
        assert!(f.valid(&since) && f.unmet(&since));
        f.landed(&set("c", 1), 7);
        assert!(!f.valid(&since) && !f.unmet(&since));
    }
    let f = watched();
    let before = f.open(Reads::View { db: "d" }).unwrap();
    write(&f, &set("c", 1), 5);
    assert!(!f.valid(&before));
    let (elsewhere, later) = (Reads::View { db: "e" }, Reads::View { db: "d" });
    let elsewhere = f.open(elsewhere).unwrap();
    f.landed(&set("c", 1), 5);
    assert!(f.valid(&elsewhere));
    let later = f.open(later).unwrap();
    f.landed(&set("c", 1), 5);
    assert!(
        !f.valid(&later),
        "an event that comes again counts as another's"
    );
}

#[test]
fn an_event_of_another_collection_or_another_generation_is_anothers() {
    let f = watched();
    let (c, b) = (
        stored(&f, 1),
        f.open(Reads::Collection {
            db: "d",
            collection: "b",
        })
        .unwrap(),
    );
    write(&f, &set("c", 2), 5);
    f.landed(&set("b", 1), 5);
    assert!(f.holds(c.tie()) && !f.valid(&b));
    let mut late = f.begin(&set("c", 2));
    f.flush(true);
    let c = stored(&f, 1);
    late.note_change(8);
    late.settle(Effect::Changed);
    f.landed(&set("c", 1), 8);
    assert!(!f.holds(c.tie()), "the reply came from the server before");
}

/// Reads that lawfully miss writes: they show what a majority has, and that moves on with the events.
struct Lagging {
    fences: Arc<Fences>,
    now: Players,
    majority: Players,
    events: VecDeque<(u64, Vec<Document>)>,
    time: u64,
    writes: Vec<(Fence, Effect, Option<u64>)>,
    reads: Vec<(Window, Document, Vec<Vec<u8>>)>,
    stored: Vec<Arc<Answer>>,
}

impl Lagging {
    fn new() -> Lagging {
        let players = Players((0..3).map(|id| (id, id % 2, id)).collect());
        Lagging {
            fences: watched(),
            now: players.clone(),
            majority: players,
            events: VecDeque::new(),
            time: 10,
            writes: Vec::new(),
            reads: Vec::new(),
            stored: Vec::new(),
        }
    }

    fn write(&mut self, write: Write) {
        let fence = self.fences.begin(&write.footprint());
        let before = self.now.clone();
        let changed = self.now.apply(&write);
        if !changed {
            return self.writes.push((fence, Effect::Unchanged, None));
        }
        self.time += 1;
        let changes = changes(&before, &self.now);
        let single = !matches!(
            write,
            Write::Reward(_) | Write::Both(..) | Write::Unread(..)
        );
        assert!(!single || changes.len() == 1);
        self.events.push_back((self.time, changes));
        let change = single.then_some(self.time);
        self.writes.push((fence, Effect::Changed, change));
    }

    fn settle(&mut self, at: usize) {
        let (mut fence, effect, change) = self.writes.remove(at);
        if let Some(time) = change {
            fence.note_change(time);
        }
        fence.settle(effect);
    }

    fn read(&mut self, read: Document, of_majority: bool) {
        let plan = ReadPlan::of(&read.to_vec().unwrap());
        let Some(window) = self.fences.open_window(READS, plan) else {
            return;
        };
        let players = if of_majority {
            &self.majority
        } else {
            &self.now
        };
        let documents = players.answer(&read);
        self.reads.push((window, read, documents));
    }

    fn store(&mut self, at: usize) {
        let (window, read, documents) = self.reads.remove(at);
        let answer = Arc::new(Answer {
            tie: window.tie(),
            command: read.to_vec().unwrap(),
            read,
            documents,
        });
        let tied: Arc<dyn Tied> = answer.clone();
        if window.admit(&tied) {
            self.stored.push(answer);
        }
    }

    fn event(&mut self) {
        let Some((time, changes)) = self.events.pop_front() else {
            return;
        };
        for change in changes {
            let id = change.get_i32("_id").unwrap();
            self.majority.0.retain(|p| p.0 != id);
            let footprint = match change.get_i32("score") {
                Ok(score) => {
                    let guild = change.get_i32("guild").unwrap();
                    self.majority.0.push((id, guild, score));
                    doc! {"update": "c", "$db": "d", "updates": [
                        {"q": {"_id": id}, "u": {"$set": {"guild": guild, "score": score}}, "upsert": true},
                    ]}
                }
                Err(_) => {
                    doc! {"delete": "c", "deletes": [{"q": {"_id": id}, "limit": 1}], "$db": "d"}
                }
            };
            self.fences.landed(&footprint_of(&footprint), time);
        }
    }

    /// All that is under way ends, all events come: from then on what is kept must be right.
    fn end(mut self) -> (u64, Vec<String>) {
        while !self.writes.is_empty() {
            self.settle(0);
        }
        while !self.reads.is_empty() {
            self.store(0);
        }
        while !self.events.is_empty() {
            self.event();
        }
        let kept = self.stored.iter().filter(|a| self.fences.holds(&a.tie));
        let kept: Vec<_> = kept.collect();
        let wrong = kept
            .iter()
            .filter(|a| self.now.answer(&a.read) != a.documents);
        (
            kept.len() as u64,
            wrong.map(|a| format!("{} is stale", a.read)).collect(),
        )
    }
}

/// What the events of a write say.
fn changes(before: &Players, after: &Players) -> Vec<Document> {
    let changed = after.0.iter().filter(|p| !before.0.contains(p));
    let ids = |players: &Players| players.0.iter().map(|p| p.0).collect::<Vec<_>>();
    let gone = ids(before)
        .into_iter()
        .filter(|id| !ids(after).contains(id));
    let changed = changed.map(|p| doc! {"_id": p.0, "guild": p.1, "score": p.2});
    changed.chain(gone.map(|id| doc! {"_id": id})).collect()
}

#[test]
fn what_a_majority_shows_late_is_ended_by_the_events_of_own_writes() {
    let (mut kept, mut wrong) = (0, Vec::new());
    for case in 0..3_000_u64 {
        let mut r = Random(0x9e37_79b9_7f4a_7c15 ^ (case + 1) << 20);
        let mut lagging = Lagging::new();
        for _ in 0..60 {
            match r.below(6) {
                0 if lagging.writes.len() < 4 => lagging.write(r.write()),
                1 if lagging.reads.len() < 4 => {
                    let of_majority = r.below(2) == 0;
                    lagging.read(r.read(), of_majority);
                }
                2 | 3 if !lagging.writes.is_empty() => {
                    let at = r.below(lagging.writes.len() as u64) as usize;
                    lagging.settle(at);
                }
                4 if !lagging.reads.is_empty() => {
                    let at = r.below(lagging.reads.len() as u64) as usize;
                    lagging.store(at);
                }
                _ => lagging.event(),
            }
        }
        let (more, stale) = lagging.end();
        kept += more;
        wrong.extend(stale);
    }
    println!("{kept} answers kept, {} wrong", wrong.len());
    assert_eq!(wrong.first(), None);
    assert!(kept > 1_000, "{kept}");
}
