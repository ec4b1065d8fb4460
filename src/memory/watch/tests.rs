//! In paused time: what is called a leak, and what isn't.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::*;
use crate::config;
use crate::memory::Live;

const WINDOW: Duration = Duration::from_secs(96);
const SECOND: Duration = Duration::from_secs(1);

/// A cache that is as full as it may be.
#[derive(Clone, Default)]
struct Full(Arc<AtomicU64>);

impl Levers for Full {
    fn cache(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn limit_cache(&self, bytes: u64) {
        self.0.store(bytes, Relaxed);
    }
}

fn watched() -> (Arc<Memory>, Watch<Full>) {
    let config = config::Memory {
        leak_window: WINDOW,
        ..config::Memory::default()
    };
    let memory = Memory::new(&config);
    let watch = Watch::new(&memory, 1 << 20, Full::default());
    (memory, watch)
}

async fn second(memory: &Memory, watch: &mut Watch<Full>) {
    tokio::time::advance(SECOND).await;
    watch.tick(memory);
}

fn leaks(memory: &Memory) -> Vec<&'static str> {
    let leaks = memory.report().leaks;
    // What the test process itself does with its memory isn't what is tested here.
    let kinds = leaks.iter().map(|leak| leak.kind);
    kinds.filter(|kind| *kind != "other").collect()
}

#[tokio::test(start_paused = true)]
async fn a_leak_of_each_kind_is_named_within_its_window() {
    for kind in Kind::ALL {
        let (memory, mut watch) = watched();
        let mut leaked: Vec<Live> = Vec::new();
        // Half of what is made ends as it should.
        for _ in 0..WINDOW.as_secs() {
            leaked.push(memory.live(kind));
            drop(memory.live(kind));
            second(&memory, &mut watch).await;
        }
        assert_eq!(leaks(&memory), [kind.as_str()]);
    }
}

#[tokio::test(start_paused = true)]
async fn windows_of_any_length_are_kept_to() {
    for seconds in [5, 7, 16, 61, 600] {
        let config = config::Memory {
            leak_window: Duration::from_secs(seconds),
            ..config::Memory::default()
        };
        let memory = Memory::new(&config);
        memory.watch(1 << 20, Full::default());
        let (began, mut leaked) = (Instant::now(), Vec::new());
        while leaks(&memory).is_empty() {
            assert!(began.elapsed() <= config.leak_window, "of {seconds} s");
            leaked.push(memory.live(Kind::Cursors));
            tokio::time::sleep(config.leak_window / 200).await;
        }
        assert_eq!(leaks(&memory), ["cursors"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_that_ends_and_a_load_that_stays_are_no_leaks() {
    let (memory, mut watch) = watched();
    let mut clients: Vec<Live> = Vec::new();
    let mut burst: Vec<Live> = Vec::new();
    for second_of in 0..4 * WINDOW.as_secs() {
        if second_of < 20 {
            clients.extend((0..10).map(|_| memory.live(Kind::Clients)));
        }
        match second_of {
            100..150 => burst.extend((0..10).map(|_| memory.live(Kind::Flights))),
            150 => burst.clear(),
            _ => {}
        }
        // Young ones, more and more of them.
        let busy: Vec<Live> = (0..second_of).map(|_| memory.live(Kind::Fences)).collect();
        second(&memory, &mut watch).await;
        assert_eq!(leaks(&memory), [""; 0], "at {second_of} s");
        drop(busy);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_suspected_and_goes_is_cleared() {
    let (memory, mut watch) = watched();
    let mut leaked: Vec<Live> = Vec::new();
    for _ in 0..WINDOW.as_secs() {
        leaked.push(memory.live(Kind::Cursors));
        second(&memory, &mut watch).await;
    }
    assert_eq!(leaks(&memory), ["cursors"]);
    leaked.clear();
    second(&memory, &mut watch).await;
    assert_eq!(leaks(&memory), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_past_is_kept_and_a_report_adds_up() {
    let (memory, mut watch) = watched();
    for _ in 0..10 {
        second(&memory, &mut watch).await;
    }
    let report = memory.report();
    assert_eq!(report.history.len(), 10);
    let parts = report.parts;
    let sum = parts.cache + parts.buffers + parts.other;
    assert!(report.rss.is_none_or(|rss| sum >= rss), "{report:?}");
}
