//! The stored answers of one shape of read in one collection, found by value.
//!
//! An answer is posted under every value that its filter demands by an equality, and under
//! the values that its documents have at `_id` and at the paths that writes select by (learnt
//! from the writes themselves). A write then looks only at the answers it has a value in common
//! with, however many there are. What can't be posted by value is posted under a star, and is a
//! candidate always.

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Weak};

use foldhash::fast::{FixedState, RandomState};
use parking_lot::Mutex;

use super::credit::Brought;
use super::postings::{POSTING_BYTES, PostingId, Postings};
use super::tie::Tied;
use crate::command::{
    Equality, Reach, Reached, ReadPlan, ReadShape, Selector, Statement, ValueKey, Work,
    document_keys, known_at, reach, selected_ids, survives, values_at,
};

/// Answers of one shape.
pub(super) struct Group {
    shape: ReadShape,
    /// Writes in flight that may affect any member; [`DEAD`] once one has.
    state: AtomicU32,
    /// Writes that would have ended every member if nothing had been known of their documents.
    spared: AtomicU32,
    brought: Arc<Brought>,
    /// When the read of the latest member was sent, in the collection's own counting.
    newest: AtomicU64,
    members: Mutex<Members>,
}

struct Members {
    slots: Vec<Option<Member>>,
    free: Vec<u32>,
    postings: Postings,
    /// Paths by whose values the members' documents are posted. `_id` is the first.
    document_paths: Vec<String>,
}

struct Member {
    answer: Weak<dyn Tied>,
    postings: Box<[PostingId]>,
}

/// The members that a statement may affect.
pub(super) enum Affected {
    Nothing,
    Everything,
    Answers(Vec<Arc<dyn Tied>>),
}

/// What a statement reaches, and by what it is found.
struct Sought<'a> {
    reached: Reach,
    statement: &'a Statement,
    pre_image: Option<&'a [u8]>,
}

impl Group {
    /// `brought`: where hits are counted that there are thanks to looks.
    pub fn new(shape: ReadShape, brought: Arc<Brought>) -> Group {
        Group {
            shape,
            state: AtomicU32::new(0),
            spared: AtomicU32::new(0),
            brought,
            newest: AtomicU64::new(0),
            members: Mutex::new(Members {
                slots: Vec::new(),
                free: Vec::new(),
                postings: Postings::default(),
                document_paths: vec!["_id".to_owned()],
            }),
        }
    }

    pub fn holds(&self) -> bool {
        self.state.load(SeqCst) == 0
    }

    pub fn shape(&self) -> &ReadShape {
        &self.shape
    }

    /// What a statement reaches here, whatever its values.
    pub fn reach(&self, statement: &Statement, pre_image: Option<&[u8]>) -> Reach {
        reach(&self.shape, statement, pre_image)
    }

    pub fn suspend(&self) {
        self.state.fetch_add(1, SeqCst);
    }

    pub fn revive(&self) {
        self.state.fetch_sub(1, SeqCst);
    }

    /// Ends every member at once. They leave as the cache drops them.
    pub fn kill(&self) {
        self.state.fetch_or(DEAD, SeqCst);
    }

    /// A write spares members that it would have ended if nothing were known of its document.
    pub fn note_spared(&self) {
        self.spared.fetch_add(1, Relaxed);
    }

    /// Counts such writes.
    pub fn spared(&self) -> u32 {
        self.spared.load(Relaxed)
    }

    /// A member was served that such a write has spared since it was last.
    pub fn note_brought(&self) {
        self.brought.add();
    }

    pub fn len(&self) -> usize {
        let members = self.members.lock();
        members.slots.len() - members.free.len()
    }

    /// Everything that is still here.
    pub fn answers(&self) -> Vec<Weak<dyn Tied>> {
        let members = self.members.lock();
        members.iter().map(|m| m.answer.clone()).collect()
    }

    /// When the read of the latest member was sent.
    pub fn newest(&self) -> u64 {
        self.newest.load(SeqCst)
    }

    /// Takes an answer in, and ties it. `opened`: when its read was sent.
    pub fn admit(self: &Arc<Self>, answer: &Arc<dyn Tied>, plan: &ReadPlan, opened: u64) {
        self.newest.fetch_max(opened, SeqCst);
        let mut members = self.members.lock();
        let slot = members.place();
        let mut postings = Vec::new();
        for equality in plan.anchor() {
            let values = Some(equality.values.as_slice());
            members.post(FILTER, &equality.path, values, slot, &mut postings);
        }
        for path in members.document_paths.clone() {
            let values = document_values(&**answer, &self.shape, &path);
            members.post(DOCUMENT, &path, values.as_deref(), slot, &mut postings);
        }
        if let Some(place) = members.slots.get_mut(slot as usize) {
            *place = Some(Member {
                answer: Arc::downgrade(answer),
                postings: postings.into(),
            });
        }
        drop(members);
        answer.tie().bind(Arc::clone(self), slot, opened);
    }

    pub fn forget(&self, slot: u32) {
        self.members.lock().remove(slot);
    }

    /// What a member costs here, in bytes.
    pub fn bytes_of(&self, slot: u32) -> usize {
        let members = self.members.lock();
        let postings = members.slots.get(slot as usize).and_then(Option::as_ref);
        size_of::<Option<Member>>() + postings.map_or(0, |m| m.postings.len()) * POSTING_BYTES
    }

    /// The members that a statement may affect. `pre_image`: what is known of the one document that it selects,
    /// and stays as it is. Once the judge has no work left to spend, all members count as affected.
    pub fn affected(
        &self,
        statement: &Statement,
        pre_image: Option<&[u8]>,
        judge: &mut Judge,
    ) -> Affected {
        let work = &judge.work;
        // Where it leads to is looked up for each path that the members are told apart by.
        if !work.spend(statement.size() * (1 + self.shape.anchor().len())) {
            return Affected::Everything;
        }
        let reached = match self.reach(statement, pre_image) {
            Reach::Nothing => return Affected::Nothing,
            Reach::Everything => return Affected::Everything,
            entries => entries,
        };
        // What is upgraded outlives the lock: whoever drops an answer last locks the group.
        let (mut candidates, mut kept) = (Vec::new(), Vec::new());
        {
            let mut members = self.members.lock();
            let mut slots = Vec::new();
            let sought = Sought {
                reached,
                statement,
                pre_image,
            };
            let found = members.find(&self.shape, &sought, &mut slots, &mut kept);
            if found && !work.spend(slots.len()) {
                return Affected::Everything;
            }
            if found {
                slots.sort_unstable();
                slots.dedup();
                candidates.extend(slots.iter().filter_map(|&s| members.answer(s)));
            } else if members.slots.len() - members.free.len() > SCAN {
                return Affected::Everything;
            } else {
                candidates.extend(members.iter().filter_map(|m| m.answer.upgrade()));
            }
        }
        candidates.retain(|answer| !judge.outlives(answer, statement, pre_image));
        if judge.work.is_spent() {
            return Affected::Everything;
        }
        if candidates.is_empty() {
            Affected::Nothing
        } else {
            Affected::Answers(candidates)
        }
    }
}

/// Judges answers by one write, within bounds.
pub(super) struct Judge {
    /// What it may still cost.
    pub work: Work,
    /// Plans of the answers that were looked at, by where these are (and so they are held): a write of many statements
    /// looks at the same answers again and again.
    plans: HashMap<usize, (Arc<dyn Tied>, Option<ReadPlan>), RandomState>,
}

impl Judge {
    pub fn new(work: Work) -> Judge {
        Judge {
            work,
            plans: HashMap::default(),
        }
    }

    /// Whether an answer provably stays right.
    fn outlives(
        &mut self,
        answer: &Arc<dyn Tied>,
        statement: &Statement,
        pre_image: Option<&[u8]>,
    ) -> bool {
        let work = &self.work;
        let place = Arc::as_ptr(answer).cast::<()>() as usize;
        let known = self.plans.entry(place);
        let (_, plan) = known.or_insert_with(|| (Arc::clone(answer), plan_of(&**answer, work)));
        plan.as_ref()
            .is_some_and(|plan| outlives_by(plan, &**answer, statement, pre_image, work))
    }
}

/// The plan of the read that an answer answers, if there is enough left of `work`.
pub(super) fn plan_of(answer: &dyn Tied, work: &Work) -> Option<ReadPlan> {
    let command = answer.command();
    work.spend(command.len() / 16)
        .then(|| ReadPlan::of(command))?
}

/// Whether an answer to a read of this plan provably stays right.
pub(super) fn outlives_by(
    plan: &ReadPlan,
    answer: &dyn Tied,
    statement: &Statement,
    pre_image: Option<&[u8]>,
    work: &Work,
) -> bool {
    match answer.documents() {
        Some(mut documents) => survives(plan, Some(&mut *documents), statement, pre_image, work),
        None => survives(plan, None, statement, pre_image, work),
    }
}

impl Members {
    fn iter(&self) -> impl Iterator<Item = &Member> {
        self.slots.iter().flatten()
    }

    fn answer(&self, slot: u32) -> Option<Arc<dyn Tied>> {
        self.slots.get(slot as usize)?.as_ref()?.answer.upgrade()
    }

    fn place(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        })
    }

    fn remove(&mut self, slot: u32) {
        if let Some(member) = self.slots.get_mut(slot as usize).and_then(Option::take) {
            for &id in &member.postings {
                self.postings.remove(id);
            }
            self.free.push(slot);
        }
    }

    /// Posts a slot under values, or under the star where they aren't known or too many.
    fn post(
        &mut self,
        kind: u8,
        path: &str,
        values: Option<&[ValueKey]>,
        slot: u32,
        ids: &mut Vec<PostingId>,
    ) {
        match values {
            Some(values) if values.len() <= MOST_VALUES => {
                for value in values {
                    ids.push(self.postings.add(hash(kind, path, Some(value)), slot));
                }
            }
            _ => ids.push(self.postings.add(hash(kind, path, None), slot)),
        }
    }

    /// The members that share a value with a statement. `false`: they can't be told by value.
    fn find(
        &mut self,
        shape: &ReadShape,
        sought: &Sought<'_>,
        slots: &mut Vec<u32>,
        kept: &mut Vec<Arc<dyn Tied>>,
    ) -> bool {
        let Reach::Entries {
            by_filter,
            by_sets,
            by_document,
            by_id,
            by_pre_image,
        } = sought.reached
        else {
            return false;
        };
        let statement = sought.statement;
        let (inserts, change) = (&statement.inserts, &statement.change);
        if by_filter && !self.by_filter(shape, |path| inserts.values_at(path), slots)
            || by_sets && !self.by_filter(shape, |path| change.values_at(path), slots)
        {
            return false;
        }
        if by_pre_image {
            let known = |path: &str| known_at(sought.pre_image?, path);
            if !self.by_filter(shape, known, slots) {
                return false;
            }
        }
        let Some(selector) = &statement.selects else {
            return !(by_document || by_id);
        };
        if by_id {
            let Some(ids) = selected_ids(selector) else {
                return false;
            };
            self.take_shortest([self.lists(FILTER, "_id", &ids)], slots);
        }
        !by_document || self.by_document(shape, selector, slots, kept)
    }

    /// Members whose filter demands, at one of the anchor paths, a value that is there. Where
    /// several paths are known, those that share one of them share all: the shortest list will do.
    fn by_filter(
        &self,
        shape: &ReadShape,
        values_at: impl Fn(&str) -> Option<Reached>,
        slots: &mut Vec<u32>,
    ) -> bool {
        let known = shape.anchor().iter().filter_map(|path| {
            let reached = values_at(path).filter(|r| !r.unsure)?;
            Some(self.lists(FILTER, path, &reached.values))
        });
        self.take_shortest(known, slots)
    }

    /// Members with a document that the selector may match.
    fn by_document(
        &mut self,
        shape: &ReadShape,
        selector: &Selector,
        slots: &mut Vec<u32>,
        kept: &mut Vec<Arc<dyn Tied>>,
    ) -> bool {
        let wanted = document_keys(selector);
        for equality in &wanted {
            self.learn(shape, equality, kept);
        }
        let known = wanted
            .iter()
            .filter(|e| self.document_paths.contains(&e.path));
        let lists: Vec<Vec<u64>> = known
            .map(|e| self.lists(DOCUMENT, &e.path, &e.values))
            .collect();
        self.take_shortest(lists, slots)
    }

    /// The hashes under which members with one of these values are posted.
    fn lists(&self, kind: u8, path: &str, values: &[ValueKey]) -> Vec<u64> {
        let by_value = values.iter().map(|v| hash(kind, path, Some(v)));
        std::iter::once(hash(kind, path, None))
            .chain(by_value)
            .collect()
    }

    /// Each of `lists` holds every member wanted: the shortest will do.
    fn take_shortest(
        &self,
        lists: impl IntoIterator<Item = Vec<u64>>,
        slots: &mut Vec<u32>,
    ) -> bool {
        let mut lists: Vec<Vec<u64>> = lists.into_iter().collect();
        let shortest = match lists.len() {
            0 => return false,
            1 => lists.pop(),
            _ => lists.into_iter().min_by_key(|hashes| {
                let count = |&hash: &u64| self.postings.count(hash);
                hashes.iter().map(count).sum::<usize>()
            }),
        };
        let hashes = shortest.unwrap_or_default();
        slots.extend(hashes.iter().flat_map(|&h| self.postings.of(h)));
        true
    }

    /// Posts the members' documents by one more path, since writes select by it.
    fn learn(&mut self, shape: &ReadShape, equality: &Equality, kept: &mut Vec<Arc<dyn Tied>>) {
        if self.document_paths.len() >= MOST_PATHS || self.document_paths.contains(&equality.path) {
            return;
        }
        let path = equality.path.clone();
        self.document_paths.push(path.clone());
        let answers: Vec<(u32, Arc<dyn Tied>)> = (0..)
            .zip(&self.slots)
            .filter_map(|(slot, m)| Some((slot, m.as_ref()?.answer.upgrade()?)))
            .collect();
        for (slot, answer) in &answers {
            let values = document_values(&**answer, shape, &path);
            let mut ids = Vec::new();
            self.post(DOCUMENT, &path, values.as_deref(), *slot, &mut ids);
            if let Some(Some(member)) = self.slots.get_mut(*slot as usize) {
                member.postings = member.postings.iter().copied().chain(ids).collect();
            }
        }
        kept.extend(answers.into_iter().map(|(_, answer)| answer));
    }
}

/// The values that an answer's documents have at a path. `None`: not known, or too many.
fn document_values(answer: &dyn Tied, shape: &ReadShape, path: &str) -> Option<Vec<ValueKey>> {
    if !shape.tells(path) {
        return None;
    }
    let mut values = Vec::new();
    for document in answer.documents()? {
        let reached = values_at(document, path);
        if reached.unsure || values.len() + reached.values.len() > MOST_VALUES {
            return None;
        }
        values.extend(reached.values);
    }
    Some(values)
}

fn hash(kind: u8, path: &str, value: Option<&ValueKey>) -> u64 {
    FixedState::default().hash_one((kind, path, value.map(ValueKey::as_bytes)))
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

const DEAD: u32 = 1 << 31;

/// What a posting says of its answer: its filter demands the value, or a document has it.
const FILTER: u8 = b'f';
const DOCUMENT: u8 = b'd';

/// Values of one path by which an answer is posted; with more it is always a candidate.
pub(super) const MOST_VALUES: usize = 128;

/// Paths by which documents are posted.
const MOST_PATHS: usize = 8;

/// Members that are looked at one by one, when none can be found by value. Beyond that all fall:
/// what each of them cost to look at again and again would be more.
pub(super) const SCAN: usize = 512;
