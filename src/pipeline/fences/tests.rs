use super::*;
use crate::command::Namespace;

mod interleavings;
mod own;

const USERS: Reads<'static> = Reads::Collection {
    db: "d",
    collection: "users",
};

fn fences() -> Arc<Fences> {
    Fences::new(Duration::from_secs(90))
}

fn on(collection: &str) -> Footprint {
    Footprint::Namespaces(vec![Namespace::new("d", collection)])
}

#[test]
fn a_write_in_flight_suspends_what_it_meets_and_nothing_else() {
    let f = fences();
    let users = f.open(USERS).unwrap();
    let other = f
        .open(Reads::Collection {
            db: "e",
            collection: "other",
        })
        .unwrap();
    let fence = f.begin(&on("users"));
    assert!(!f.valid(&users) && f.valid(&other));
    assert!(f.open(USERS).is_none());
    fence.settle(Effect::Changed);
    assert!(!f.valid(&users) && f.valid(&other));
}

#[test]
fn a_write_that_changed_nothing_revives_what_it_suspended() {
    let f = fences();
    let users = f.open(USERS).unwrap();
    f.begin(&on("users")).settle(Effect::Unchanged);
    assert!(f.valid(&users));
    assert!(
        !f.unmet(&users),
        "but an answer read meanwhile isn't stored"
    );
}

#[test]
fn an_answer_read_across_a_whole_write_is_not_stored() {
    let f = fences();
    let stamp = f.open(USERS).unwrap();
    assert!(f.unmet(&stamp));
    f.begin(&on("users")).settle(Effect::Changed);
    assert!(!f.unmet(&stamp));
}

#[test]
fn a_view_is_met_by_any_write_in_its_database() {
    let f = fences();
    let view = f.open(Reads::View { db: "d" }).unwrap();
    f.begin(&on("users")).settle(Effect::Changed);
    assert!(!f.valid(&view));
    let view = f.open(Reads::View { db: "d" }).unwrap();
    f.begin(&Footprint::Databases(vec!["d".into()]))
        .settle(Effect::Changed);
    assert!(!f.valid(&view));
}

#[test]
fn a_definition_change_meets_every_collection_of_the_database() {
    let f = fences();
    let users = f.open(USERS).unwrap();
    f.begin(&Footprint::Databases(vec!["d".into()]))
        .settle(Effect::Changed);
    assert!(!f.valid(&users));
}

#[test]
fn an_unknown_command_meets_everything() {
    let f = fences();
    let users = f.open(USERS).unwrap();
    let fence = f.begin(&Footprint::Everything);
    assert!(!f.valid(&users));
    fence.settle(Effect::Changed);
    assert!(!f.valid(&users));
}

#[test]
fn a_write_of_unknown_outcome_keeps_its_fence_until_the_quarantine_ends() {
    let f = fences();
    drop(f.begin(&on("users")));
    f.begin(&on("users")).settle(Effect::Unknown);
    assert_eq!(f.quarantined(), 2);
    f.sweep(Instant::now() + Duration::from_secs(89));
    assert!(f.open(USERS).is_none());
    f.sweep(Instant::now() + Duration::from_secs(91));
    assert!(f.open(USERS).is_some());
    assert_eq!(f.quarantined(), 0);
}

#[test]
fn a_new_generation_voids_everything_and_ends_quarantines() {
    let f = fences();
    let stamp = f.open(USERS).unwrap();
    drop(f.begin(&on("users")));
    f.flush(false);
    assert!(
        f.open(USERS).is_none(),
        "an ordinary flush settles no write"
    );
    f.flush(true);
    assert!(f.open(USERS).is_some());
    assert!(!f.valid(&stamp) && !f.unmet(&stamp));
}

#[test]
fn a_widened_fence_covers_both_places_until_it_settles() {
    let f = fences();
    let mut fence = f.begin(&on("users"));
    fence.widen(&on("items"));
    let items = Reads::Collection {
        db: "d",
        collection: "items",
    };
    assert!(f.open(USERS).is_none() && f.open(items).is_none());
    fence.settle(Effect::Changed);
    assert!(f.open(USERS).is_some() && f.open(items).is_some());
}

#[test]
fn a_transactions_writes_hold_their_collections_until_it_ends() {
    let f = fences();
    let mut fence = f.hold(&on("users"));
    fence.widen(&on("items"));
    let plain = f.begin(&on("other"));
    let held = || ["users", "items", "other"].map(|c| f.is_held("d", c));
    assert_eq!(held(), [true, true, false]);
    fence.settle(Effect::Changed);
    plain.settle(Effect::Changed);
    assert_eq!(held(), [false; 3]);
    drop(f.hold(&Footprint::Databases(vec!["d".into()])));
    assert_eq!(held(), [false; 3]);
}

/// An answer to `find {filter}` with these documents.
struct Answer {
    tie: Tie,
    key: Vec<u8>,
    documents: Vec<Vec<u8>>,
}

impl Tied for Answer {
    fn tie(&self) -> &Tie {
        &self.tie
    }

    fn key(&self) -> &[u8] {
        &self.key
    }

    fn command(&self) -> &[u8] {
        &self.key
    }

    fn documents(&self) -> Option<Box<dyn Iterator<Item = &[u8]> + '_>> {
        Some(Box::new(self.documents.iter().map(Vec::as_slice)))
    }
}

fn stored(f: &Arc<Fences>, filter: bson::Document, document: bson::Document) -> Arc<dyn Tied> {
    let (window, answer) = read(f, bson::doc! {"filter": filter}, document);
    assert!(window.admit(&answer));
    answer
}

/// An answer to a `find` with these fields, and the window in which it was read.
fn read(
    f: &Arc<Fences>,
    fields: bson::Document,
    document: bson::Document,
) -> (Window, Arc<dyn Tied>) {
    let mut find = bson::doc! {"find": "users"};
    find.extend(fields);
    find.insert("$db", "d");
    let key = find.to_vec().unwrap();
    let reads = Reads::Documents {
        db: "d",
        collection: "users",
    };
    let window = f.open_window(reads, ReadPlan::of(&key)).unwrap();
    let answer: Arc<dyn Tied> = Arc::new(Answer {
        tie: window.tie(),
        key,
        documents: vec![document.to_vec().unwrap()],
    });
    (window, answer)
}

/// The best user of a guild.
fn best_of(f: &Arc<Fences>, guild: i32, user: i32) -> Arc<dyn Tied> {
    let (window, answer) = read_best_of(f, guild, user);
    assert!(window.admit(&answer));
    answer
}

fn read_best_of(f: &Arc<Fences>, guild: i32, user: i32) -> (Window, Arc<dyn Tied>) {
    let fields =
        bson::doc! {"filter": {"guild": guild}, "sort": {"score": -1, "_id": 1}, "limit": 1};
    let user = bson::doc! {"_id": user, "guild": guild, "score": 5};
    read(f, fields, user)
}

/// What guild a user is in becomes known.
fn know_guild_of(f: &Arc<Fences>, user: i32, guild: i32) -> Arc<dyn Tied> {
    let fields =
        bson::doc! {"filter": {"_id": user}, "projection": {"guild": 1}, "sort": {"_id": 1}};
    let (window, answer) = read(f, fields, bson::doc! {"_id": user, "guild": guild});
    assert!(window.admit(&answer));
    window.note_pre_image(&answer);
    answer
}

fn point_for(user: i32) -> Footprint {
    written(bson::doc! {"update": "users", "$db": "d", "updates": [
        {"q": {"_id": user}, "u": {"$inc": {"score": 1}}},
    ]})
}

fn written(command: bson::Document) -> Footprint {
    let bytes = crate::wire::build::op_msg(1, 0, 0, &command.to_vec().unwrap());
    let msg = crate::wire::op_msg::OpMsg::parse(&crate::wire::frame::Frame { bytes }).unwrap();
    crate::command::footprint(&crate::command::Command::parse(&msg).unwrap(), &msg)
}

#[test]
fn an_upsert_that_inserted_nothing_spares_the_answers_that_an_insert_would_have_ended() {
    let f = fences();
    let other = stored(&f, bson::doc! {"_id": 1}, bson::doc! {"_id": 1, "user": 1});
    let own = stored(&f, bson::doc! {"_id": 2}, bson::doc! {"_id": 2, "user": 2});
    let pay = written(bson::doc! {"update": "users", "$db": "d", "updates": [
        {"q": {"user": 2}, "u": {"$inc": {"coins": 1}}, "upsert": true},
    ]});
    let holds = || [&other, &own].map(|answer| f.holds(answer.tie()));
    let fence = f.begin(&pay);
    assert_eq!(
        holds(),
        [false, false],
        "nobody knows the _id that it may insert"
    );
    fence.settle(Effect::ChangedInPlace);
    assert_eq!(holds(), [true, false]);
    f.begin(&pay).settle(Effect::Changed);
    assert_eq!(holds(), [false, false]);
}

#[test]
fn a_look_has_brought_the_first_hit_after_writes_that_it_spared_an_answer_from() {
    let f = fences();
    let _known = know_guild_of(&f, 7, 2);
    let spared = best_of(&f, 1, 3);
    let brought = || spared.tie().note_hit();
    assert!(!brought(), "nothing was written");
    f.begin(&point_for(7)).settle(Effect::Unchanged);
    assert!(!brought(), "nothing was changed");
    (0..10).for_each(|_| f.begin(&point_for(7)).settle(Effect::Changed));
    assert!(f.holds(spared.tie()));
    assert_eq!([brought(), brought()], [true, false]);
    f.begin(&point_for(7)).settle(Effect::Changed);
    let new = best_of(&f, 3, 4);
    assert!(!new.tie().note_hit(), "it was stored after that");
    assert!(brought());
    let other_fields = written(bson::doc! {"update": "users", "$db": "d", "updates": [
        {"q": {"_id": 7}, "u": {"$inc": {"logins": 1}}},
    ]});
    f.begin(&other_fields).settle(Effect::Changed);
    assert!(!brought(), "that would have spared it anyhow");
}

#[test]
fn a_document_that_became_known_while_it_was_written_is_not_wanted() {
    let f = fences();
    let wanted = || f.take_wanted("d", "users").len();
    let _board = best_of(&f, 1, 3);
    let suffers = || {
        let (window, answer) = read_best_of(&f, 2, 5);
        assert!(!window.admit(&answer));
    };
    let fence = f.begin(&point_for(7));
    assert_eq!(wanted(), 1);
    suffers();
    assert_eq!(wanted(), 1, "the first look has ended, without an answer");
    let _known = know_guild_of(&f, 7, 2);
    suffers();
    assert_eq!(wanted(), 0);
    fence.settle(Effect::Unchanged);
}

#[test]
fn what_is_kept_of_known_documents_counts_as_their_answers_and_is_forgotten_after_them() {
    let f = fences();
    let fields = bson::doc! {"filter": {"_id": 7}, "projection": {"guild": 1}, "sort": {"_id": 1}};
    let (window, answer) = read(&f, fields, bson::doc! {"_id": 7, "guild": 2});
    assert!(window.admit(&answer));
    let alone = answer.tie().bytes();
    window.note_pre_image(&answer);
    assert!((alone + 100..alone + 400).contains(&answer.tie().bytes()));
    drop(window);
    let _other = stored(&f, bson::doc! {"_id": 1}, bson::doc! {"_id": 1});
    let kept = || f.collection_of("d", "users").documents_kept();
    f.sweep(Instant::now());
    assert_eq!(kept(), 1);
    drop(answer);
    f.sweep(Instant::now());
    assert_eq!(kept(), 1, "that isn't looked for all the time");
    f.sweep(Instant::now() + Duration::from_secs(61));
    assert_eq!(kept(), 0);
}

#[test]
fn an_answer_that_is_dropped_leaves_the_index() {
    let f = fences();
    let answer = stored(&f, bson::doc! {"_id": 1}, bson::doc! {"_id": 1});
    let index = f.collection_of("d", "users");
    assert!(!index.is_idle(&f));
    drop(answer);
    assert!(index.is_idle(&f));
}

#[test]
fn a_write_that_names_very_many_collections_holds_each_scope_once() {
    let f = fences();
    let names = (0..100_000).map(|i| Namespace::new("d", &format!("c{}", i % 50_000)));
    let scopes = f.scopes.of(&Footprint::Namespaces(names.collect()));
    assert!(scopes.is_sorted_by(|a, b| a < b) && scopes.len() < 20_000);
    let users = f.open(USERS).unwrap();
    let mut fence = f.begin(&on("users"));
    fence.widen(&on("other"));
    fence.widen(&on("users"));
    assert!(!f.valid(&users));
    fence.settle(Effect::Unchanged);
    assert!(
        f.valid(&users),
        "each was lowered as often as it was raised"
    );
}
