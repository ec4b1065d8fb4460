//! `GET /api/advice`: which indexes to create, and which to drop.

use serde_json::{Map, Value, json};

use super::profile::time;
use crate::server::Shared;
use crate::stages::advise::Advice;

/// The advice that stands now.
pub fn advice(shared: &Shared) -> Value {
    let report = shared.advisor.as_ref().map(|advisor| advisor.report());
    let report = report.unwrap_or_default();
    let advice: Vec<Value> = report.advice.iter().map(one).collect();
    json!({ "explained": report.explained, "explain_share": report.share, "advice": advice })
}

fn one(advice: &Advice) -> Value {
    let words = &advice.words;
    json!({
        "id": advice.id,
        "action": words.action.as_str(),
        "namespace": advice.namespace.to_string(),
        "index": object(&words.keys),
        "options": object(&words.options),
        "command": words.command,
        "why": words.why,
        "effect": words.effect,
        "cost": words.cost,
        "examined": advice.examined,
        "returned": advice.returned,
        "calls": advice.calls,
        "time_ms": advice.time.as_secs_f64() * 1000.0,
        "shapes": advice.shapes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "since": time(advice.since),
    })
}

fn object(document: &bson::Document) -> Map<String, Value> {
    let plain = |value: &bson::Bson| serde_json::to_value(value).unwrap_or(Value::Null);
    document
        .iter()
        .map(|(key, value)| (key.clone(), plain(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    #[test]
    fn the_keys_of_an_index_keep_their_order() {
        let keys = object(&doc! {"zone": 1, "at": -1, "kind": 1});
        let text = Value::Object(keys).to_string();
        assert_eq!(text, r#"{"zone":1,"at":-1,"kind":1}"#);
    }
}
