//! Random commands as they come and as they are rewritten, on a real mongod.

use std::collections::BTreeMap;

use bson::{Document, RawDocumentBuf, doc};
use mongodb::Client;
use petiole::command::Kind;
use petiole::config::RewriteRule;
use petiole::stages::rewrite::Rewriter;

use super::compare::{ask, difference};
use super::places::{self, PLACES};
use super::random::Commands;
use crate::parts::shared;
use crate::precision::random::Random;
use crate::raw::RawClient;

/// Set to a number of cases to run more (or fewer) than [`CASES`].
const CASES_VARIABLE: &str = "PETIOLE_REWRITE_CASES";
/// Set to a number to start from other random numbers.
const SEED_VARIABLE: &str = "PETIOLE_REWRITE_SEED";
const CASES: usize = 30_000;
const SEED: u64 = 1;
const AT_ONCE: usize = 2;
/// Commands that a rule changed, for each set of documents.
const PER_ROUND: usize = 3_000;
const PER_BATCH: usize = 32;

/// What came of the comparisons.
#[derive(Default)]
struct Tally {
    cases: usize,
    refused: usize,
    alone: usize,
    by_rule: BTreeMap<&'static str, usize>,
    by_command: BTreeMap<String, usize>,
    wrong: Vec<String>,
    /// Where the server contradicts itself: asked not to use an index, it answers what came as it has
    /// answered the other form.
    contradictions: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.cases += other.cases;
        self.refused += other.refused;
        self.alone += other.alone;
        for (rule, n) in other.by_rule {
            *self.by_rule.entry(rule).or_default() += n;
        }
        for (command, n) in other.by_command {
            *self.by_command.entry(command).or_default() += n;
        }
        self.wrong.extend(other.wrong);
        self.contradictions.extend(other.contradictions);
    }
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    let wrong = |error| panic!("{name}={value}: {error}");
    Some(value.parse().unwrap_or_else(wrong))
}

/// A command in another form, as a document.
pub fn rewritten(rewriter: &Rewriter, command: &Document) -> Option<(Document, Vec<RewriteRule>)> {
    let body = command.to_vec().unwrap();
    let kind = Kind::of(command.keys().next().unwrap());
    let done = rewriter.rewrite(kind, &body);
    // The quick look before misses nothing.
    assert_eq!(done, rewriter.rewrite_closely(kind, &body), "{command}");
    let done = done?;
    let other = Document::from_reader(&mut done.body.as_slice()).unwrap();
    assert_ne!(done.body, body);
    Some((other, done.rules.iter().collect()))
}

async fn round(client: &mut RawClient, db: &mongodb::Database, seed: u64, cases: usize) -> Tally {
    let mut tally = Tally::default();
    let mut random = Random(seed);
    places::make(db, &mut random).await;
    let mut commands = Commands { random };
    while tally.cases < cases {
        let mut batch = Vec::new();
        while batch.len() < PER_BATCH.min(cases - tally.cases) {
            let place = commands.random.pick(&PLACES);
            let command = commands.command(place);
            let alone = commands.random.pick(&RewriteRule::ALL);
            let all = commands.random.once_in(2);
            let rewriter = if all {
                Rewriter::without(&[])
            } else {
                Rewriter::only(&[alone])
            };
            if let Some((other, rules)) = rewritten(&rewriter, &command) {
                // What is rewritten is in its final form.
                assert_eq!(rewritten(&rewriter, &other), None, "{command}");
                batch.push((command, other, rules));
            }
        }
        let both = batch.iter().flat_map(|(c, o, _)| [c.clone(), o.clone()]);
        let both: Vec<Document> = both.collect();
        let replies = ask(client, db.name(), &both).await;
        for ((command, other, rules), replies) in batch.into_iter().zip(replies.chunks(2)) {
            tally.cases += 1;
            tally.alone += usize::from(rules.len() == 1);
            tally.refused += usize::from(replies[0].get("code").unwrap().is_some());
            let name = command.keys().next().unwrap().clone();
            *tally.by_command.entry(name).or_default() += 1;
            for rule in &rules {
                *tally.by_rule.entry(rule.as_str()).or_default() += 1;
            }
            if let Some(what) = difference(&command, &replies[0], &replies[1]) {
                let text = format!("seed {seed}, {rules:?}: {command}\n became {other}\n {what}");
                match without_an_index(client, db.name(), &command).await {
                    Some(reply) if difference(&command, &reply, &replies[1]).is_none() => {
                        tally.contradictions.push(text);
                    }
                    _ => tally.wrong.push(text),
                }
            }
        }
    }
    tally
}

/// What the server says if it has to look at each document.
async fn without_an_index(
    client: &mut RawClient,
    db: &str,
    command: &Document,
) -> Option<RawDocumentBuf> {
    if command.contains_key("distinct") {
        return None;
    }
    let mut command = command.clone();
    command.insert("hint", doc! {"$natural": 1});
    ask(client, db, &[command]).await.pop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewritten_query_has_the_same_answer_as_the_one_that_came() {
    let cases = variable(CASES_VARIABLE).map_or(CASES, |n| n as usize);
    let seed = variable(SEED_VARIABLE).unwrap_or(SEED);
    let server = shared::rs().await;
    let mongo = Client::with_uri_str(server.uri()).await.unwrap();
    let address = server.addresses()[0].clone();
    let mut tasks = Vec::new();
    for task in 0..AT_ONCE {
        let db = mongo.database(&shared::database("rewriting"));
        let address = address.clone();
        tasks.push(tokio::spawn(async move {
            let mut client = RawClient::connect(&address).await.unwrap();
            let mut tally = Tally::default();
            let mut left = cases / AT_ONCE;
            let mut number = task as u64;
            while left > 0 {
                let here = left.min(PER_ROUND);
                left -= here;
                let seed = seed.wrapping_mul(1_000_003).wrapping_add(number);
                tally.add(round(&mut client, &db, seed, here).await);
                number += AT_ONCE as u64;
            }
            db.drop().await.unwrap();
            tally
        }));
    }
    let mut tally = Tally::default();
    for task in tasks {
        tally.add(task.await.unwrap());
    }
    println!(
        "seed {seed}: {} cases, {} of them by one rule alone, {} refused by the server; {:?}; {:?}",
        tally.cases, tally.alone, tally.refused, tally.by_rule, tally.by_command
    );
    for contradiction in &tally.contradictions {
        println!("the server contradicts itself: {contradiction}");
    }
    // (Seen once in half a million: 6.0.5 takes one condition's bounds for another's within an `$or`.)
    let few = 2 + tally.cases / 100_000;
    assert!(tally.contradictions.len() <= few, "that many?");
    let shown: Vec<&String> = tally.wrong.iter().take(5).collect();
    assert!(shown.is_empty(), "{} differ: {shown:#?}", tally.wrong.len());
    for rule in RewriteRule::ALL {
        let n = tally
            .by_rule
            .get(rule.as_str())
            .copied()
            .unwrap_or_default();
        assert!(
            n * 200 > tally.cases,
            "{} had {n} cases only",
            rule.as_str()
        );
    }
    assert!(
        tally.refused * 200 > tally.cases,
        "errors are compared, too"
    );
}
