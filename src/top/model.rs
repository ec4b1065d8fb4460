//! What the proxy answered, and as much of its past as a screen is wide.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use serde_json::Value;

use super::source::{News, World};

/// All that is drawn.
pub(super) struct Model {
    pub address: String,
    pub state: State,
    pub world: World,
    series: BTreeMap<String, VecDeque<Option<f64>>>,
    newest: u64,
}

/// Whether the proxy answers.
#[derive(Debug)]
pub(super) enum State {
    Connecting,
    Live,
    /// Not since then; and why.
    Lost {
        since: Instant,
        reason: String,
    },
}

impl Model {
    pub fn new(address: &str) -> Model {
        Model {
            address: address.to_owned(),
            state: State::Connecting,
            world: World::default(),
            series: BTreeMap::new(),
            newest: 0,
        }
    }

    pub fn learn(&mut self, news: News) {
        match news {
            News::Past(history) => self.past(&history),
            News::Answer(world) => {
                self.now(&world.snapshot);
                self.world = *world;
                self.state = State::Live;
            }
            News::Lost(reason) => {
                let since = match &self.state {
                    State::Lost { since, .. } => *since,
                    _ => Instant::now(),
                };
                self.state = State::Lost { since, reason };
            }
        }
    }

    /// Takes over the proxy's own memory of the last minutes.
    pub fn past(&mut self, history: &Value) {
        self.series.clear();
        let fine = &history["fine"];
        let times = fine["at"].as_array();
        self.newest = times.and_then(|at| at.last()?.as_u64()).unwrap_or(0);
        for (name, column) in fine["series"].as_object().into_iter().flatten() {
            let values = column.as_array().into_iter().flatten().map(Value::as_f64);
            let mut values: VecDeque<_> = values.collect();
            let surplus = values.len().saturating_sub(MOST);
            values.drain(..surplus);
            self.series.insert(name.clone(), values);
        }
    }

    fn now(&mut self, snapshot: &Value) {
        let at = snapshot["at"].as_u64().unwrap_or(0);
        if at <= self.newest {
            return;
        }
        self.newest = at;
        for (name, value) in snapshot["sample"].as_object().into_iter().flatten() {
            let values = self.series.entry(name.clone()).or_default();
            values.push_back(value.as_f64());
            if values.len() > MOST {
                values.pop_front();
            }
        }
    }

    pub fn status(&self) -> &Value {
        &self.world.snapshot["status"]
    }

    /// A series by the second, the newest last; gaps are `None`.
    pub fn series(&self, name: &str) -> Vec<Option<f64>> {
        self.series
            .get(name)
            .into_iter()
            .flatten()
            .copied()
            .collect()
    }
}

/// Seconds kept.
const MOST: usize = 300;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(at: u64, requests: f64) -> News {
        let snapshot = json!({"at": at, "sample": {"requests": requests}, "status": {}});
        News::Answer(Box::new(World {
            snapshot,
            ..World::default()
        }))
    }

    #[test]
    fn the_past_goes_on_with_what_comes() {
        let mut model = Model::new("a:1");
        model.learn(News::Past(
            json!({"fine": {"at": [1, 2], "series": {"requests": [null, 5]}}}),
        ));
        model.learn(answer(2, 5.0));
        model.learn(answer(3, 7.0));
        assert_eq!(model.series("requests"), [None, Some(5.0), Some(7.0)]);
        assert!(model.series("nothing").is_empty());
    }

    #[test]
    fn a_lost_proxy_is_lost_since_the_first_failure() {
        let mut model = Model::new("a:1");
        model.learn(News::Lost("refused".to_owned()));
        let State::Lost { since, .. } = model.state else {
            panic!("not lost")
        };
        model.learn(News::Lost("refused again".to_owned()));
        assert!(matches!(&model.state, State::Lost { since: still, .. } if *still == since));
        model.learn(answer(1, 1.0));
        assert!(matches!(model.state, State::Live));
    }
}
