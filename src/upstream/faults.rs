//! Faults on links, made on purpose by tests: a slow server, a lost link, a message cut in two.
//!
//! A test that runs a proxy in its own process arms them through
//! [`Upstream::faults`](super::Upstream::faults). Without the feature `test-hooks` there's a value
//! without size in the same place, and nothing else.

#[cfg(feature = "test-hooks")]
pub use armed::{Act, Faults, Passing, Rule};
#[cfg(not(feature = "test-hooks"))]
pub(super) use unarmed::Faults;

#[cfg(feature = "test-hooks")]
mod armed {
    use std::sync::Arc;
    use std::time::Duration;

    use parking_lot::Mutex;

    use crate::command::Command;
    use crate::upstream::Address;
    use crate::wire::Frame;
    use crate::wire::op_msg::OpMsg;

    /// What happens to an exchange.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Act {
        /// The reply is held back for so long.
        Delay(Duration),
        /// The link is closed before a byte has gone out.
        DropBeforeSending,
        /// Half of the request goes out, then the link is closed.
        CutRequest,
        /// The request goes out whole, and the link is closed when its reply has come.
        DropReply,
        /// Half of the reply comes, then the link is closed.
        CutReply,
    }

    /// A request that is about to be sent.
    #[derive(Debug)]
    pub struct Passing<'a> {
        /// The number of the link: counts up as links are dialled.
        pub link: u64,
        /// The server at the other end.
        pub server: &'a Address,
        /// What is asked.
        pub command: &'a Command,
    }

    /// Which exchanges a fault is for, how often it happens, and what it is.
    pub struct Rule {
        when: Box<dyn Fn(&Passing<'_>) -> bool + Send + Sync>,
        left: Option<usize>,
        act: Act,
        whose: Whose,
    }

    /// Whose requests a fault is for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Whose {
        Clients,
        /// The proxy's own hellos too.
        All,
    }

    impl Rule {
        /// A fault of every exchange that `when` holds for.
        pub fn every(
            act: Act,
            when: impl Fn(&Passing<'_>) -> bool + Send + Sync + 'static,
        ) -> Rule {
            Rule {
                when: Box::new(when),
                left: None,
                act,
                whose: Whose::Clients,
            }
        }

        /// The same for hellos, by which a server's state and distance are found out.
        pub fn and_hellos(self) -> Rule {
            Rule {
                whose: Whose::All,
                ..self
            }
        }

        /// A fault of the next `times` exchanges that `when` holds for.
        pub fn times(
            times: usize,
            act: Act,
            when: impl Fn(&Passing<'_>) -> bool + Send + Sync + 'static,
        ) -> Rule {
            Rule {
                left: Some(times),
                ..Rule::every(act, when)
            }
        }
    }

    /// The faults of one proxy's links, and the exchanges that have passed them.
    #[derive(Clone, Default)]
    pub struct Faults {
        inner: Arc<Mutex<Inner>>,
    }

    #[derive(Default)]
    struct Inner {
        rules: Vec<Rule>,
        links: u64,
        exchanges: u64,
    }

    impl std::fmt::Debug for Faults {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Faults")
        }
    }

    impl Faults {
        /// Adds a fault; the first that fits an exchange counts.
        pub fn arm(&self, rule: Rule) {
            self.inner.lock().rules.push(rule);
        }

        /// Takes all faults away.
        pub fn clear(&self) {
            self.inner.lock().rules.clear();
        }

        /// Requests of clients that were begun to be sent so far (not what monitors ask).
        pub fn exchanges(&self) -> u64 {
            self.inner.lock().exchanges
        }

        pub(in crate::upstream) fn next_link(&self) -> u64 {
            let mut inner = self.inner.lock();
            inner.links += 1;
            inner.links
        }

        /// What happens to this exchange, if anything.
        pub(in crate::upstream) fn meet(
            &self,
            link: u64,
            server: &Address,
            frame: &Frame,
        ) -> Option<Act> {
            let command = OpMsg::parse(frame)
                .ok()
                .and_then(|msg| Command::parse(&msg))?;
            // (What a monitor asks.)
            let is_of_monitor = matches!(command.name(), "hello" | "buildInfo");
            let passing = Passing {
                link,
                server,
                command: &command,
            };
            let mut inner = self.inner.lock();
            inner.exchanges += u64::from(!is_of_monitor);
            let rule = inner.rules.iter_mut().find(|rule| {
                let fits = !is_of_monitor || rule.whose == Whose::All;
                fits && rule.left != Some(0) && (rule.when)(&passing)
            })?;
            if let Some(left) = &mut rule.left {
                *left -= 1;
            }
            Some(rule.act)
        }
    }
}

#[cfg(not(feature = "test-hooks"))]
mod unarmed {
    /// No faults.
    #[derive(Clone, Debug, Default)]
    pub(in crate::upstream) struct Faults;
}
