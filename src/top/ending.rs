//! When `petiole top` ends without a key: at a signal, or when its terminal has gone (a closed window, a lost connection).
//!
//! A terminal that has gone is looked for in a thread of its own: reading the keys of one never returns, not even after the
//! time that it was given, and uses a whole core. `SIGHUP` alone isn't enough: it may be ignored (`nohup`), and only
//! the foreground of a terminal gets it.

use std::io::{IsTerminal, stdin, stdout};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

/// Says when this process should end, so that the terminal can be put back first. If that takes too long, the process is ended.
pub(super) fn ending() -> std::io::Result<Receiver<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut hangup, mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (
            signal(SignalKind::hangup())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    // (Keys are read from the terminal itself where standard input isn't one.)
    let keys = stdin().is_terminal();
    let gone = async move {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stdout().is_terminal() && (!keys || stdin().is_terminal()) {
            look.tick().await;
        }
    };
    let (tell, ending) = channel();
    let wait = move || {
        let code = runtime.block_on(async {
            tokio::select! {
                _ = hangup.recv() => 0,
                _ = interrupt.recv() => 0,
                _ = terminate.recv() => 0,
                () = gone => 1,
            }
        });
        // (The receiver has gone when a key was quicker.)
        let _ = tell.send(());
        std::thread::sleep(PATIENCE);
        // The other thread is stuck in reading keys.
        let _ = ratatui::try_restore();
        std::process::exit(code);
    };
    std::thread::spawn(wait);
    Ok(ending)
}

const LOOK: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(1);
