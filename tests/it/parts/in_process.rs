//! A proxy in the test's own process, whose links can be hurt (`test-hooks`).

use petiole::config::{Config, HostPort, UpstreamUri};
use petiole::proxy::Proxy;
use petiole::upstream::Faults;

use super::wait;

/// A proxy that has found its upstream; without a cache, so that everything goes there.
pub async fn start(upstream_uri: &str, change: impl FnOnce(&mut Config)) -> Proxy {
    let mut config = Config::default();
    config.server.listen = HostPort::new("127.0.0.1", 0);
    config.admin.listen = Some(HostPort::new("127.0.0.1", 0));
    config.upstream.uri = UpstreamUri::new(upstream_uri);
    config.cache.enabled = false;
    config.advice.enabled = false;
    change(&mut config);
    let proxy = Proxy::start(config).await.unwrap();
    assert!(proxy.ready(wait::PATIENCE).await);
    proxy
}

/// What happens to its links.
pub fn faults(proxy: &Proxy) -> &Faults {
    proxy.shared().upstream.faults()
}
