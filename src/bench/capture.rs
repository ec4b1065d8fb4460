//! `petiole bench --record`: a relay between an application and its MongoDB that writes down the commands
//! ([the format](super::workload::trace)).
//!
//! Bytes pass as they are; what can't be read (compressed messages, other opcodes) passes too and isn't recorded. A thread
//! per direction and client: this is for making a trace, not for production. Where the servers' real addresses would lead
//! drivers around it (replica sets), put it before a Petiole, or give drivers `directConnection=true`.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bson::{Bson, Document, doc};
use bytes::BytesMut;
use parking_lot::Mutex;

use super::out::remark;
use super::workload::trace::{Line, can_be_asked_again};
use crate::wire::op_msg::OpMsg;
use crate::wire::{op_code, take_frame};

/// A recording under way.
#[derive(Debug)]
pub struct Capture {
    listener: TcpListener,
    upstream: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    file: Mutex<std::fs::File>,
    begun: Instant,
    recorded: AtomicU64,
}

impl Capture {
    /// Listens, and makes the file.
    pub fn start(
        listen: SocketAddr,
        upstream: SocketAddr,
        file: &Path,
    ) -> std::io::Result<Capture> {
        Ok(Capture {
            listener: TcpListener::bind(listen)?,
            upstream,
            shared: Arc::new(Shared {
                file: Mutex::new(std::fs::File::create(file)?),
                begun: Instant::now(),
                recorded: AtomicU64::new(0),
            }),
        })
    }

    /// Where applications connect to.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Relays until the process ends.
    pub fn run(&self) -> std::io::Result<()> {
        for client in 1.. {
            let (down, _) = self.listener.accept()?;
            let (upstream, shared) = (self.upstream, Arc::clone(&self.shared));
            std::thread::spawn(move || {
                if let Err(error) = relay(down, upstream, client, &shared) {
                    remark(&format!("client {client}: {error}"));
                }
            });
        }
        Ok(())
    }
}

fn relay(
    mut down: TcpStream,
    upstream: SocketAddr,
    client: u64,
    shared: &Shared,
) -> std::io::Result<()> {
    let mut up = TcpStream::connect(upstream)?;
    up.set_nodelay(true)?;
    down.set_nodelay(true)?;
    let (mut from_server, mut to_client) = (up.try_clone()?, down.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let mut buffer = vec![0; 64 * 1024];
    let mut pending = BytesMut::new();
    let mut readable = true;
    loop {
        let read = down.read(&mut buffer)?;
        if read == 0 {
            return up.shutdown(Shutdown::Both);
        }
        let bytes = buffer.get(..read).unwrap_or_default();
        if readable {
            pending.extend_from_slice(bytes);
            readable = note_all(&mut pending, client, shared)?;
        }
        up.write_all(bytes)?;
    }
}

/// Writes down the whole messages in `pending`. False once it can't be read any more.
fn note_all(pending: &mut BytesMut, client: u64, shared: &Shared) -> std::io::Result<bool> {
    loop {
        match take_frame(pending, LONGEST) {
            Ok(Some(frame)) if frame.op_code() == op_code::OP_MSG => {
                if let Some(command) = OpMsg::parse(&frame).ok().and_then(|msg| command(&msg)) {
                    shared.note(client, command)?;
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => return Ok(true),
            Err(_) => return Ok(false),
        }
    }
}

/// The command as one document: drivers send the documents of an insert in a section of their own.
fn command(msg: &OpMsg) -> Option<Document> {
    let mut command = Document::from_reader(msg.body.as_ref()?.as_ref()).ok()?;
    for sequence in &msg.sequences {
        let mut rest = sequence.documents.as_ref();
        let mut documents = bson::Array::new();
        while !rest.is_empty() {
            documents.push(Bson::Document(Document::from_reader(&mut rest).ok()?));
        }
        command.insert(sequence.identifier.as_str(), documents);
    }
    let name = command.keys().next()?;
    can_be_asked_again(name).then_some(command)
}

impl Shared {
    fn note(&self, client: u64, mut command: Document) -> std::io::Result<()> {
        command.remove("lsid");
        command.remove("$clusterTime");
        let line = Line {
            client,
            at_ms: self.begun.elapsed().as_micros() as f64 / 1e3,
            command: keep_width(Bson::Document(command)),
        };
        let mut text = serde_json::to_string(&line)?;
        text.push('\n');
        self.file.lock().write_all(text.as_bytes())?;
        let recorded = self.recorded.fetch_add(1, Ordering::Relaxed) + 1;
        if recorded.is_multiple_of(1_000) {
            remark(&format!("{recorded} commands recorded"));
        }
        Ok(())
    }
}

/// An int64 says so in the file, or a small one would come back as an int32.
fn keep_width(value: Bson) -> Bson {
    match value {
        Bson::Int64(number) => Bson::Document(doc! {"$numberLong": number.to_string()}),
        Bson::Array(values) => values
            .into_iter()
            .map(keep_width)
            .collect::<Vec<_>>()
            .into(),
        Bson::Document(fields) => {
            let fields = fields.into_iter();
            Bson::Document(
                fields
                    .map(|(key, value)| (key, keep_width(value)))
                    .collect(),
            )
        }
        other => other,
    }
}

/// MongoDB's own limit for a message.
const LONGEST: usize = 48_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::connection::Asker;
    use crate::bench::peers::echo;
    use crate::bench::reply::Protocol;
    use crate::bench::workload::trace::Trace;
    use bson::oid::ObjectId;
    use bson::{DateTime, rawdoc};

    #[test]
    fn what_an_application_asks_is_relayed_and_can_be_replayed() {
        let server = echo::spawn(100, 1).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let capture = Capture::start("127.0.0.1:0".parse().unwrap(), server, file.path()).unwrap();
        let address = capture.address().unwrap();
        std::thread::spawn(move || capture.run());
        let mut asker = Asker::connect(address, Protocol::Mongo).unwrap();
        for id in 0..3 {
            let find = rawdoc! {"find": "a", "filter": {"_id": id}, "lsid": {"id": 1}, "$db": "d"};
            asker.command(&find).unwrap();
        }
        let oid = ObjectId::new();
        let insert = rawdoc! {
            "insert": "a", "documents": [{"_id": oid, "long": 1_i64, "double": 1.0, "at": DateTime::from_millis(5)}],
            "$db": "d",
        };
        asker.command(&insert).unwrap();
        let trace = Trace::load(file.path()).unwrap();
        assert_eq!(trace.commands(), 4);
        assert_eq!(trace.nth(3), Some(&insert), "every type comes back");
    }
}
