//! Where the top-level fields of a command lie, noted when it is read, so that nobody has to look
//! for them again.

use std::slice;

use super::field_name::FieldName;
use crate::wire::doc::{self, Field};

/// The fields of one command document, in their order.
///
/// There is room for more than nearly any command has. What comes beyond is walked again when
/// it's asked for: a peer can't make this grow.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    places: [Place; ROOM],
    noted: usize,
    /// Where the last one that was shown ends.
    end: u32,
    /// Whether there are fields beyond those that were noted.
    more: bool,
}

/// Where a field lies: from the end of the one before.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    end: u32,
    /// Length of the key.
    key: u16,
    name: FieldName,
}

impl Fields {
    pub fn none() -> Fields {
        Fields {
            places: [Place::default(); ROOM],
            noted: 0,
            end: FIRST,
            more: false,
        }
    }

    /// Notes the next field of the document, and says where it ends. (The document is no longer than a
    /// message: 48 MB.)
    #[inline]
    pub fn note(&mut self, name: FieldName, field: Field<'_>) -> u32 {
        self.end += field.raw().len() as u32;
        let place = self.places.get_mut(self.noted).filter(|_| !self.more);
        match (place, u16::try_from(field.key_len())) {
            (Some(place), Ok(key)) => {
                let end = self.end;
                *place = Place { end, key, name };
                self.noted += 1;
            }
            _ => self.more = true,
        }
        self.end
    }

    /// The fields of `body`, which is the document that they were noted of.
    #[inline]
    pub fn of<'a>(&'a self, body: &'a [u8]) -> FieldsOf<'a> {
        FieldsOf {
            body,
            places: self.places.get(..self.noted).unwrap_or_default().iter(),
            more: self.more,
            start: FIRST,
        }
    }

    /// The first field of this name in `body`.
    #[inline]
    pub fn first<'a>(&'a self, name: FieldName, body: &'a [u8]) -> Option<Field<'a>> {
        let mut start = FIRST;
        for place in self.places.get(..self.noted)? {
            if place.name == name {
                return Some(place.of(body, start).field());
            }
            start = place.end;
        }
        let mut beyond = self.of(body).skip(self.noted);
        let found = beyond.find(|found| found.name == name);
        found.map(|found| found.field())
    }
}

impl Place {
    /// In the document, where it begins where the one before ends.
    #[inline]
    fn of(self, body: &[u8], start: u32) -> Placed<'_> {
        Placed {
            name: self.name,
            body,
            start: start as usize,
            end: self.end as usize,
            key: self.key.into(),
        }
    }
}

/// A field that is known by its name and its place, and looked at only when it's asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed<'a> {
    /// What it is.
    pub name: FieldName,
    /// Where it ends in the document; it begins where the one before ends.
    pub end: usize,
    body: &'a [u8],
    start: usize,
    key: usize,
}

impl<'a> Placed<'a> {
    /// The field itself.
    #[inline]
    pub fn field(self) -> Field<'a> {
        let raw = self.body.get(self.start..self.end);
        Field::checked(raw.unwrap_or_default(), self.key)
    }
}

/// See [`Fields::of`].
pub(super) struct FieldsOf<'a> {
    body: &'a [u8],
    places: slice::Iter<'a, Place>,
    more: bool,
    start: u32,
}

impl<'a> Iterator for FieldsOf<'a> {
    type Item = Placed<'a>;

    #[inline]
    fn next(&mut self) -> Option<Placed<'a>> {
        let Some(place) = self.places.next() else {
            return self.more.then(|| self.walk()).flatten();
        };
        let placed = place.of(self.body, self.start);
        self.start = place.end;
        Some(placed)
    }
}

impl<'a> FieldsOf<'a> {
    /// The next field, which wasn't noted.
    #[cold]
    fn walk(&mut self) -> Option<Placed<'a>> {
        let skip = self.start.checked_sub(FIRST)?;
        let mut rest = doc::fields_after(self.body, skip as usize);
        let field = rest.next()?.ok()?;
        let start = self.start as usize;
        self.start += field.raw().len() as u32;
        Some(Placed {
            name: FieldName::of(field.key()),
            body: self.body,
            start,
            end: self.start as usize,
            key: field.key_len(),
        })
    }
}

/// Where a document's first field begins: after its length.
const FIRST: u32 = 4;

const ROOM: usize = 20;

#[cfg(test)]
mod tests {
    use bson::Document;

    use super::*;

    /// Whether what was noted of a document is what a walk finds.
    fn is_found_again(document: &Document) -> bool {
        let body = document.to_vec().unwrap();
        let mut fields = Fields::none();
        let walked: Vec<_> = doc::fields(&body).map(Result::unwrap).collect();
        for field in &walked {
            fields.note(FieldName::of(field.key()), *field);
        }
        let walked = walked
            .iter()
            .map(|field| (FieldName::of(field.key()), *field));
        let first_of = |name| walked.clone().find(|(found, _)| *found == name);
        let is_first = |name| fields.first(name, &body) == first_of(name).map(|(_, field)| field);
        let names = [
            FieldName::Other,
            FieldName::Filter,
            FieldName::Db,
            FieldName::Lsid,
        ];
        let noted = fields.of(&body).map(|placed| (placed.name, placed.field()));
        names.into_iter().all(is_first) && noted.eq(walked.clone())
    }

    #[test]
    fn however_many_fields_there_are_they_are_found_again() {
        let mut document = Document::new();
        for name in ["find", "filter", "frobnicate", ""] {
            document.insert(name, "x");
        }
        for n in 0..ROOM + 3 {
            document.insert(format!("field{n}"), n as i32);
            let mut document = document.clone();
            document.insert("$db", "x");
            assert!(is_found_again(&document), "{document}");
        }
    }

    #[test]
    fn a_field_with_a_very_long_name_is_found_again_and_so_is_what_comes_after() {
        for length in [65_535, 65_536] {
            let mut document = bson::doc! {"find": "c"};
            document.insert("x".repeat(length), 1);
            document.insert("$db", "d");
            assert!(is_found_again(&document), "{length}");
        }
    }
}
