//! How the workloads' writes are sent.

use bson::raw::cstr;
use bson::{RawDocumentBuf, rawdoc};

use super::template::Marks;

/// What every write asks for beside what it writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteStyle {
    /// `writeConcern`; `None` leaves it to the server's default.
    pub concern: Option<Acknowledged>,
    /// Whether writes carry a `txnNumber`, as drivers send them by default. The server remembers each.
    pub retryable: bool,
}

/// `w` of a write concern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acknowledged {
    /// By the primary, or by so many members.
    By(i32),
    /// By most of the members.
    Majority,
}

/// Reads `--write-concern`.
pub fn write_concern(text: &str) -> Result<Acknowledged, String> {
    match (text, text.parse()) {
        ("majority", _) => Ok(Acknowledged::Majority),
        (_, Ok(members @ 1..=50)) => Ok(Acknowledged::By(members)),
        _ => Err("\"majority\" or a number from 1 to 50".to_owned()),
    }
}

impl WriteStyle {
    /// The hole that a write's `txnNumber` takes, after its `own` holes; none where it carries no number.
    pub fn holes(&self, own: usize) -> usize {
        own + usize::from(self.retryable)
    }

    /// Adds what the style asks for to a write command whose own holes are `own`.
    pub fn apply(&self, own: usize, marks: &Marks, write: &mut RawDocumentBuf) {
        if let Some(concern) = self.concern_document() {
            write.append(cstr!("writeConcern"), concern);
        }
        if self.retryable {
            write.append(cstr!("txnNumber"), marks.int64(own));
        }
    }

    /// The write concern as a document.
    pub fn concern_document(&self) -> Option<RawDocumentBuf> {
        Some(match self.concern.as_ref()? {
            Acknowledged::By(members) => rawdoc! {"w": *members},
            Acknowledged::Majority => rawdoc! {"w": "majority"},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_concern_is_majority_or_a_number_of_members() {
        assert_eq!(write_concern("majority"), Ok(Acknowledged::Majority));
        assert_eq!(write_concern("1"), Ok(Acknowledged::By(1)));
        for wrong in ["0", "51", "most", ""] {
            assert!(write_concern(wrong).is_err(), "{wrong}");
        }
    }
}
