//! A selection of the tests against other releases of mongod: each runs in a process of its own, in which `PETIOLE_MONGOD`
//! names that release.

use std::path::Path;
use std::process::Command;

use crate::parts::kept::run;
use crate::parts::mongods::{self, Release};

const SELECTION: [&str; 8] = [
    "differential::a_replica_set_answers_alike_directly_and_through_the_proxy",
    "differential::a_standalone_answers_alike_directly_and_through_the_proxy",
    "batch::replies::random_inserts_of_many_clients_get_the_replies_that_they_get_directly",
    "batch::kinds::time_series_capped_collections_and_views_are_never_batched",
    "batch::kinds::a_collection_made_anew_around_the_proxy_refuses_what_was_merged_for_the_old_one",
    "batch::kinds::a_name_redefined_as_a_time_series_around_the_proxy_is_no_longer_batched",
    "batch::kinds::a_document_for_which_a_server_refuses_the_command_takes_no_other_with_it",
    "watch::served::a_write_around_the_proxy_ends_what_it_changed_and_nothing_else",
];

#[test]
fn a_selection_passes_against_6_0_27() {
    passes(&mongods::V6_0_27, &SELECTION);
}

fn passes(release: &Release, tests: &[&str]) {
    let mongod: &Path = &mongods::mongod(release);
    let said = run(
        Command::new(std::env::current_exe().unwrap())
            .env("PETIOLE_MONGOD", mongod)
            .args(["--exact", "--test-threads=2"])
            .args(tests),
        "",
    );
    let all = format!("test result: ok. {} passed", tests.len());
    assert!(said.contains(&all), "{said}");
}
