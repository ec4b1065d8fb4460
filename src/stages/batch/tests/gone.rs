//! Clients that go while their writes wait.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::*;
use crate::pipeline::{Caller, Fault, Presence};

#[derive(Debug, Default)]
struct Socket {
    is_closed: AtomicBool,
}

impl Presence for Socket {
    fn is_gone(&self) -> bool {
        self.is_closed.load(SeqCst)
    }
}

impl Socket {
    fn close(&self) {
        self.is_closed.store(true, SeqCst);
    }
}

fn clients<const N: usize>() -> ([Arc<Socket>; N], [Callers; N]) {
    let sockets: [Arc<Socket>; N] = std::array::from_fn(|_| Arc::default());
    let callers = sockets
        .each_ref()
        .map(|socket| Callers::One(Caller::new(socket.clone(), None)));
    (sockets, callers)
}

/// Sends them as one batch, after `meanwhile`.
async fn together<const N: usize>(
    setup: &Setup,
    callers: [Callers; N],
    commands: [Document; N],
    meanwhile: impl FnOnce(),
) -> Vec<Answered> {
    let handles = setup.queued_from(callers.into_iter().zip(commands)).await;
    meanwhile();
    setup.open_gate(1000);
    let mut answered = Vec::new();
    for handle in handles {
        answered.push(handle.await.unwrap());
    }
    answered
}

fn was_kept_back(answered: &Answered) -> bool {
    let kept = |failure: &Failure| matches!(failure.fault, Fault::ClientGone) && !failure.sent;
    answered.as_ref().is_err_and(kept)
}

#[tokio::test]
async fn a_member_whose_client_has_gone_leaves_its_batch() {
    let setup = Setup::new(Model::gated()).await;
    let (sockets, callers) = clients::<3>();
    let commands = [insert(1), retryable(1, 1, &[2]), insert(3)];
    let answered = together(&setup, callers, commands, || sockets[1].close()).await;
    assert!(was_kept_back(&answered[1]));
    assert_eq!(answered[0].as_ref().unwrap(), &inserted(1));
    assert_eq!(answered[2].as_ref().unwrap(), &inserted(1));
    assert!(setup.model.document(2).is_none());
    assert_eq!(setup.alone(Alone::Gone), 1);
    assert_eq!(setup.fences.quarantined(), 0, "it isn't under way anywhere");
}

#[tokio::test]
async fn a_batch_whose_clients_have_all_gone_is_not_sent() {
    let setup = Setup::new(Model::gated()).await;
    let (sockets, callers) = clients::<2>();
    let before = setup.model.asked().len();
    let gone = || sockets.iter().for_each(|socket| socket.close());
    let answered = together(&setup, callers, [insert(1), insert(2)], gone).await;
    assert!(answered.iter().all(was_kept_back));
    assert_eq!(setup.model.asked().len(), before + 1, "only the first one");
}

#[tokio::test]
async fn a_write_left_over_from_a_batch_keeps_its_own_reply() {
    let setup = Setup::new(Model::gated()).await;
    let (sockets, callers) = clients::<3>();
    let two =
        doc! {"insert": "c", "documents": [{"_id": 1}, {"_id": 2}], "ordered": false, "$db": "d"};
    let commands = [two, insert(3), insert(1)];
    let answered = together(&setup, callers, commands, || sockets[0].close()).await;
    assert_eq!(answered[1].as_ref().unwrap(), &inserted(1));
    assert_eq!(answered[2].as_ref().unwrap(), &inserted(1));
}

#[tokio::test]
async fn what_may_have_been_sent_is_not_sent_again_for_a_client_that_has_gone() {
    for labelled in [false, true] {
        let setup = Setup::new(Model::gated()).await;
        let (sockets, callers) = clients::<3>();
        let trouble = match labelled {
            true => Trouble::NotPrimary,
            false => Trouble::LostBefore,
        };
        setup.model.trouble([Trouble::None, trouble]);
        let commands = [retryable(1, 1, &[1]), insert(2), insert(3)];
        let before = setup.model.arrived();
        let handles = setup.queued_from(callers.into_iter().zip(commands)).await;
        // The client goes while the first try is under way.
        setup.open_gate(1);
        setup.until(|| setup.model.arrived() == before + 2).await;
        sockets[0].close();
        setup.open_gate(1000);
        let mut answered = Vec::new();
        for handle in handles {
            answered.push(handle.await.unwrap());
        }
        assert!(answered[0].as_ref().is_err_and(|f| f.sent), "{labelled}");
        assert!(setup.model.document(1).is_none(), "{labelled}");
        assert_eq!(setup.fences.quarantined(), 1, "{labelled}");
        for others in &answered[1..] {
            assert_eq!(others.as_ref().unwrap(), &inserted(1), "{labelled}");
        }
        // It may be asked for under the batch's number, which isn't given to another write.
        let again = setup.send(retryable(1, 1, &[1])).await.unwrap().unwrap();
        assert_eq!(again.get_i32("n").ok(), Some(1));
        let numbers = setup.model.asked();
        let number = |c: &Document| (c.get("lsid").cloned(), c.get_i64("txnNumber").ok());
        let last = number(numbers.last().unwrap());
        assert!(numbers.iter().filter(|c| number(c) == last).count() > 1);
    }
}

#[tokio::test]
async fn a_retry_that_waits_for_a_write_whose_client_has_gone_is_sent_by_itself() {
    let setup = Setup::new(Model::gated()).await;
    let (sockets, [first, other]) = clients::<2>();
    let write = retryable(1, 1, &[1]);
    let commands = [(first, write.clone()), (other, insert(2))];
    let mut handles = setup.queued_from(commands).await;
    let writes = || setup.batch.stats().client_writes();
    let before = writes();
    let retry = setup.send(write);
    setup.until(|| writes() > before).await;
    sockets[0].close();
    setup.open_gate(1000);
    assert_eq!(retry.await.unwrap().unwrap(), inserted(1));
    assert!(was_kept_back(&handles.remove(0).await.unwrap()));
    assert_eq!(handles.remove(0).await.unwrap().unwrap(), inserted(1));
}
