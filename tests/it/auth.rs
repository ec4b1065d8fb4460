//! Authentication relayed to a real mongod with access control.

use bson::{Document, doc};
use mongodb::Client;
use mongodb::options::{ClientOptions, Credential};

use crate::parts::proxy::Proxy;
use crate::parts::shared::{self, ROOT};

async fn client(
    proxy: &Proxy,
    user: Option<(&str, &str, &str)>,
    mechanism: Option<&str>,
) -> Client {
    let mut options = ClientOptions::parse(proxy.uri()).await.unwrap();
    options.credential = user.map(|(name, password, db)| {
        let mut credential = Credential::builder()
            .username(name.to_owned())
            .password(password.to_owned())
            .source(db.to_owned())
            .build();
        credential.mechanism = mechanism.map(|m| m.parse().unwrap());
        credential
    });
    options.server_selection_timeout = Some(std::time::Duration::from_secs(10));
    Client::with_options(options).unwrap()
}

async fn root(proxy: &Proxy) -> Client {
    client(proxy, Some((ROOT.0, ROOT.1, "admin")), None).await
}

/// Two users of one database: one may read and write, the other nothing there.
async fn users(db: &mongodb::Database) {
    for (user, roles) in [
        ("reader", vec![doc! {"role": "readWrite", "db": db.name()}]),
        ("nobody", vec![]),
    ] {
        let create = doc! {"createUser": user, "pwd": format!("pw-{user}"), "roles": roles,
        "mechanisms": ["SCRAM-SHA-1", "SCRAM-SHA-256"]};
        db.run_command(create).await.unwrap();
    }
}

fn code(error: &mongodb::error::Error) -> Option<i32> {
    match error.kind.as_ref() {
        mongodb::error::ErrorKind::Command(e) => Some(e.code),
        mongodb::error::ErrorKind::Authentication { .. } => Some(18),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scram_sha_1_and_256_are_relayed_and_a_wrong_password_is_refused() {
    let proxy = Proxy::start(&shared::auth().await.seed_uri(), &[]);
    let root = root(&proxy).await;
    let db = root.database(&shared::database("auth"));
    users(&db).await;
    db.collection::<Document>("c")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    for mechanism in ["SCRAM-SHA-1", "SCRAM-SHA-256"] {
        let reader = client(
            &proxy,
            Some(("reader", "pw-reader", db.name())),
            Some(mechanism),
        )
        .await;
        let found = reader
            .database(db.name())
            .collection::<Document>("c")
            .find_one(doc! {})
            .await
            .unwrap();
        assert_eq!(found, Some(doc! {"_id": 1}), "{mechanism}");
        let wrong = client(
            &proxy,
            Some(("reader", "wrong", db.name())),
            Some(mechanism),
        )
        .await;
        let error = wrong
            .database(db.name())
            .run_command(doc! {"ping": 1})
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("uthentication"),
            "{mechanism}: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_principal_has_read_is_never_served_to_another() {
    let proxy = Proxy::start(
        &shared::auth().await.seed_uri(),
        &[("cache.external_writes", "\"none\"")],
    );
    let root = root(&proxy).await;
    let db = root.database(&shared::database("auth"));
    users(&db).await;
    db.collection::<Document>("c")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    let reader = client(&proxy, Some(("reader", "pw-reader", db.name())), None).await;
    let cached = reader.database(db.name()).collection::<Document>("c");
    let before = proxy.count("/cache/hits");
    for _ in 0..5 {
        assert_eq!(
            cached.find_one(doc! {"_id": 1}).await.unwrap(),
            Some(doc! {"_id": 1})
        );
    }
    assert!(
        proxy.count("/cache/hits") >= before + 3,
        "{}",
        proxy.status()
    );
    let nobody = client(&proxy, Some(("nobody", "pw-nobody", db.name())), None).await;
    let anonymous = client(&proxy, None, None).await;
    for stranger in [nobody, anonymous] {
        let error = stranger
            .database(db.name())
            .collection::<Document>("c")
            .find_one(doc! {"_id": 1})
            .await
            .unwrap_err();
        assert_eq!(code(&error), Some(13), "Unauthorized, not {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_user_gets_no_more_hits() {
    let proxy = Proxy::start(
        &shared::auth().await.seed_uri(),
        &[("cache.external_writes", "\"none\"")],
    );
    let root = root(&proxy).await;
    let db = root.database(&shared::database("auth"));
    users(&db).await;
    db.collection::<Document>("c")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    let reader = client(&proxy, Some(("reader", "pw-reader", db.name())), None).await;
    let c = reader.database(db.name()).collection::<Document>("c");
    for _ in 0..3 {
        c.find_one(doc! {"_id": 1}).await.unwrap();
    }
    db.run_command(doc! {"dropUser": "reader"}).await.unwrap();
    let error = c.find_one(doc! {"_id": 1}).await.unwrap_err();
    assert_eq!(code(&error), Some(13), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_one_principal_share_few_links() {
    let proxy = Proxy::start(
        &shared::auth().await.seed_uri(),
        &[("upstream.max_links", "4")],
    );
    let clients = futures_util::future::join_all((0..40).map(|_| root(&proxy))).await;
    let db = shared::database("auth");
    let work = clients.iter().map(|c| async {
        for i in 0..10 {
            let c = c.database(&db).collection::<Document>("c");
            c.insert_one(doc! {"i": i}).await.unwrap();
        }
    });
    futures_util::future::join_all(work).await;
    assert!(proxy.count("/pool/links") <= 4, "{}", proxy.status());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_mongod_restarts_an_authenticated_client_reconnects_by_itself() {
    let options = petiole::embedded::MongodOptions::default().with_auth("root", "pw");
    let deployment = petiole::embedded::Deployment::start(options).await.unwrap();
    let proxy = Proxy::start(&deployment.seed_uri(), &[]);
    let client = client(&proxy, Some(("root", "pw", "admin")), None).await;
    let c = client.database("d").collection::<Document>("c");
    c.insert_one(doc! {"_id": 1}).await.unwrap();
    deployment.kill(0).unwrap();
    deployment.restart(0).await.unwrap();
    // The driver's own retry is enough: it is told to reconnect, and so authenticates again.
    let found = c.find_one(doc! {"_id": 1}).await.unwrap();
    assert_eq!(found, Some(doc! {"_id": 1}));
    c.insert_one(doc! {"_id": 2}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn logout_leaves_the_principal() {
    let proxy = Proxy::start(&shared::auth().await.seed_uri(), &[]);
    let mut options = ClientOptions::parse(proxy.uri()).await.unwrap();
    options.max_pool_size = Some(1);
    options.credential = Some(
        Credential::builder()
            .username(ROOT.0.to_owned())
            .password(ROOT.1.to_owned())
            .build(),
    );
    let client = Client::with_options(options).unwrap();
    let admin = client.database("admin");
    admin.run_command(doc! {"listDatabases": 1}).await.unwrap();
    admin.run_command(doc! {"logout": 1}).await.unwrap();
    let error = admin
        .run_command(doc! {"listDatabases": 1})
        .await
        .unwrap_err();
    assert_eq!(code(&error), Some(13), "{error}");
}
