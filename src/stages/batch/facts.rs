//! What a batch must know of the upstream, read out of what its monitors have heard.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::batch::SURELY_ANSWERED;
use crate::pipeline::{Deployment, UpstreamFacts, Writer};

/// What the server can do that batches are sent to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Abilities {
    /// A replica set: a batch under a session of its own can be sent again.
    pub retryable: bool,
    /// It has `bulkWrite`, which answers for each operation.
    pub bulk: bool,
    /// `maxWriteBatchSize`.
    pub max_documents: usize,
    /// `maxMessageSizeBytes`, less what the command itself may take; less where a batch whose errors are too much
    /// for one reply can't be asked for again.
    pub max_size: usize,
}

/// See the module.
pub(super) struct Facts {
    upstream: Arc<UpstreamFacts>,
    /// The server whose `bulkWrite` doesn't take numbers of statements, so it can't be sent again.
    unnumbered: ArcSwapOption<Writer>,
}

impl Facts {
    pub fn new(upstream: Arc<UpstreamFacts>) -> Facts {
        Facts {
            upstream,
            unnumbered: ArcSwapOption::empty(),
        }
    }

    /// What is known now. `None`: batches can't be sent there, or no server has been heard of.
    pub fn get(&self) -> Option<Abilities> {
        let facts = self.upstream.get();
        // What a mongos does with a batch's statements hasn't been tried.
        if !matches!(
            facts.deployment,
            Deployment::Single | Deployment::ReplicaSet
        ) {
            return None;
        }
        abilities(facts.writer.as_ref()?)
    }

    /// How far away the server is that writes go to, in microseconds; 0 = near, or not known.
    pub fn distance_us(&self) -> u64 {
        let facts = self.upstream.get();
        facts
            .writer
            .as_ref()
            .map_or(0, |writer| writer.distance.us())
    }

    /// Whether the server names in its replies what an earlier try had done (`retriedStmtIds`).
    pub fn names_retried(&self) -> bool {
        let facts = self.upstream.get();
        (facts.writer.as_ref()).is_some_and(|writer| writer.wire_version >= NAMES_RETRIED)
    }

    /// The upstream has refused numbers of statements in a `bulkWrite`.
    pub fn note_unnumbered(&self) {
        self.unnumbered.store(self.upstream.get().writer.clone());
    }

    /// Whether a `bulkWrite` may be a retryable write. (SecantusDB 0.7 takes a `txnNumber` with it
    /// and doesn't heed it. It doesn't know `stmtIds`, and by that it is told.)
    pub fn is_bulk_numbered(&self) -> bool {
        let unnumbered = self.unnumbered.load();
        unnumbered.is_none() || *unnumbered != self.upstream.get().writer
    }
}

fn abilities(writer: &Writer) -> Option<Abilities> {
    if writer.wire_version < OLDEST {
        return None;
    }
    let max_size = writer.max_message.saturating_sub(COMMAND);
    Some(Abilities {
        retryable: writer.numbers,
        bulk: writer.wire_version >= BULK_WRITE,
        max_documents: writer.max_documents,
        max_size: match writer.numbers {
            true => max_size,
            false => max_size.min(SURELY_ANSWERED),
        },
    })
}

/// Wire version of MongoDB 4.4, the oldest whose replies drivers of today accept.
const OLDEST: i32 = 9;
/// Wire version of MongoDB 6.0; 5.0.32 doesn't.
const NAMES_RETRIED: i32 = 17;
/// Wire version of MongoDB 8.0.
const BULK_WRITE: i32 = 25;
/// What the server allows a command besides its documents.
const COMMAND: usize = 16 * 1024;
