//! Writing a raw BSON document, field by field.
//!
//! For the small documents that the proxy makes itself (hello, error replies,
//! its own commands), and for copying elements of others unchanged. Re-exported
//! by [`super::build`]. There is no tree: every field is written where it stays.

use bytes::Bytes;

use super::doc::kind;

/// A document that is being written.
///
/// ```
/// use petiole::wire::build::DocBuf;
/// use petiole::wire::doc;
///
/// let mut ping = DocBuf::new();
/// ping.append_i32("ping", 1).append_str("$db", "admin");
/// let ping = ping.finish();
/// assert_eq!(doc::find(&ping, "$db").unwrap().as_str(), Some("admin"));
/// ```
///
/// A key with a zero byte in it cannot be written in BSON; it is cut there.
#[derive(Debug, Clone)]
pub struct DocBuf {
    buf: Vec<u8>,
    /// Where this document's length prefix is in `buf`.
    start: usize,
}

impl Default for DocBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl DocBuf {
    /// An empty document.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(128)
    }

    /// An empty document with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self::open(Vec::with_capacity(capacity.max(8)))
    }

    fn open(mut buf: Vec<u8>) -> Self {
        let start = buf.len();
        buf.extend_from_slice(&[0; 4]);
        Self { buf, start }
    }

    fn close(mut self) -> Vec<u8> {
        self.buf.push(0);
        let length = len_i32(self.buf.len() - self.start);
        if let Some(prefix) = self.buf.get_mut(self.start..self.start + 4) {
            prefix.copy_from_slice(&length.to_le_bytes());
        }
        self.buf
    }

    /// The finished document.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.close()
    }

    /// The finished document, ready to be shared.
    #[must_use]
    pub fn finish_bytes(self) -> Bytes {
        Bytes::from(self.close())
    }

    fn head(&mut self, kind: u8, key: &str) {
        let key = key.split('\0').next().unwrap_or_default();
        self.buf.push(kind);
        self.buf.extend_from_slice(key.as_bytes());
        self.buf.push(0);
    }

    /// Appends a value of any type from its raw bytes, which must be right.
    pub fn append_value(&mut self, key: &str, kind: u8, value: &[u8]) -> &mut Self {
        self.head(kind, key);
        self.buf.extend_from_slice(value);
        self
    }

    /// Appends a whole raw element ([`super::doc::Element::raw`]) unchanged.
    pub fn append_raw(&mut self, element: &[u8]) -> &mut Self {
        self.buf.extend_from_slice(element);
        self
    }

    /// Appends an int32.
    pub fn append_i32(&mut self, key: &str, value: i32) -> &mut Self {
        self.append_value(key, kind::INT32, &value.to_le_bytes())
    }

    /// Appends an int64.
    pub fn append_i64(&mut self, key: &str, value: i64) -> &mut Self {
        self.append_value(key, kind::INT64, &value.to_le_bytes())
    }

    /// Appends a double.
    pub fn append_f64(&mut self, key: &str, value: f64) -> &mut Self {
        self.append_value(key, kind::DOUBLE, &value.to_le_bytes())
    }

    /// Appends a boolean.
    pub fn append_bool(&mut self, key: &str, value: bool) -> &mut Self {
        self.append_value(key, kind::BOOL, &[u8::from(value)])
    }

    /// Appends a string.
    pub fn append_str(&mut self, key: &str, value: &str) -> &mut Self {
        self.head(kind::STRING, key);
        self.buf
            .extend_from_slice(&len_i32(value.len() + 1).to_le_bytes());
        self.buf.extend_from_slice(value.as_bytes());
        self.buf.push(0);
        self
    }

    /// Appends a null.
    pub fn append_null(&mut self, key: &str) -> &mut Self {
        self.append_value(key, kind::NULL, &[])
    }

    /// Appends a timestamp given as `(seconds << 32) | increment`.
    pub fn append_timestamp(&mut self, key: &str, value: u64) -> &mut Self {
        self.append_value(key, kind::TIMESTAMP, &value.to_le_bytes())
    }

    /// Appends a date in milliseconds since 1970.
    pub fn append_date(&mut self, key: &str, millis: i64) -> &mut Self {
        self.append_value(key, kind::DATE, &millis.to_le_bytes())
    }

    /// Appends an ObjectId.
    pub fn append_object_id(&mut self, key: &str, id: [u8; 12]) -> &mut Self {
        self.append_value(key, kind::OBJECT_ID, &id)
    }

    /// Appends a binary value.
    pub fn append_binary(&mut self, key: &str, subtype: u8, value: &[u8]) -> &mut Self {
        self.head(kind::BINARY, key);
        self.buf
            .extend_from_slice(&len_i32(value.len()).to_le_bytes());
        self.buf.push(subtype);
        self.buf.extend_from_slice(value);
        self
    }

    /// Appends a whole raw document.
    pub fn append_doc(&mut self, key: &str, doc: &[u8]) -> &mut Self {
        self.append_value(key, kind::DOCUMENT, doc)
    }

    /// Appends a whole raw array.
    pub fn append_raw_array(&mut self, key: &str, array: &[u8]) -> &mut Self {
        self.append_value(key, kind::ARRAY, array)
    }

    /// Appends a document that `write` fills, in place.
    pub fn append_doc_with(&mut self, key: &str, write: impl FnOnce(&mut DocBuf)) -> &mut Self {
        self.head(kind::DOCUMENT, key);
        self.nested(write)
    }

    /// Appends an array that `write` fills, in place.
    pub fn append_array(&mut self, key: &str, write: impl FnOnce(&mut ArrayBuf)) -> &mut Self {
        self.head(kind::ARRAY, key);
        let doc = Self::open(std::mem::take(&mut self.buf));
        let mut array = ArrayBuf { doc, next: 0 };
        write(&mut array);
        self.buf = array.doc.close();
        self
    }

    /// Appends an array of strings.
    pub fn append_strs<S: AsRef<str>>(
        &mut self,
        key: &str,
        values: impl IntoIterator<Item = S>,
    ) -> &mut Self {
        self.append_array(key, |array| {
            for value in values {
                array.push_str(value.as_ref());
            }
        })
    }

    fn nested(&mut self, write: impl FnOnce(&mut DocBuf)) -> &mut Self {
        let mut inner = Self::open(std::mem::take(&mut self.buf));
        write(&mut inner);
        self.buf = inner.close();
        self
    }
}

/// An array that is being written; it numbers its elements itself.
#[derive(Debug)]
pub struct ArrayBuf {
    doc: DocBuf,
    next: usize,
}

impl ArrayBuf {
    fn key(&mut self) -> String {
        let key = self.next.to_string();
        self.next += 1;
        key
    }

    /// Appends an int32.
    pub fn push_i32(&mut self, value: i32) -> &mut Self {
        self.push_value(kind::INT32, &value.to_le_bytes())
    }

    /// Appends an int64.
    pub fn push_i64(&mut self, value: i64) -> &mut Self {
        self.push_value(kind::INT64, &value.to_le_bytes())
    }

    /// Appends a string.
    pub fn push_str(&mut self, value: &str) -> &mut Self {
        let key = self.key();
        self.doc.append_str(&key, value);
        self
    }

    /// Appends a whole raw document.
    pub fn push_doc(&mut self, doc: &[u8]) -> &mut Self {
        self.push_value(kind::DOCUMENT, doc)
    }

    /// Appends a document that `write` fills, in place.
    pub fn push_doc_with(&mut self, write: impl FnOnce(&mut DocBuf)) -> &mut Self {
        let key = self.key();
        self.doc.append_doc_with(&key, write);
        self
    }

    /// Appends a value of any type from its raw bytes, which must be right.
    pub fn push_value(&mut self, kind: u8, value: &[u8]) -> &mut Self {
        let key = self.key();
        self.doc.append_value(&key, kind, value);
        self
    }
}

/// A length as BSON and the wire protocol write it. Nothing that fits in
/// memory here comes near the end of an `i32`; a length beyond it is clamped,
/// and a receiver refuses it.
pub(super) fn len_i32(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::doc;

    #[test]
    fn what_is_written_is_what_another_encoder_writes() {
        let mut buf = DocBuf::new();
        buf.append_i32("i", -7)
            .append_i64("l", 1 << 40)
            .append_f64("d", 0.1)
            .append_bool("b", true)
            .append_str("s", "grün")
            .append_null("n")
            .append_timestamp("t", (5 << 32) | 6)
            .append_date("at", 1000)
            .append_object_id("oid", [3; 12])
            .append_binary("bin", 0, &[1, 2, 3])
            .append_doc_with("outer", |outer| {
                outer.append_doc_with("inner", |inner| {
                    inner.append_i32("deep", 1);
                });
                outer.append_i32("after", 2);
            })
            .append_array("list", |list| {
                list.push_i32(1).push_i64(2).push_str("three");
                list.push_doc_with(|d| {
                    d.append_strs("names", ["a", "b"]);
                });
            })
            .append_i32("last", 0);
        let expected = bson::doc! {
            "i": -7,
            "l": 1_i64 << 40,
            "d": 0.1,
            "b": true,
            "s": "grün",
            "n": null,
            "t": bson::Timestamp { time: 5, increment: 6 },
            "at": bson::DateTime::from_millis(1000),
            "oid": bson::oid::ObjectId::from_bytes([3; 12]),
            "bin": bson::Binary {
                subtype: bson::spec::BinarySubtype::Generic,
                bytes: vec![1, 2, 3],
            },
            "outer": { "inner": { "deep": 1 }, "after": 2 },
            "list": [1, 2_i64, "three", { "names": ["a", "b"] }],
            "last": 0,
        };
        assert_eq!(buf.finish(), expected.to_vec().unwrap());
    }

    #[test]
    fn raw_parts_are_copied_unchanged() {
        let mut source = DocBuf::new();
        source.append_str("a", "x").append_array("l", |l| {
            l.push_doc(&[5, 0, 0, 0, 0]);
        });
        let source = source.finish();
        let list = doc::find(&source, "l").unwrap();
        let mut copy = DocBuf::with_capacity(0);
        copy.append_raw(doc::find(&source, "a").unwrap().raw)
            .append_raw_array("l", list.as_array().unwrap());
        assert_eq!(copy.finish_bytes(), source);
        let mut outer = DocBuf::new();
        outer.append_doc("d", &source);
        let outer = outer.finish();
        let inner = doc::find(&outer, "d").unwrap().as_document();
        assert_eq!(inner, Some(&source[..]));
    }

    #[test]
    fn an_empty_document_has_five_bytes() {
        assert_eq!(DocBuf::new().finish(), [5, 0, 0, 0, 0]);
    }

    #[test]
    fn a_key_is_cut_at_a_zero_byte() {
        let mut buf = DocBuf::new();
        buf.append_i32("a\0b", 1).append_i32("c", 2);
        let doc = buf.finish();
        assert_eq!(doc::check(&doc), Ok(()));
        assert_eq!(doc::find(&doc, "a").unwrap().as_i32(), Some(1));
    }
}
