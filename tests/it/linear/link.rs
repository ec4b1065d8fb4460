//! A blocking client that costs little: tens of thousands of reads a second have to be sent, and
//! all of their answers looked at, on the cores that the proxy and the server need as well.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bson::{Document, RawDocument};

use crate::raw::{self, Section};

/// One connection.
pub struct Link {
    stream: TcpStream,
    buf: Vec<u8>,
    /// What was received and not yet taken.
    ready: std::ops::Range<usize>,
}

impl Link {
    /// Connects.
    pub fn connect(address: &str) -> Link {
        let stream = TcpStream::connect(address).expect("the proxy listens");
        stream.set_nodelay(true).expect("a socket option");
        let deadline = Some(Duration::from_secs(60));
        stream.set_read_timeout(deadline).expect("a socket option");
        Link {
            stream,
            buf: vec![0; 1 << 16],
            ready: 0..0,
        }
    }

    /// Sends whole messages.
    pub fn send(&mut self, messages: &[u8]) {
        self.stream.write_all(messages).expect("the proxy reads");
    }

    /// The next reply.
    pub fn receive(&mut self) -> &RawDocument {
        let length = loop {
            let ready = &self.buf[self.ready.clone()];
            let length = ready.get(..4).map(|four| {
                usize::try_from(i32::from_le_bytes(four.try_into().expect("four bytes")))
                    .expect("a length")
            });
            if let Some(length) = length.filter(|&length| length <= ready.len()) {
                break length;
            }
            self.fill();
        };
        let from = self.ready.start;
        self.ready.start += length;
        // Header, flags, and the kind of the only section.
        RawDocument::from_bytes(&self.buf[from + 21..from + length]).expect("an OP_MSG")
    }

    fn fill(&mut self) {
        self.buf.copy_within(self.ready.clone(), 0);
        self.ready = 0..self.ready.len();
        if self.ready.end == self.buf.len() {
            self.buf.resize(2 * self.buf.len(), 0);
        }
        let read = self.stream.read(&mut self.buf[self.ready.end..]);
        let read = read.expect("a reply within a minute");
        assert!(read > 0, "the proxy has closed a connection");
        self.ready.end += read;
    }

    /// Sends a command, with a sequence of documents if there is one, and returns the reply.
    pub fn command(
        &mut self,
        command: &Document,
        sequence: Option<(&'static str, &[Document])>,
    ) -> Document {
        self.send(&message(0, command, sequence));
        Document::try_from(self.receive()).expect("sound BSON")
    }

    /// Sends a command to which no reply comes.
    pub fn unacknowledged(&mut self, command: &Document) {
        self.send(&message(raw::MORE_TO_COME, command, None));
    }
}

fn message(
    flags: u32,
    command: &Document,
    sequence: Option<(&'static str, &[Document])>,
) -> Vec<u8> {
    let mut sections = vec![Section::Body(raw::encode(command))];
    if let Some((name, documents)) = sequence {
        sections.push(Section::Sequence(
            name,
            documents.iter().map(raw::encode).collect(),
        ));
    }
    raw::op_msg(1, flags, &sections)
}
