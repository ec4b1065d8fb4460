//! Telling clients what became of their writes, those of another thread all at once: to wake a task
//! of another thread is a system call, and most of a batch's clients may be on others.

use tokio::runtime::Handle;

use super::member::{Member, Told};
use crate::pipeline::home;

/// What is to be told. Dropped, it is on its way.
#[derive(Default)]
pub(super) struct News {
    threads: Vec<Thread>,
}

/// News for clients of one other thread.
struct Thread {
    home: usize,
    runtime: Handle,
    news: Waiting,
}

/// Told when it is dropped, wherever that is: the thread may be at its end.
#[derive(Default)]
struct Waiting(Vec<(Member, Told)>);

impl News {
    /// Tells a client, at once or with the others of its thread.
    pub fn tell(&mut self, member: Member, told: Told) {
        if member.home == home() {
            return member.ticket.tell(told);
        }
        let known = self.threads.iter_mut().find(|t| t.home == member.home);
        match known {
            Some(thread) => thread.news.0.push((member, told)),
            None => self.threads.push(Thread {
                home: member.home,
                runtime: member.runtime.clone(),
                news: Waiting(vec![(member, told)]),
            }),
        }
    }
}

impl Drop for News {
    fn drop(&mut self) {
        for Thread { runtime, news, .. } in self.threads.drain(..) {
            runtime.spawn(async move { drop(news) });
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        for (member, told) in self.0.drain(..) {
            member.ticket.tell(told);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bson::doc;
    use tokio::runtime::{Builder, Runtime};

    use super::super::key::{Wanted, Write};
    use super::super::member::Ticket;
    use super::super::stats::Alone;
    use super::*;
    use crate::config::{RetryableUpdates, WriteKind};
    use crate::memory::{Kind, Memory};
    use crate::pipeline::{scripted, set_home};

    /// A write that came on this thread.
    fn member() -> (Member, Arc<Ticket>) {
        let command = doc! {"insert": "c", "documents": [{"_id": 1}], "$db": "d"};
        let request = scripted::request(&command);
        let wanted = Wanted {
            max_documents: 1,
            max_size: 1000,
            retryable_updates: RetryableUpdates::Always,
        };
        let write = Write::read(WriteKind::Insert, &request, &wanted).unwrap();
        let ticket = Arc::new(Ticket::default());
        let live = Memory::default().live(Kind::QueuedWrites);
        let member = Member::new(&request, write, Arc::clone(&ticket), live);
        (member, ticket)
    }

    fn worker(home: usize) -> Runtime {
        set_home(home);
        Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn clients_of_another_thread_are_told_together_and_also_if_it_has_ended() {
        for has_ended in [false, true] {
            let other = worker(1);
            let (members, mut tickets): (Vec<_>, Vec<_>) = {
                let _there = other.enter();
                (0..3).map(|_| member()).unzip()
            };
            let here = worker(2);
            let _here = here.enter();
            let (own, told_at_once) = member();
            let mut news = News::default();
            for member in members {
                news.tell(member, Told::Alone(Alone::Refused));
            }
            news.tell(own, Told::Alone(Alone::Refused));
            assert!(told_at_once.is_told());
            assert!(!tickets.iter().any(|ticket| ticket.is_told()));
            let other = (!has_ended).then_some(other);
            drop(news);
            if let Some(other) = other {
                let last = tickets.pop().unwrap();
                std::thread::scope(|s| s.spawn(|| other.block_on(last.told())).join()).unwrap();
            }
            assert!(tickets.iter().all(|ticket| ticket.is_told()));
        }
    }
}
