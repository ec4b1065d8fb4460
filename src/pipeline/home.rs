//! Which worker thread this is. Each has a runtime and a reactor of its own: what it dials is driven by
//! it, and to wake a task of another one takes a system call.

use std::cell::Cell;

thread_local! {
    static HOME: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Names the worker thread that calls.
pub fn set_home(home: usize) {
    HOME.set(home);
}

/// The number of the worker thread that calls; the same one for all other threads.
pub fn home() -> usize {
    HOME.get()
}
