//! What makes two reads the same read (docs/coherence.md, rules 10 and 11).
//!
//! A key is the principal, then a command document with every field that changes the answer,
//! byte for byte: `1`, `1L` and `1.0` differ, and so does the order of keys.
//! A field that isn't listed here makes the command uncacheable. How many documents a batch
//! holds isn't part of the answer: it is replayed in batches of any size.

use super::{Bypass, Command, FieldName, Kind, Names};
use crate::wire::doc::{self, kind};

/// What a read asks for besides its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// `readConcern.afterClusterTime`: the answer must be at least as late.
    pub after: Option<u64>,
    /// `batchSize`, where more than one batch may come.
    pub batch_size: Option<u64>,
}

/// Where the command document begins in a key.
pub const KEY_COMMAND: usize = size_of::<u64>();

/// Writes the key of a read to `out` (cleared first), or says why it has none.
///
/// Cheap, for it runs on every hit: values are copied, not looked into. What must
/// be looked into once, before an answer is stored, is in [`super::check_read`].
pub fn canonical(command: &Command, principal: u64, out: &mut Vec<u8>) -> Result<Wish, Bypass> {
    out.clear();
    let answering = match command.kind {
        Kind::Find => FIND,
        Kind::Aggregate if !command.pipeline_writes => AGGREGATE,
        Kind::Count => COUNT,
        Kind::Distinct => DISTINCT,
        _ => return Err(Bypass::NotCacheable),
    };
    if command.in_transaction || command.txn_number.is_some() {
        return Err(Bypass::Transaction);
    }
    let mut head = [0; KEY_COMMAND + 4];
    head[..KEY_COMMAND].copy_from_slice(&principal.to_le_bytes());
    out.extend_from_slice(&head);
    let mut wish = Wish::default();
    let mut seen = 0_u32;
    let (mut batch, mut single) = (None::<&[u8]>, false);
    let mut copied = Copied::of(command.body());
    let mut fields = command.placed();
    // The command's name and its collection.
    copied.keep(fields.next().map_or(0, |first| first.end));
    for placed in fields {
        let name = placed.name;
        if answering.has(name) {
            copied.keep(placed.end);
            single |= name == FieldName::SingleBatch && placed.field().unnamed().is_truthy();
            continue;
        }
        copied.skip(placed.end, out);
        let field = placed.field();
        let (raw, element) = (field.raw(), field.unnamed());
        match name {
            FieldName::BatchSize if command.kind == Kind::Find => {
                once(&mut seen, 9)?;
                wish.batch_size = Some(batch_size(&element)?);
                batch = Some(raw);
            }
            FieldName::Cursor if command.kind == Kind::Aggregate => {
                once(&mut seen, 9)?;
                wish.batch_size = cursor(&element)?;
            }
            FieldName::ReadConcern => {
                once(&mut seen, 10)?;
                wish.after = read_concern(&element, out)?;
            }
            name => ignorable(name, &element, &mut seen)?,
        }
    }
    copied.end(out);
    if command.kind == Kind::Aggregate && seen & (1 << 9) == 0 {
        // The server demands it.
        return Err(Bypass::UnknownField);
    }
    if single {
        // Then the one batch is all of the answer.
        out.extend_from_slice(batch.unwrap_or_default());
        wish.batch_size = Some(u64::MAX);
    }
    out.push(0);
    let len = u32::try_from(out.len() - KEY_COMMAND).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(KEY_COMMAND..KEY_COMMAND + 4) {
        place.copy_from_slice(&len.to_le_bytes());
    }
    Ok(wish)
}

/// Copies what is to be kept of a document: neighbours together.
struct Copied<'a> {
    body: &'a [u8],
    from: usize,
    to: usize,
}

impl<'a> Copied<'a> {
    fn of(body: &'a [u8]) -> Copied<'a> {
        // After its length.
        let (from, to) = (4, 4);
        Copied { body, from, to }
    }

    /// Passes what ends there, to be copied with its neighbours.
    fn keep(&mut self, end: usize) {
        self.to = end;
    }

    /// Passes what ends there, and isn't copied.
    fn skip(&mut self, end: usize, out: &mut Vec<u8>) {
        self.end(out);
        (self.from, self.to) = (end, end);
    }

    fn end(&self, out: &mut Vec<u8>) {
        if self.from == self.to {
            return;
        }
        out.extend_from_slice(self.body.get(self.from..self.to).unwrap_or_default());
    }
}

/// Fields that change the answer, whatever is asked for.
const ANY: Names = Names::of(&[
    FieldName::Db,
    FieldName::Hint,
    FieldName::Collation,
    FieldName::ApiVersion,
    FieldName::ApiStrict,
    FieldName::ApiDeprecationErrors,
]);

const FIND: Names = ANY.and(&[
    FieldName::Filter,
    FieldName::Sort,
    FieldName::Projection,
    FieldName::Skip,
    FieldName::Limit,
    FieldName::SingleBatch,
    FieldName::Let,
    FieldName::Min,
    FieldName::Max,
    FieldName::ReturnKey,
    FieldName::ShowRecordId,
    FieldName::AllowPartialResults,
    FieldName::AllowDiskUse,
]);

const AGGREGATE: Names = ANY.and(&[FieldName::Pipeline, FieldName::Let, FieldName::AllowDiskUse]);

const COUNT: Names = ANY.and(&[FieldName::Query, FieldName::Limit, FieldName::Skip]);

const DISTINCT: Names = ANY.and(&[FieldName::Key, FieldName::Query]);

/// A field may come once: of two, nobody knows which one counts.
fn once(seen: &mut u32, place: u32) -> Result<(), Bypass> {
    if *seen & (1 << place) != 0 {
        return Err(Bypass::UnknownField);
    }
    *seen |= 1 << place;
    Ok(())
}

fn batch_size(element: &doc::Element<'_>) -> Result<u64, Bypass> {
    let whole = matches!(element.kind, kind::INT32 | kind::INT64)
        .then(|| element.as_i64())
        .flatten();
    whole
        .and_then(|n| u64::try_from(n).ok())
        .ok_or(Bypass::UnknownField)
}

/// `{}` or `{batchSize: n}`.
fn cursor(element: &doc::Element<'_>) -> Result<Option<u64>, Bypass> {
    let cursor = element.as_document().ok_or(Bypass::UnknownField)?;
    let mut fields = doc::elements(cursor);
    let Some(first) = fields.next() else {
        return Ok(None);
    };
    match (first, fields.next()) {
        (Ok(size), None) if size.key == "batchSize" => batch_size(&size).map(Some),
        _ => Err(Bypass::UnknownField),
    }
}

/// `level: "local"` goes into the key, for the default may be another; `afterClusterTime` is a wish.
fn read_concern(element: &doc::Element<'_>, out: &mut Vec<u8>) -> Result<Option<u64>, Bypass> {
    let concern = element.as_document().ok_or(Bypass::ReadConcern)?;
    let mut after = None;
    for field in doc::elements(concern) {
        let field = field.map_err(|_| Bypass::ReadConcern)?;
        match field.key {
            "level" if field.as_str() == Some("local") => out.extend_from_slice(field.raw),
            "afterClusterTime" if after.is_none() => {
                after = Some(
                    field
                        .as_timestamp()
                        .filter(|&t| t != 0)
                        .ok_or(Bypass::ReadConcern)?,
                );
            }
            _ => return Err(Bypass::ReadConcern),
        }
    }
    Ok(after)
}

/// Whether a field may be left out of the key: it doesn't change the answer, and its value is one
/// that the server accepts (a wrong one must get the server's own error, not an answer).
fn ignorable(name: FieldName, element: &doc::Element<'_>, seen: &mut u32) -> Result<(), Bypass> {
    let (place, sound, otherwise) = match name {
        FieldName::Lsid => (0, is_session_id(element), Bypass::UnknownField),
        FieldName::ClusterTime => (1, is_cluster_time(element), Bypass::UnknownField),
        FieldName::Comment => (2, true, Bypass::UnknownField),
        FieldName::MaxTimeMs => {
            let limit = matches!(element.kind, kind::INT32 | kind::INT64)
                .then(|| element.as_i64())
                .flatten();
            let sound = limit.is_some_and(|ms| (0..=i64::from(i32::MAX)).contains(&ms));
            (3, sound, Bypass::UnknownField)
        }
        FieldName::ReadPreference => (4, is_primary(element), Bypass::ReadPreference),
        FieldName::Tailable => (5, is_off(element), Bypass::CursorKind),
        FieldName::AwaitData => (6, is_off(element), Bypass::CursorKind),
        FieldName::NoCursorTimeout => (7, is_off(element), Bypass::CursorKind),
        FieldName::OplogReplay => (8, is_off(element), Bypass::CursorKind),
        _ => return Err(Bypass::UnknownField),
    };
    if !sound {
        return Err(otherwise);
    }
    once(seen, place)
}

fn is_off(element: &doc::Element<'_>) -> bool {
    element.as_bool() == Some(false)
}

/// `{id: UUID}` and nothing else. There is one way to write that, but for the sixteen bytes.
fn is_session_id(element: &doc::Element<'_>) -> bool {
    const BEFORE: &[u8] = b"\x1e\0\0\0\x05id\0\x10\0\0\0\x04";
    let rest = element.as_document().and_then(|d| d.strip_prefix(BEFORE));
    rest.is_some_and(|rest| rest.len() == 17)
}

/// `{clusterTime: Timestamp, signature: {…}}`.
fn is_cluster_time(element: &doc::Element<'_>) -> bool {
    let Some(time) = element.as_document() else {
        return false;
    };
    let known = |e: &doc::Element<'_>| match e.key {
        "clusterTime" => e.as_timestamp().is_some(),
        "signature" => e.as_document().is_some(),
        _ => false,
    };
    doc::elements(time).all(|e| e.is_ok_and(|e| known(&e)))
        && doc::find(time, "clusterTime").is_some()
}

/// `{mode: "primary"}` and nothing else.
fn is_primary(element: &doc::Element<'_>) -> bool {
    let Some(preference) = element.as_document() else {
        return false;
    };
    let mut fields = doc::elements(preference);
    let mode = fields
        .next()
        .and_then(Result::ok)
        .filter(|e| e.key == "mode");
    mode.and_then(|m| m.as_str()) == Some("primary") && fields.next().is_none()
}

#[cfg(test)]
mod tests;
