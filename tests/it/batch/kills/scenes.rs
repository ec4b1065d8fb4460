//! What is done to clients and their proxy, whatever the server is. Each leaves it to its caller to
//! say what more than `Load::check` the server can be held to.

use std::sync::Arc;

use super::{
    ALWAYS, IDEMPOTENT, Load, Manner, Seen, batched, crowd, lives, stop, until_acknowledged,
};
use crate::batch::{ERRORS, ON};
use crate::parts::proxy::Proxy;
use crate::parts::wait;

/// A server, as the proxy and as a client of its own calls it.
pub struct Server {
    pub seed_uri: String,
    pub uri: String,
}

/// Clients drop their connections, until `enough` writes are acknowledged.
pub async fn clients_drop<L: Load>(
    server: &Server,
    load: L,
    enough: usize,
) -> (Proxy, Vec<L::Life>) {
    let proxy = Proxy::start(&server.seed_uri, &[ON, ALWAYS]);
    let seen = Arc::new(Seen::default());
    let tasks = crowd(load, proxy.address(), &seen, Manner::Restless);
    until_acknowledged(&seen, enough).await;
    let lives = stop(&seen, tasks).await;
    load.check(&server.uri, &lives).await;
    batched(&proxy);
    (proxy, lives)
}

/// The server is killed in mid-load, twice. `again` kills it and brings it back.
pub async fn server_is_killed<L: Load>(
    server: &Server,
    load: L,
    settings: &[(&str, &str)],
    mut again: impl AsyncFnMut(),
) -> Vec<L::Life> {
    let mut all = vec![ON, ALWAYS, ERRORS, ("upstream.failover_wait", "\"30s\"")];
    all.extend(settings);
    let proxy = Proxy::start(&server.seed_uri, &all);
    let seen = Arc::new(Seen::default());
    let tasks = crowd(load, proxy.address(), &seen, Manner::Restless);
    for _ in 0..2 {
        until_acknowledged(&seen, 300).await;
        again().await;
    }
    until_acknowledged(&seen, 300).await;
    let lives = stop(&seen, tasks).await;
    load.check(&server.uri, &lives).await;
    batched(&proxy);
    lives
}

/// The proxy is told to end in mid-load.
pub async fn proxy_drains<L: Load>(server: &Server, load: L) -> Vec<L::Life> {
    let mut proxy = Proxy::start(&server.seed_uri, &[ON, ALWAYS]);
    let seen = Arc::new(Seen::default());
    let tasks = crowd(load, proxy.address(), &seen, Manner::Calm);
    until_acknowledged(&seen, 500).await;
    batched(&proxy);
    proxy.signal("TERM");
    let lives = lives(tasks).await;
    wait::until("the proxy ends", || proxy.ended().is_some());
    assert!(proxy.ended().unwrap().success(), "{}", proxy.log());
    load.check(&server.uri, &lives).await;
    lives
}

/// The proxy is killed in mid-load, once `begun` holds of it.
pub async fn proxy_is_killed<L: Load>(
    server: &Server,
    load: L,
    begun: impl Fn(&Proxy),
) -> Vec<L::Life> {
    let proxy = Proxy::start(&server.seed_uri, &[ON, IDEMPOTENT]);
    let seen = Arc::new(Seen::default());
    let tasks = crowd(load, proxy.address(), &seen, Manner::Calm);
    until_acknowledged(&seen, 500).await;
    begun(&proxy);
    proxy.signal("KILL");
    lives(tasks).await
}
