//! Queries turned into cheaper ones of the same meaning, and rules of the operator's own.
//!
//! Before the cache, so that equal meanings share a key. Reads only: `find`, `aggregate`, `count`,
//! `distinct`, and `explain` of them. Whatever isn't known through and through is handed on as
//! the bytes that came.
//!
//! - `rules`: the rewrites, one per file, each with its proof; what was looked at and left out, and
//!   why, is in docs/rewriting.md
//! - `rewriter`: puts them together; `glance` says quickly that there is nothing to do, `fields` which
//!   commands may be rewritten at all, `applied` what was done
//! - `filter`, `pipeline`: what rules change
//! - `user`: rules of the configuration
//! - `explain`: what a client is told

mod applied;
mod explain;
mod fields;
mod filter;
mod glance;
mod pipeline;
mod rewriter;
mod rules;
mod stats;
#[cfg(test)]
mod tests;
mod user;

pub use self::applied::Applied;
pub use self::rewriter::{Rewriter, Rewritten};
pub use self::stats::RewriteStats;
use self::user::{Fitting, UserRules};
use crate::command::{ErrorReply, Kind, codes};
use crate::config;
use crate::pipeline::{Answer, Decision, Next, Outcome, Replaced, Reply, Request, Stage};

/// The rewriting stage.
pub struct Rewrite {
    rewriter: Rewriter,
    user: UserRules,
    stats: RewriteStats,
}

impl Rewrite {
    /// A stage with what the configuration leaves on.
    pub fn new(config: &config::Rewrite) -> Rewrite {
        let rewriter = if config.enabled {
            Rewriter::without(&config.off)
        } else {
            Rewriter::only(&[])
        };
        Rewrite {
            rewriter,
            user: UserRules::new(&config.rules),
            stats: RewriteStats::default(),
        }
    }

    /// What was counted so far.
    pub fn stats(&self) -> &RewriteStats {
        &self.stats
    }

    /// The configuration's rules by name, and how often each applied.
    pub fn user_rules(&self) -> impl Iterator<Item = (&str, u64)> {
        self.user.counts()
    }

    /// Puts a read into the form that it is sent on in, if that is another.
    fn rewrite(&self, request: &mut Request) -> Option<(Replaced, Rewritten)> {
        let command = &request.command;
        if request.msg.sequences.is_empty()
            && glance::promises(command)
            && let Some(rewritten) = self.rewriter.rewrite_closely(command.kind, command.body())
        {
            let came = request.replace_body(&rewritten.body)?;
            self.note(request, &rewritten);
            return Some((came, rewritten));
        }
        None
    }

    fn note(&self, request: &mut Request, rewritten: &Rewritten) {
        self.stats.rewritten_by(rewritten.rules);
        request.trail.note(Decision::Rewritten);
        let command = &request.command;
        tracing::debug!(target: "petiole::rewrite", stage = "rewrite", command = command.name(), db = command.db(),
            collection = command.collection(), rules = ?rewritten.rules, "rewritten");
    }

    /// Does what a rule of the configuration says.
    fn rule(&self, request: &mut Request, rule: Fitting<'_>) -> Ruled {
        if let Some(why) = rule.denial() {
            rule.count();
            self.stats.deny();
            request.trail.note(Decision::Denied);
            tracing::debug!(target: "petiole::rewrite", stage = "rewrite", rule = rule.name(),
                command = request.command.name(), "denied");
            let error = ErrorReply::new(codes::UNAUTHORIZED, why);
            return Ruled::Denied(Reply::document(&request.frame, &error.document()));
        }
        let body = rule.apply(&request.command);
        let Some(came) = body.and_then(|body| request.replace_body(&body)) else {
            return Ruled::Unchanged;
        };
        rule.count();
        request.trail.note(Decision::Ruled);
        Ruled::Changed(Box::new(came))
    }

    /// A command that one of the configuration's rules is about, and perhaps some rewrites too.
    async fn ruled(&self, request: &mut Request, rule: Fitting<'_>, next: Next<'_>) -> Outcome {
        // First the rule, which is about what the client asked for: and if it gives a hint, somebody
        // cares for the plan, and nothing is rewritten.
        match self.rule(request, rule) {
            Ruled::Denied(denial) => Ok(denial),
            Ruled::Unchanged => self.on(request, next).await,
            Ruled::Changed(came) => {
                let outcome = self.on(request, next).await;
                request.restore(*came);
                outcome
            }
        }
    }

    /// Hands a command on, in another form if there is a better one.
    fn on<'a>(&'a self, request: &'a mut Request, next: Next<'a>) -> Answer<'a> {
        if request.recorded {
            return next.run(request);
        }
        match request.command.kind {
            Kind::Find | Kind::Aggregate | Kind::Count | Kind::Distinct => {
                match self.rewrite(request) {
                    Some((came, rewritten)) => Answer::later(sent(request, came, rewritten, next)),
                    None => next.run(request),
                }
            }
            Kind::Read if request.command.name() == "explain" => match self.explain(request) {
                Some((came, rewritten)) => Answer::later(sent(request, came, rewritten, next)),
                None => next.run(request),
            },
            _ => next.run(request),
        }
    }

    /// Puts the other form of an explained command into its `explain`.
    fn explain(&self, request: &mut Request) -> Option<(Replaced, Rewritten)> {
        let (body, rewritten) = explain::explained(&self.rewriter, request)?;
        let came = request.replace_body(&body)?;
        self.note(request, &rewritten);
        Some((came, rewritten))
    }
}

/// What a rule of the configuration came to.
enum Ruled {
    Denied(Reply),
    Changed(Box<Replaced>),
    Unchanged,
}

/// Sends a command in its other form. Who handed it on finds it as it was.
async fn sent(
    request: &mut Request,
    came: Replaced,
    rewritten: Rewritten,
    next: Next<'_>,
) -> Outcome {
    let outcome = next.run(request).await;
    request.restore(came);
    let reply = outcome?;
    if explain::wants_to_know(&request.command) && reply.view().ok {
        return Ok(explain::with_rewrite(request, &reply, &rewritten));
    }
    Ok(reply)
}

impl Stage for Rewrite {
    fn name(&self) -> &'static str {
        "rewrite"
    }

    fn call<'a>(&'a self, request: &'a mut Request, next: Next<'a>) -> Answer<'a> {
        match self.user.first(&request.command, &request.msg.sequences) {
            Some(rule) => Answer::later(self.ruled(request, rule, next)),
            None => self.on(request, next),
        }
    }
}
