//! find with every option, count and distinct, on `people` and `numbers`.

use bson::raw::cstr;
use bson::{Bson, Regex, doc};

use super::super::mask::Mask;
use super::{Op, once, read};

/// The list.
pub fn ops() -> Vec<Op> {
    [
        prepare(),
        filters(),
        shapes(),
        options(),
        count_and_distinct(),
    ]
    .concat()
}

fn prepare() -> Vec<Op> {
    vec![once("index_people", |_| {
        doc! { "createIndexes": "people", "indexes": [
            { "key": { "age": 1 }, "name": "age_1" },
            { "key": { "city": 1, "name": -1 }, "name": "city_name" },
            { "key": { "name": 1 }, "name": "name_en", "collation": { "locale": "en", "strength": 2 } },
        ] }
    })]
}

fn filters() -> Vec<Op> {
    vec![
        read("find_everything", |_| doc! { "find": "people" }),
        read("find_in_absent_collection", |_| doc! { "find": "nobody" }),
        read(
            "find_by_id",
            |_| doc! { "find": "people", "filter": { "_id": 2 } },
        ),
        read(
            "find_by_id_as_long",
            |_| doc! { "find": "people", "filter": { "_id": 2_i64 } },
        ),
        read(
            "find_by_id_as_double",
            |_| doc! { "find": "people", "filter": { "_id": 2.0 } },
        ),
        read(
            "find_by_id_as_text",
            |_| doc! { "find": "people", "filter": { "_id": "2" } },
        ),
        read(
            "find_by_string",
            |_| doc! { "find": "people", "filter": { "name": "Bob" } },
        ),
        read("find_by_nested_path", |_| {
            doc! { "find": "people", "filter": { "address.zip": "10117" } }
        }),
        read("find_by_whole_subdocument", |_| {
            doc! { "find": "people", "filter": { "address": { "street": "Linden", "zip": "10117" } } }
        }),
        read("find_by_subdocument_in_other_order", |_| {
            doc! { "find": "people", "filter": { "address": { "zip": "10117", "street": "Linden" } } }
        }),
        read(
            "find_null_or_absent",
            |_| doc! { "find": "people", "filter": { "address": null } },
        ),
        read("find_range", |_| {
            doc! { "find": "people", "filter": { "age": { "$gte": 25, "$lt": 41 } } }
        }),
        read("find_in", |_| {
            doc! { "find": "people", "filter": { "city": { "$in": ["Paris", "Berlin"] } } }
        }),
        read("find_not_in", |_| {
            doc! { "find": "people", "filter": { "city": { "$nin": ["Paris", "Berlin"] } } }
        }),
        read("find_or", |_| {
            doc! { "find": "people", "filter": { "$or": [{ "age": 25 }, { "city": "Paris" }] } }
        }),
        read("find_nor_and_not", |_| {
            doc! { "find": "people", "filter": {
            "$nor": [{ "age": 25 }], "city": { "$not": { "$eq": "Paris" } } } }
        }),
        read("find_exists_and_type", |_| {
            doc! { "find": "people", "filter": {
            "age": { "$exists": true }, "balance": { "$type": ["double", "long"] } } }
        }),
        read("find_array_all_and_size", |_| {
            doc! { "find": "people", "filter": { "tags": { "$all": ["math"], "$size": 2 } } }
        }),
        read("find_elem_match", |_| {
            doc! { "find": "people", "filter": {
            "scores": { "$elemMatch": { "game": "chess", "points": { "$gt": 50 } } } } }
        }),
        read("find_by_array_index", |_| {
            doc! { "find": "people", "filter": { "scores.0.points": { "$gte": 70 } } }
        }),
        read("find_mod_and_bits", |_| {
            doc! { "find": "numbers", "filter": {
            "n": { "$mod": [100, 3], "$bitsAllSet": [0, 1] } } }
        }),
        read("find_regex_value", |_| {
            let pattern = Regex {
                pattern: cstr!("^b").into(),
                options: cstr!("i").into(),
            };
            doc! { "find": "people", "filter": { "name": Bson::RegularExpression(pattern) } }
        }),
        read("find_regex_operator", |_| {
            doc! { "find": "people", "filter": { "name": { "$regex": "^ d [a-z]+ $", "$options": "x" } } }
        }),
        read("find_regex_multiline_and_dotall", |_| {
            doc! { "find": "people", "filter": { "name": { "$regex": "^b.b$", "$options": "ims" } } }
        }),
        read("find_bad_regex", |_| {
            doc! { "find": "people", "filter": { "name": { "$regex": "(" } } }
        }),
        read("find_expr", |_| {
            doc! { "find": "people", "filter": { "$expr": { "$gt": ["$age", { "$add": ["$balance", 20] }] } } }
        }),
        read("find_where", |_| {
            doc! { "find": "people", "filter": { "$where": "this.age > 30" } }
        }),
        read("find_json_schema", |_| {
            doc! { "find": "people", "filter": { "$jsonSchema": {
            "required": ["age"], "properties": { "age": { "bsonType": "int", "maximum": 36 } } } } }
        }),
        read("find_comment_operator", |_| {
            doc! { "find": "people", "filter": { "age": 25, "$comment": "why" } }
        }),
        read("find_unknown_operator", |_| {
            doc! { "find": "people", "filter": { "age": { "$nearly": 25 } } }
        }),
        read("find_always_false", |_| {
            doc! { "find": "people", "filter": { "$alwaysFalse": 1 } }
        }),
    ]
}

fn shapes() -> Vec<Op> {
    vec![
        read("project_include", |_| {
            doc! { "find": "people", "projection": { "name": 1, "address.zip": 1 } }
        }),
        read("project_include_without_id", |_| {
            doc! { "find": "people", "projection": { "_id": 0, "name": 1 } }
        }),
        read("project_exclude", |_| {
            doc! { "find": "people", "projection": { "scores": 0, "address.street": false } }
        }),
        read("project_mixed_is_refused", |_| {
            doc! { "find": "people", "projection": { "name": 1, "scores": 0 } }
        }),
        read("project_slice", |_| {
            doc! { "find": "people", "projection": { "tags": { "$slice": [1, 1] } } }
        }),
        read("project_elem_match", |_| {
            doc! { "find": "people", "projection": { "scores": { "$elemMatch": { "game": "go" } } } }
        }),
        read("project_positional", |_| {
            doc! { "find": "people", "filter": { "scores.game": "go" }, "projection": { "scores.$": 1 } }
        }),
        read("project_expression", |_| {
            doc! { "find": "people", "projection": {
            "upper": { "$toUpper": "$name" }, "older": { "$add": ["$age", 1] }, "constant": { "$literal": 5 } } }
        }),
        read(
            "project_empty",
            |_| doc! { "find": "people", "projection": {} },
        ),
        read("sort_ascending", |_| {
            doc! { "find": "people", "sort": { "age": 1, "_id": 1 } }
        }),
        read("sort_two_directions", |_| {
            doc! { "find": "people", "sort": { "city": -1, "name": 1, "_id": 1 } }
        }),
        read("sort_natural_backwards", |_| {
            doc! { "find": "numbers", "sort": { "$natural": -1 }, "limit": 3 }
        }),
        read(
            "sort_bad_direction",
            |_| doc! { "find": "people", "sort": { "age": 2 } },
        ),
        read("skip_and_limit", |_| {
            doc! { "find": "numbers", "sort": { "n": -1 }, "skip": 10, "limit": 5 }
        }),
        read("skip_past_the_end", |_| {
            doc! { "find": "numbers", "skip": 5000 }
        }),
        read(
            "negative_limit_is_refused",
            |_| doc! { "find": "numbers", "limit": -3 },
        ),
        read(
            "negative_skip_is_refused",
            |_| doc! { "find": "numbers", "skip": -3 },
        ),
        read("limit_exactly_at_the_end", |_| {
            doc! { "find": "people", "limit": 6, "batchSize": 6 }
        }),
        read("single_batch", |_| {
            doc! { "find": "numbers", "batchSize": 4, "singleBatch": true }
        }),
        read("limit_below_batch_size", |_| {
            doc! { "find": "numbers", "batchSize": 40, "limit": 4 }
        }),
    ]
}

fn options() -> Vec<Op> {
    vec![
        read("hint_by_name", |_| {
            doc! { "find": "people", "filter": { "age": { "$gt": 0 } }, "hint": "age_1" }
        }),
        read("hint_by_key", |_| {
            doc! { "find": "people", "filter": { "city": "London" }, "hint": { "city": 1, "name": -1 } }
        }),
        read("hint_natural", |_| {
            doc! { "find": "people", "filter": { "city": "London" }, "hint": { "$natural": -1 } }
        }),
        read("hint_unknown_is_refused", |_| {
            doc! { "find": "people", "filter": { "age": 25 }, "hint": "nothing" }
        }),
        read("min_and_max", |_| {
            doc! { "find": "people", "hint": { "age": 1 }, "min": { "age": 25 }, "max": { "age": 41 } }
        }),
        read("min_without_hint_is_refused", |_| {
            doc! { "find": "people", "min": { "age": 25 } }
        }),
        read("collation_ignores_case", |_| {
            doc! { "find": "people", "filter": { "name": "DAN" }, "collation": { "locale": "en", "strength": 2 } }
        }),
        read("collation_sorts", |_| {
            doc! { "find": "people", "sort": { "name": 1, "_id": 1 },
            "collation": { "locale": "fr", "strength": 1, "numericOrdering": true } }
        }),
        read("collation_unknown_locale", |_| {
            doc! { "find": "people", "collation": { "locale": "xx-nowhere" } }
        }),
        read("let_variables", |_| {
            doc! { "find": "people", "filter": { "$expr": { "$eq": ["$age", "$$wanted"] } }, "let": { "wanted": 25 } }
        }),
        read("let_variable_undefined", |_| {
            doc! { "find": "people", "filter": { "$expr": { "$eq": ["$age", "$$wanted"] } } }
        }),
        read("return_key", |_| {
            doc! { "find": "people", "filter": { "age": 25 }, "hint": "age_1", "returnKey": true }
        }),
        read("show_record_id", |_| {
            doc! { "find": "people", "filter": { "_id": { "$lt": 3 } }, "showRecordId": true }
        }),
        read("comment_is_no_part_of_the_answer", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "comment": "hello" }
        }),
        read("max_time_is_enough", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "maxTimeMS": 60_000 }
        }),
        read("max_time_negative", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "maxTimeMS": -1 }
        }),
        read("max_time_of_wrong_type", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "maxTimeMS": "soon" }
        }),
        read("max_time_fractional", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "maxTimeMS": 1000.5 }
        }),
        read("max_time_too_large", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "maxTimeMS": 1_i64 << 40 }
        }),
        read("max_time_null", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "maxTimeMS": Bson::Null }
        }),
        read("comment_of_any_type", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "comment": { "$odd": [1] } }
        }),
        read(
            "filter_null",
            |_| doc! { "find": "people", "filter": Bson::Null },
        ),
        read("filter_empty", |_| doc! { "find": "people", "filter": {} }),
        read("booleans_as_numbers", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "singleBatch": 1 }
        }),
        read("read_concern_empty", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "readConcern": {} }
        }),
        read("allow_disk_use", |_| {
            doc! { "find": "numbers", "sort": { "word": -1 }, "limit": 3, "allowDiskUse": true }
        }),
        read("allow_partial_results", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "allowPartialResults": true }
        }),
        read("read_concern_local", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "readConcern": { "level": "local" } }
        }),
        read("read_concern_available", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "readConcern": { "level": "available" } }
        }),
        read("read_concern_majority", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "readConcern": { "level": "majority" } }
        }),
        read("read_concern_linearizable", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "readConcern": { "level": "linearizable" } }
        }),
        read("read_concern_snapshot", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "readConcern": { "level": "snapshot" } }
        }),
        read("read_concern_unknown", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "readConcern": { "level": "psychic" } }
        }),
        read("read_preference_primary", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "$readPreference": { "mode": "primary" } }
        }),
        read("read_preference_primary_preferred", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "$readPreference": { "mode": "primaryPreferred" } }
        }),
        read("read_preference_secondary_preferred", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "$readPreference": { "mode": "secondaryPreferred" } }
        }),
        read("read_preference_nearest", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "$readPreference": { "mode": "nearest" } }
        }),
        read("find_unknown_field", |_| {
            doc! { "find": "people", "filter": { "_id": 1 }, "colour": "red" }
        }),
        read(
            "find_filter_of_wrong_type",
            |_| doc! { "find": "people", "filter": "age" },
        ),
        read("find_batch_size_of_wrong_type", |_| {
            doc! { "find": "people", "batchSize": "many" }
        }),
    ]
}

fn count_and_distinct() -> Vec<Op> {
    vec![
        read("count_all", |_| doc! { "count": "people" }),
        read("count_absent_collection", |_| doc! { "count": "nobody" }),
        read("count_query", |_| doc! { "count": "people", "query": { "age": 25 } }),
        read("count_skip_limit", |_| {
            doc! { "count": "numbers", "query": { "even": true }, "skip": 100, "limit": 50 }
        }),
        read("count_hint_collation", |_| {
            doc! { "count": "people", "query": { "name": "BOB" }, "hint": "name_en",
            "collation": { "locale": "en", "strength": 2 } }
        }),
        read("count_unknown_field", |_| doc! { "count": "people", "filter": { "age": 25 } }),
        read("distinct_plain", |_| doc! { "distinct": "people", "key": "city" })
            .masking(&[("values", Mask::Unordered)]),
        read("distinct_query", |_| {
            doc! { "distinct": "people", "key": "age", "query": { "city": { "$ne": "Paris" } } }
        })
        .masking(&[("values", Mask::Unordered)]),
        read("distinct_array_elements", |_| doc! { "distinct": "people", "key": "tags" })
            .masking(&[("values", Mask::Unordered)]),
        read("distinct_nested_path", |_| doc! { "distinct": "people", "key": "scores.game" })
            .masking(&[("values", Mask::Unordered)]),
        read("distinct_collation", |_| {
            doc! { "distinct": "people", "key": "city", "collation": { "locale": "en", "strength": 1 } }
        })
        .masking(&[("values", Mask::Unordered)]),
        read("distinct_absent_key", |_| doc! { "distinct": "people", "key": "nothing" }),
        read("distinct_without_key", |_| doc! { "distinct": "people" }),
    ]
}
