//! Random interleavings of reads and writes over a model of a collection: whenever a stored answer holds, it is what the
//! collection would answer now.

use bson::{Document, doc};
use bytes::Bytes;

use super::*;
use crate::command::{Command, footprint};
use crate::wire::op_msg::OpMsg;
use crate::wire::{Frame, build};

const CASES: u64 = 2_000;
const STEPS: usize = 100;
const PLAYERS: u64 = 3;
const GUILDS: u64 = 2;
/// Reads and writes under way at a time.
const MOST: usize = 5;

/// An answer with its command.
pub(super) struct Answer {
    pub tie: Tie,
    pub command: Vec<u8>,
    pub read: Document,
    pub documents: Vec<Vec<u8>>,
}

impl Tied for Answer {
    fn tie(&self) -> &Tie {
        &self.tie
    }

    fn key(&self) -> &[u8] {
        &self.command
    }

    fn command(&self) -> &[u8] {
        &self.command
    }

    fn documents(&self) -> Option<Box<dyn Iterator<Item = &[u8]> + '_>> {
        let listed = !self.read.contains_key("count");
        listed.then(|| Box::new(self.documents.iter().map(Vec::as_slice)) as _)
    }
}

/// Players: `_id`, guild, score.
#[derive(Clone, Default)]
pub(super) struct Players(pub Vec<(i32, i32, i32)>);

impl Players {
    pub fn answer(&self, read: &Document) -> Vec<Vec<u8>> {
        let filter = read.get_document("filter").or(read.get_document("query"));
        let filter = filter.unwrap();
        let guild = filter.get_i32("guild").ok();
        let ids = filter.get_document("_id").ok();
        let from = ids.map_or(i32::MIN, |ids| ids.get_i32("$gte").unwrap());
        let to = ids.map_or(i32::MAX, |ids| ids.get_i32("$lte").unwrap());
        let mut found = self.0.clone();
        found.retain(|p| guild.is_none_or(|g| g == p.1) && (from..=to).contains(&p.0));
        let documents: Vec<Document> = if read.contains_key("count") {
            vec![doc! {"n": found.len() as i32}]
        } else if read.contains_key("projection") {
            found.sort();
            let shown = found.iter().map(|p| doc! {"_id": p.0, "guild": p.1});
            shown.collect()
        } else {
            found.sort_by_key(|&(id, _, score)| (-score, id));
            let shown = found.iter().take(2);
            shown
                .map(|p| doc! {"_id": p.0, "guild": p.1, "score": p.2})
                .collect()
        };
        documents.iter().map(|d| d.to_vec().unwrap()).collect()
    }

    /// Whether anything changed.
    pub fn apply(&mut self, write: &Write) -> bool {
        let before = self.0.clone();
        let one = |id: i32| move |p: &&mut (i32, i32, i32)| p.0 == id;
        match *write {
            Write::Score(id, by) => self.0.iter_mut().filter(one(id)).for_each(|p| p.2 += by),
            Write::Move(id, to) | Write::Unread(id, to) => {
                self.0.iter_mut().filter(one(id)).for_each(|p| p.1 = to);
            }
            Write::Shift(id) => self.0.iter_mut().filter(one(id)).for_each(|p| p.1 += 1),
            Write::Leave(id) => self.0.retain(|p| p.0 != id),
            Write::Join(id, guild) if self.0.iter().all(|p| p.0 != id) => {
                self.0.push((id, guild, 3));
            }
            Write::Join(..) => {}
            Write::Reward(guild) => {
                let members = self.0.iter_mut().filter(|p| p.1 == guild);
                members.for_each(|p| p.2 += 1);
            }
            Write::Both(id, to, by) => {
                self.0.iter_mut().filter(one(id)).for_each(|p| {
                    p.1 = to;
                    p.2 += by;
                });
            }
        }
        self.0 != before
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Write {
    Score(i32, i32),
    Move(i32, i32),
    Shift(i32),
    Leave(i32),
    Join(i32, i32),
    Reward(i32),
    /// Two statements on one player.
    Both(i32, i32, i32),
    /// As `Move`, in words that can't be followed.
    Unread(i32, i32),
}

impl Write {
    pub fn footprint(self) -> Footprint {
        let updates = |q: Document, u: Document, multi: bool| doc! {"update": "c", "updates": [{"q": q, "u": u, "multi": multi}]};
        let mut command = match self {
            Write::Score(id, by) => updates(doc! {"_id": id}, doc! {"$inc": {"score": by}}, false),
            Write::Move(id, to) => updates(doc! {"_id": id}, doc! {"$set": {"guild": to}}, false),
            Write::Shift(id) => updates(doc! {"_id": id}, doc! {"$inc": {"guild": 1}}, false),
            Write::Leave(id) => doc! {"delete": "c", "deletes": [{"q": {"_id": id}, "limit": 1}]},
            Write::Join(id, guild) => {
                doc! {"insert": "c", "documents": [{"_id": id, "guild": guild, "score": 3}]}
            }
            Write::Reward(guild) => {
                updates(doc! {"guild": guild}, doc! {"$inc": {"score": 1}}, true)
            }
            Write::Both(id, to, by) => doc! {"update": "c", "updates": [
                {"q": {"_id": id}, "u": {"$set": {"guild": to}}},
                {"q": {"_id": id}, "u": {"$inc": {"score": by}}},
            ]},
            Write::Unread(..) => return Footprint::Namespaces(vec![Namespace::new("d", "c")]),
        };
        command.insert("$db", "d");
        footprint_of(&command)
    }
}

pub(super) fn footprint_of(command: &Document) -> Footprint {
    let body = Bytes::from(command.to_vec().unwrap());
    let bytes = build::op_msg(1, 0, 0, &body);
    let msg = OpMsg::parse(&Frame { bytes }).unwrap();
    footprint(&Command::parse(&msg).unwrap(), &msg)
}

/// What is under way.
enum Op {
    Sent(Fence, Write),
    Executed(Fence, Effect),
    Asked(Window, Document),
    Answered(Window, Document, Vec<Vec<u8>>),
}

pub(super) struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    fn player(&mut self) -> i32 {
        self.below(PLAYERS) as i32
    }

    fn guild(&mut self) -> i32 {
        self.below(GUILDS) as i32
    }

    pub fn write(&mut self) -> Write {
        match self.below(16) {
            0..=9 => Write::Score(self.player(), self.below(7) as i32 - 3),
            10 => Write::Move(self.player(), self.guild()),
            11 => Write::Shift(self.player()),
            12 => Write::Leave(self.player()),
            13 => Write::Join(self.player(), self.guild()),
            14 => match self.below(2) {
                0 => Write::Reward(self.guild()),
                _ => Write::Both(self.player(), self.guild(), 2),
            },
            _ => Write::Unread(self.player(), self.guild()),
        }
    }

    pub fn read(&mut self) -> Document {
        let mut read = match self.below(6) {
            0..=2 => {
                doc! {"find": "c", "filter": {"guild": self.guild()}, "sort": {"score": -1, "_id": 1}, "limit": 2}
            }
            3 => doc! {"count": "c", "query": {"guild": self.guild()}},
            _ => {
                let first = self.player();
                known_of(first, first + self.below(PLAYERS) as i32)
            }
        };
        read.insert("$db", "d");
        read
    }
}

/// The guilds of some players.
fn known_of(first: i32, last: i32) -> Document {
    doc! {
        "find": "c", "filter": {"_id": {"$gte": first, "$lte": last}}, "projection": {"guild": 1},
        "sort": {"_id": 1}, "$db": "d",
    }
}

#[derive(Default)]
struct Tally {
    /// Answers that held while a write to another guild's player was under way.
    spared: u64,
    wrong: Vec<String>,
}

struct Case {
    fences: Arc<Fences>,
    players: Players,
    under_way: Vec<Op>,
    stored: Vec<Arc<Answer>>,
    /// Answers to reads of one document tell what it holds.
    knows: bool,
}

impl Case {
    fn new(knows: bool) -> Case {
        Case {
            fences: fences(),
            players: Players((0..3).map(|id| (id, id % 2, id)).collect()),
            under_way: Vec::new(),
            stored: Vec::new(),
            knows,
        }
    }

    fn open(&self, read: &Document) -> Option<Window> {
        let plan = ReadPlan::of(&read.to_vec().unwrap());
        let reads = Reads::Documents {
            db: "d",
            collection: "c",
        };
        self.fences.open_window(reads, plan)
    }

    /// A read from its beginning to its end.
    fn read(&mut self, read: Document) {
        let window = self.open(&read).unwrap();
        let documents = self.players.answer(&read);
        self.store(&window, read, documents);
    }

    fn step(&mut self, r: &mut Random) {
        if self.under_way.len() < MOST && r.below(3) == 0 {
            let op = if r.below(2) == 0 {
                let write = r.write();
                Op::Sent(self.fences.begin(&write.footprint()), write)
            } else {
                let read = r.read();
                let Some(window) = self.open(&read) else {
                    return;
                };
                Op::Asked(window, read)
            };
            return self.under_way.push(op);
        }
        if self.under_way.is_empty() {
            return;
        }
        // What began last overtakes the rest as often as not.
        let last = self.under_way.len() - 1;
        let at = match r.below(2) {
            0 => last,
            _ => r.below(last as u64 + 1) as usize,
        };
        let next = match self.under_way.remove(at) {
            Op::Sent(fence, write) => {
                let effect = match self.players.apply(&write) {
                    true => Effect::Changed,
                    false => Effect::Unchanged,
                };
                Op::Executed(fence, effect)
            }
            Op::Executed(fence, effect) => return fence.settle(effect),
            Op::Asked(window, read) => {
                let documents = self.players.answer(&read);
                Op::Answered(window, read, documents)
            }
            Op::Answered(window, read, documents) => return self.store(&window, read, documents),
        };
        self.under_way.insert(at, next);
    }

    fn store(&mut self, window: &Window, read: Document, documents: Vec<Vec<u8>>) {
        let answer = Arc::new(Answer {
            tie: window.tie(),
            command: read.to_vec().unwrap(),
            read,
            documents,
        });
        let tied: Arc<dyn Tied> = answer.clone();
        if window.admit(&tied) {
            if self.knows && answer.read.contains_key("projection") {
                window.note_pre_image(&tied);
            }
            self.stored.push(answer);
        }
    }

    fn look(&mut self, tally: &mut Tally) {
        let writing = self.under_way.iter().any(|op| {
            matches!(
                op,
                Op::Sent(_, Write::Score(..)) | Op::Executed(_, Effect::Changed)
            )
        });
        let fences = &self.fences;
        self.stored.retain(|answer| fences.holds(&answer.tie));
        for answer in &self.stored {
            if writing && answer.read.contains_key("limit") {
                tally.spared += 1;
            }
            if self.players.answer(&answer.read) != answer.documents {
                tally.wrong.push(format!("{} is stale", answer.read));
            }
        }
    }
}

fn run(knows: bool, weakened: Option<Weakened>) -> Tally {
    let mut tally = Tally::default();
    for case in 0..CASES {
        let mut r = Random(0x9e37_79b9_7f4a_7c15 ^ (case + 1) << 20);
        let mut case = Case::new(knows);
        if let Some(rule) = weakened {
            case.fences.weaken(rule);
        }
        for _ in 0..STEPS {
            case.step(&mut r);
            case.look(&mut tally);
        }
    }
    tally
}

/// What happens when a player is moved while another write to them is on its way, which had been judged by
/// their guild of before.
fn overtaken(weakened: Option<Weakened>) -> Vec<String> {
    let mut case = Case::new(true);
    if let Some(rule) = weakened {
        case.fences.weaken(rule);
    }
    case.read(known_of(0, 0));
    let score = Write::Score(0, 5);
    let scoring = case.fences.begin(&score.footprint());
    let moving = case.fences.begin(&Write::Move(0, 1).footprint());
    case.players.apply(&Write::Move(0, 1));
    moving.settle(Effect::Changed);
    case.read(doc! {"find": "c", "filter": {"guild": 1}, "sort": {"score": -1, "_id": 1}, "limit": 2, "$db": "d"});
    case.players.apply(&score);
    let mut tally = Tally::default();
    case.look(&mut tally);
    scoring.settle(Effect::Changed);
    case.look(&mut tally);
    tally.wrong
}

#[test]
fn a_write_that_overtakes_another_ends_what_that_one_was_judged_by() {
    assert_eq!(overtaken(None), [""; 0]);
    assert!(!overtaken(Some(Weakened::PreImages)).is_empty());
}

#[test]
fn whatever_the_order_of_things_an_answer_that_holds_is_right() {
    let plain = run(false, None);
    let knowing = run(true, None);
    println!(
        "{} spared, {} by what is known",
        plain.spared, knowing.spared
    );
    assert_eq!(plain.wrong.first(), None);
    assert_eq!(knowing.wrong.first(), None);
    assert!(
        knowing.spared > plain.spared + plain.spared / 10,
        "{} and {}",
        knowing.spared,
        plain.spared
    );
}

#[test]
fn a_pre_image_that_is_believed_for_as_long_as_a_write_takes_leaves_stale_answers() {
    let wrong = run(true, Some(Weakened::PreImages)).wrong;
    println!("{} wrong", wrong.len());
    assert!(!wrong.is_empty());
}
