//! Which server a request goes to ("Server Selection" specification): the one that fits what the
//! request asks for, is near, and hasn't failed it before; waited for if there is none.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;

use super::hello::Role;
use super::read_preference::{Mode, ReadPreference};
use super::server::Server;
use super::topology::Topology;
use crate::pipeline::{Failure, Fault, Met};

/// What a request needs a server for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search<'a> {
    pub wanted: &'a ReadPreference,
    /// Where it has been in vain.
    pub met: Option<Met>,
    /// Since when it has waited for a server, its earlier waits included: `failover_wait` counts from here.
    pub began: Instant,
    pub deadline: Option<Instant>,
}

impl Search<'_> {
    /// For something that hasn't been anywhere yet.
    pub fn of(wanted: &ReadPreference) -> Search<'_> {
        Search {
            wanted,
            met: None,
            began: Instant::now(),
            deadline: None,
        }
    }
}

impl Topology {
    /// A server that fits, waiting up to `failover_wait` for one. One that this request has met in
    /// vain is taken only if there's no other.
    pub async fn select(&self, search: &Search<'_>) -> Result<Arc<Server>, Failure> {
        let wanted = search.wanted;
        if let Some(server) = self.select_now(search, |_| true) {
            return Ok(server);
        }
        let began = search.began;
        let mut changes = self.changed.subscribe();
        loop {
            if let Some(server) = self.select_now(search, |_| true) {
                return Ok(server);
            }
            for server in self.servers.load().iter() {
                server.suspect();
            }
            if search.deadline.is_some_and(|at| at <= Instant::now()) {
                return Err(Failure::unsent(Fault::MaxTimeExpired));
            }
            let describe = || match wanted.mode {
                Mode::Primary => "primary".to_owned(),
                mode => format!("server for read preference {mode:?}"),
            };
            tokio::select! {
                waited = self.wait(&mut changes, began, describe) => waited?,
                () = sleep_until_some(search.deadline) => {}
            }
        }
    }

    /// A server that fits now, of those that `may` be taken.
    pub fn select_now(
        &self,
        search: &Search<'_>,
        may: impl Fn(&Server) -> bool,
    ) -> Option<Arc<Server>> {
        let now = Instant::now();
        let mut fit = self.fitting(search.wanted);
        fit.retain(|s| may(s));
        leave_out_barred(&mut fit, now);
        if let Some(met) = search.met
            && fit.iter().any(|s| s.id != met.server)
        {
            fit.retain(|s| s.id != met.server);
        }
        let nearest = fit.iter().map(|s| s.round_trip_us()).min()?;
        let window = nearest.saturating_add(self.settings.local_threshold.as_micros() as u64);
        fit.retain(|s| s.round_trip_us() <= window);
        let turn = self.rotation.fetch_add(1, Relaxed);
        let chosen = least_loaded(fit, turn)?;
        chosen.breaker.pass(now);
        Some(chosen)
    }

    /// The servers that fit by what they say of themselves.
    fn fitting(&self, wanted: &ReadPreference) -> Vec<Arc<Server>> {
        let servers = self.servers.load();
        let usable = |s: &&Arc<Server>| s.state().hello.is_some();
        if let [only] = servers.as_slice() {
            let fits = match only.state().hello.as_ref().map(|hello| hello.role) {
                None => false,
                Some(Role::Standalone | Role::Mongos | Role::Primary) => true,
                Some(_) if self.settings.direct => true,
                Some(role) => role == Role::Secondary && wanted.mode != Mode::Primary,
            };
            return fits.then(|| Arc::clone(only)).into_iter().collect();
        }
        let mongos = |s: &&Arc<Server>| {
            s.state()
                .hello
                .as_ref()
                .is_some_and(|h| matches!(h.role, Role::Mongos | Role::Standalone))
        };
        let fit: Vec<Arc<Server>> = servers
            .iter()
            .filter(usable)
            .filter(mongos)
            .cloned()
            .collect();
        if fit.is_empty() {
            let heartbeat_ms = self.settings.heartbeat.as_millis() as i64;
            return wanted.candidates(&servers, heartbeat_ms);
        }
        fit
    }
}

/// Leaves out servers whose breaker is open, where others fit. A server that is the only choice and answers
/// hello stays in use: the breaker chooses between servers, it never refuses all of them.
fn leave_out_barred(fit: &mut Vec<Arc<Server>>, now: Instant) {
    if fit.iter().any(|s| s.breaker.may_pass(now)) {
        fit.retain(|s| s.breaker.may_pass(now));
    }
}

/// The one that has least to do, so that whoever has become slow gets less; of equals, each in turn. (The
/// specification looks at two only. Those may both be full while a third is idle.)
fn least_loaded(mut fit: Vec<Arc<Server>>, turn: usize) -> Option<Arc<Server>> {
    let first = turn.checked_rem(fit.len())?;
    fit.rotate_left(first);
    fit.into_iter().min_by_key(|s| s.occupancy.load())
}

async fn sleep_until_some(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Address;

    fn servers(places: usize) -> Vec<Arc<Server>> {
        let server = |id| Server::new(id, Address::parse("h:1").unwrap(), places);
        (0..3).map(server).collect()
    }

    fn chosen(servers: &[Arc<Server>]) -> Vec<u32> {
        let choose = |turn| least_loaded(servers.to_vec(), turn).unwrap().id;
        (0..3).map(choose).collect()
    }

    #[test]
    fn an_open_breaker_leaves_a_server_out_only_where_another_fits() {
        let (servers, now) = (servers(9), Instant::now());
        servers[0].breaker.failed(now, 1);
        let mut several = servers.clone();
        leave_out_barred(&mut several, now);
        assert_eq!(several.iter().map(|s| s.id).collect::<Vec<_>>(), [1, 2]);
        let mut only = vec![Arc::clone(&servers[0])];
        leave_out_barred(&mut only, now);
        assert_eq!(only.len(), 1, "the only choice");
        servers[1..].iter().for_each(|s| s.breaker.failed(now, 1));
        let mut all = servers.clone();
        leave_out_barred(&mut all, now);
        assert_eq!(all.len(), 3, "all of them are barred, so none is");
    }

    #[test]
    fn the_one_that_is_idle_is_taken_and_equals_take_turns() {
        let servers = servers(9);
        assert_eq!(chosen(&servers), [0, 1, 2]);
        let busy = [&servers[0], &servers[2]].map(|s| s.occupancy.enter(None));
        assert_eq!(chosen(&servers), [1, 1, 1]);
        drop(busy);
        assert!(least_loaded(Vec::new(), 1).is_none());
    }

    #[test]
    fn one_without_a_place_is_taken_only_if_none_has_any() {
        let servers = servers(1);
        let cursors = [1, 1, 2, 2].map(|n: usize| servers[n].occupancy.enter(None));
        let place = Arc::clone(&servers[0].occupancy.places);
        let _full = servers[0].occupancy.enter(place.try_acquire_owned().ok());
        assert_eq!(chosen(&servers), [1, 1, 2]);
        drop(cursors);
    }
}
