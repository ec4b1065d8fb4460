//! A request's exchanges with servers, written down for those who tell of it.
//!
//! Nearly always nobody listens, and then nothing is written down.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The exchanges of one request, whatever messages it becomes on its way.
#[derive(Clone, Debug, Default)]
pub struct Exchanges(Arc<Mutex<Vec<Exchange>>>);

/// One message to a server.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The server's host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// When the message was about to be sent.
    pub began: Instant,
    /// Until its reply was read, or nobody waited for it any more.
    pub took: Duration,
    /// How it ended.
    pub ending: Ending,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The server has answered, well or with an error.
    Answered,
    /// No answer has come: a lost link, a time limit, a client that left.
    Unanswered,
}

impl Exchanges {
    /// Those that have ended, oldest first.
    pub fn take(&self) -> Vec<Exchange> {
        std::mem::take(&mut self.0.lock())
    }
}

/// An exchange under way; written down when it is dropped.
#[derive(Debug)]
pub struct Timed {
    listeners: Vec<Exchanges>,
    exchange: Exchange,
}

impl Timed {
    /// Begins now. `None`: nobody listens.
    pub fn begin(listeners: &[Exchanges], host: &str, port: u16) -> Option<Timed> {
        if listeners.is_empty() {
            return None;
        }
        Some(Timed {
            listeners: listeners.to_vec(),
            exchange: Exchange {
                host: host.to_owned(),
                port,
                began: Instant::now(),
                took: Duration::ZERO,
                ending: Ending::Unanswered,
            },
        })
    }

    /// The reply is here.
    pub fn answered(mut self) {
        self.exchange.ending = Ending::Answered;
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.exchange.took = self.exchange.began.elapsed();
        for listener in &self.listeners {
            listener.0.lock().push(self.exchange.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_exchange_is_told_to_all_who_listen_also_when_it_is_given_up() {
        assert!(Timed::begin(&[], "db", 1).is_none());
        let listeners = [Exchanges::default(), Exchanges::default()];
        let lost = Timed::begin(&listeners, "db", 1);
        tokio::time::advance(Duration::from_millis(3)).await;
        drop(lost);
        Timed::begin(&listeners, "db", 2).unwrap().answered();
        for listener in &listeners {
            let told = listener.take();
            let told: Vec<_> = told.iter().map(|e| (e.port, e.took, e.ending)).collect();
            let expected = [
                (1, Duration::from_millis(3), Ending::Unanswered),
                (2, Duration::ZERO, Ending::Answered),
            ];
            assert_eq!(told, expected);
        }
    }
}
