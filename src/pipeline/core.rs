//! The walk of a request, with its fences.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::time::Instant;

use super::fences::{Fence, Fences};
use super::profiler::{Profiler, sets_profiler};
use super::request::Request;
use super::stage::{Answer, Backend, Next, Outcome, Stage, Way};
use super::strangers::Strangers;
use super::trail::Decision;
use super::transactions::Transactions;
use super::upstream_facts::{Deployment, Facts, UpstreamFacts};
use crate::command::{
    Effect, Footprint, Kind, ReplyView, changed_nothing, effect, footprint, is_no_transaction,
    labels, needs_login, never_began, only_change,
};
use crate::wire::build::DocBuf;

/// The stages in their order, the backend behind them, and the fences around them.
pub struct Pipeline {
    way: Arc<Way>,
    fences: Arc<Fences>,
    transactions: Transactions,
    /// Cursors of `$out` and `$merge` that haven't run yet: their getMore is the write.
    writing_cursors: DashMap<i64, Footprint>,
    facts: Arc<UpstreamFacts>,
    strangers: Arc<Strangers>,
    profiler: Arc<Profiler>,
}

impl Pipeline {
    /// A pipeline of `stages`, first one outermost.
    pub fn new(
        stages: Vec<Box<dyn Stage>>,
        backend: Arc<dyn Backend>,
        fences: Arc<Fences>,
    ) -> Pipeline {
        Pipeline {
            way: Arc::new(Way { stages, backend }),
            fences,
            transactions: Transactions::new(),
            writing_cursors: DashMap::new(),
            facts: Arc::default(),
            strangers: Arc::default(),
            profiler: Arc::default(),
        }
    }

    /// The same, and it learns from `facts` whether the upstream is a mongos, which hides some outcomes (docs/coherence.md, rule 4).
    #[must_use]
    pub fn with_facts(self, facts: Arc<UpstreamFacts>) -> Pipeline {
        Pipeline { facts, ..self }
    }

    /// The same, and what it learns of the server's profiler others hear from `profiler`.
    #[must_use]
    pub fn with_profiler(self, profiler: Arc<Profiler>) -> Pipeline {
        Pipeline { profiler, ..self }
    }

    /// The fences, for the cache and for flushes.
    pub fn fences(&self) -> &Arc<Fences> {
        &self.fences
    }

    /// Transactions that are open now, as far as this proxy has seen them.
    pub fn open_transactions(&self) -> usize {
        self.transactions.open()
    }

    /// Upkeep, about once a second.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.fences.sweep(now);
        self.transactions.sweep(now, self.fences.quarantine());
        for stage in &self.way.stages {
            stage.sweep();
        }
    }

    /// Walks a request through the stages to the backend and back.
    pub async fn run(&self, request: &mut Request) -> Outcome {
        let (guard, answer) = self.begin(request);
        let outcome = answer.await;
        self.end(request, guard, &outcome);
        outcome
    }

    /// Its way there, for who does more than wait if the answer isn't there at once. What comes is for
    /// [`Pipeline::end`]; a guard that is dropped without it was of a request of which nobody knows
    /// what became.
    pub fn begin<'a>(&'a self, request: &'a mut Request) -> (Guard, Answer<'a>) {
        request.recorded = self.profiler.records(&request.command);
        let guard = self.before(request);
        (guard, Next::new(&self.way).run(request))
    }

    /// Its way back.
    pub fn end(&self, request: &mut Request, guard: Guard, outcome: &Outcome) {
        for stage in self.way.stages.iter().rev() {
            stage.answered(request, outcome);
        }
        if sets_profiler(&request.command)
            && let Ok(reply) = outcome
            && reply.view().ok
        {
            self.profiler.note(&request.command, reply.body());
        }
        self.after(request, guard, outcome);
    }

    /// Raises what must stand before the request is sent.
    fn before(&self, request: &mut Request) -> Guard {
        let command = &request.command;
        if command.kind.never_writes() && !command.in_transaction {
            return Guard::None;
        }
        let flushes = self.fences.flushes();
        let stranger = (request.principal.id == 0).then_some(flushes);
        if stranger.is_some() && self.strangers.are_refused(flushes) {
            return Guard::Refused;
        }
        if matches!(command.kind, Kind::Commit | Kind::Abort) {
            if command.kind == Kind::Commit && !self.transactions.knows(request) {
                // Its statements went another way, or long ago: it may write anywhere.
                return Guard::Fence {
                    fence: Box::new(self.fences.begin(&Footprint::Everything)),
                    single: false,
                    stranger,
                };
            }
            return Guard::End;
        }
        let touched = match command.kind {
            Kind::GetMore if !self.writing_cursors.is_empty() => command
                .cursor_id()
                .and_then(|id| self.writing_cursors.get(&id).map(|f| f.clone()))
                .unwrap_or(Footprint::Nothing),
            _ => footprint(command, &request.msg),
        };
        if command.in_transaction {
            let transactions = &self.transactions;
            let first = transactions.statement(&self.fences, request, &touched);
            return Guard::Transaction { first, stranger };
        }
        if touched == Footprint::Nothing {
            return Guard::None;
        }
        request.trail.note(Decision::Fenced);
        let single = matches!(&touched, Footprint::Statements(_, list) if list.len() == 1);
        let fence = Box::new(self.fences.begin(&touched));
        Guard::Fence {
            fence,
            single,
            stranger,
        }
    }

    /// Lowers it again, by what the reply proved and before the reply goes to the client.
    fn after(&self, request: &Request, guard: Guard, outcome: &Outcome) {
        let command = &request.command;
        let in_doubt = request.progress.in_doubt;
        let reply = match (&guard, outcome) {
            (Guard::None, Ok(_)) => return,
            (_, Ok(reply)) => reply,
            (_, Err(failure)) => {
                // Nothing was executed, or nobody knows: an unsettled fence goes to quarantine.
                let unsent = !failure.sent && !in_doubt;
                match guard {
                    Guard::Fence { fence, .. } if unsent => fence.settle(Effect::Unchanged),
                    Guard::Transaction { first: true, .. } if unsent => {
                        self.transactions.is_not_open(request, Effect::Unchanged);
                    }
                    _ => {}
                }
                return;
            }
        };
        let behind_mongos = self.facts.get().deployment == Deployment::Sharded;
        let body = reply.body();
        let mut view = reply.view().clone();
        view.retried |= request.progress.executed_before;
        let refused = view
            .code
            .is_some_and(|code| !view.ok && never_began(command, code, behind_mongos));
        match guard {
            Guard::None => {}
            // (Also another error than that of a missing login: what can't be read is refused before.)
            Guard::Refused if !view.ok => {}
            Guard::Refused => {
                // The server has executed it, against all that was known.
                self.strangers.note_executed();
                self.fences
                    .begin(&Footprint::Everything)
                    .settle(Effect::Changed);
            }
            Guard::Transaction { .. } if view.ok => self.transactions.accepted(request),
            Guard::Transaction { first, stranger } => {
                self.note_stranger(request, stranger, body, view.ok);
                if first && refused && !in_doubt {
                    self.transactions.is_not_open(request, Effect::Unchanged);
                } else if is_no_transaction(body) && !behind_mongos && !in_doubt {
                    self.transactions.is_not_open(request, Effect::Changed);
                }
            }
            Guard::End if !view.ok && in_doubt => {}
            Guard::End if command.kind == Kind::Abort && view.ok && !behind_mongos => {
                // What it wrote, nobody else has seen or will see.
                self.transactions.ended(request, Effect::Unchanged);
            }
            Guard::End => {
                if view.ok || !view.has_label(labels::UNKNOWN_COMMIT) {
                    self.transactions.ended(request, Effect::Changed);
                }
            }
            // An earlier try may still be under way: the fence goes to quarantine.
            Guard::Fence { .. } if !view.ok && in_doubt => {}
            Guard::Fence {
                mut fence,
                single,
                stranger,
            } => {
                let facts = self.facts.get();
                let mut proved = effect(command, &view, behind_mongos);
                if matches!(proved, Effect::Changed)
                    && !in_doubt
                    && request.sent <= 1
                    && !view.retried
                    && changed_nothing(command, &request.msg, body, single, behind_mongos)
                {
                    proved = Effect::Unchanged;
                }
                self.note_stranger(request, stranger, body, view.ok);
                self.note_writing_cursor(request, &view);
                // (A batch's reply has the time of its last write, whose ever that was; a repeated one that of any write.)
                if single
                    && !request.progress.batched
                    && request.sent == 1
                    && (command.txn_number.is_none() || tells_repetitions(&facts))
                    && let Some(at) = only_change(command, &view)
                {
                    // Its event says no more than this fence, of what was read before.
                    fence.note_change(at);
                }
                fence.settle(proved);
                if view.ok && command.txn_number.is_some() {
                    self.transactions.accepted(request);
                }
            }
        }
    }

    /// Learns from the reply to a client without a login whether the server refuses all of its commands. `stranger`: flushes
    /// by the time it was sent. Other errors say nothing of that (the server doesn't know the command, or can't read
    /// it): then it is asked.
    fn note_stranger(&self, request: &Request, stranger: Option<u64>, body: &[u8], ok: bool) {
        let Some(flushes) = stranger.filter(|_| !ok) else {
            return;
        };
        if needs_login(body) {
            self.strangers.note_refused(flushes);
        } else if self.strangers.ask(flushes)
            && let Some(mut question) = request.side(&question())
        {
            let strangers = Arc::clone(&self.strangers);
            let next = Next::new(&self.way).to_owned();
            tokio::spawn(async move {
                match next.borrow().run(&mut question).await {
                    Ok(reply) if needs_login(reply.body()) => strangers.note_refused(flushes),
                    Ok(_) => {}
                    Err(_) => strangers.ask_again(),
                }
            });
        }
    }

    fn note_writing_cursor(&self, request: &Request, view: &ReplyView) {
        let command = &request.command;
        if command.kind == Kind::Aggregate
            && let Some(id) = view.cursor_id.filter(|&id| id != 0)
        {
            self.writing_cursors
                .insert(id, footprint(command, &request.msg));
        } else if command.kind == Kind::GetMore
            && view.cursor_id.is_none_or(|id| id == 0)
            && let Some(id) = command.cursor_id()
        {
            self.writing_cursors.remove(&id);
        }
    }
}

/// Whether the server that answered says of a numbered write that it had executed it before (`retriedStmtIds`).
fn tells_repetitions(facts: &Facts) -> bool {
    let writer = facts.writer.as_ref();
    writer.is_some_and(|writer| writer.wire_version >= MONGODB_6_0)
}

/// The wire version of MongoDB 6.0.
const MONGODB_6_0: i32 = 17;

/// A read that needs a login where any command does, and that changes nothing where none does.
fn question() -> Vec<u8> {
    let mut body = DocBuf::new();
    body.append_i32("dbStats", 1);
    body.append_str("$db", "admin");
    body.finish()
}

/// What stands while a request is under way.
pub enum Guard {
    /// Nothing: it writes nothing.
    None,
    /// Nothing: it comes from a client without a login, and the server is known to refuse those.
    Refused,
    /// A write's own fence.
    Fence {
        /// What it may touch. (Boxed: a guard is carried past every wait, and nearly all have none.)
        fence: Box<Fence>,
        /// The command is one statement on one collection.
        single: bool,
        /// Its client hasn't a login: how many flushes there had been when it was sent.
        stranger: Option<u64>,
    },
    /// A statement: its fence belongs to the transaction.
    Transaction {
        /// It is the first one that was seen of the transaction.
        first: bool,
        /// Its client hasn't a login: how many flushes there had been when it was sent.
        stranger: Option<u64>,
    },
    /// Commit or abort.
    End,
}
