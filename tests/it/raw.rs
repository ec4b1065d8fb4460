//! A MongoDB client made of bytes.
//!
//! The tests need to send what no driver would send (broken lengths, one byte
//! at a time, sections in odd orders) and to see every byte that comes back,
//! so this client knows nothing of pools, retries or sessions. Its encoder is
//! written apart from `petiole::wire` on purpose: a mistake there must not be
//! undone by the same mistake here.
//!
//! Every read has a deadline, so that a server that forgets to answer fails a
//! test instead of hanging it.

mod encode;

use std::future::Future;
use std::time::Duration;

use bson::{Document, RawDocumentBuf, doc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub use self::encode::{
    Compressor, Section, compressed_envelope, encode, header, message, op_compressed, op_msg,
    op_query,
};

/// Bytes of a message header.
pub const HEADER_LEN: usize = 16;
/// Opcode of replies to `OP_QUERY`.
pub const OP_REPLY: i32 = 1;
/// Opcode of the legacy query, which only the first hello still uses.
pub const OP_QUERY: i32 = 2004;
/// Opcode of a compressed message.
pub const OP_COMPRESSED: i32 = 2012;
/// Opcode of everything else.
pub const OP_MSG: i32 = 2013;

/// OP_MSG flag: the last four bytes are a CRC-32C.
pub const CHECKSUM_PRESENT: u32 = 1;
/// OP_MSG flag: no reply follows (request), or another message does (reply).
pub const MORE_TO_COME: u32 = 1 << 1;
/// OP_MSG flag: the server may answer one getMore with many replies.
pub const EXHAUST_ALLOWED: u32 = 1 << 16;

/// How long one reply may take before the test fails.
const REPLY_DEADLINE: Duration = Duration::from_secs(60);
/// No test expects a longer message; a claim beyond it is a broken server.
const LONGEST_MESSAGE: usize = 64 << 20;

/// What went wrong while talking to a server.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The peer closed the connection at a message boundary or inside one.
    #[error("the server closed the connection")]
    Closed,
    /// Nothing came in time.
    #[error("no reply within {0:?}")]
    Late(Duration),
    /// The socket failed.
    #[error("socket: {0}")]
    Io(#[from] std::io::Error),
    /// The server sent something that isn't a MongoDB message.
    #[error("broken reply: {0}")]
    Broken(String),
}

/// A `Result` of this client.
pub type Result<T, E = ClientError> = std::result::Result<T, E>;

/// Any message, as it came: header fields and what follows the header.
#[derive(Debug, Clone)]
pub struct Message {
    /// The sender's id of this message.
    pub request_id: i32,
    /// The id of the message this one answers.
    pub response_to: i32,
    /// Opcode, as in the header (a compressed message stays compressed).
    pub op_code: i32,
    /// Everything after the header.
    pub body: Vec<u8>,
}

impl Message {
    /// The message itself, or the one inside an OP_COMPRESSED.
    pub fn inflated(&self) -> Result<Message> {
        if self.op_code != OP_COMPRESSED {
            return Ok(self.clone());
        }
        let original = i32_at(&self.body, 0)?;
        let size = i32_at(&self.body, 4)? as usize;
        if size > LONGEST_MESSAGE {
            return Err(ClientError::Broken(format!("inflated size {size}")));
        }
        let id = *self.body.get(8).ok_or_else(|| short("compressor id"))?;
        let data = &self.body[9..];
        let body = match id {
            0 => data.to_vec(),
            1 => snap::raw::Decoder::new()
                .decompress_vec(data)
                .map_err(|e| ClientError::Broken(e.to_string()))?,
            2 => {
                let mut out = Vec::new();
                std::io::Read::read_to_end(&mut flate2::read::ZlibDecoder::new(data), &mut out)?;
                out
            }
            3 => zstd::bulk::decompress(data, size)?,
            other => return Err(ClientError::Broken(format!("compressor {other}"))),
        };
        if body.len() != size {
            return Err(ClientError::Broken(format!(
                "{} bytes inflated, {size} promised",
                body.len()
            )));
        }
        Ok(Message {
            op_code: original,
            body,
            ..*self
        })
    }

    /// Flag bits of an OP_MSG; zero for other opcodes.
    pub fn flags(&self) -> u32 {
        match self.op_code {
            OP_MSG => i32_at(&self.body, 0).map_or(0, |f| f as u32),
            _ => 0,
        }
    }

    /// The reply document of an OP_MSG or OP_REPLY (inflated if need be).
    /// Checks the whole framing: sections, their lengths and the checksum.
    pub fn document(&self) -> Result<RawDocumentBuf> {
        let message = self.inflated()?;
        match message.op_code {
            OP_MSG => message.op_msg_document(),
            OP_REPLY => {
                let rest = message.body.get(20..).ok_or_else(|| short("OP_REPLY"))?;
                document_of(rest)
            }
            other => Err(ClientError::Broken(format!("reply opcode {other}"))),
        }
    }

    fn op_msg_document(&self) -> Result<RawDocumentBuf> {
        let flags = self.flags();
        let mut end = self.body.len();
        if flags & CHECKSUM_PRESENT != 0 {
            end = end.checked_sub(4).ok_or_else(|| short("checksum"))?;
            let claimed = i32_at(&self.body, end)? as u32;
            let length = (HEADER_LEN + self.body.len()) as i32;
            let head = header(length, self.request_id, self.response_to, self.op_code);
            let actual = crc32c::crc32c_append(crc32c::crc32c(&head), &self.body[..end]);
            if claimed != actual {
                return Err(ClientError::Broken("wrong checksum".into()));
            }
        }
        let sections = self.body.get(4..end).ok_or_else(|| short("OP_MSG"))?;
        match sections.split_first() {
            Some((0, rest)) => document_of(rest),
            other => Err(ClientError::Broken(format!(
                "first section {:?}",
                other.map(|(kind, _)| kind)
            ))),
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    next_id: i32,
}

impl RawClient {
    /// Connects to `host:port`; sends nothing.
    pub async fn connect(address: &str) -> Result<RawClient> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(RawClient { stream, next_id: 1 })
    }

    /// Sends a command as one kind-0 section and returns the whole reply.
    pub async fn command(&mut self, command: &Document) -> Result<RawDocumentBuf> {
        self.roundtrip(0, &[Section::Body(encode(command))])
            .await?
            .document()
    }

    /// Sends an OP_MSG and returns the message that answers it.
    pub async fn roundtrip(&mut self, flags: u32, sections: &[Section]) -> Result<Message> {
        let id = self.send(flags, sections).await?;
        self.reply_to(id).await
    }

    /// Sends an OP_MSG and expects nothing back (w:0, `moreToCome`).
    pub async fn send(&mut self, flags: u32, sections: &[Section]) -> Result<i32> {
        let id = self.id();
        self.send_bytes(&op_msg(id, flags, sections)).await?;
        Ok(id)
    }

    /// Sends a command in the legacy OP_QUERY form.
    pub async fn query(&mut self, collection: &str, command: &Document) -> Result<Message> {
        let id = self.id();
        self.send_bytes(&op_query(id, collection, &encode(command)))
            .await?;
        self.reply_to(id).await
    }

    /// Sends a command inside an OP_COMPRESSED.
    pub async fn compressed(&mut self, by: Compressor, sections: &[Section]) -> Result<Message> {
        let id = self.id();
        self.send_bytes(&op_compressed(&op_msg(id, 0, sections), by))
            .await?;
        self.reply_to(id).await
    }

    /// Reads a whole cursor as a driver's exhaust cursor does: every message allows exhaust; while a reply says that
    /// more will come nothing is asked, and after one that doesn't a `getMore` is sent, until the cursor ends.
    /// mongod lets each reply of a stream answer the one before it, SecantusDB lets all answer the request; nothing
    /// else is accepted.
    pub async fn exhaust(&mut self, command: &Document) -> Result<Vec<Message>> {
        let mut command = command.clone();
        let mut replies: Vec<Message> = Vec::new();
        loop {
            let id = self
                .send(EXHAUST_ALLOWED, &[Section::Body(encode(&command))])
                .await?;
            let mut before = id;
            loop {
                let reply = self.receive().await?;
                if ![id, before].contains(&reply.response_to) {
                    return Err(out_of_turn(&reply, before));
                }
                before = reply.request_id;
                let more = reply.inflated()?.flags() & MORE_TO_COME != 0;
                replies.push(reply);
                if !more {
                    break;
                }
            }
            let document = replies.last().expect("one has come").document()?;
            let cursor = document.get_document("cursor").ok();
            let open = cursor.and_then(|cursor| cursor.get_i64("id").ok());
            let Some(open) = open.filter(|&id| id != 0) else {
                return Ok(replies);
            };
            let collection = command.get_str("collection").or(command.get_str("find"));
            let mut more = doc! { "getMore": open, "collection": collection.unwrap_or_default() };
            for key in ["batchSize", "$db"] {
                if let Some(value) = command.get(key) {
                    more.insert(key, value);
                }
            }
            command = more;
        }
    }

    /// Writes bytes as they are.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await?;
        Ok(())
    }

    /// Writes each byte in its own segment.
    pub async fn send_bytewise(&mut self, bytes: &[u8]) -> Result<()> {
        for byte in bytes {
            self.send_bytes(std::slice::from_ref(byte)).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Says that nothing more will be sent; replies can still be read.
    pub async fn half_close(&mut self) -> Result<()> {
        self.stream.shutdown().await?;
        Ok(())
    }

    /// Reads one message, whatever it answers.
    pub async fn receive(&mut self) -> Result<Message> {
        within(REPLY_DEADLINE, self.read_message()).await
    }

    /// Reads until the peer closes, and returns what it sent before that.
    /// A reset counts as closed.
    pub async fn read_to_close(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        within(REPLY_DEADLINE, async {
            match self.stream.read_to_end(&mut bytes).await {
                Err(error) if !is_hang_up(&error) => Err(error.into()),
                _ => Ok(()),
            }
        })
        .await?;
        Ok(bytes)
    }

    /// A request id that wasn't used on this connection before.
    pub fn id(&mut self) -> i32 {
        self.next_id += 1;
        self.next_id
    }

    async fn reply_to(&mut self, id: i32) -> Result<Message> {
        let reply = self.receive().await?;
        if reply.response_to != id {
            return Err(out_of_turn(&reply, id));
        }
        Ok(reply)
    }

    async fn read_message(&mut self) -> Result<Message> {
        let mut head = [0; HEADER_LEN];
        self.read_exact(&mut head).await?;
        let length = i32_at(&head, 0)? as usize;
        if !(HEADER_LEN..=LONGEST_MESSAGE).contains(&length) {
            return Err(ClientError::Broken(format!("length {length}")));
        }
        let mut body = vec![0; length - HEADER_LEN];
        self.read_exact(&mut body).await?;
        Ok(Message {
            request_id: i32_at(&head, 4)?,
            response_to: i32_at(&head, 8)?,
            op_code: i32_at(&head, 12)?,
            body,
        })
    }

    async fn read_exact(&mut self, into: &mut [u8]) -> Result<()> {
        match self.stream.read_exact(into).await {
            Ok(_) => Ok(()),
            Err(error) if is_hang_up(&error) => Err(ClientError::Closed),
            Err(error) => Err(error.into()),
        }
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or(Err(ClientError::Late(limit)))
}

fn out_of_turn(reply: &Message, expected: i32) -> ClientError {
    let actual = reply.response_to;
    ClientError::Broken(format!(
        "a reply to {actual} came where one to {expected} should"
    ))
}

fn is_hang_up(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
}

/// The document at the start of `bytes`, which must be all there is.
fn document_of(bytes: &[u8]) -> Result<RawDocumentBuf> {
    RawDocumentBuf::from_bytes(bytes.to_vec()).map_err(|e| ClientError::Broken(e.to_string()))
}

fn i32_at(bytes: &[u8], at: usize) -> Result<i32> {
    let four = bytes.get(at..at + 4).ok_or_else(|| short("integer"))?;
    Ok(i32::from_le_bytes(four.try_into().expect("four bytes")))
}

fn short(what: &str) -> ClientError {
    ClientError::Broken(format!("{what} cut short"))
}
