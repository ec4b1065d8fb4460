//! Who waits for company, and who doesn't.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::super::queue::REMEMBERED;
use super::model::Model;
use super::{Answered, Setup, insert, inserted};
use crate::config;

pub fn side_by_side() -> config::Batch {
    config::Batch {
        at_once: 3,
        max_wait: Duration::from_secs(30),
        ..config::Batch::default()
    }
}

#[tokio::test]
async fn few_writes_leave_each_by_itself_and_only_those_beyond_them_wait() {
    let setup = Setup::with(Model::gated(), side_by_side()).await;
    let before = setup.model.arrived();
    let few = [insert(1), insert(2), insert(3)].map(|c| setup.send(c));
    setup.until(|| setup.model.arrived() == before + 3).await;
    let others = [insert(4), insert(5)].map(|c| setup.send(c));
    let shared = &setup.batch.shared;
    setup.until(|| shared.groups.queued() == 2).await;
    // The first to return takes along who waits.
    setup.open_gate(1);
    setup.until(|| setup.model.arrived() == before + 4).await;
    setup.open_gate(10);
    for handle in few.into_iter().chain(others) {
        assert_eq!(handle.await.unwrap().unwrap(), inserted(1));
    }
    assert_eq!(setup.model.arrived(), before + 4);
    assert_eq!(setup.batch.groups(), 0);
}

/// Three are under way, each by itself, and nine wait: what they'll be told, the three first.
async fn crowd(setup: &Setup) -> Vec<JoinHandle<Answered>> {
    let shared = &setup.batch.shared;
    let before = setup.model.arrived();
    let mut handles: Vec<_> = (1..=3).map(|id| setup.send(insert(id))).collect();
    setup.until(|| setup.model.arrived() == before + 3).await;
    handles.extend((4..=12).map(|id| setup.send(insert(id))));
    setup.until(|| shared.groups.queued() == 9).await;
    handles
}

#[tokio::test]
async fn in_a_crowd_nobody_leaves_by_itself_but_the_first() {
    let setup = Setup::with(Model::gated(), side_by_side()).await;
    let shared = &setup.batch.shared;
    let before = setup.model.arrived();
    let mut handles = crowd(&setup).await;
    // Nine leave together; the first three have returned when the next come.
    setup.open_gate(3);
    setup.until(|| setup.model.arrived() == before + 4).await;
    for handle in handles.drain(..3) {
        handle.await.unwrap().unwrap();
    }
    handles.extend((13..=20).map(|id| setup.send(insert(id))));
    setup.until(|| shared.groups.queued() == 8).await;
    // The ninth makes the crowd complete.
    handles.push(setup.send(insert(21)));
    setup.until(|| setup.model.arrived() == before + 5).await;
    setup.open_gate(10);
    for handle in handles {
        assert_eq!(handle.await.unwrap().unwrap(), inserted(1));
    }
    assert_eq!(setup.model.arrived(), before + 5);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_comes_back_is_still_one_for_a_moment() {
    let late = REMEMBERED + Duration::from_millis(1);
    for (pause, commands) in [(Duration::ZERO, 1), (late, 3)] {
        let setup = Setup::with(Model::gated(), side_by_side()).await;
        let handles = crowd(&setup).await;
        setup.open_gate(4);
        for handle in handles {
            handle.await.unwrap().unwrap();
        }
        setup.until(|| setup.batch.groups() == 0).await;
        let before = setup.model.arrived();
        tokio::time::advance(pause).await;
        let handles: Vec<_> = (13..=15).map(|id| setup.send(insert(id))).collect();
        setup
            .until(|| setup.model.arrived() == before + commands)
            .await;
        setup.open_gate(10);
        for handle in handles {
            assert_eq!(handle.await.unwrap().unwrap(), inserted(1));
        }
        assert_eq!(setup.model.arrived(), before + commands);
    }
}

#[tokio::test(start_paused = true)]
async fn a_few_that_come_after_a_crowd_soon_wait_for_nobody_again() {
    let setup = Setup::with(Model::gated(), side_by_side()).await;
    let handles = crowd(&setup).await;
    setup.open_gate(4);
    for handle in handles {
        handle.await.unwrap().unwrap();
    }
    let half = REMEMBERED / 2 + Duration::from_millis(1);
    setup.until(|| setup.batch.groups() == 0).await;
    tokio::time::advance(half).await;
    let lone = setup.send(insert(13));
    setup.open_gate(1);
    lone.await.unwrap().unwrap();
    setup.until(|| setup.batch.groups() == 0).await;
    tokio::time::advance(half).await;
    let before = setup.model.arrived();
    let both = [insert(14), insert(15)].map(|c| setup.send(c));
    setup.until(|| setup.model.arrived() == before + 2).await;
    setup.open_gate(2);
    for handle in both {
        assert_eq!(handle.await.unwrap().unwrap(), inserted(1));
    }
}
