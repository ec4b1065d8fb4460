use super::*;
use crate::command::Namespace;

mod interleavings;

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
    let find = bson::doc! {"find": "users", "filter": filter, "$db": "d"};
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
    assert!(window.admit(&answer));
    answer
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
fn an_answer_that_is_dropped_leaves_the_index() {
    let f = fences();
    let answer = stored(&f, bson::doc! {"_id": 1}, bson::doc! {"_id": 1});
    let index = f.collection_of("d", "users");
    assert!(!index.is_idle(&f));
    drop(answer);
    assert!(index.is_idle(&f));
}

#[test]
fn writes_of_this_proxy_are_known_by_their_time_and_others_end_answers() {
    let f = fences();
    let read = || stored(&f, bson::doc! {"_id": 1}, bson::doc! {"_id": 1});
    let set = written(bson::doc! {"update": "users", "$db": "d", "updates": [
        {"q": {"_id": 1}, "u": {"$set": {"a": 1}}},
    ]});
    f.note_own(77);
    let answer = read();
    f.landed(&set, 77);
    assert!(f.holds(answer.tie()));
    f.landed(&set, 78);
    assert!(!f.holds(answer.tie()));
}
