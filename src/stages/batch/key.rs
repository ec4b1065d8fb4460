//! Which writes may share a batch, and with whom.
//!
//! A command is looked at field by field: what isn't known, or isn't of the type that every driver
//! sends, makes it go alone, so that the server judges it. What may differ between the commands of
//! one batch is left out of the key (documents, session, cluster time); everything else is in it
//! byte for byte.
//!
//! Absent on purpose: ordered inserts of several documents. What a client's second document does
//! depends on its first one's fate, and no command stops for one client and goes on for the next.

use std::sync::Arc;

use bytes::Bytes;

use super::harmless::{is_harmless_document, is_harmless_statement};
use super::statement::Single;
use super::stats::Alone;
use crate::command::{Command, FieldName, Names, ValueKey};
use crate::config::{RetryableUpdates, WriteKind};
use crate::pipeline::Request;
use crate::wire::doc::{self, Element, kind};
use crate::wire::op_msg::CHECKSUM_PRESENT;

/// A write that may be merged with others of the same `key`.
#[derive(Debug)]
pub(super) struct Write {
    pub kind: WriteKind,
    /// Kind, principal, namespace and the fields that all commands of a batch have in common.
    pub key: Arc<[u8]>,
    /// Where those fields begin in the key, as raw elements.
    carried: usize,
    /// Whole documents (of an update or delete: its statement), one after the other.
    pub documents: Bytes,
    /// How many there are; at least one.
    pub count: usize,
    /// The document that an update or delete selects.
    pub selects: Option<ValueKey>,
    /// Whether its client may send it again to somebody who doesn't know of the first try.
    pub survives_restart: bool,
    /// `$clusterTime`: its time, and the raw element.
    pub cluster_time: Option<(u64, Bytes)>,
    /// Set for a retryable write.
    pub id: Option<WriteId>,
}

/// A retryable write, as its client names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct WriteId {
    /// Number of the principal.
    pub principal: u64,
    /// `lsid.id`.
    pub session: [u8; 16],
    /// `txnNumber`.
    pub number: i64,
}

/// What the config says of which writes are merged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Most documents of one client that still gain from company.
    pub max_documents: usize,
    /// And bytes of them.
    pub max_size: usize,
    pub retryable_updates: RetryableUpdates,
}

impl Write {
    /// Reads a write, or says why it must go alone. The answer depends on the command only, so
    /// that a client's retry of it gets the same.
    pub fn read(kind: WriteKind, request: &Request, wanted: &Wanted) -> Result<Write, Alone> {
        let (command, msg) = (&request.command, &request.msg);
        if command.in_transaction {
            return Err(Alone::Transaction);
        }
        if msg.flags & !CHECKSUM_PRESENT != 0 || msg.unknown.is_some() || command.unacknowledged {
            return Err(Alone::Fields);
        }
        let fields = Fields::read(kind, request).ok_or(Alone::Fields)?;
        let (db, collection) = command.namespace();
        let special = matches!(db, b"" | b"admin" | b"config" | b"local");
        // (No server takes a name with a zero; in the key it would end there, and go on as fields.)
        let is_text = |name: &[u8]| {
            !name.contains(&0) && (name.is_ascii() || std::str::from_utf8(name).is_ok())
        };
        if !is_text(db) || !is_text(collection) {
            return Err(Alone::Fields);
        }
        if special || collection.is_empty() || collection.starts_with(b"system.") {
            return Err(Alone::Namespace);
        }
        if command.max_time_ms.is_some_and(|ms| ms > 0) {
            return Err(Alone::MaxTime);
        }
        let (documents, count) = documents(kind, &fields, request, wanted.max_size)?;
        if count > wanted.max_documents {
            return Err(Alone::Large);
        }
        let id = fields.id(request.principal.id)?;
        let (selects, survives_restart) = match kind {
            WriteKind::Insert => {
                may_insert(&fields, &documents, count, id.is_some())?;
                (None, true)
            }
            _ if count > 1 => return Err(Alone::Several),
            WriteKind::Update | WriteKind::Delete => {
                if !is_harmless_statement(&documents) {
                    return Err(Alone::Document);
                }
                let single = Single::read(kind, &documents)?;
                let allowed = match wanted.retryable_updates {
                    RetryableUpdates::Never => false,
                    RetryableUpdates::Idempotent => single.is_idempotent,
                    RetryableUpdates::Always => true,
                };
                if id.is_some() && !allowed {
                    return Err(Alone::Retryable);
                }
                (Some(single.document), single.is_idempotent)
            }
        };
        Ok(Write {
            kind,
            key: fields.key.into(),
            carried: fields.carried,
            documents,
            count,
            selects,
            survives_restart,
            cluster_time: fields.cluster_time,
            id,
        })
    }

    /// The fields that all commands of the batch have in common, as raw elements.
    pub fn carried(&self) -> &[u8] {
        self.key.get(self.carried..).unwrap_or_default()
    }
}

fn may_insert(
    fields: &Fields<'_>,
    documents: &[u8],
    count: usize,
    is_retryable: bool,
) -> Result<(), Alone> {
    if count > 1 && fields.ordered {
        return Err(Alone::Ordered);
    }
    if !doc::documents(documents).all(|d| d.is_ok_and(is_harmless_document)) {
        return Err(Alone::Document);
    }
    let has_id = |d: Result<&[u8], _>| d.is_ok_and(|d| doc::find(d, "_id").is_some());
    if is_retryable && !doc::documents(documents).all(has_id) {
        // Should the proxy die, the client's retry must not insert it a second time.
        return Err(Alone::NoId);
    }
    Ok(())
}

/// What a key begins with: all but the carried fields.
fn key(kind: WriteKind, request: &Request) -> Vec<u8> {
    let mut key = Vec::with_capacity(USUAL_KEY);
    key.push(kind as u8);
    key.extend_from_slice(&request.principal.id.to_le_bytes());
    let (db, collection) = request.command.namespace();
    for name in [db, collection] {
        key.extend_from_slice(name);
        key.push(0);
    }
    key
}

/// Bytes that most keys fit into.
const USUAL_KEY: usize = 160;

/// The command's fields, none of them twice.
#[derive(Default)]
struct Fields<'a> {
    ordered: bool,
    documents: Option<&'a [u8]>,
    session: Option<[u8; 16]>,
    number: Option<i64>,
    cluster_time: Option<(u64, Bytes)>,
    key: Vec<u8>,
    /// Where the carried fields begin in it.
    carried: usize,
}

impl<'a> Fields<'a> {
    fn read(kind: WriteKind, request: &'a Request) -> Option<Fields<'a>> {
        let command = &request.command;
        let key = key(kind, request);
        let mut fields = Fields {
            ordered: true,
            carried: key.len(),
            key,
            ..Fields::default()
        };
        let mut all = command.fields();
        let (_, collection) = all.next()?;
        collection.unnamed().as_text()?;
        let mut seen = Names::default();
        for (name, field) in all {
            if !seen.add(name) {
                return None;
            }
            fields.note(kind, name, &field.unnamed(), command)?;
        }
        Some(fields)
    }

    fn note(
        &mut self,
        write: WriteKind,
        name: FieldName,
        element: &Element<'a>,
        command: &Command,
    ) -> Option<()> {
        match name {
            FieldName::Db => element.as_text().map(drop),
            name if name == in_body(write) => {
                self.documents = Some(element.as_array()?);
                Some(())
            }
            FieldName::Ordered => {
                self.ordered = element.as_bool()?;
                Some(())
            }
            FieldName::Lsid => {
                self.session = Some(session(element.as_document()?)?);
                Some(())
            }
            FieldName::TxnNumber if element.kind == kind::INT64 => {
                self.number = Some(element.as_i64().filter(|&n| n >= 0)?);
                Some(())
            }
            FieldName::ClusterTime => {
                let at = cluster_time(element.as_document()?)?;
                self.cluster_time = Some((at, command.body().slice_ref(element.raw)));
                Some(())
            }
            FieldName::MaxTimeMs => element.as_i64().filter(|&ms| ms >= 0).map(drop),
            FieldName::Let if write == WriteKind::Insert => None,
            FieldName::BypassDocumentValidation if write == WriteKind::Delete => None,
            FieldName::WriteConcern
            | FieldName::Let
            | FieldName::BypassDocumentValidation
            | FieldName::ReadPreference
            | FieldName::ApiVersion
            | FieldName::ApiDeprecationErrors => {
                self.key.extend_from_slice(element.raw);
                Some(())
            }
            _ => None,
        }
    }

    fn id(&self, principal: u64) -> Result<Option<WriteId>, Alone> {
        match (self.session, self.number) {
            (Some(session), Some(number)) => Ok(Some(WriteId {
                principal,
                session,
                number,
            })),
            (_, None) => Ok(None),
            (None, Some(_)) => Err(Alone::Fields),
        }
    }
}

/// The retryable write or transaction that a request is part of, of whatever kind.
pub(super) fn write_id(request: &Request) -> Option<WriteId> {
    let command = &request.command;
    let number = command.txn_number?;
    Some(WriteId {
        principal: request.principal.id,
        session: session(command.lsid()?)?,
        number,
    })
}

/// Kind, database and collection that a group's key names.
pub(super) fn place(key: &[u8]) -> Option<(WriteKind, &str, &str)> {
    let (&first, rest) = key.split_first()?;
    let kind = WriteKind::ALL.into_iter().find(|&k| k as u8 == first)?;
    let mut names = rest.get(size_of::<u64>()..)?.split(|&byte| byte == 0);
    let mut name = || std::str::from_utf8(names.next()?).ok();
    Some((kind, name()?, name()?))
}

/// The field of [`list`].
fn in_body(kind: WriteKind) -> FieldName {
    match kind {
        WriteKind::Insert => FieldName::Documents,
        WriteKind::Update => FieldName::Updates,
        WriteKind::Delete => FieldName::Deletes,
    }
}

/// The field that holds a command's documents or statements.
pub(super) fn list(kind: WriteKind) -> &'static str {
    match kind {
        WriteKind::Insert => "documents",
        WriteKind::Update => "updates",
        WriteKind::Delete => "deletes",
    }
}

/// A session id as drivers make them: `{id: <UUID>}` and nothing else.
fn session(lsid: &[u8]) -> Option<[u8; 16]> {
    let mut elements = doc::elements(lsid);
    let id = elements.next()?.ok().filter(|e| e.key == "id")?;
    if elements.next().is_some() {
        return None;
    }
    let (subtype, bytes) = id.as_binary()?;
    (subtype == 4).then(|| bytes.try_into().ok())?
}

/// A `$clusterTime` as servers give and drivers return it. (Of a batch only the newest is sent: the server would find no
/// fault with the others.)
fn cluster_time(document: &[u8]) -> Option<u64> {
    fn next<'a>(fields: &mut doc::Elements<'a>, key: &str) -> Option<Element<'a>> {
        fields.next()?.ok().filter(|e| e.key == key)
    }
    let mut fields = doc::elements(document);
    let at = next(&mut fields, "clusterTime")?.as_timestamp()?;
    let mut signature = doc::elements(next(&mut fields, "signature")?.as_document()?);
    let (_, hash) = next(&mut signature, "hash")?.as_binary()?;
    next(&mut signature, "keyId")?.as_i64()?;
    let is_all = fields.next().is_none() && signature.next().is_none();
    (is_all && hash.len() == 20).then_some(at)
}

/// The documents one after the other, wherever in the message they are.
fn documents(
    kind: WriteKind,
    fields: &Fields<'_>,
    request: &Request,
    max_size: usize,
) -> Result<(Bytes, usize), Alone> {
    let sequences = request.msg.sequences.as_slice();
    let (documents, count) = match (fields.documents, sequences) {
        (None, [only]) if only.identifier == list(kind) => {
            (only.documents.clone(), only.iter().count())
        }
        (Some(array), []) => {
            if array.len() > max_size {
                return Err(Alone::Large);
            }
            in_array(array, request.command.body()).ok_or(Alone::Fields)?
        }
        _ => return Err(Alone::Fields),
    };
    match count {
        0 => Err(Alone::Fields),
        _ if documents.len() > max_size => Err(Alone::Large),
        _ => Ok((documents, count)),
    }
}

/// The documents of an array, and how many there are. A single one stays where it is.
fn in_array(array: &[u8], body: &Bytes) -> Option<(Bytes, usize)> {
    let mut first: &[u8] = &[];
    let mut more = Vec::new();
    let mut count = 0;
    for element in doc::elements(array) {
        let element = element.ok()?;
        // The server insists on array keys that count up.
        if element.key.parse() != Ok(count) {
            return None;
        }
        let document = element.as_document()?;
        match count {
            0 => first = document,
            1 => more = [first, document].concat(),
            _ => more.extend_from_slice(document),
        }
        count += 1;
    }
    match count {
        0 | 1 => Some((body.slice_ref(first), count)),
        _ => Some((more.into(), count)),
    }
}
