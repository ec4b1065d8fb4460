//! Rewriting in a running proxy: cache keys, cursors, explain, rights, rules of the configuration.

use bson::{Bson, Document, doc};
use mongodb::Client;
use mongodb::options::{ClientOptions, Credential};

use crate::parts::asker::Asker;
use crate::parts::proxy::Proxy;
use crate::parts::shared::{self, ROOT};

struct Place {
    proxy: Proxy,
    asker: Asker,
    direct: Asker,
    db: String,
}

impl Place {
    async fn new(settings: &[(&str, &str)]) -> Place {
        let server = shared::rs().await;
        let mut all = vec![
            ("cache.external_writes", "\"none\""),
            ("cache.shadow_share", "0.0"),
        ];
        all.extend(settings);
        let proxy = Proxy::start(&server.seed_uri(), &all);
        let mut place = Place {
            asker: Asker::connect(proxy.address()).await,
            direct: Asker::connect(&server.addresses()[0]).await,
            proxy,
            db: shared::database("proxied"),
        };
        let documents: Vec<Document> = (0..40)
            .map(|n| doc! {"_id": n, "a": n % 4, "b": n})
            .collect();
        place
            .ask(doc! {"insert": "c", "documents": documents})
            .await;
        place
    }

    fn on_db(&self, mut command: Document) -> Document {
        command.insert("$db", &self.db);
        command
    }

    /// A successful reply, and whether it came from memory.
    async fn ask(&mut self, command: Document) -> (Document, bool) {
        let answer = self.asker.ask(&self.on_db(command)).await;
        (answer.reply, answer.hit)
    }

    /// The replies through the proxy and directly.
    async fn both(&mut self, command: Document) -> (Document, Document) {
        let command = self.on_db(command);
        (
            self.asker.reply(&command).await,
            self.direct.reply(&command).await,
        )
    }
}

fn find(filter: Document) -> Document {
    doc! {"find": "c", "filter": filter}
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_mean_the_same_share_an_answer_in_memory() {
    let mut place = Place::new(&[]).await;
    let pairs = [
        ("plain_equality", doc! {"a": 1}, doc! {"a": {"$eq": 1}}),
        (
            "plain_equality",
            doc! {"_id": 5},
            doc! {"_id": {"$in": [5]}},
        ),
        (
            "flatten",
            doc! {"a": 2, "b": 6},
            doc! {"$and": [{"a": 2}, {"b": 6}]},
        ),
        (
            "or_to_in",
            doc! {"b": {"$in": [3, 4]}},
            doc! {"$or": [{"b": 3}, {"b": 4}]},
        ),
        (
            "sorted_in",
            doc! {"b": {"$in": [7, 8]}},
            doc! {"b": {"$in": [8, 7, 8]}},
        ),
    ];
    for (rule, one, other) in pairs {
        let (first, _) = place.ask(find(one.clone())).await;
        let (second, hit) = place.ask(find(other.clone())).await;
        assert!(hit, "{rule}: {other} is {one}");
        assert_eq!(first.get("cursor"), second.get("cursor"));
        let applied = place.proxy.count(&format!("/rewrite/by_rule/{rule}"));
        assert!(applied > 0, "{rule}");
    }
    assert_eq!(place.proxy.count("/rewrite/rewritten"), 5);
    // A write that changes the answer ends it, in whichever form it was asked for.
    place
        .ask(doc! {"update": "c", "updates": [{"q": {"_id": 5}, "u": {"$set": {"a": 9}}}]})
        .await;
    let (reply, hit) = place.ask(find(doc! {"_id": {"$in": [5]}})).await;
    assert!(!hit && reply.to_string().contains("\"a\": 9"), "{reply}");
    let (reply, _) = place.ask(find(doc! {"a": {"$in": []}})).await;
    assert!(
        reply
            .get_document("cursor")
            .unwrap()
            .get_array("firstBatch")
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_transactions_limits_and_errors_are_those_of_the_query_that_came() {
    let mut place = Place::new(&[("cache.enabled", "false")]).await;
    let query = place.on_db(find(
        doc! {"$and": [{"a": {"$in": [3, 1, 1]}}, {"b": {"$gte": 0}}]},
    ));
    let (all, sizes) = place.asker.drain(&query, Some(7)).await;
    assert_eq!((all.len(), sizes), (20, vec![7, 7, 6]));
    for command in [
        find(doc! {"$and": [{"a": 1}, {"$frob": 1}]}),
        find(doc! {"a": {"$in": []}, "b": {"$mod": "x"}}),
        find(doc! {"$or": [{"a": {"$in": []}, "b": {"$size": "x"}}, {"a": 1}]}),
        doc! {"find": "c", "filter": {"a": {"$eq": 1}}, "limit": -1},
        doc! {"find": "c", "filter": {"a": {"$eq": 1}}, "frob": 1},
        doc! {"aggregate": "c", "pipeline": [{"$sort": {"a": 1}}, {"$count": "n"}]},
        doc! {"aggregate": "c", "pipeline": [{"$sort": {"a": 5}}, {"$count": "n"}], "cursor": {}},
    ] {
        let (through, direct) = place.both(command.clone()).await;
        let error = |reply: &Document| (reply.get("code").cloned(), reply.get("errmsg").cloned());
        assert!(direct.contains_key("code"), "{command}: {direct}");
        assert_eq!(error(&through), error(&direct), "{command}");
    }
    let session = doc! {"id": bson::Uuid::new()};
    let inside = |mut command: Document, start: bool| {
        command.extend(doc! {"lsid": &session, "txnNumber": 1_i64, "autocommit": false});
        if start {
            command.insert("startTransaction", true);
        }
        command
    };
    place
        .ask(inside(
            doc! {"insert": "c", "documents": [{"_id": 100, "a": 50}]},
            true,
        ))
        .await;
    let (reply, _) = place
        .ask(inside(find(doc! {"$or": [{"a": 50}, {"a": 51}]}), false))
        .await;
    assert_eq!(
        reply
            .get_document("cursor")
            .unwrap()
            .get_array("firstBatch")
            .unwrap()
            .len(),
        1
    );
    let mut commit = inside(doc! {"commitTransaction": 1}, false);
    commit.insert("$db", "admin");
    place.asker.ask(&commit).await;
    let (through, _) = place
        .both(doc! {"find": "c", "filter": {"a": {"$eq": 1}}, "maxTimeMS": 5_000})
        .await;
    assert_eq!(through.get("ok"), Some(&Bson::Double(1.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_what_was_rewritten_and_explains_what_is_run() {
    let mut place = Place::new(&[]).await;
    let explain = |command: Document| doc! {"explain": command, "verbosity": "executionStats"};
    let (reply, _) = place
        .ask(explain(find(doc! {"$and": [{"_id": {"$eq": 5}}]})))
        .await;
    let petiole = reply.get_document("petiole").unwrap();
    let names: Vec<&str> = petiole
        .get_array("rewritten")
        .unwrap()
        .iter()
        .filter_map(Bson::as_str)
        .collect();
    assert_eq!(names, ["plain_equality", "flatten"]);
    let command = petiole.get_document("command").unwrap();
    assert_eq!(command.get_document("filter").unwrap(), &doc! {"_id": 5});
    assert!(
        reply
            .get_document("queryPlanner")
            .unwrap()
            .to_string()
            .contains("IDHACK")
    );
    let stages = vec![doc! {"$project": {"a": 1}}, doc! {"$count": "n"}];
    let aggregate = doc! {"aggregate": "c", "pipeline": &stages, "cursor": {}};
    let (reply, _) = place.ask(explain(aggregate)).await;
    assert!(reply.contains_key("petiole"));
    let (reply, _) = place
        .ask(doc! {"aggregate": "c", "pipeline": &stages, "explain": true})
        .await;
    assert!(reply.contains_key("petiole"));
    for (command, query) in [("count", "query"), ("distinct", "query")] {
        let mut asked = doc! {command: "c", query: {"a": {"$in": []}}};
        if command == "distinct" {
            asked.insert("key", "b");
        }
        let (reply, _) = place.ask(explain(asked)).await;
        let examined = reply
            .get_document("executionStats")
            .unwrap()
            .get_i32("totalDocsExamined");
        assert_eq!(examined.unwrap(), 0, "{command}");
    }
    let (through, direct) = place.both(explain(find(doc! {"a": 1}))).await;
    assert!(through.keys().eq(direct.keys()), "nothing to say");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impossible_query_is_still_refused_to_those_without_rights() {
    let server = shared::auth().await;
    let proxy = Proxy::start(&server.seed_uri(), &[("cache.external_writes", "\"none\"")]);
    let connect = async |name: &str, password: &str, source: &str| {
        let mut options = ClientOptions::parse(proxy.uri()).await.unwrap();
        options.direct_connection = Some(true);
        let credential = Credential::builder().username(name.to_owned());
        let credential = credential
            .password(password.to_owned())
            .source(source.to_owned());
        options.credential = Some(credential.build());
        Client::with_options(options).unwrap()
    };
    let db = shared::database("refused");
    let root = connect(ROOT.0, ROOT.1, "admin").await.database(&db);
    root.run_command(doc! {"createUser": "nobody", "pwd": "pw", "roles": []})
        .await
        .unwrap();
    let nobody = connect("nobody", "pw", &db).await.database(&db);
    let query = find(doc! {"a": {"$in": []}});
    root.run_command(query.clone()).await.unwrap();
    let refused = nobody.run_command(query).await.unwrap_err();
    assert!(refused.to_string().contains("not authorized"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_the_configuration_deny_cap_hint_and_limit() {
    let server = shared::rs().await;
    let db = shared::database("ruled");
    let rules = format!(
        r#"[{{ name = "no bulk deletes", namespace = "{db}.c", command = "delete", filter = [], deny = "name some documents" }},
            {{ namespace = "{db}.c", command = "find", filter = ["a"], max_limit = 3, max_time = "2s", hint = "a_1" }},
            {{ namespace = "{db}.c", command = "aggregate", max_limit = 2 }},
            {{ namespace = "{db}.secret", deny = "closed" }}]"#
    );
    let proxy = Proxy::start(
        &server.seed_uri(),
        &[
            ("rewrite.rules", &rules),
            ("cache.external_writes", "\"none\""),
        ],
    );
    let mut asker = Asker::connect(proxy.address()).await;
    let on_db = |mut command: Document| {
        command.insert("$db", &db);
        command
    };
    let documents: Vec<Document> = (0..20).map(|n| doc! {"_id": n, "a": n % 2}).collect();
    asker
        .ask(&on_db(doc! {"insert": "c", "documents": documents}))
        .await;
    asker
        .ask(&on_db(
            doc! {"createIndexes": "c", "indexes": [{"key": {"a": 1}, "name": "a_1"}]},
        ))
        .await;
    let delete = |q: Document| on_db(doc! {"delete": "c", "deletes": [{"q": q, "limit": 0}]});
    let denied = asker.reply(&delete(doc! {})).await;
    assert_eq!(denied.get_i32("code").unwrap(), 13, "{denied}");
    let message = denied.get_str("errmsg").unwrap();
    assert!(
        message.contains("no bulk deletes") && message.contains("name some documents"),
        "{message}"
    );
    let deleted = asker.ask(&delete(doc! {"_id": 19})).await;
    assert_eq!(deleted.reply.get_i32("n").unwrap(), 1);
    let denied = asker.reply(&on_db(doc! {"count": "secret"})).await;
    assert!(
        denied.get_str("errmsg").unwrap().contains("rule 4"),
        "{denied}"
    );
    for limit in [None, Some(0), Some(10)] {
        let mut find = on_db(find(doc! {"a": 1}));
        limit.map(|n| find.insert("limit", n));
        assert_eq!(asker.ask(&find).await.batch().len(), 3);
    }
    let mut two = on_db(find(doc! {"a": 1}));
    two.insert("limit", 2);
    assert_eq!(asker.ask(&two).await.batch().len(), 2);
    let aggregate = on_db(doc! {"aggregate": "c", "pipeline": [], "cursor": {}});
    assert_eq!(asker.ask(&aggregate).await.batch().len(), 2);
    let status = proxy.status();
    assert_eq!(status["rewrite"]["denied"], 2, "{status}");
    assert_eq!(status["rewrite"]["rules"]["no bulk deletes"], 1, "{status}");
    // With an index that isn't there the server says so: the hint was given.
    asker
        .ask(&on_db(doc! {"dropIndexes": "c", "index": "a_1"}))
        .await;
    let refused = asker
        .reply(&on_db(doc! {"find": "c", "filter": {"a": 0}, "limit": 1}))
        .await;
    assert!(
        refused.get_str("errmsg").is_ok_and(|e| e.contains("hint")),
        "{refused}"
    );
}
