//! A stage of one's own, complete: it counts how often each database is asked.
//!
//! Run it with `cargo run --example adding_a_stage`. docs/adding-a-stage.md walks through it.

use std::sync::Arc;
use std::time::Duration;

use bson::doc;
use dashmap::DashMap;
use petiole::pipeline::scripted::{Scripted, request};
use petiole::pipeline::{Answer, Fences, Next, Pipeline, Request, Stage};

/// Counts requests by database.
#[derive(Default)]
struct Tally {
    by_database: DashMap<String, u64>,
}

impl Stage for Tally {
    fn name(&self) -> &'static str {
        "tally"
    }

    fn call<'a>(&'a self, request: &'a mut Request, next: Next<'a>) -> Answer<'a> {
        *self
            .by_database
            .entry(request.command.db().to_owned())
            .or_default() += 1;
        // Everything after this stage, and the server at the end of it. (To look at the reply:
        // `Answer::later(async move { let outcome = next.run(request).await; … })`.)
        next.run(request)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let tally = Arc::new(Tally::default());
    let backend = Arc::new(Scripted::replies([
        doc! {"ok": 1.0},
        doc! {"ok": 1.0},
        doc! {"ok": 1.0},
    ]));
    let fences = Fences::new(Duration::from_secs(90));
    let pipeline = Pipeline::new(vec![Box::new(Arc::clone(&tally))], backend, fences);
    for db in ["game", "shop", "game"] {
        let mut request = request(&doc! {"ping": 1, "$db": db});
        pipeline
            .run(&mut request)
            .await
            .expect("the script answers");
    }
    assert_eq!(tally.by_database.get("game").map(|n| *n), Some(2));
    println!(
        "game was asked twice, shop {} time",
        tally.by_database.get("shop").map_or(0, |n| *n)
    );
}
