//! One collection's writes, statement by statement, and the answers that they may affect.
//!
//! A write that begins suspends, under the lock, every stored answer that it may affect; an
//! answer is stored, under the same lock, only if it outlives every statement that was in flight
//! at any moment since it was asked for. So there is no moment at which a write could miss an
//! answer, or an answer a write. Outliving is decided on the answer itself: if each statement
//! provably leaves this answer as it is, the answer is right whichever of them it has seen.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Fences;
use super::fence::Origin;
use super::group::{Affected, Group, Judge, SCAN, plan_of};
use super::own::{OwnWrite, OwnWrites};
use super::pre_image::{PreImages, Write};
use super::tie::Tied;
use super::wanted::Wanted;
use crate::command::{Effect, Inserts, Reach, ReadPlan, ReadShape, Statement, Work};

/// A collection that is read and written.
#[derive(Default)]
pub(super) struct Collection {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Counts begins and ends of writes.
    now: u64,
    writing: HashMap<u64, Write, RandomState>,
    /// Writes that ended while a window was open, oldest end first.
    written: VecDeque<Written>,
    /// Windows opened before this moment can't be judged any more.
    forgotten: u64,
    /// What `written` costs, in bytes.
    bytes: usize,
    windows: usize,
    groups: HashMap<ReadShape, Arc<Group>, RandomState>,
    pre_images: PreImages,
    own: OwnWrites,
}

struct Written {
    began: u64,
    ended: u64,
    write: Write,
}

/// What a write under way holds suspended.
#[derive(Default)]
pub(super) struct Held {
    /// When it began: also its name.
    began: u64,
    groups: Vec<Arc<Group>>,
    answers: Vec<Weak<dyn Tied>>,
    /// Groups that it would hold if nothing were known of its documents.
    spared: Vec<Arc<Group>>,
}

/// What a write has ended, for the cache to drop.
#[derive(Default)]
pub(super) struct Ended {
    pub groups: Vec<Arc<Group>>,
    pub answers: Vec<Weak<dyn Tied>>,
}

impl Collection {
    /// A write is about to be sent, or, as an event tells, has been carried out.
    pub fn begin(&self, statements: &Arc<[Statement]>, origin: Origin, fences: &Fences) -> Held {
        let mut state = self.state.lock();
        state.now += 1;
        let write = match origin {
            Origin::Command | Origin::Transaction => state.pre_images.of(statements, fences),
            Origin::Event => Write::new(statements),
        };
        let mut held = Held {
            began: state.now,
            ..Held::default()
        };
        let groups: Vec<Arc<Group>> = state.groups.values().cloned().collect();
        let mut judge = Judge::new(write.work());
        for group in groups {
            let affected = affected(&group, &write, fences, &mut judge);
            if !matches!(affected, Affected::Everything)
                && write.knows_anything()
                && Write::new(statements).reaches_all(group.shape(), fences, &judge.work)
            {
                held.spared.push(Arc::clone(&group));
            }
            match affected {
                Affected::Nothing => {}
                Affected::Everything => {
                    if origin != Origin::Event && group.len() > 0 {
                        state.want(group.shape(), &write, fences);
                    }
                    group.suspend();
                    held.groups.push(group);
                }
                Affected::Answers(answers) => {
                    for answer in &answers {
                        answer.tie().suspend();
                    }
                    held.answers.extend(answers.iter().map(Arc::downgrade));
                }
            }
        }
        if !held.spared.is_empty() {
            state.pre_images.note_use(&write);
        }
        let began = state.now;
        state.writing.insert(began, write);
        held
    }

    /// A write is over, and its reply hasn't gone to the client yet. `own`: its event will have to be known.
    pub fn end(&self, held: Held, effect: Effect, own: Option<OwnWrite>, fences: &Fences) -> Ended {
        let mut state = self.state.lock();
        state.now += 1;
        if let Some(own) = own {
            let moment = state.now;
            state.own.note(OwnWrite { moment, ..own });
        }
        let write = state.writing.remove(&held.began).unwrap_or_default();
        let (write, judged) = match effect {
            Effect::Unchanged => {
                held.groups.iter().for_each(|group| group.revive());
                drop(state);
                let held = held.answers.iter().filter_map(Weak::upgrade);
                held.for_each(|answer| answer.tie().revive());
                return Ended::default();
            }
            // That nothing was upserted spares much of what was suspended.
            Effect::ChangedInPlace if write.statements.iter().any(may_upsert) => {
                let answered = write.statements.iter().cloned().map(|s| s.answered(None));
                (write.reworded(answered.collect()), true)
            }
            _ => (write, false),
        };
        held.spared.iter().for_each(|group| group.note_spared());
        let mut ended = Ended::default();
        let mut judge = Judge::new(write.work());
        for group in held.groups {
            let affected = match judged {
                true => affected(&group, &write, fences, &mut judge),
                false => Affected::Everything,
            };
            if let Affected::Everything = affected {
                group.kill();
                let current = state.groups.get(group.shape());
                if current.is_some_and(|g| Arc::ptr_eq(g, &group)) {
                    state.groups.remove(group.shape());
                }
                ended.groups.push(group);
                continue;
            }
            if let Affected::Answers(answers) = affected {
                for answer in answers {
                    answer.tie().kill();
                    ended.answers.push(Arc::downgrade(&answer));
                }
            }
            group.revive();
        }
        state.remember(held.began, write.clone());
        drop(state);
        for answer in held.answers {
            let Some(upgraded) = answer.upgrade() else {
                continue;
            };
            let work = &judge.work;
            let spares = |plan| write.spares(&*upgraded, &plan, fences, work);
            if judged && plan_of(&*upgraded, work).is_some_and(spares) {
                upgraded.tie().revive();
            } else {
                upgraded.tie().kill();
                ended.answers.push(answer);
            }
        }
        ended
    }

    /// The write of this proxy whose event has this cluster time.
    pub fn own_write(&self, time: u64) -> Option<OwnWrite> {
        self.state.lock().own.take(time)
    }

    /// The event of an own write that was over at `moment`: it meets the reads that were sent since. (Earlier ones the
    /// write itself has met.)
    pub fn end_read_since(
        &self,
        statements: &Arc<[Statement]>,
        moment: u64,
        fences: &Fences,
    ) -> Ended {
        let mut state = self.state.lock();
        let write = Write::new(statements);
        let mut judge = Judge::new(write.work());
        let mut ended = Ended::default();
        let later = |answer: &Arc<dyn Tied>| answer.tie().opened() >= moment;
        state.groups.retain(|_, group| {
            if group.newest() < moment {
                return true;
            }
            let answers = match affected(group, &write, fences, &mut judge) {
                Affected::Nothing => return true,
                Affected::Everything if group.len() > SCAN => {
                    group.kill();
                    ended.groups.push(Arc::clone(group));
                    return false;
                }
                Affected::Everything => {
                    let all = group.answers();
                    all.iter().filter_map(Weak::upgrade).collect()
                }
                Affected::Answers(answers) => answers,
            };
            for answer in answers.iter().filter(|a| later(a)) {
                answer.tie().kill();
                ended.answers.push(Arc::downgrade(answer));
            }
            true
        });
        state.now += 1;
        let began = state.now;
        state.remember(began, write);
        ended
    }

    /// A read is about to be sent: what is in flight from now on will be remembered.
    pub fn open(&self) -> u64 {
        let mut state = self.state.lock();
        state.windows += 1;
        state.pre_images.wants().note_read();
        state.now
    }

    /// The read is over.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.windows -= 1;
        if state.windows == 0 {
            state.written.clear();
            state.bytes = 0;
        }
    }

    /// The present moment, if no write in flight since `opened` reaches every read of this shape.
    pub fn mark(&self, opened: u64, shape: &ReadShape, fences: &Fences) -> Option<u64> {
        let state = self.state.lock();
        let work = Work::new(ONE_READ);
        state
            .met_since(opened, None)?
            .all(|write| !write.reaches_all(shape, fences, &work))
            .then_some(state.now)
    }

    /// Whether an answer asked for at `opened` is right for one who came at `mark`: it outlives
    /// every write that had begun by then.
    pub fn serves(
        &self,
        answer: &dyn Tied,
        plan: &ReadPlan,
        (opened, mark): (u64, u64),
        fences: &Fences,
    ) -> bool {
        let state = self.state.lock();
        let work = Work::new(ONE_READ);
        state
            .met_since(opened, Some(mark))
            .is_some_and(|mut met| met.all(|write| write.spares(answer, plan, fences, &work)))
    }

    /// Stores an answer that was asked for at `opened`, if it outlives all that was in flight
    /// since. (`None`: that isn't looked at, since the rule is weakened.)
    pub fn admit(
        &self,
        answer: &Arc<dyn Tied>,
        plan: &ReadPlan,
        opened: Option<u64>,
        fences: &Fences,
    ) -> bool {
        let mut state = self.state.lock();
        let work = Work::new(ONE_READ);
        let right = |opened| {
            let met = state.met_since(opened, None);
            met.is_some_and(|mut met| met.all(|w| w.spares(&**answer, plan, fences, &work)))
        };
        if !opened.is_none_or(right) {
            state.want_since(opened, plan.shape(), fences);
            return false;
        }
        if !state.groups.contains_key(plan.shape()) && state.groups.len() >= MOST_GROUPS {
            state.groups.retain(|_, group| group.len() > 0);
            if state.groups.len() >= MOST_GROUPS {
                return false;
            }
        }
        let (shape, now) = (plan.shape(), state.now);
        let brought = Arc::clone(state.pre_images.wants().brought());
        let group = state
            .groups
            .entry(shape.clone())
            .or_insert_with(|| Arc::new(Group::new(shape.clone(), brought)));
        // Writes in flight that suspended the whole group will end it, outlived or not.
        if !group.holds() {
            state.want_since(opened, plan.shape(), fences);
            return false;
        }
        group.admit(answer, plan, opened.unwrap_or(now));
        true
    }

    /// An answer that is tied tells what some documents hold.
    pub fn note_pre_image(&self, answer: &Arc<dyn Tied>) {
        self.state.lock().pre_images.note(answer);
    }

    /// Documents of which it would be worth knowing more.
    pub fn take_wanted(&self, fences: &Fences) -> Vec<Wanted> {
        let wanted = self.state.lock().pre_images.wants().take();
        fences.wanted.fetch_sub(wanted.len(), SeqCst);
        wanted
    }

    /// Whether answers are stored, or being read.
    pub fn keeps(&self) -> bool {
        let state = self.state.lock();
        state.windows > 0 || state.groups.values().any(|group| group.len() > 0)
    }

    /// Documents of which something is kept.
    #[cfg(test)]
    pub fn documents_kept(&self) -> usize {
        self.state.lock().pre_images.len()
    }

    /// Forgets what isn't known any more. Called about once a second.
    pub fn sweep(&self, now: Instant) {
        self.state.lock().pre_images.sweep(now);
    }

    /// Nothing is under way and nothing is stored (and then nothing more is wanted).
    pub fn is_idle(&self, fences: &Fences) -> bool {
        let mut state = self.state.lock();
        state.groups.retain(|_, group| group.len() > 0);
        let idle = state.groups.is_empty() && state.writing.is_empty() && state.windows == 0;
        drop(state);
        if idle {
            self.take_wanted(fences);
        }
        idle
    }
}

impl State {
    /// Reads of a shape suffer from a write.
    fn want(&mut self, shape: &ReadShape, write: &Write, fences: &Fences) {
        let more = self.pre_images.want(shape, write, fences);
        fences.wanted.fetch_add(more, SeqCst);
    }

    /// A read of a shape, sent at `opened`, couldn't be stored for what was written since.
    fn want_since(&mut self, opened: Option<u64>, shape: &ReadShape, fences: &Fences) {
        let met = opened.and_then(|opened| {
            let met = self.met_since(opened, None)?;
            Some(met.take(MOST_MET).cloned().collect())
        });
        let met: Vec<Write> = met.unwrap_or_default();
        for write in &met {
            self.want(shape, write, fences);
        }
    }

    /// For the reads that are under way.
    fn remember(&mut self, began: u64, write: Write) {
        if self.windows == 0 {
            return;
        }
        self.bytes += cost(&write.statements);
        self.written.push_back(Written {
            began,
            ended: self.now,
            write,
        });
        while self.bytes > REMEMBERED
            && let Some(oldest) = self.written.pop_front()
        {
            self.bytes -= cost(&oldest.write.statements);
            self.forgotten = oldest.ended;
        }
    }

    /// The writes that were in flight at some moment after `opened` (and had begun by `mark`).
    /// `None`: not all of them are remembered.
    fn met_since(&self, opened: u64, mark: Option<u64>) -> Option<impl Iterator<Item = &Write>> {
        let begun = move |began: u64| mark.is_none_or(|mark| began <= mark);
        let written = self
            .written
            .iter()
            .rev()
            .take_while(move |w| w.ended > opened)
            .filter(move |w| begun(w.began))
            .map(|w| &w.write);
        let writing = self
            .writing
            .iter()
            .filter(move |(began, _)| begun(**began))
            .map(|(_, write)| write);
        (opened >= self.forgotten).then(|| written.chain(writing))
    }
}

/// What all statements of a write affect together.
fn affected(group: &Group, write: &Write, fences: &Fences, judge: &mut Judge) -> Affected {
    let mut answers = Vec::new();
    let mut out_of_reach = false;
    for (statement, pre_image) in write.each(fences) {
        // What reaches a shape doesn't depend on the values: plain inserts are all alike.
        let plain_insert =
            statement.selects.is_none() && matches!(statement.inserts, Inserts::Document(_));
        if plain_insert && out_of_reach && judge.work.spend(1) {
            continue;
        }
        match group.affected(statement, pre_image, judge) {
            Affected::Nothing => {
                out_of_reach |= plain_insert && group.reach(statement, None) == Reach::Nothing;
            }
            Affected::Everything => return Affected::Everything,
            Affected::Answers(more) => answers.extend(more),
        }
    }
    if answers.is_empty() {
        Affected::Nothing
    } else {
        Affected::Answers(answers)
    }
}

/// Whether a statement may insert a document of which not all is known.
fn may_upsert(statement: &Statement) -> bool {
    matches!(statement.inserts, Inserts::Seeded(_) | Inserts::Anything)
}

/// What remembering statements costs, in bytes.
fn cost(statements: &[Statement]) -> usize {
    let one = |s: &Statement| {
        let selects = s
            .selects
            .as_ref()
            .map_or(0, |selector| selector.filter.len());
        let inserts = match &s.inserts {
            Inserts::Document(document) | Inserts::Seeded(document) => document.len(),
            Inserts::Nothing | Inserts::Anything => 0,
        };
        size_of::<Statement>() + 64 + selects + inserts
    };
    statements.iter().map(one).sum()
}

/// Bytes of ended writes of a collection that are remembered while reads are under way.
const REMEMBERED: usize = 2 << 20;

/// What judging an answer by the writes that it has met may cost, in the measure of [`Work`]: some milliseconds.
const ONE_READ: usize = 400_000;

/// Writes that a read has met whose documents are thought about.
const MOST_MET: usize = 64;

/// Shapes of reads whose answers are told apart, in one collection.
const MOST_GROUPS: usize = 256;
