//! Which inserts may share a batch, and with whom.
//!
//! An insert is looked at field by field: what isn't known, or isn't of the type that every driver
//! sends, makes it go alone, so that the server judges it. What may differ between the commands of
//! one batch is left out of the key (documents, session, cluster time); everything else is in it
//! byte for byte.

use bytes::Bytes;

use super::stats::Alone;
use crate::command::Command;
use crate::pipeline::Request;
use crate::wire::doc::{self, Element, kind};
use crate::wire::op_msg::{CHECKSUM_PRESENT, OpMsg};

/// An insert that may be merged with others of the same `key`.
#[derive(Debug)]
pub(super) struct Insert {
    /// Principal, namespace and the fields that all commands of a batch have in common.
    pub key: Box<[u8]>,
    /// Where those fields begin in the key, as raw elements.
    carried: usize,
    /// Whole documents, one after the other.
    pub documents: Bytes,
    /// How many there are; at least one.
    pub count: usize,
    /// `$clusterTime`: its time, and the raw element.
    pub cluster_time: Option<(u64, Bytes)>,
    /// Set for a retryable write.
    pub write: Option<WriteId>,
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

impl Insert {
    /// Reads an insert, or says why it must go alone. The answer depends on the command only, so
    /// that a client's retry of it gets the same.
    pub fn read(request: &Request, max_size: usize) -> Result<Insert, Alone> {
        let (command, msg) = (&request.command, &request.msg);
        if command.in_transaction {
            return Err(Alone::Transaction);
        }
        if msg.flags & !CHECKSUM_PRESENT != 0 || msg.unknown.is_some() || command.unacknowledged {
            return Err(Alone::Fields);
        }
        let fields = Fields::read(command).ok_or(Alone::Fields)?;
        let (db, collection) = (command.db(), command.collection().unwrap_or_default());
        let special = matches!(db, "" | "admin" | "config" | "local");
        if special || collection.is_empty() || collection.starts_with("system.") {
            return Err(Alone::Namespace);
        }
        if command.max_time_ms.is_some_and(|ms| ms > 0) {
            return Err(Alone::MaxTime);
        }
        let (documents, count) = documents(&fields, msg, max_size)?;
        if count > 1 && fields.ordered {
            return Err(Alone::Ordered);
        }
        let write = match (fields.session, fields.number) {
            (Some(session), Some(number)) => Some(WriteId {
                principal: request.principal.id,
                session,
                number,
            }),
            (_, None) => None,
            (None, Some(_)) => return Err(Alone::Fields),
        };
        let has_id = |d: Result<&[u8], _>| d.is_ok_and(|d| doc::find(d, "_id").is_some());
        if write.is_some() && !doc::documents(&documents).all(has_id) {
            // Should the proxy die, the client's retry must not insert it a second time.
            return Err(Alone::NoId);
        }
        let mut key = request.principal.id.to_le_bytes().to_vec();
        for name in [db, collection] {
            key.extend_from_slice(name.as_bytes());
            key.push(0);
        }
        let carried = key.len();
        for element in &fields.carried {
            key.extend_from_slice(element);
        }
        Ok(Insert {
            key: key.into(),
            carried,
            documents,
            count,
            cluster_time: fields.cluster_time,
            write,
        })
    }

    /// The fields that all commands of the batch have in common, as raw elements.
    pub fn carried(&self) -> &[u8] {
        self.key.get(self.carried..).unwrap_or_default()
    }
}

/// The command's fields, none of them twice.
#[derive(Default)]
struct Fields<'a> {
    ordered: bool,
    documents: Option<&'a [u8]>,
    session: Option<[u8; 16]>,
    number: Option<i64>,
    cluster_time: Option<(u64, Bytes)>,
    carried: Vec<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn read(command: &'a Command) -> Option<Fields<'a>> {
        let mut fields = Fields {
            ordered: true,
            ..Fields::default()
        };
        let mut seen: Vec<&str> = Vec::with_capacity(12);
        for element in doc::elements(command.body()) {
            let element = element.ok()?;
            if seen.contains(&element.key) {
                return None;
            }
            seen.push(element.key);
            fields.note(&element, command)?;
        }
        Some(fields)
    }

    fn note(&mut self, element: &Element<'a>, command: &Command) -> Option<()> {
        match element.key {
            "insert" | "$db" => element.as_str().map(drop),
            "documents" => {
                self.documents = Some(element.as_array()?);
                Some(())
            }
            "ordered" => {
                self.ordered = element.as_bool()?;
                Some(())
            }
            "lsid" => {
                self.session = Some(session(element.as_document()?)?);
                Some(())
            }
            "txnNumber" if element.kind == kind::INT64 => {
                self.number = Some(element.as_i64().filter(|&n| n >= 0)?);
                Some(())
            }
            "$clusterTime" => {
                let at = doc::find(element.as_document()?, "clusterTime")?.as_timestamp()?;
                self.cluster_time = Some((at, command.body().slice_ref(element.raw)));
                Some(())
            }
            "maxTimeMS" => element.as_i64().filter(|&ms| ms >= 0).map(drop),
            "writeConcern"
            | "bypassDocumentValidation"
            | "$readPreference"
            | "apiVersion"
            | "apiDeprecationErrors" => {
                self.carried.push(element.raw);
                Some(())
            }
            _ => None,
        }
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

/// The documents one after the other, wherever in the message they are.
fn documents(fields: &Fields<'_>, msg: &OpMsg, max_size: usize) -> Result<(Bytes, usize), Alone> {
    let (documents, count) = match (fields.documents, msg.sequences.as_slice()) {
        (None, [only]) if only.identifier == "documents" => {
            (only.documents.clone(), only.iter().count())
        }
        (Some(array), []) => {
            if array.len() > max_size {
                return Err(Alone::Large);
            }
            let mut documents = Vec::with_capacity(array.len());
            let mut count = 0;
            for element in doc::elements(array) {
                let element = element.map_err(|_| Alone::Fields)?;
                // The server insists on array keys that count up.
                if element.key.parse() != Ok(count) {
                    return Err(Alone::Fields);
                }
                documents.extend_from_slice(element.as_document().ok_or(Alone::Fields)?);
                count += 1;
            }
            (documents.into(), count)
        }
        _ => return Err(Alone::Fields),
    };
    match count {
        0 => Err(Alone::Fields),
        _ if documents.len() > max_size => Err(Alone::Large),
        _ => Ok((documents, count)),
    }
}
