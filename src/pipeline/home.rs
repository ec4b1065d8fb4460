//! Which worker thread this is. Each has a runtime and a reactor of its own: what it dials is driven by
//! it, and to wake a task of another one takes a system call.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::sleep;

thread_local! {
    static HOME: Cell<usize> = const { Cell::new(NONE) };
    static TICKS: Cell<bool> = const { Cell::new(false) };
    static WAITED: Cell<bool> = const { Cell::new(false) };
}

/// Names the worker thread that calls.
pub fn set_home(home: usize) {
    HOME.set(home);
}

/// The number of the worker thread that calls; the same one for all other threads.
pub fn home() -> usize {
    HOME.get()
}

/// A request is about to wait, with a time limit that is usually a second or more. A runtime without any timer wakes its own reactor, by a
/// system call, for each that is set before the reactor has looked again; so while requests wait now and
/// then, this thread has one that ends before theirs.
pub fn will_wait() {
    if HOME.get() == NONE {
        return;
    }
    WAITED.set(true);
    if !TICKS.replace(true) {
        tokio::spawn(tick());
    }
}

async fn tick() {
    while WAITED.replace(false) {
        sleep(TICK).await;
    }
    TICKS.set(false);
}

const NONE: usize = usize::MAX;
const TICK: Duration = Duration::from_millis(250);
