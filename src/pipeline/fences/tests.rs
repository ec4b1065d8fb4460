use super::*;
use crate::command::Namespace;

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
