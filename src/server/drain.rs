//! Telling every task of the client side that the proxy drains.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

/// Whether the proxy drains: once it does, it does so to its end.
#[derive(Debug, Default)]
pub(super) struct Drain {
    begun: AtomicBool,
    waiting: Notify,
}

impl Drain {
    /// From now on it drains.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Release);
        self.waiting.notify_waiters();
    }

    /// Whether it drains.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Ends when it drains.
    pub async fn wait(&self) {
        let notified = self.waiting.notified();
        // (Whoever begins after this look notifies it.)
        if !self.has_begun() {
            notified.await;
        }
    }
}

/// A wait for the drain that is polled over and over, as a client's task does with each message.
///
/// After the first time it costs a look at a flag: its task is known to the inner wait, which takes a
/// lock that all clients share.
pub(super) struct Drained<'a, W> {
    drain: &'a Drain,
    wait: Pin<&'a mut W>,
    task: Option<Waker>,
}

impl<'a, W: Future<Output = ()>> Drained<'a, W> {
    /// `wait` is a [`Drain::wait`] of this drain.
    pub fn new(drain: &'a Drain, wait: Pin<&'a mut W>) -> Drained<'a, W> {
        Drained {
            drain,
            wait,
            task: None,
        }
    }
}

impl<W: Future<Output = ()>> Future for Drained<'_, W> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker();
        if self.drain.has_begun() {
            return Poll::Ready(());
        }
        if self.task.as_ref().is_some_and(|task| task.will_wake(waker)) {
            return Poll::Pending;
        }
        self.task = Some(waker.clone());
        self.wait.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_task_that_polled_last_is_woken_however_often_it_polled() {
        let drain = Drain::default();
        let wait = pin!(drain.wait());
        let mut drained = pin!(Drained::new(&drain, wait));
        let tasks = [Arc::new(Woken::default()), Arc::new(Woken::default())];
        for task in &tasks {
            let waker = Waker::from(Arc::clone(task));
            for _ in 0..3 {
                let polled = drained.as_mut().poll(&mut Context::from_waker(&waker));
                assert_eq!(polled, Poll::Pending);
            }
        }
        drain.begin();
        let woken = tasks.map(|task| task.0.load(Ordering::Relaxed));
        assert_eq!(woken, [0, 1]);
        let polled = drained.poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready(()));
    }

    #[tokio::test]
    async fn who_comes_after_it_began_does_not_wait() {
        let drain = Drain::default();
        drain.begin();
        drain.wait().await;
        Drained::new(&drain, pin!(drain.wait())).await;
    }
}
