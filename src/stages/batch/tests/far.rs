//! Who waits for company where MongoDB is far away.

use std::time::Duration;

use super::few::side_by_side;
use super::model::Model;
use super::{Setup, insert, inserted};

/// 20 ms away.
fn far() -> Model {
    let model = Model::gated();
    model.distance.set_us(20_000);
    model
}

/// A lone write is at the server for so long, on top of the way there and back.
async fn write(setup: &Setup, id: i32, at_server: Duration) {
    let before = setup.model.arrived();
    let handle = setup.send(insert(id));
    setup.until(|| setup.model.arrived() == before + 1).await;
    tokio::time::advance(Duration::from_millis(20) + at_server).await;
    setup.open_gate(1);
    handle.await.unwrap().unwrap();
    setup.until(|| setup.batch.groups() == 0).await;
}

/// So many of 30 writes that come together leave each by itself.
async fn leave_by_themselves(setup: &Setup, first: i32) -> usize {
    let before = setup.model.arrived();
    let handles: Vec<_> = (first..first + 30)
        .map(|id| setup.send(insert(id)))
        .collect();
    let shared = &setup.batch.shared;
    setup
        .until(|| setup.model.arrived() - before + shared.groups.queued() == 30)
        .await;
    let alone = setup.model.arrived() - before;
    setup.open_gate(100);
    for handle in handles {
        assert_eq!(handle.await.unwrap().unwrap(), inserted(1));
    }
    alone
}

#[tokio::test(start_paused = true)]
async fn far_from_the_server_more_writes_leave_by_themselves() {
    let setup = Setup::with(far(), side_by_side()).await;
    write(&setup, 1, Duration::from_millis(5)).await;
    // A command is at the server for a fifth of its time: three there, twelve on the way.
    assert_eq!(leave_by_themselves(&setup, 10).await, 15);
}

#[tokio::test(start_paused = true)]
async fn where_the_server_is_what_takes_time_writes_wait_for_each_other_at_any_distance() {
    let setup = Setup::with(far(), side_by_side()).await;
    write(&setup, 1, Duration::from_millis(100)).await;
    assert_eq!(leave_by_themselves(&setup, 10).await, 3);
}

#[tokio::test(start_paused = true)]
async fn links_are_left_to_others_at_any_distance() {
    let setup = Setup::with(far(), side_by_side()).await;
    write(&setup, 1, Duration::from_micros(200)).await;
    assert_eq!(leave_by_themselves(&setup, 10).await, 24);
}
