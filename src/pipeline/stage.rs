//! One optimisation, and what comes after it.

use std::future::{Future, IntoFuture, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::Either;

use super::error::Failure;
use super::request::{Reply, Request};

/// A boxed future: about 25 ns each, and types that people can read.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What becomes of a request.
pub type Outcome = Result<Reply, Failure>;

/// What a stage makes of a request. Who awaits it needn't know which it is.
#[must_use]
pub enum Answer<'a> {
    /// It is there: a hit, say, for which no future has to be made and nothing allocated.
    Now(Outcome),
    /// It has to be waited for.
    Later(BoxFuture<'a, Outcome>),
}

impl<'a> Answer<'a> {
    /// An answer that is worked out as it is awaited.
    pub fn later(work: impl Future<Output = Outcome> + Send + 'a) -> Answer<'a> {
        Answer::Later(Box::pin(work))
    }
}

impl<'a> IntoFuture for Answer<'a> {
    type Output = Outcome;
    type IntoFuture = Either<Ready<Outcome>, BoxFuture<'a, Outcome>>;

    fn into_future(self) -> Self::IntoFuture {
        match self {
            Answer::Now(outcome) => Either::Left(ready(outcome)),
            Answer::Later(work) => Either::Right(work),
        }
    }
}

/// One optimisation. It may answer by itself, change the request, look at the reply,
/// or simply hand over to `next`. It may fail; the request may not fail because of it.
pub trait Stage: Send + Sync {
    /// The word for it in logs, metrics and proxy.toml.
    fn name(&self) -> &'static str;

    /// Handles a request.
    fn call<'a>(&'a self, request: &'a mut Request, next: Next<'a>) -> Answer<'a>;

    /// Looks at what a client's request came to, whichever stage or server answered it. (Without
    /// waiting for it in [`call`](Stage::call), which would cost every hit a future.)
    fn answered(&self, _request: &mut Request, _outcome: &Outcome) {}

    /// Upkeep, about once a second.
    fn sweep(&self) {}
}

/// A stage that others look at too (status, flush).
impl<S: Stage + ?Sized> Stage for Arc<S> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn call<'a>(&'a self, request: &'a mut Request, next: Next<'a>) -> Answer<'a> {
        (**self).call(request, next)
    }

    fn answered(&self, request: &mut Request, outcome: &Outcome) {
        (**self).answered(request, outcome);
    }

    fn sweep(&self) {
        (**self).sweep();
    }
}

/// Where requests end: MongoDB, or a script in tests.
pub trait Backend: Send + Sync {
    /// Sends a request and waits for its reply.
    fn call<'a>(&'a self, request: &'a mut Request) -> BoxFuture<'a, Outcome>;
}

/// The rest of the way. May be run more than once (a retry, a side request).
#[derive(Clone, Copy)]
pub struct Next<'a> {
    way: &'a Arc<Way>,
    /// How many stages are behind us.
    passed: usize,
}

/// The stages in their order and the backend behind them.
pub(super) struct Way {
    pub stages: Vec<Box<dyn Stage>>,
    pub backend: Arc<dyn Backend>,
}

impl<'a> Next<'a> {
    pub(super) fn new(way: &'a Arc<Way>) -> Next<'a> {
        Next { way, passed: 0 }
    }

    /// The same way for a task of its own, which a client's going away must not end.
    pub fn to_owned(self) -> OwnedNext {
        OwnedNext {
            way: Arc::clone(self.way),
            passed: self.passed,
        }
    }

    /// Hands the request to the next stage, or to the backend after the last.
    pub fn run<'r>(self, request: &'r mut Request) -> Answer<'r>
    where
        'a: 'r,
    {
        match self.way.stages.get(self.passed) {
            Some(stage) => stage.call(
                request,
                Next {
                    way: self.way,
                    passed: self.passed + 1,
                },
            ),
            None => Answer::Later(self.way.backend.call(request)),
        }
    }
}

/// A [`Next`] that borrows nothing.
#[derive(Clone)]
pub struct OwnedNext {
    way: Arc<Way>,
    passed: usize,
}

impl OwnedNext {
    /// The way as stages take it.
    pub fn borrow(&self) -> Next<'_> {
        Next {
            way: &self.way,
            passed: self.passed,
        }
    }
}
