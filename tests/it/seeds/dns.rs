//! A name server that knows what it was told, and nothing else: just enough of DNS for a resolver.

use std::collections::HashMap;
use std::net::UdpSocket;

/// Answers questions on this socket as long as the process lives.
pub fn serve(socket: UdpSocket, zone: Zone) {
    std::thread::spawn(move || {
        let mut question = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            if let Some(answer) = question.get(..length).and_then(|q| zone.answer(q)) {
                // A resolver that has gone doesn't matter.
                let _ = socket.send_to(&answer, from);
            }
        }
    });
}

/// Names, and the data of their records by type.
#[derive(Default)]
pub struct Zone(HashMap<(String, u16), Vec<Vec<u8>>>);

const A: u16 = 1;
const TXT: u16 = 16;
const SRV: u16 = 33;

impl Zone {
    pub fn address(mut self, name: &str) -> Zone {
        self.add(name, A, vec![127, 0, 0, 1]);
        self
    }

    pub fn text(mut self, name: &str, text: &str) -> Zone {
        let mut data = vec![u8::try_from(text.len()).unwrap()];
        data.extend(text.as_bytes());
        self.add(name, TXT, data);
        self
    }

    pub fn service(mut self, name: &str, host: &str, port: u16) -> Zone {
        let mut data = vec![0; 4];
        data.extend(port.to_be_bytes());
        data.extend(encoded(host));
        self.add(&format!("_mongodb._tcp.{name}"), SRV, data);
        self
    }

    fn add(&mut self, name: &str, kind: u16, data: Vec<u8>) {
        let key = (name.to_owned(), kind);
        self.0.entry(key).or_default().push(data);
    }

    fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let (name, end) = name(message, 12)?;
        let kind = u16::from_be_bytes([*message.get(end)?, *message.get(end + 1)?]);
        let known = self.0.keys().any(|(known, _)| *known == name);
        let records = self.0.get(&(name, kind)).map_or(&[][..], Vec::as_slice);
        // An answer, authoritative; "no such name" if there's nothing of any type.
        let flags: u16 = if known { 0x8400 } else { 0x8403 };
        let mut answer = message.get(..2)?.to_vec();
        for number in [flags, 1, u16::try_from(records.len()).ok()?, 0, 0] {
            answer.extend(number.to_be_bytes());
        }
        answer.extend(message.get(12..end + 4)?);
        for data in records {
            // The name of the question, by reference to where it stands.
            for number in [0xc00c, kind, 1, 0, 60, u16::try_from(data.len()).ok()?] {
                answer.extend(number.to_be_bytes());
            }
            answer.extend(data);
        }
        Some(answer)
    }
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// The name that begins there, in lower case, and where it ends.
fn name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = std::str::from_utf8(message.get(at..at + length)?).ok()?;
        labels.push(label.to_ascii_lowercase());
        at += length;
    }
}
