//! Listening, and handing clients to worker threads.
//!
//! Each worker is one thread with a runtime and a reactor of its own: a client, the
//! links it dials and everything in between wake up on one thread. Connections are
//! dealt out in turn, for a kernel's hash leaves cores idle when there are few.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::awake::Awake;
use super::complaints::{Complaint, Complaints, Whence};
use super::connection;
use super::console::Console;
use super::descriptors::{ClientLimit, Spare, is_want_of_descriptors};
use super::drain::Drain;
use super::durations::Durations;
use super::latency::Latencies;
use super::pulse::{BEAT, Pulse};
use super::shared::{ClientStats, Shared};
use super::tls;
use super::turn_away::TurnedAway;
use super::workers::Workers;
use crate::config::{Config, HostPort};
use crate::memory::{Levers, Memory};
use crate::observe::traces::{Traces, TracesError};
use crate::pipeline::{Backend, Fences, Pipeline, UpstreamFacts, Workload, set_home};
use crate::stages::Stages;
use crate::stages::advise::Advisor;
use crate::stages::batch::{Batch, Knowledge};
use crate::stages::cache::Cache;
use crate::stages::profile::Profile;
use crate::stages::retry::Retry;
use crate::stages::rewrite::Rewrite;
use crate::upstream::watch::{self, Watch};
use crate::upstream::{Prober, SeedError, TlsError, Upstream, keep_alive};

/// A proxy that can't be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The listening address.
    #[error("server.listen = {address:?}: {reason}; choose a free address of this machine")]
    Listen {
        /// As configured.
        address: String,
        /// Why not.
        reason: io::Error,
    },
    /// The connection string of the upstream.
    #[error(transparent)]
    Upstream(#[from] SeedError),
    /// Certificates for clients.
    #[error("server.tls: {0}")]
    Tls(#[from] TlsError),
    /// The export of spans.
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// A worker thread.
    #[error("a worker thread can't be started: {0}")]
    Thread(io::Error),
}

/// The client side of a running proxy.
pub struct Clients {
    /// Where it listens.
    pub address: SocketAddr,
    /// What connections share.
    pub shared: Arc<Shared>,
    /// Runs as long as this.
    _watch: Option<Watch>,
}

impl Clients {
    /// Binds, starts to watch the upstream, and accepts.
    pub async fn start(
        config: Config,
        console: Option<Arc<dyn Console>>,
    ) -> Result<Clients, StartError> {
        let acceptor = tls::acceptor(&config.server.tls)?;
        let traces = Traces::start(&config.traces)?;
        let (listener, address) = listen(&config.server.listen).await?;
        let memory = Memory::new(&config.memory);
        let fences = Fences::counted(config.cache.quarantine, Arc::clone(&memory));
        let horizon = watch::horizon(&config.cache);
        let cache = config
            .cache
            .enabled
            .then(|| Cache::new(&config.cache, Arc::clone(&fences), Arc::clone(&horizon)));
        let rewrite = Arc::new(Rewrite::new(&config.rewrite));
        let facts = Arc::new(UpstreamFacts::default());
        let batch = config.batch.enabled.then(|| {
            let knowledge = Knowledge {
                fences: Arc::clone(&fences),
                upstream: Arc::clone(&facts),
                collections: Arc::default(),
                horizon: Arc::clone(&horizon),
            };
            Arc::new(Batch::new(&config.batch, most_at_once(&config), &knowledge))
        });
        let retry = config
            .retry
            .enabled
            .then(|| Arc::new(Retry::new(&config.retry, Arc::clone(&facts))));
        let threads = threads(&config);
        let client_limit = ClientLimit::of(&config, threads);
        client_limit.warn(&config);
        let upstream = Upstream::start(
            &config.upstream,
            &config.admission,
            config.server.login_timeout,
            client_limit.awaiting,
            Arc::clone(&fences),
            Arc::clone(&facts),
        )
        .await?;
        let watch = Watch::start(
            &config.upstream,
            &config.cache,
            Arc::clone(&horizon),
            Arc::new(Arc::clone(&fences)),
        );
        let profile = config.profile.enabled.then(|| {
            let samples = config.advice.enabled;
            Arc::new(Profile::new(&config.profile, threads, samples))
        });
        let advisor = profile
            .as_ref()
            .filter(|_| config.advice.enabled)
            .map(|profile| {
                let workload: Arc<dyn Workload> = profile.clone();
                let probe = Arc::new(Prober::new(&config.upstream, Arc::clone(&facts)));
                Arc::new(Advisor::new(&config.advice, workload, probe))
            });
        if let Some(advisor) = &advisor {
            tokio::spawn(Arc::clone(advisor).run());
        }
        let stages = Stages {
            profile: profile.clone(),
            rewrite: Arc::clone(&rewrite),
            cache: cache.clone(),
            batch: batch.clone(),
            retry: retry.clone(),
        }
        .in_order();
        let backend: Arc<dyn Backend> = upstream.clone();
        let pipeline = Pipeline::new(stages, backend, fences).with_facts(facts);
        let durations = Durations::new(threads);
        let shared = Arc::new(Shared {
            config,
            pipeline,
            upstream,
            rewrite,
            cache,
            horizon,
            batch,
            profile,
            retry,
            advisor,
            clients: ClientStats::default(),
            client_limit,
            workers: Workers::new(threads),
            complaints: Complaints::default(),
            latencies: Latencies::new(threads),
            roster: Arc::default(),
            console,
            tls: acceptor,
            drain: Drain::default(),
            pulse: Pulse::default(),
            durations,
            memory,
            traces,
        });
        let most_cache = shared.config.cache.max_size.as_u64();
        shared.memory.watch(most_cache, CacheLever::new(&shared));
        let workers = start_workers(&shared)?;
        shared
            .workers
            .watch(Arc::downgrade(&shared))
            .map_err(StartError::Thread)?;
        tokio::spawn(accept(listener, workers, Arc::clone(&shared)));
        tokio::spawn(keep_house(Arc::downgrade(&shared)));
        tokio::spawn(beat(Arc::downgrade(&shared)));
        Ok(Clients {
            address,
            shared,
            _watch: watch,
        })
    }

    /// Stops accepting, lets every request that has begun get its reply, and returns
    /// when the last client is gone or `server.drain_timeout` has passed. Returns how
    /// many clients were left.
    pub async fn drain(&self) -> usize {
        self.shared.drain.begin();
        let until = Instant::now() + self.shared.config.server.drain_timeout;
        while self.shared.clients.open() > 0 && Instant::now() < until {
            sleep(Duration::from_millis(5)).await;
        }
        self.shared.clients.open()
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.shared.drain.begin();
    }
}

async fn listen(at: &HostPort) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |reason| StartError::Listen {
        address: at.to_string(),
        reason,
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host((at.host.as_str(), at.port))
        .await
        .map_err(failed)?
    {
        let bound = (|| {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            TcpListener::from_std(socket.into())
        })();
        match bound {
            Ok(listener) => {
                let address = listener.local_addr().map_err(failed)?;
                return Ok((listener, address));
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

type Handover = mpsc::UnboundedSender<(std::net::TcpStream, u64)>;

fn start_workers(shared: &Arc<Shared>) -> Result<Vec<Handover>, StartError> {
    (0..threads(&shared.config))
        .map(|home| start_worker(home, shared))
        .collect()
}

/// Worker threads that a configuration asks for.
fn threads(config: &Config) -> usize {
    match config.server.threads {
        0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
        n => n,
    }
}

fn start_worker(home: usize, shared: &Arc<Shared>) -> Result<Handover, StartError> {
    let (handover, mut clients) = mpsc::unbounded_channel::<(std::net::TcpStream, u64)>();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    let shared = Arc::clone(shared);
    let work = move || {
        set_home(home);
        let workers = Arc::clone(&shared.workers);
        runtime.block_on(async move {
            tokio::spawn(Arc::clone(&shared.workers).turn(home));
            while let Some((socket, id)) = clients.recv().await {
                let entered = Entered(Arc::clone(&shared));
                match TcpStream::from_std(socket) {
                    Ok(socket) => {
                        let shared = Arc::clone(&shared);
                        tokio::spawn(async move {
                            let workers = Arc::clone(&shared.workers);
                            let serving = connection::serve(shared, socket, id);
                            workers.run(home, id, serving).await;
                            drop(entered);
                        });
                    }
                    Err(error) => {
                        let whence = Whence::default();
                        shared
                            .complaints
                            .note(Complaint::AcceptFailed, "register", whence, error);
                    }
                }
            }
            // The listener is gone; clients that are left get their replies, and then
            // the runtime ends with the process or with its last client.
            while shared.clients.open() > 0 && Arc::strong_count(&shared) > 1 {
                sleep(Duration::from_millis(20)).await;
            }
        });
        workers.ended(home);
    };
    std::thread::Builder::new()
        .name(format!("petiole-{home}"))
        .spawn(work)
        .map_err(StartError::Thread)?;
    Ok(handover)
}

/// Counts a client out, whatever becomes of its task.
struct Entered(Arc<Shared>);

/// What the memory watch moves: the cache, if there is one.
struct CacheLever(Option<Weak<Cache>>);

impl CacheLever {
    fn new(shared: &Shared) -> CacheLever {
        CacheLever(shared.cache.as_ref().map(Arc::downgrade))
    }

    fn cache(&self) -> Option<Arc<Cache>> {
        self.0.as_ref()?.upgrade()
    }
}

impl Levers for CacheLever {
    fn cache(&self) -> u64 {
        self.cache().map_or(0, |cache| cache.bytes())
    }

    fn limit_cache(&self, bytes: u64) {
        if let Some(cache) = self.cache() {
            cache.limit(bytes);
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.clients.leave();
    }
}

async fn accept(listener: TcpListener, workers: Vec<Handover>, shared: Arc<Shared>) {
    let turn = AtomicUsize::new(0);
    let (mut spare, turned_away) = (Spare::new(), TurnedAway::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.drain.wait() => return,
        };
        let (socket, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if is_want_of_descriptors(&error) {
                    spare.lend();
                    // Whoever waits longest is closed, rather than left without an answer.
                    let _ = timeout(SOON, listener.accept()).await;
                    spare.fetch();
                } else {
                    sleep(SOON).await;
                }
                let nobody = Whence::default();
                let complaints = &shared.complaints;
                complaints.note(Complaint::AcceptFailed, "accept", nobody, error);
                continue;
            }
        };
        let limit = shared.client_limit;
        let Some(id) = shared.clients.enter(limit.clients) else {
            let whence = Whence {
                client: None,
                address: Some(address),
            };
            let (what, why) = match limit.short_of {
                None => ("max_clients", "server.max_clients".to_owned()),
                Some(n) => ("descriptors", format!("the process may open {n} files")),
            };
            let reason = format!("{} clients are connected, the most ({why})", limit.clients);
            let complaints = &shared.complaints;
            complaints.note(Complaint::ClientRefused, what, whence, &reason);
            turned_away.refuse(socket, shared.tls.clone(), reason);
            continue;
        };
        let entered = Entered(Arc::clone(&shared));
        let handed = socket
            .set_nodelay(true)
            .and_then(|()| keep_alive(&socket))
            .and_then(|()| socket.into_std())
            .is_ok_and(|socket| {
                match workers.get(turn.fetch_add(1, Ordering::Relaxed) % workers.len().max(1)) {
                    Some(worker) => worker.send((socket, id)).is_ok(),
                    None => false,
                }
            });
        if handed {
            std::mem::forget(entered);
        }
    }
}

/// Upkeep once a second, as long as the proxy lives.
async fn keep_house(shared: std::sync::Weak<Shared>) {
    let mut awake = shared.upgrade().map(|shared| Awake::look(None, &shared));
    loop {
        sleep(Duration::from_secs(1)).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        awake = Some(Awake::look(awake, &shared));
        shared.pipeline.sweep();
        shared.upstream.sweep();
        for address in shared.upstream.ended_logins() {
            let whence = Whence {
                client: None,
                address: address.map(|ip| SocketAddr::new(ip, 0)),
            };
            let reason =
                "the client didn't continue it (server.login_timeout; less while others wait)";
            shared
                .complaints
                .note(Complaint::LoginRefused, "silent", whence, reason);
        }
        shared.complaints.sweep();
    }
}

async fn beat(shared: std::sync::Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        shared.pulse.beat();
        drop(shared);
        sleep(BEAT).await;
    }
}

const BACKLOG: i32 = 4096;
/// A pause before the next attempt to accept, while others finish.
const SOON: Duration = Duration::from_millis(50);

/// Commands of one group of writes that may be under way: half of the links that one namespace may have, so that its reads
/// and other writes find some.
fn most_at_once(config: &Config) -> usize {
    let share = config.admission.namespace_share / 2.0;
    (config.upstream.max_links as f64 * share) as usize
}
