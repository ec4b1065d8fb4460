//! A prepared frame with holes: making a request costs the generator one copy of some 200 bytes and a few stores.

use bson::raw::CString;
use bson::spec::BinarySubtype;
use bson::{Binary, RawDocumentBuf, rawdoc};

use crate::bench::reply::OP_MSG;

/// A whole OP_MSG with one body section.
pub fn message(request_id: i32, body: &RawDocumentBuf) -> Vec<u8> {
    let body = body.as_bytes();
    let length = 16 + 4 + 1 + body.len();
    let mut bytes = Vec::with_capacity(length);
    for field in [length as i32, request_id, 0, OP_MSG, 0] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(body);
    bytes
}

/// A field's name, for documents whose fields aren't known when this is compiled.
pub fn field(name: &str) -> CString {
    CString::try_from(name).unwrap_or_else(|_| unreachable!("our own names hold no NUL"))
}

/// What a frame is built with, in place of values that change from request to request.
#[derive(Debug)]
pub struct Marks {
    /// The connection's session, `{id: <UUID>}`.
    pub lsid: RawDocumentBuf,
}

impl Marks {
    /// The int64 in hole number `hole`.
    pub fn int64(&self, hole: usize) -> i64 {
        MARK + hole as i64
    }

    /// The int32 in hole number `hole`.
    pub fn int32(&self, hole: usize) -> i32 {
        (MARK + hole as i64) as i32
    }

    /// The decimal digits, as many as an int64 has at most, in hole number `hole`. They may be part of a longer text.
    pub fn digits(&self, hole: usize) -> String {
        format!("{:#>DIGITS$}", hole)
    }
}

const MARK: i64 = 0x5ced_c0de_5eed_c0d0;
const SESSION_MARK: [u8; 16] = *b"\xf0petiole-bench\xf1\xf2";
/// More than any template of ours has, so that marks differ in their low bits.
const MOST_HOLES: usize = 8;

/// One frame whose holes and session id are filled per request.
#[derive(Debug, Clone)]
pub struct Template {
    frame: Vec<u8>,
    holes: Vec<Hole>,
    session_at: Vec<usize>,
}

/// Where a value goes: it may occur more than once.
#[derive(Debug, Clone)]
struct Hole {
    form: Form,
    places: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Int32,
    Int64,
    Digits,
}

/// Digits of the largest int64.
const DIGITS: usize = 19;

impl Template {
    /// `build` makes the command, with marks in the places of values. Each hole from 0 to `holes` must occur.
    pub fn new(holes: usize, build: impl FnOnce(&Marks) -> RawDocumentBuf) -> Template {
        assert!(holes <= MOST_HOLES, "too many holes for marks that differ");
        let id = Binary {
            subtype: BinarySubtype::Uuid,
            bytes: SESSION_MARK.to_vec(),
        };
        let marks = Marks {
            lsid: rawdoc! {"id": id},
        };
        let frame = message(0, &build(&marks));
        let holes = (0..holes)
            .map(|hole| {
                let forms = [
                    (Form::Int64, marks.int64(hole).to_le_bytes().to_vec()),
                    (Form::Digits, marks.digits(hole).into_bytes()),
                    (Form::Int32, marks.int32(hole).to_le_bytes().to_vec()),
                ];
                let mut found = forms.iter().map(|(form, mark)| Hole {
                    form: *form,
                    places: places(&frame, mark),
                });
                let found = found.find(|hole| !hole.places.is_empty());
                found.unwrap_or_else(|| unreachable!("a template without its hole {hole}"))
            })
            .collect();
        let session_at = places(&frame, &SESSION_MARK);
        Template {
            frame,
            holes,
            session_at,
        }
    }

    /// Gives sessions of another lane other ids than this one's.
    pub fn of_lane(mut self, lane: u64) -> Template {
        for &at in &self.session_at {
            self.frame[at + 8..at + 16].copy_from_slice(&lane.to_le_bytes());
        }
        self
    }

    /// Appends the frame to `out`, which is empty, with one value per hole.
    pub fn put(&self, connection: usize, values: &[i64], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.frame);
        for (hole, value) in self.holes.iter().zip(values) {
            for &at in &hole.places {
                match hole.form {
                    Form::Int32 => out[at..at + 4].copy_from_slice(&(*value as i32).to_le_bytes()),
                    Form::Int64 => out[at..at + 8].copy_from_slice(&value.to_le_bytes()),
                    Form::Digits => put_digits(&mut out[at..at + DIGITS], *value),
                }
            }
        }
        for &at in &self.session_at {
            out[at..at + 8].copy_from_slice(&(connection as u64).to_le_bytes());
        }
    }
}

fn put_digits(out: &mut [u8], value: i64) {
    let mut rest = value.unsigned_abs();
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

fn places(frame: &[u8], needle: &[u8]) -> Vec<usize> {
    let windows = frame.windows(needle.len()).enumerate();
    windows
        .filter(|(_, window)| *window == needle)
        .map(|(at, _)| at)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::reply::body;

    #[test]
    fn holes_are_filled_wherever_they_occur() {
        let template = Template::new(2, |marks| {
            rawdoc! {"a": marks.int32(0), "b": marks.int64(1), "c": marks.int32(0), "lsid": marks.lsid.clone()}
        });
        let mut frame = Vec::new();
        template.put(7, &[5, -6], &mut frame);
        let command = body(&frame).unwrap();
        assert_eq!(command.get_i32("a").unwrap(), 5);
        assert_eq!(command.get_i64("b").unwrap(), -6);
        assert_eq!(command.get_i32("c").unwrap(), 5);
        let session = command
            .get_document("lsid")
            .unwrap()
            .get_binary("id")
            .unwrap();
        assert_eq!(session.bytes[..8], 7u64.to_le_bytes());
    }

    #[test]
    fn digits_are_filled_within_a_text() {
        let template = Template::new(1, |marks| rawdoc! {"a": format!("user{}", marks.digits(0))});
        let mut frame = Vec::new();
        template.put(0, &[1_234], &mut frame);
        let command = body(&frame).unwrap();
        assert_eq!(command.get_str("a").unwrap(), "user0000000000000001234");
    }
}
