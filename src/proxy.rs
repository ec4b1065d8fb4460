//! A whole proxy: the client side and the admin side of one configuration.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::admin::{self, Admin, AdminError};
use crate::config::{Config, ExternalWrites, HostPort, UpstreamUri};
use crate::embedded::{self, EmbeddedError};
use crate::server::{Clients, Shared, StartError, raise_limit};

/// A running proxy. Several fit in one process.
pub struct Proxy {
    clients: Clients,
    admin: Option<Admin>,
}

/// Why a proxy can't run.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The client side.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The admin side.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The private mongod.
    #[error("--embedded: {0}")]
    Embedded(#[from] EmbeddedError),
    /// Signals or the runtime.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Proxy {
    /// Starts both sides. Returns as soon as clients can connect; see [`Proxy::ready`].
    pub async fn start(config: Config) -> Result<Proxy, ProxyError> {
        let listen = config.admin.listen.clone();
        let token = config.admin.token.clone();
        let console = admin::console(&config.admin.console);
        let clients = Clients::start(config, console).await?;
        let admin = match listen {
            Some(listen) => Some(Admin::start(&listen, token, Arc::clone(&clients.shared)).await?),
            None => None,
        };
        Ok(Proxy { clients, admin })
    }

    /// Waits until the upstream has answered, at most `patience`; whether it has. If so, also until
    /// the watch has begun, so that the first reads can be cached.
    pub async fn ready(&self, patience: Duration) -> bool {
        let shared = &self.clients.shared;
        let face = tokio::time::timeout(patience, shared.upstream.face()).await;
        let answered = matches!(face, Ok(Ok(_)));
        if answered {
            let begun = shared.horizon.begins();
            // Nothing is cached until then, and everything works.
            let _ = tokio::time::timeout(WATCH_PATIENCE, begun).await;
        }
        answered
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.clients.address
    }

    /// Where the admin HTTP listens.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|a| a.address)
    }

    /// The parts, for status.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.clients.shared
    }

    /// Drains: see [`Clients::drain`].
    pub async fn drain(&self) -> usize {
        self.clients.drain().await
    }
}

/// `petiole serve`: runs until SIGTERM or SIGINT.
pub fn run(mut config: Config, embedded: bool) -> Result<(), ProxyError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if let Err(error) = raise_limit() {
            tracing::warn!(target: "petiole", %error, "the limit of open files can't be raised");
        }
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let deployment = match embedded {
            true => Some(embed(&mut config).await?),
            false => None,
        };
        let proxy = Proxy::start(config).await?;
        if !proxy.ready(PATIENCE).await {
            tracing::warn!(target: "petiole", "no upstream has answered yet; clients wait for it up to upstream.failover_wait");
        }
        announce(&proxy);
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => {
                    tracing::warn!(target: "petiole", "SIGHUP: no setting can be changed while running; restart to apply a new configuration");
                }
            }
        }
        tracing::info!(target: "petiole", clients = proxy.shared().clients.open(), "draining");
        let left = tokio::select! {
            left = proxy.drain() => left,
            _ = terminate.recv() => proxy.shared().clients.open(),
            _ = interrupt.recv() => proxy.shared().clients.open(),
        };
        if left > 0 {
            tracing::warn!(target: "petiole", left, "clients were still busy at the end of server.drain_timeout");
        }
        if let Some(traces) = &proxy.shared().traces {
            traces.finish();
        }
        drop(deployment);
        Ok(())
    })
}

/// A private replica set of one; all traffic goes through this proxy, unless the operator
/// has said otherwise.
async fn embed(config: &mut Config) -> Result<embedded::Deployment, ProxyError> {
    let deployment = embedded::Deployment::start(embedded::MongodOptions::default()).await?;
    config.upstream.uri = UpstreamUri::new(deployment.uri());
    // Nobody else knows its port.
    if config.cache.external_writes == ExternalWrites::Auto {
        config.cache.external_writes = ExternalWrites::None;
    }
    tracing::info!(target: "petiole", uri = deployment.uri(), "embedded mongod started");
    Ok(deployment)
}

fn announce(proxy: &Proxy) {
    use std::io::Write;
    // A closed standard output is no reason not to serve.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "petiole listening on {}", proxy.address());
    let _ = out.flush();
    if let Some(admin) = proxy.admin_address() {
        tracing::info!(target: "petiole", %admin, "admin HTTP listens");
    }
}

/// Address `127.0.0.1:0`, for tests and demos.
pub fn any_port() -> HostPort {
    HostPort::new("127.0.0.1", 0)
}

/// How long the ready line waits for the watch.
const WATCH_PATIENCE: Duration = Duration::from_secs(1);
/// How long the ready line waits for the upstream.
const PATIENCE: Duration = Duration::from_secs(5);
