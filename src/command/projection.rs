//! What a `find`'s projection lets through: which fields of a document an answer depends on, and
//! which fields of a document can be read off its result.
//!
//! Told by top-level fields. Whole fields only, included or excluded, are followed; of parts of a
//! field (`a.b: 1`) it's known that the answer depends on the field. Expressions, `$slice`,
//! `$elemMatch`, `$meta`, positional and nested forms depend on anything, and then only an `_id`
//! that isn't mentioned, or plainly included, is what it was.

use std::borrow::Cow;

use super::path::{MOST, Paths};
use super::statement::top_level;
use crate::wire::build::DocBuf;
use crate::wire::doc;

/// Some top-level fields. The lists are sorted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fields {
    /// These.
    Only(Vec<String>),
    /// All but these.
    Except(Vec<String>),
}

impl Fields {
    pub fn all() -> Fields {
        Fields::Except(Vec::new())
    }

    pub fn none() -> Fields {
        Fields::Only(Vec::new())
    }

    pub fn holds(&self, field: &str) -> bool {
        match self {
            Fields::Only(list) => is_in(list, field),
            Fields::Except(list) => !is_in(list, field),
        }
    }

    fn is_all(&self) -> bool {
        matches!(self, Fields::Except(list) if list.is_empty())
    }

    fn is_none(&self) -> bool {
        matches!(self, Fields::Only(list) if list.is_empty())
    }

    /// Whether a change of these paths may change one of the fields. By top-level fields, since
    /// setting `a.b` may create `a`.
    pub fn meet(&self, paths: &Paths) -> bool {
        if paths.is_all() {
            return !self.is_none();
        }
        paths.iter().any(|path| self.holds(top_level(path)))
    }
}

/// A projection, without values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Projection {
    /// The fields that results depend on.
    pub depends: Fields,
    /// The fields that are in a result exactly as they are in the document, or in neither.
    pub whole: Fields,
    /// Whether results may also hold fields that aren't the document's own.
    mixed: bool,
}

impl Projection {
    /// Results are the documents.
    pub fn everything() -> Projection {
        Projection {
            depends: Fields::all(),
            whole: Fields::all(),
            mixed: false,
        }
    }

    /// Results aren't documents; they depend on these fields.
    pub fn summary(depends: Fields) -> Projection {
        Projection {
            depends,
            whole: Fields::none(),
            mixed: true,
        }
    }

    /// The `projection` of a find, or the `$project` of a pipeline.
    pub fn of(projection: &[u8]) -> Projection {
        let mut id = None;
        let mut id_is_odd = false;
        let mut modes = Vec::new();
        let (mut wholes, mut parts) = (Vec::new(), Vec::new());
        let mut simple = true;
        for (at, field) in doc::elements(projection).enumerate() {
            // (Each field is held against writes' paths: a projection with too many isn't followed.)
            let (Ok(field), true) = (field, at < MOST) else {
                return Projection::summary(Fields::all());
            };
            let flag =
                (field.as_bool().is_some() || field.as_f64().is_some()).then(|| field.is_truthy());
            let odd_name = field.key.split('.').any(|part| part.starts_with('$'));
            match flag {
                Some(flag) if field.key == "_id" => id = Some(flag),
                Some(flag) if !odd_name => {
                    modes.push(flag);
                    let top = top_level(field.key).to_owned();
                    let to = if top == field.key {
                        &mut wholes
                    } else {
                        &mut parts
                    };
                    to.push(top);
                }
                _ => {
                    simple = false;
                    id_is_odd |= top_level(field.key) == "_id";
                }
            }
        }
        let including = modes.first().copied().or(id).unwrap_or(false);
        if !simple || modes.iter().any(|mode| *mode != including) {
            return Projection::odd(id != Some(false) && !id_is_odd);
        }
        let parts = sorted(parts);
        let is_whole = |field: &&String| !is_in(&parts, field);
        let mixed = !parts.is_empty();
        if including {
            if id != Some(false) {
                wholes.push("_id".to_owned());
            }
            let whole = wholes.iter().filter(is_whole).cloned();
            let whole = Fields::Only(sorted(whole.collect()));
            wholes.extend(parts);
            Projection {
                depends: Fields::Only(sorted(wholes)),
                whole,
                mixed,
            }
        } else {
            if id == Some(false) {
                wholes.push("_id".to_owned());
            }
            let depends = wholes.iter().filter(is_whole).cloned();
            let depends = Fields::Except(sorted(depends.collect()));
            wholes.extend(parts);
            Projection {
                depends,
                whole: Fields::Except(sorted(wholes)),
                mixed,
            }
        }
    }

    fn odd(has_id: bool) -> Projection {
        let whole = if has_id {
            Fields::Only(vec!["_id".to_owned()])
        } else {
            Fields::none()
        };
        Projection {
            depends: Fields::all(),
            whole,
            mixed: true,
        }
    }

    /// Whether a result tells all that a filter over these paths wants to know.
    pub fn tells(&self, paths: &Paths) -> bool {
        self.whole.is_all()
            || !paths.is_all() && paths.iter().all(|path| self.whole.holds(top_level(path)))
    }

    /// What a result says of its document: its whole fields.
    pub fn known<'a>(&self, result: &'a [u8]) -> Cow<'a, [u8]> {
        if !self.mixed {
            return Cow::Borrowed(result);
        }
        let mut out = DocBuf::new();
        for field in doc::elements(result).map_while(Result::ok) {
            if self.whole.holds(field.key) {
                out.append_raw(field.raw);
            }
        }
        Cow::Owned(out.finish())
    }
}

fn is_in(sorted: &[String], field: &str) -> bool {
    sorted.binary_search_by(|f| f.as_str().cmp(field)).is_ok()
}

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort_unstable();
    list.dedup();
    list
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;

    fn of(projection: Document) -> Projection {
        Projection::of(&projection.to_vec().unwrap())
    }

    fn fields(list: &[&str]) -> Vec<String> {
        list.iter().map(|&f| f.to_owned()).collect()
    }

    #[test]
    fn whole_fields_are_included_or_excluded() {
        let ab = of(doc! {"b": 1, "a": true});
        assert_eq!(ab.depends, Fields::Only(fields(&["_id", "a", "b"])));
        assert_eq!(ab.whole, ab.depends);
        assert_eq!(
            of(doc! {"a": 1, "_id": 0}).whole,
            Fields::Only(fields(&["a"]))
        );
        assert_eq!(of(doc! {"_id": 1}).whole, Fields::Only(fields(&["_id"])));
        assert_eq!(of(doc! {"a": 0}).whole, Fields::Except(fields(&["a"])));
        assert_eq!(
            of(doc! {"a": 0, "_id": 1}).whole,
            Fields::Except(fields(&["a"]))
        );
        assert_eq!(of(doc! {"_id": 0}).whole, Fields::Except(fields(&["_id"])));
        assert_eq!(of(doc! {}), Projection::everything());
    }

    #[test]
    fn parts_are_depended_on_but_not_whole() {
        let included = of(doc! {"a": 1, "b.c": 1});
        assert_eq!(included.depends, Fields::Only(fields(&["_id", "a", "b"])));
        assert_eq!(included.whole, Fields::Only(fields(&["_id", "a"])));
        let excluded = of(doc! {"a": 0, "b.c": 0});
        assert_eq!(excluded.depends, Fields::Except(fields(&["a"])));
        assert_eq!(excluded.whole, Fields::Except(fields(&["a", "b"])));
        let result = doc! {"_id": 1, "a": 2, "b": {"c": 3}}.to_vec().unwrap();
        assert_eq!(
            &*included.known(&result),
            doc! {"_id": 1, "a": 2}.to_vec().unwrap()
        );
    }

    #[test]
    fn odd_forms_depend_on_anything_and_leave_only_the_id_whole() {
        for odd in [
            doc! {"a": "$b"},
            doc! {"a": {"$slice": 1}},
            doc! {"a": {"b": 1}},
            doc! {"a.$": 1},
            doc! {"a": 1, "b": 0},
            doc! {"a": null},
        ] {
            let projection = of(odd.clone());
            assert_eq!(projection.depends, Fields::all(), "{odd}");
            assert_eq!(projection.whole, Fields::Only(fields(&["_id"])), "{odd}");
        }
        for odd in [
            doc! {"_id": "$a"},
            doc! {"_id.x": "$a"},
            doc! {"_id": 0, "a": {"$slice": 1}},
        ] {
            assert_eq!(of(odd.clone()).whole, Fields::none(), "{odd}");
        }
    }

    #[test]
    fn a_field_that_a_numeric_component_precedes_is_another_field() {
        let mut path = Paths::none();
        path.insert("815.coins");
        assert!(!of(doc! {"coins": 1}).tells(&path));
        assert!(!of(doc! {"815": 0}).tells(&path));
        assert!(of(doc! {"815": 1}).tells(&path));
    }

    #[test]
    fn a_projection_of_too_many_fields_depends_on_everything() {
        let many: Document = (0..=MOST).map(|i| (format!("f{i}"), 1.into())).collect();
        let projection = of(many);
        assert_eq!(projection.depends, Fields::all());
        assert_eq!(projection.whole, Fields::none());
    }

    #[test]
    fn a_result_tells_what_it_holds_whole() {
        let paths = |list: &[&str]| {
            let mut paths = Paths::none();
            list.iter().for_each(|path| paths.insert(path));
            paths
        };
        let projection = of(doc! {"a": 1, "b.c": 1});
        assert!(projection.tells(&paths(&["a.x", "_id"])));
        assert!(!projection.tells(&paths(&["a", "b.c"])));
        assert!(!projection.tells(&Paths::all()));
        assert!(Projection::everything().tells(&Paths::all()));
    }
}
