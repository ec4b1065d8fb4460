//! Which documents it would be worth looking at.
//!
//! A document is wanted where reads suffered from a write to it, if the collection's [`Credit`] allows one look more: alone, or
//! with those that follow it by `_id` where such neighbours turn out to be written too. A document that is being looked at isn't
//! wanted again; and while a page is, of which nobody knows yet how far it reaches, none is. A look ends when its [`Wanted`] is
//! dropped, whatever became of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Weak};

use foldhash::fast::RandomState;

use super::credit::{Brought, Credit, Trust};
use super::group::MOST_VALUES;
use crate::command::ValueKey;
use crate::wire::build::DocBuf;
use crate::wire::doc::{self, Element};

/// Fields of a document that are worth knowing. As long as it lives, the document isn't wanted again.
#[derive(Debug)]
pub struct Wanted {
    /// `{_id: value}`.
    pub filter: Box<[u8]>,
    /// Top-level fields, sorted.
    pub fields: Vec<String>,
    /// Those of the documents that follow it by `_id` too: so many in all.
    pub neighbours: Option<usize>,
    under_way: Arc<()>,
}

/// What is wanted of a collection.
pub(super) struct Wants {
    wanted: HashMap<ValueKey, Wanted, RandomState>,
    /// Documents that are being looked at.
    asked: HashMap<ValueKey, Weak<()>, RandomState>,
    /// The last page that was wanted.
    page: Weak<()>,
    credit: Credit,
    pages: Pages,
}

/// Whether a document's neighbours are worth being asked for with it.
struct Pages {
    /// Uses of neighbours, as far as they haven't been counted for a page yet.
    uses: u32,
    /// Looks without neighbours since the last with.
    singles: u32,
}

impl Default for Wants {
    fn default() -> Wants {
        Wants {
            wanted: HashMap::default(),
            asked: HashMap::default(),
            page: Weak::new(),
            credit: Credit::new(),
            pages: Pages {
                uses: FIRST_PAGES * ONE_PAGE,
                singles: 0,
            },
        }
    }
}

impl Wants {
    /// Wants fields of a document that is selected by `id`, besides what is known of it already. Whether that is one document more.
    pub fn want(
        &mut self,
        id: &Element<'_>,
        key: ValueKey,
        fields: &[&str],
        known: Option<&[u8]>,
        trust: &Trust,
    ) -> bool {
        let waiting = self.wanted.len();
        let (wanted, more) = match self.wanted.entry(key) {
            Entry::Occupied(wanted) => (wanted.into_mut(), false),
            Entry::Vacant(place) => {
                self.asked.retain(|_, asked| asked.strong_count() > 0);
                let under_way =
                    self.page.strong_count() > 0 || self.asked.contains_key(place.key());
                let looks = waiting + self.asked.len();
                if under_way || looks >= MOST || !self.credit.take(trust) {
                    return false;
                }
                let under_way = Arc::new(());
                let neighbours = self.pages.take().then_some(PAGE);
                if neighbours.is_some() {
                    self.page = Arc::downgrade(&under_way);
                }
                // What is known already is asked for again, so that one answer tells everything.
                let known = known.into_iter().flat_map(doc::elements).flatten();
                let known = known.map(|field| field.key.to_owned());
                let mut fields: Vec<String> = known.filter(|field| field != "_id").collect();
                fields.sort();
                let mut filter = DocBuf::new();
                filter.append_value("_id", id.kind, id.value);
                let wanted = Wanted {
                    filter: filter.finish().into(),
                    fields,
                    neighbours,
                    under_way,
                };
                (place.insert(wanted), true)
            }
        };
        for field in fields {
            let place = wanted.fields.binary_search_by(|f| f.as_str().cmp(field));
            if let Err(at) = place {
                wanted.fields.insert(at, (*field).to_owned());
            }
        }
        more
    }

    /// What is wanted, to be looked at.
    pub fn take(&mut self) -> Vec<Wanted> {
        let taken = self.wanted.drain().map(|(key, wanted)| {
            self.asked.insert(key, Arc::downgrade(&wanted.under_way));
            wanted
        });
        taken.collect()
    }

    /// A read of the collection goes upstream.
    pub fn note_read(&mut self) {
        self.credit.note_read();
    }

    /// A document that was looked at as another's neighbour has spared answers.
    pub fn note_use_of_neighbour(&mut self) {
        self.pages.uses = (self.pages.uses + 1).min(MOST_PAGES * ONE_PAGE);
    }

    /// Where hits that looks have brought are counted.
    pub fn brought(&self) -> &Arc<Brought> {
        self.credit.brought()
    }
}

impl Pages {
    fn take(&mut self) -> bool {
        if self.uses >= ONE_PAGE {
            self.uses -= ONE_PAGE;
            return true;
        }
        self.singles += 1;
        self.singles.is_multiple_of(TRIAL)
    }
}

/// Documents of a collection that are wanted or looked at at a time.
const MOST: usize = 64;

/// Documents in a page: as many as an answer is found by, so that a write looks at the pages of its own documents only.
const PAGE: usize = MOST_VALUES;

/// Uses of neighbours that make a page worth more than a look at one document.
const ONE_PAGE: u32 = 4;

/// Pages before anything is known of the neighbours.
const FIRST_PAGES: u32 = 8;

/// Pages that may be saved up.
const MOST_PAGES: u32 = 256;

/// Where neighbours aren't used, one look in so many has a page all the same.
const TRIAL: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Strings;

    /// Whether a player's guild is wanted now.
    fn want(wants: &mut Wants, trust: &Trust, player: i32) -> bool {
        let filter = bson::doc! {"_id": player}.to_vec().unwrap();
        let id = doc::find(&filter, "_id").unwrap();
        let key = ValueKey::of(&id, Strings::Simple).unwrap();
        wants.want(&id, key, &["guild"], None, trust)
    }

    fn without_pages() -> Wants {
        let mut wants = Wants::default();
        wants.pages.uses = 0;
        wants
    }

    #[test]
    fn a_document_that_is_looked_at_is_not_wanted_until_the_look_has_ended() {
        let (mut wants, trust) = (without_pages(), Trust::new());
        assert!(want(&mut wants, &trust, 1));
        assert!(!want(&mut wants, &trust, 1));
        let looks = wants.take();
        assert_eq!(looks.len(), 1);
        assert!(!want(&mut wants, &trust, 1));
        assert!(want(&mut wants, &trust, 2));
        drop(looks);
        assert!(want(&mut wants, &trust, 1));
    }

    #[test]
    fn while_a_page_is_looked_at_nothing_else_is_wanted() {
        let (mut wants, trust) = (Wants::default(), Trust::new());
        assert!(want(&mut wants, &trust, 1));
        assert!(!want(&mut wants, &trust, 2));
        let looks = wants.take();
        assert!(looks.iter().all(|look| look.neighbours == Some(PAGE)));
        assert!(!want(&mut wants, &trust, 2));
        drop(looks);
        assert!(want(&mut wants, &trust, 2));
    }

    #[test]
    fn fields_of_a_document_that_is_wanted_already_are_added_to_its_look() {
        let (mut wants, trust) = (without_pages(), Trust::new());
        assert!(want(&mut wants, &trust, 1));
        let filter = bson::doc! {"_id": 1}.to_vec().unwrap();
        let id = doc::find(&filter, "_id").unwrap();
        let key = ValueKey::of(&id, Strings::Simple).unwrap();
        assert!(!wants.want(&id, key, &["level", "class"], None, &trust));
        let looks = wants.take();
        assert_eq!(looks[0].fields, ["class", "guild", "level"]);
    }

    #[test]
    fn neighbours_that_are_not_used_are_asked_for_now_and_then_only() {
        let mut pages = Pages {
            uses: FIRST_PAGES * ONE_PAGE,
            singles: 0,
        };
        let mut taken = |looks: u32| (0..looks).filter(|_| pages.take()).count();
        assert_eq!(taken(FIRST_PAGES), FIRST_PAGES as usize);
        assert_eq!(taken(160), 10);
    }
}
