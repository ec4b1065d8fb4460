//! One pass over a command document.

use bytes::Bytes;

use super::Kind;
use super::field_name::FieldName;
use super::fields::{Fields, Placed};
use crate::wire::doc::{self, Element, Field};
use crate::wire::op_msg::OpMsg;

/// A place in the command document. Cheaper than a string, and can't dangle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

/// A command with the facts that the layers below need, read in one pass.
///
/// The document stays as it came; spans point into it.
#[derive(Clone, Debug)]
pub struct Command {
    body: Bytes,
    fields: Fields,
    name: Span,
    db: Span,
    collection: Option<Span>,
    /// What the name means.
    pub kind: Kind,
    lsid: Option<Span>,
    /// `txnNumber`: of a retryable write or a transaction.
    pub txn_number: Option<i64>,
    /// `autocommit: false` is present: this is a statement of a transaction.
    pub in_transaction: bool,
    read_preference: Option<Span>,
    /// `readConcern.level`, if the command names one.
    read_concern_level: Option<Span>,
    /// `readConcern` asks for data at or after a cluster time.
    pub after_cluster_time: bool,
    /// `writeConcern: {w: 0}`.
    pub unacknowledged: bool,
    /// `maxTimeMS`, in milliseconds; 0 and absent both mean no limit.
    pub max_time_ms: Option<u64>,
    /// An aggregation whose pipeline ends in `$out` or `$merge`.
    pub pipeline_writes: bool,
}

impl Command {
    /// Becomes the command in a message, if it can be read. To be called on [`Command::opaque`], which
    /// it is otherwise: a command is large, and this way it is read to where it stays.
    pub(crate) fn become_that_of(&mut self, msg: &OpMsg) {
        let read = msg.body.as_ref().and_then(|body| self.read(body));
        if read.is_none() {
            *self = Command::opaque();
        }
    }

    /// Reads the body of a message. `None` when there is no body, it isn't sound
    /// BSON at its top level, or it is empty: such a message is forwarded as it is.
    pub fn parse(msg: &OpMsg) -> Option<Command> {
        Command::parse_body(msg.body.as_ref()?)
    }

    /// Reads a bare command document.
    pub fn parse_body(body: &Bytes) -> Option<Command> {
        let mut command = Command::opaque();
        command.read(body)?;
        Some(command)
    }

    /// A message without a command that can be read: forwarded as it came, and
    /// assumed to write everywhere.
    pub fn opaque() -> Command {
        let nowhere = Span { start: 0, len: 0 };
        Command {
            body: Bytes::new(),
            fields: Fields::none(),
            name: nowhere,
            db: nowhere,
            collection: None,
            kind: Kind::Unknown,
            lsid: None,
            txn_number: None,
            in_transaction: false,
            read_preference: None,
            read_concern_level: None,
            after_cluster_time: false,
            unacknowledged: false,
            max_time_ms: None,
            pipeline_writes: false,
        }
    }

    /// Fills in what a command document says. `None`, in the midst of it, where it can't be read.
    fn read(&mut self, body: &Bytes) -> Option<()> {
        let mut fields = doc::fields(body);
        self.read_first(fields.next()?.ok()?)?;
        fields.show(|field| self.read_next(body, field))?;
        self.body = body.clone();
        Some(())
    }

    /// The first field: its name is the command's.
    fn read_first(&mut self, first: Field<'_>) -> Option<()> {
        self.kind = Kind::of(first.key());
        if self.kind == Kind::Unknown && !first.is_named() {
            return None;
        }
        let end = self.fields.note(FieldName::Other, first);
        self.name = Span::up_to(end - 1 - first.value().len() as u32, first.key());
        self.collection = text_span(end, &first.unnamed());
        Some(())
    }

    fn read_next(&mut self, body: &[u8], field: Field<'_>) -> Option<()> {
        let name = FieldName::of(field.key());
        let end = self.fields.note(name, field);
        let element = || field.unnamed();
        match name {
            FieldName::Db => self.db = text_span(end, &element())?,
            FieldName::Lsid => self.lsid = document_span(end, &element()),
            FieldName::TxnNumber => self.txn_number = element().as_i64(),
            FieldName::Autocommit => self.in_transaction = element().as_bool() == Some(false),
            FieldName::ReadPreference => {
                self.read_preference = document_span(end, &element());
            }
            FieldName::MaxTimeMs => {
                self.max_time_ms = element().as_i64().and_then(|ms| u64::try_from(ms).ok());
            }
            FieldName::ReadConcern => {
                if let Some(concern) = element().as_document() {
                    self.read_concern_level = doc::find(concern, "level")
                        .and_then(|e| e.as_text())
                        .and_then(|text| span_in(body, text));
                    self.after_cluster_time = doc::find(concern, "afterClusterTime").is_some();
                }
            }
            FieldName::WriteConcern => {
                self.unacknowledged = element()
                    .as_document()
                    .and_then(|wc| doc::find(wc, "w"))
                    .and_then(|w| w.as_i64())
                    == Some(0);
            }
            FieldName::Pipeline if self.kind == Kind::Aggregate => {
                self.pipeline_writes = element().as_array().is_none_or(pipeline_writes);
            }
            FieldName::Collection if self.kind == Kind::GetMore => {
                self.collection = text_span(end, &element());
            }
            FieldName::Other if !field.is_named() => return None,
            _ => {}
        }
        Some(())
    }

    /// The command document, byte for byte as the client sent it.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The fields of the document, in their order.
    #[inline]
    pub(crate) fn fields(&self) -> impl Iterator<Item = (FieldName, Field<'_>)> {
        self.placed().map(|placed| (placed.name, placed.field()))
    }

    /// The same, for who won't look at most of them.
    #[inline]
    pub(crate) fn placed(&self) -> impl Iterator<Item = Placed<'_>> {
        self.fields.of(&self.body)
    }

    /// The first field of this name. (Its key is left empty: it is known.)
    pub(crate) fn field(&self, name: FieldName) -> Option<Element<'_>> {
        let found = self.fields.first(name, &self.body);
        found.map(Field::unnamed)
    }

    /// The command's name: the key of the first field.
    pub fn name(&self) -> &str {
        self.text(self.name)
    }

    /// The same, as bytes.
    pub fn name_as_sent(&self) -> &[u8] {
        self.slice(self.name)
    }

    /// `$db`; empty when absent.
    pub fn db(&self) -> &str {
        self.text(self.db)
    }

    /// The string value of the first field: for most commands, the collection.
    pub fn collection(&self) -> Option<&str> {
        self.collection.map(|s| self.text(s))
    }

    /// `$db` and the string value of the first field, empty when absent: for who compares names and
    /// needn't have them as text.
    pub fn namespace(&self) -> (&[u8], &[u8]) {
        let collection = self.collection.map(|span| self.slice(span));
        (self.slice(self.db), collection.unwrap_or_default())
    }

    /// The session id document.
    pub fn lsid(&self) -> Option<&[u8]> {
        self.lsid.map(|s| self.slice(s))
    }

    /// `$readPreference`, as a document.
    pub fn read_preference(&self) -> Option<&[u8]> {
        self.read_preference.map(|s| self.slice(s))
    }

    /// `readConcern.level`.
    pub fn read_concern_level(&self) -> Option<&str> {
        self.read_concern_level.map(|s| self.text(s))
    }

    /// The cursor id that a `getMore`, or the first that a `killCursors`, names.
    pub fn cursor_id(&self) -> Option<i64> {
        match self.kind {
            Kind::GetMore => doc::find(&self.body, "getMore")?.as_i64(),
            Kind::KillCursors => {
                let cursors = doc::find(&self.body, "cursors")?;
                doc::elements(cursors.as_array()?).next()?.ok()?.as_i64()
            }
            _ => None,
        }
    }

    /// Whether this is a write that the server itself lets a driver retry
    /// (it carries a `txnNumber` outside a transaction).
    pub fn is_retryable_write(&self) -> bool {
        self.txn_number.is_some() && !self.in_transaction
    }

    fn slice(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        self.body
            .get(start..start + span.len as usize)
            .unwrap_or_default()
    }

    fn text(&self, span: Span) -> &str {
        std::str::from_utf8(self.slice(span)).unwrap_or_default()
    }
}

impl Span {
    /// Of what ends there.
    fn up_to(end: u32, bytes: &[u8]) -> Span {
        let len = bytes.len() as u32;
        let start = end.saturating_sub(len);
        Span { start, len }
    }
}

/// Where the text of a field lies that ends there: before its zero byte.
fn text_span(end: u32, field: &Element<'_>) -> Option<Span> {
    let text = field.as_text()?;
    Some(Span::up_to(end.saturating_sub(1), text))
}

/// Where the document of a field lies that ends there.
fn document_span(end: u32, field: &Element<'_>) -> Option<Span> {
    let document = field.as_document()?;
    Some(Span::up_to(end, document))
}

/// Where `inner`, a slice of `body`, lies.
fn span_in(body: &[u8], inner: &[u8]) -> Option<Span> {
    let start = (inner.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
    let end = start.checked_add(inner.len())?;
    if end > body.len() {
        return None;
    }
    Some(Span {
        start: u32::try_from(start).ok()?,
        len: u32::try_from(inner.len()).ok()?,
    })
}

/// Whether any stage of a pipeline is `$out` or `$merge`. A broken pipeline counts as one.
fn pipeline_writes(stages: &[u8]) -> bool {
    for stage in doc::elements(stages) {
        let Some(stage) = stage.ok().and_then(|s| s.as_document()) else {
            return true;
        };
        match doc::elements(stage).next() {
            Some(Ok(first)) if first.key != "$out" && first.key != "$merge" => {}
            _ => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;

    fn parse(document: Document) -> Command {
        Command::parse_body(&Bytes::from(document.to_vec().unwrap())).unwrap()
    }

    #[test]
    fn one_pass_reads_every_fact() {
        let command = parse(doc! {
            "find": "users", "filter": {"a": 1}, "lsid": {"id": 1}, "txnNumber": 5_i64,
            "autocommit": false, "readConcern": {"level": "majority", "afterClusterTime": 1},
            "maxTimeMS": 20, "$db": "game", "$readPreference": {"mode": "secondary"},
        });
        assert_eq!(command.kind, Kind::Find);
        assert_eq!(
            (command.db(), command.collection()),
            ("game", Some("users"))
        );
        assert_eq!(command.txn_number, Some(5));
        assert!(command.in_transaction && command.after_cluster_time);
        assert_eq!(command.read_concern_level(), Some("majority"));
        assert_eq!(command.max_time_ms, Some(20));
        assert!(command.lsid().is_some() && command.read_preference().is_some());
    }

    #[test]
    fn out_and_merge_are_found_anywhere_in_a_pipeline() {
        let plain = parse(doc! {"aggregate": "c", "pipeline": [{"$match": {}}], "$db": "d"});
        assert!(!plain.pipeline_writes);
        for stage in ["$out", "$merge"] {
            let c = parse(
                doc! {"aggregate": "c", "pipeline": [{"$match": {}}, {stage: "x"}], "$db": "d"},
            );
            assert!(c.pipeline_writes, "{stage}");
        }
        let broken = parse(doc! {"aggregate": "c", "pipeline": ["$out"], "$db": "d"});
        assert!(broken.pipeline_writes);
    }

    #[test]
    fn the_first_field_names_the_command_even_if_a_later_one_is_a_command_too() {
        let command = parse(doc! {"ping": 1, "insert": "c", "$db": "d"});
        assert_eq!(command.kind, Kind::Upkeep);
    }

    #[test]
    fn cursor_ids_are_read_from_get_more_and_kill_cursors() {
        let more = parse(doc! {"getMore": 77_i64, "collection": "c", "$db": "d"});
        assert_eq!((more.cursor_id(), more.collection()), (Some(77), Some("c")));
        let kill = parse(doc! {"killCursors": "c", "cursors": [5_i64, 6_i64], "$db": "d"});
        assert_eq!(kill.cursor_id(), Some(5));
    }

    #[test]
    fn a_fact_is_read_however_many_fields_stand_before_it() {
        let mut document = doc! {"insert": "c"};
        for n in 0..100 {
            document.insert(format!("field{n}"), n);
        }
        document.extend(doc! {"ordered": false, "$db": "d", "txnNumber": 5_i64});
        let command = parse(document);
        assert_eq!((command.db(), command.txn_number), ("d", Some(5)));
        let ordered = command.field(FieldName::Ordered).and_then(|o| o.as_bool());
        assert_eq!(ordered, Some(false));
        assert_eq!(command.fields().count(), 104);
    }

    #[test]
    fn an_empty_or_missing_body_is_not_a_command() {
        assert!(Command::parse_body(&Bytes::from_static(&[5, 0, 0, 0, 0])).is_none());
        assert!(Command::parse_body(&Bytes::from_static(&[5, 0, 0])).is_none());
    }
}
