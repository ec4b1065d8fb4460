//! Servers that all tests of this process share, each started when it is first asked for.
//!
//! They sit in statics, which are never dropped; their watchdogs end them when this process ends.
//! Use databases named by [`database`], and leave the servers as they were: whoever wants to
//! kill, stop or step down starts a [`Deployment`] of his own.

use std::sync::atomic::{AtomicU32, Ordering};

use petiole::embedded::{Deployment, MongodOptions};
use tokio::sync::OnceCell;

use super::secantus::Secantus;

/// Name and password of the root user of [`auth`].
pub const ROOT: (&str, &str) = ("root", "not a secret: p@ss/w:rd");

/// A replica set of one, with test commands (`configureFailPoint`, `failCommand`).
pub async fn rs() -> &'static Deployment {
    static RS: OnceCell<Deployment> = OnceCell::const_new();
    RS.get_or_init(|| start(MongodOptions::default())).await
}

/// A standalone, with test commands.
pub async fn standalone() -> &'static Deployment {
    static STANDALONE: OnceCell<Deployment> = OnceCell::const_new();
    STANDALONE
        .get_or_init(|| start(MongodOptions::standalone()))
        .await
}

/// A replica set of one with access control; its root user is [`ROOT`]. With test commands.
pub async fn auth() -> &'static Deployment {
    static AUTH: OnceCell<Deployment> = OnceCell::const_new();
    AUTH.get_or_init(|| start(MongodOptions::default().with_auth(ROOT.0, ROOT.1)))
        .await
}

/// A SecantusDB.
pub async fn secantus() -> &'static Secantus {
    static SECANTUS: OnceCell<Secantus> = OnceCell::const_new();
    SECANTUS
        .get_or_init(|| async {
            tokio::task::spawn_blocking(Secantus::start)
                .await
                .expect("SecantusDB starts")
        })
        .await
}

/// A database name that no other test of this process has: `database("finds")` is `finds_17`.
pub fn database(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{name}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn start(options: MongodOptions) -> Deployment {
    Deployment::start(options.set_parameter("enableTestCommands", "1"))
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}
