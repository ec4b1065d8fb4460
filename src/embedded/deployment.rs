//! A running standalone or replica set.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

use super::member::Member;
use super::{EmbeddedError, Kind, MongodOptions, Signal};
use super::{find_mongod, free_ports, replica_set};

/// One or several mongods in a temporary directory. Dropping it kills them and removes it.
///
/// All methods take `&self`, so that a test can hurt a deployment that others hold.
#[derive(Debug)]
pub struct Deployment {
    pub(super) options: MongodOptions,
    mongod: PathBuf,
    key: Option<String>,
    /// Before `dir`, so that the processes are gone when it is removed.
    pub(super) members: Vec<Member>,
    dir: TempDir,
}

impl Deployment {
    /// Finds a mongod, starts it, and returns when it is usable: a standalone when it answers, a
    /// replica set when it has a primary and all others are secondaries, with the root user made
    /// if one was asked for.
    ///
    /// # Errors
    /// When no mongod is found, the options contradict each other, a mongod ends, or
    /// [`MongodOptions::start_timeout`] runs out; the error holds the end of the log.
    pub async fn start(options: MongodOptions) -> Result<Deployment, EmbeddedError> {
        check(&options)?;
        let mongod = match &options.mongod {
            Some(mongod) => mongod.clone(),
            None => tokio::task::spawn_blocking(find_mongod)
                .await
                .map_err(|join| EmbeddedError::Options(join.to_string()))??,
        };
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Deployment::start_once(options.clone(), mongod.clone()).await {
                Err(EmbeddedError::PortTaken { .. })
                    if options.port.is_none() && attempts < PORT_ATTEMPTS => {}
                result => return result,
            }
        }
    }

    async fn start_once(
        options: MongodOptions,
        mongod: PathBuf,
    ) -> Result<Deployment, EmbeddedError> {
        let deadline = Instant::now() + options.start_timeout;
        let dir = tempfile::Builder::new()
            .prefix("petiole-mongod-")
            .tempdir()
            .map_err(EmbeddedError::io("creating a temporary directory"))?;
        let mut ports =
            free_ports(options.members()).map_err(EmbeddedError::io("choosing ports"))?;
        if let (Some(port), Some(first)) = (options.port, ports.first_mut()) {
            *first = port;
        }
        let members = ports
            .iter()
            .enumerate()
            .map(|(index, &port)| Member::prepare(dir.path(), index, port))
            .collect::<Result<Vec<_>, _>>()?;
        let key = match (&options.auth, &options.kind) {
            (Some(_), Kind::ReplicaSet { .. }) => Some(random_key()?),
            _ => None,
        };
        let deployment = Deployment {
            options,
            mongod,
            key,
            members,
            dir,
        };
        for member in &deployment.members {
            deployment.spawn(member)?;
        }
        for member in &deployment.members {
            member.wait_until_listening(deadline).await?;
        }
        replica_set::set_up(&deployment, deadline).await?;
        Ok(deployment)
    }

    /// What it was started with.
    pub fn options(&self) -> &MongodOptions {
        &self.options
    }

    /// `host:port` of each member, in the order of their indexes.
    pub fn addresses(&self) -> Vec<String> {
        self.members.iter().map(Member::address).collect()
    }

    /// The connection string a driver should be given: all members, the set's name, the root
    /// user, the TLS files.
    pub fn uri(&self) -> String {
        self.uri_with(self.options.set_name())
    }

    /// As [`Deployment::uri`], but without `replicaSet=`.
    pub fn seed_uri(&self) -> String {
        self.uri_with(None)
    }

    fn uri_with(&self, set_name: Option<&str>) -> String {
        let mut uri = "mongodb://".to_owned();
        let mut query = Vec::new();
        if let Some((user, password)) = &self.options.auth {
            uri += &format!("{}:{}@", escape(user), escape(password));
            query.push("authSource=admin".to_owned());
        }
        uri += &self.addresses().join(",");
        uri += "/";
        if let Some(name) = set_name {
            query.push(format!("replicaSet={}", escape(name)));
        }
        if let Some(tls) = &self.options.tls {
            query.push("tls=true".to_owned());
            query.push(format!("tlsCAFile={}", escape_path(&tls.ca)));
            if tls.require_client_certificate {
                let file = escape_path(&tls.certificate_key);
                query.push(format!("tlsCertificateKeyFile={file}"));
            }
        }
        if !query.is_empty() {
            uri += "?";
            uri += &query.join("&");
        }
        uri
    }

    /// Kills a member (SIGKILL) and returns when it is gone.
    ///
    /// # Errors
    /// When there is no such member or it does not run.
    pub fn kill(&self, index: usize) -> Result<(), EmbeddedError> {
        if self.member(index)?.kill() {
            Ok(())
        } else {
            Err(EmbeddedError::NotRunning { index })
        }
    }

    /// Sends a signal to a member and returns when it was sent, not when it had its effect.
    ///
    /// # Errors
    /// When there is no such member or it does not run.
    pub fn signal(&self, index: usize, signal: Signal) -> Result<(), EmbeddedError> {
        if self.member(index)?.signal(signal) {
            Ok(())
        } else {
            Err(EmbeddedError::NotRunning { index })
        }
    }

    /// Kills a member if it runs, starts it again with its data on its port, and returns when it
    /// listens. A replica set may have no primary then: see [`Deployment::wait_for_primary`].
    ///
    /// # Errors
    /// As [`Deployment::start`].
    pub async fn restart(&self, index: usize) -> Result<(), EmbeddedError> {
        let deadline = Instant::now() + self.options.start_timeout;
        let member = self.member(index)?;
        member.kill();
        self.spawn(member)?;
        member.wait_until_listening(deadline).await
    }

    /// Tells the primary to step down and not to stand for election for so long.
    ///
    /// Returns when it has stepped down; the set may have no primary then.
    ///
    /// # Errors
    /// When there is no primary or it refuses.
    pub async fn step_down(&self, stay_down: Duration) -> Result<(), EmbeddedError> {
        replica_set::step_down(self, stay_down).await
    }

    /// The member that calls itself primary now (a standalone: 0, if it answers).
    pub async fn primary_index(&self) -> Option<usize> {
        replica_set::primary_index(self).await
    }

    /// Waits until exactly one member is primary and all others are secondaries; those that do
    /// not run or were stopped (SIGSTOP) do not count.
    ///
    /// # Errors
    /// When that is not so within the given time.
    pub async fn wait_for_primary(&self, within: Duration) -> Result<usize, EmbeddedError> {
        replica_set::wait_for_primary(self, Instant::now() + within).await
    }

    /// The process id of a member, if it runs.
    pub fn pid(&self, index: usize) -> Option<u32> {
        self.members.get(index)?.pid()
    }

    /// The directory with data and logs, removed when this is dropped.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The last lines a member logged.
    pub fn log_tail(&self, index: usize) -> String {
        self.members
            .get(index)
            .map(Member::log_tail)
            .unwrap_or_default()
    }

    fn member(&self, index: usize) -> Result<&Member, EmbeddedError> {
        self.members
            .get(index)
            .ok_or(EmbeddedError::NotRunning { index })
    }

    fn spawn(&self, member: &Member) -> Result<(), EmbeddedError> {
        member.spawn(&self.mongod, &self.options, self.key.as_deref())
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        // All at once, rather than one after the other: closing the pipes is what kills.
        for member in &self.members {
            member.abandon();
        }
    }
}

fn check(options: &MongodOptions) -> Result<(), EmbeddedError> {
    let wrong = |what: &str| Err(EmbeddedError::Options(what.to_owned()));
    if !(1..=7).contains(&options.members()) {
        return wrong("a replica set here has 1 to 7 members");
    }
    if options.set_name().is_some_and(str::is_empty) {
        return wrong("the replica set needs a name");
    }
    if options.set_name().is_some() && options.heartbeat_interval >= options.election_timeout {
        return wrong("heartbeat_interval must be less than election_timeout");
    }
    if matches!(&options.auth, Some((user, password)) if user.is_empty() || password.is_empty()) {
        return wrong("the root user needs a name and a password");
    }
    Ok(())
}

/// A key for the members' key files.
fn random_key() -> Result<String, EmbeddedError> {
    let mut random = [0; 48];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .map_err(EmbeddedError::io("reading /dev/urandom"))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Percent-encodes what is not unreserved in a URI.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped += &format!("%{byte:02X}");
        }
    }
    escaped
}

fn escape_path(path: &Path) -> String {
    escape(&path.to_string_lossy())
}

const PORT_ATTEMPTS: u32 = 5;
