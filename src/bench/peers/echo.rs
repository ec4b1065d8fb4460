//! The framed-echo server: reads OP_MSG frames and answers each with a prepared reply, changing only `responseTo`.
//!
//! It does what any server of this protocol must do and nothing else, so its speed is the limit of this machine. It runs
//! a current-thread runtime per core and deals the connections out in turn, so that few connections
//! spread evenly too. It's a process of its own (`petiole bench-echo`, hidden), killed by its owner.

use std::io::Write as _;
use std::net::SocketAddr;

use bson::rawdoc;
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::Peer;
use crate::bench::load::Target;
use crate::bench::process::{Child, ProcessError};
use crate::bench::reply::Protocol;
use crate::bench::workload::message;

/// What the echo process prints before its address.
const READY: &str = "echo listening on ";

/// Arguments of the hidden command.
#[derive(Debug, Clone, clap::Args)]
pub struct EchoArgs {
    /// Size of each reply in bytes, header included.
    #[arg(long, default_value_t = 400)]
    pub reply_bytes: usize,
    /// Threads; one per core by default.
    #[arg(long)]
    pub threads: Option<usize>,
}

/// Starts the echo server as a child process of this very program.
pub fn start(reply_bytes: usize) -> Result<Peer, ProcessError> {
    let mut child = Child::start_self(
        "echo",
        &["bench-echo", "--reply-bytes", &reply_bytes.to_string()],
    )?;
    let line = child.wait_for_line(READY)?;
    let address = line.parse().map_err(std::io::Error::other)?;
    Ok(Peer {
        target: Target {
            address,
            protocol: Protocol::Mongo,
        },
        child,
    })
}

/// The hidden command: serves until the process is ended.
pub fn serve(args: &EchoArgs) -> std::io::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let address = spawn(args.reply_bytes, args.threads.unwrap_or(cores).max(1))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{READY}{address}").and_then(|()| out.flush())?;
    drop(out);
    loop {
        std::thread::park();
    }
}

/// Starts the server's threads and returns its address. It serves until the process ends.
pub fn spawn(reply_bytes: usize, threads: usize) -> std::io::Result<SocketAddr> {
    let reply = prepared_reply(reply_bytes);
    let mut workers = Vec::with_capacity(threads);
    for _ in 0..threads {
        let (sender, mut sockets) = mpsc::unbounded_channel::<std::net::TcpStream>();
        let reply = reply.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::spawn(move || {
            runtime.block_on(async move {
                while let Some(socket) = sockets.recv().await {
                    let reply = reply.clone();
                    tokio::spawn(async move {
                        if let Ok(stream) = TcpStream::from_std(socket) {
                            let _ = answer(stream, reply).await;
                        }
                    });
                }
            });
        });
        workers.push(sender);
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::spawn(move || runtime.block_on(accept(listener, workers)));
    Ok(address)
}

async fn accept(
    listener: std::net::TcpListener,
    workers: Vec<mpsc::UnboundedSender<std::net::TcpStream>>,
) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    for worker in workers.iter().cycle() {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        if worker.send(stream.into_std()?).is_err() {
            break;
        }
    }
    Ok(())
}

async fn answer(mut stream: TcpStream, mut reply: Vec<u8>) -> std::io::Result<()> {
    let mut inbox = BytesMut::with_capacity(16 * 1024);
    while stream.read_buf(&mut inbox).await? > 0 {
        while let Some(header) = inbox.first_chunk::<8>() {
            let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
            if !(16..=48_000_000).contains(&length) {
                return Err(std::io::ErrorKind::InvalidData.into());
            }
            if inbox.len() < length {
                break;
            }
            reply[8..12].copy_from_slice(&header[4..8]);
            inbox.advance(length);
            stream.write_all(&reply).await?;
        }
    }
    Ok(())
}

/// A valid OP_MSG of exactly this size, if that's possible: `{ok: 1.0, pad: "…"}`.
fn prepared_reply(bytes: usize) -> Vec<u8> {
    let smallest = message(0, &rawdoc! {"ok": 1.0, "pad": ""}).len();
    let pad = "x".repeat(bytes.saturating_sub(smallest));
    message(0, &rawdoc! {"ok": 1.0, "pad": pad})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::load::{Fleet, Pacing, Plan};
    use crate::bench::workload::{Context, Workload};
    use std::time::Duration;

    #[test]
    fn the_prepared_reply_has_the_size_asked_for() {
        assert_eq!(prepared_reply(417).len(), 417);
        assert_eq!(prepared_reply(417)[..4], 417u32.to_le_bytes());
    }

    #[test]
    fn the_generator_counts_every_reply_of_the_echo_server() {
        let address = spawn(300, 2).unwrap();
        let target = Target {
            address,
            protocol: Protocol::Mongo,
        };
        let mut fleet = Fleet::open(target, 8, 1).unwrap();
        let mut source = Workload::Point.source(&Context::default());
        fleet.warm(source.as_mut()).unwrap();
        for pacing in [Pacing::Closed, Pacing::Open(2_000.0)] {
            let plan = Plan {
                warm_up: Duration::from_millis(20),
                duration: Duration::from_millis(200),
                pacing,
            };
            let measured = fleet.run(&plan, source.as_mut()).unwrap();
            assert!(measured.completed > 50, "{pacing:?} {}", measured.completed);
            assert_eq!(
                (measured.errors, measured.first_error.as_deref()),
                (0, None)
            );
            assert_eq!(measured.latency.len(), measured.completed + measured.unsent);
        }
    }

    #[test]
    fn an_open_loop_counts_the_wait_of_requests_that_the_target_could_not_take() {
        let address = spawn(300, 1).unwrap();
        let mut fleet = Fleet::open(
            Target {
                address,
                protocol: Protocol::Mongo,
            },
            1,
            1,
        )
        .unwrap();
        let mut source = Workload::Point.source(&Context::default());
        let pacing = Pacing::Open(5_000_000.0);
        let plan = Plan {
            warm_up: Duration::ZERO,
            duration: Duration::from_millis(200),
            pacing,
        };
        let measured = fleet.run(&plan, source.as_mut()).unwrap();
        assert!(measured.unsent > measured.completed);
        assert!(
            measured.latency.value_at_quantile(0.5) > 1_000_000,
            "the backlog's wait is part of the latency"
        );
    }
}
