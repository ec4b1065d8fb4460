//! Answers from memory and the rights of those who asked: when they end.

use std::time::{Duration, Instant};

use bson::{Document, doc};
use mongodb::options::{ClientOptions, Credential};
use mongodb::{Client, ClientSession, Database};

use crate::parts::proxy::Proxy;
use crate::parts::shared::{self, ROOT};
use crate::parts::wait::until_async;

const PRINCIPAL_TTL: Duration = Duration::from_millis(500);

/// A client with one connection.
async fn client(uri: &str, name: &str, password: &str, source: &str) -> Client {
    let mut options = ClientOptions::parse(uri).await.unwrap();
    options.max_pool_size = Some(1);
    options.direct_connection = Some(true);
    let credential = Credential::builder()
        .username(name.to_owned())
        .password(password.to_owned())
        .source(source.to_owned());
    options.credential = Some(credential.build());
    Client::with_options(options).unwrap()
}

struct Place {
    proxy: Proxy,
    /// Administers through the proxy, and around it.
    through: Database,
    around: Database,
    db: String,
}

impl Place {
    async fn new(principal_ttl: &str) -> Place {
        let server = shared::auth().await;
        let settings = [
            ("cache.external_writes", "\"none\""),
            ("cache.principal_ttl", principal_ttl),
        ];
        let proxy = Proxy::start(&server.seed_uri(), &settings);
        let db = shared::database("principals");
        let direct = format!("mongodb://{}/", server.addresses()[0]);
        let mut admins = Vec::new();
        for uri in [proxy.uri(), direct] {
            let root = client(&uri, ROOT.0, ROOT.1, "admin").await;
            admins.push(root.database(&db));
        }
        let around = admins.remove(1);
        let through = admins.remove(0);
        let documents: Vec<Document> = (0..50).map(|id| doc! {"_id": id}).collect();
        through
            .collection("c")
            .insert_many(documents)
            .await
            .unwrap();
        Place {
            proxy,
            through,
            around,
            db,
        }
    }

    /// A user who may read by a role of the database's own, and has read already.
    async fn reader(&self, name: &str) -> Database {
        let role = format!("role-{name}");
        let may = doc! {"resource": {"db": &self.db, "collection": "c"}, "actions": ["find"]};
        self.through
            .run_command(doc! {"createRole": &role, "privileges": [may], "roles": []})
            .await
            .unwrap();
        let user = doc! {"createUser": name, "pwd": "pw", "roles": [&role]};
        self.through.run_command(user).await.unwrap();
        let db = client(&self.proxy.uri(), name, "pw", &self.db)
            .await
            .database(&self.db);
        until_async("a hit", async || read(&db).await == Ok(true)).await;
        db
    }
}

/// Whether it came from memory, or the code of the error.
async fn read(db: &Database) -> Result<bool, i32> {
    let find = doc! {"find": "c", "filter": {"_id": 1}};
    match db.run_command(find).await {
        Ok(reply) => Ok(!reply.contains_key("$clusterTime")),
        Err(error) => Err(code(&error)),
    }
}

fn code(error: &mongodb::error::Error) -> i32 {
    match error.kind.as_ref() {
        mongodb::error::ErrorKind::Command(e) => e.code,
        _ => panic!("{error}"),
    }
}

/// Every way in which the user `name` can lose the right to read.
fn losses(name: &str, db: &str) -> Vec<Document> {
    let role = format!("role-{name}");
    let may = doc! {"resource": {"db": db, "collection": "c"}, "actions": ["find"]};
    vec![
        doc! {"revokeRolesFromUser": name, "roles": [&role]},
        doc! {"updateUser": name, "roles": []},
        doc! {"dropUser": name},
        doc! {"dropAllUsersFromDatabase": 1},
        doc! {"revokePrivilegesFromRole": &role, "privileges": [may]},
        doc! {"updateRole": &role, "privileges": []},
        doc! {"dropRole": &role},
        doc! {"dropAllRolesFromDatabase": 1},
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_lost_through_the_proxy_end_a_users_hits_at_once() {
    let place = Place::new("\"1h\"").await;
    for number in 0..losses("", "").len() {
        let name = format!("u{number}");
        let reader = place.reader(&name).await;
        let loss = losses(&name, &place.db).remove(number);
        place.through.run_command(loss.clone()).await.unwrap();
        assert_eq!(read(&reader).await, Err(13), "Unauthorized after {loss}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_lost_around_the_proxy_end_a_users_hits_within_principal_ttl() {
    let place = Place::new("\"500ms\"").await;
    for number in 0..losses("", "").len() {
        let name = format!("u{number}");
        let reader = place.reader(&name).await;
        let loss = losses(&name, &place.db).remove(number);
        place.around.run_command(loss.clone()).await.unwrap();
        let lost = Instant::now();
        until_async("the loss is noticed", async || {
            let asked = Instant::now();
            let answer = read(&reader).await;
            // (A read that was asked for before the loss fills at most for so long.)
            let late = asked > lost + PRINCIPAL_TTL;
            assert!(
                answer == Ok(true) && !late || answer == Err(13),
                "{answer:?} after {loss}"
            );
            answer.is_err()
        })
        .await;
        assert_eq!(read(&reader).await, Err(13));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_created_again_under_a_name_is_another_one_at_its_next_login() {
    let place = Place::new("\"1h\"").await;
    for (number, (administers, may_read)) in [
        (&place.around, false),
        (&place.around, true),
        (&place.through, false),
        (&place.through, true),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("again{number}");
        // Stays connected, so that its links and answers are there still.
        let _before = place.reader(&name).await;
        let roles: &[String] = match may_read {
            true => &[format!("role-{name}")],
            false => &[],
        };
        let user = doc! {"createUser": &name, "pwd": "pw", "roles": roles};
        for command in [doc! {"dropUser": &name}, user] {
            administers.run_command(command).await.unwrap();
        }
        let after = client(&place.proxy.uri(), &name, "pw", &place.db).await;
        let after = after.database(&place.db);
        let first = if may_read { Ok(false) } else { Err(13) };
        assert_eq!(read(&after).await, first, "nothing is kept for it yet");
        if may_read {
            until_async("a hit", async || read(&after).await == Ok(true)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_from_memory_ends_with_its_users_rights() {
    let place = Place::new("\"1h\"").await;
    let batch = doc! {"find": "c", "filter": {}, "sort": {"_id": 1}, "batchSize": 10};
    // (A session of its own for each: an implicit one may be another's by the time of the getMore.)
    let open = async |db: &Database, session: &mut ClientSession| {
        let reply = db
            .run_command(batch.clone())
            .session(session)
            .await
            .unwrap();
        let memory = !reply.contains_key("$clusterTime");
        (
            reply.get_document("cursor").unwrap().get_i64("id").unwrap(),
            memory,
        )
    };
    let more = async |db: &Database, session: &mut ClientSession, id: i64| {
        let more = doc! {"getMore": id, "collection": "c"};
        let reply = db.run_command(more).session(session).await;
        reply.map_err(|error| code(&error))
    };
    let (loser, other) = (place.reader("loser").await, place.reader("other").await);
    let mut cursors = Vec::new();
    let mut sessions = [
        loser
            .client()
            .start_session()
            .causal_consistency(false)
            .await
            .unwrap(),
        other
            .client()
            .start_session()
            .causal_consistency(false)
            .await
            .unwrap(),
    ];
    for (db, session) in [&loser, &other].into_iter().zip(&mut sessions) {
        let (id, _) = open(db, session).await;
        more(db, session, id).await.unwrap();
        let (id, memory) = open(db, session).await;
        assert!(memory);
        cursors.push(id);
    }
    let [losers, others] = &mut sessions;
    let stranger = more(&other, others, cursors[0]).await;
    assert_eq!(stranger.unwrap_err(), 13, "it is another's");
    let revoke = doc! {"revokeRolesFromUser": "loser", "roles": ["role-loser"]};
    place.through.run_command(revoke).await.unwrap();
    let refused = more(&loser, losers, cursors[0]).await;
    assert!(matches!(refused, Err(13 | 43)), "{refused:?}");
    let rest = more(&other, others, cursors[1]).await.unwrap();
    let rest = rest
        .get_document("cursor")
        .unwrap()
        .get_array("nextBatch")
        .unwrap();
    assert_eq!(rest.len(), 40, "the other one's goes on");
}
