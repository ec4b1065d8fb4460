//! Making a set of started mongods a replica set, and asking who is its primary.
//!
//! `hello` needs no login, so it is asked on connections without one; initiating the set and
//! making the first user go through mongod's localhost exception.

use std::time::Duration;

use futures_util::future::join_all;
use mongodb::Client;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use tokio::time::Instant;

use super::driver::{self, connect};
use super::member::Member;
use super::{Deployment, EmbeddedError};

/// From "all members listen" to "usable".
pub(super) async fn set_up(
    deployment: &Deployment,
    deadline: Instant,
) -> Result<(), EmbeddedError> {
    if let (Some(name), Some(first)) = (deployment.options.set_name(), deployment.members.first()) {
        let what = "initiating the replica set";
        let client = client(deployment, first, false, what)?;
        let command = doc! { "replSetInitiate": configuration(deployment, name) };
        driver::run(&client, command)
            .await
            .map_err(driver_error(first, what))?;
    }
    let primary = wait_for_primary(deployment, deadline).await?;
    if let (Some((user, password)), Some(primary)) =
        (&deployment.options.auth, deployment.members.get(primary))
    {
        let what = "creating the root user";
        let client = client(deployment, primary, false, what)?;
        let command = doc! { "createUser": user, "pwd": password, "roles": ["root"] };
        driver::run(&client, command)
            .await
            .map_err(driver_error(primary, what))?;
    }
    Ok(())
}

fn configuration(deployment: &Deployment, name: &str) -> Document {
    let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let members: Vec<Document> = (0_i32..)
        .zip(deployment.members.iter())
        .map(|(id, member)| doc! { "_id": id, "host": member.address() })
        .collect();
    doc! {
        "_id": name,
        "version": 1,
        "members": members,
        "settings": {
            "electionTimeoutMillis": millis(deployment.options.election_timeout),
            "heartbeatIntervalMillis": millis(deployment.options.heartbeat_interval),
        },
    }
}

/// The member that says it is primary; a standalone says so too. Of several (one that was
/// stopped does not know yet that it was replaced) the one elected last.
pub(super) async fn primary_index(deployment: &Deployment) -> Option<usize> {
    let roles = deployment.members.iter().map(async |member| {
        if !member.is_awake() {
            return None;
        }
        let client = connect(&deployment.options, member.port(), false).ok()?;
        Some(role(&client).await)
    });
    join_all(roles)
        .await
        .into_iter()
        .enumerate()
        .filter_map(|(index, role)| match role {
            Some(Role::Primary { election }) => Some((election, index)),
            _ => None,
        })
        .max()
        .map(|(_, index)| index)
}

/// Waits for exactly one primary and for all others that run to be secondaries.
pub(super) async fn wait_for_primary(
    deployment: &Deployment,
    deadline: Instant,
) -> Result<usize, EmbeddedError> {
    let begun = Instant::now();
    let mut awake = Vec::new();
    for (index, member) in deployment.members.iter().enumerate() {
        if member.is_awake() {
            let client = client(deployment, member, false, "connecting")?;
            awake.push((index, member, client));
        }
    }
    loop {
        let roles = join_all(awake.iter().map(|(_, _, client)| role(client))).await;
        let all_known = !roles.contains(&Role::Other);
        let mut primaries = awake
            .iter()
            .zip(&roles)
            .filter(|(_, role)| matches!(role, Role::Primary { .. }));
        if let (true, Some(((primary, _, _), _)), None) =
            (all_known, primaries.next(), primaries.next())
        {
            return Ok(*primary);
        }
        for (_, member, _) in &awake {
            member.check_alive()?;
        }
        if Instant::now() > deadline {
            return Err(EmbeddedError::Deadline {
                what: "a primary, and all others secondaries,".to_owned(),
                waited: begun.elapsed(),
                log: awake
                    .iter()
                    .map(|(_, member, _)| member.log_tail())
                    .collect(),
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

/// `replSetStepDown` on the primary.
pub(super) async fn step_down(
    deployment: &Deployment,
    stay_down: Duration,
) -> Result<(), EmbeddedError> {
    let what = "stepping down";
    let primary = primary_index(deployment)
        .await
        .and_then(|index| deployment.members.get(index))
        .ok_or_else(|| EmbeddedError::Options("there is no primary to step down".to_owned()))?;
    let client = client(deployment, primary, true, what)?;
    let seconds = i64::try_from(stay_down.as_secs())
        .unwrap_or(i64::MAX)
        .max(1);
    // A secondary may be a moment behind; `force` does not wait for it longer than given here.
    let command = doc! {
        "replSetStepDown": seconds,
        "secondaryCatchUpPeriodSecs": seconds.min(1),
        "force": true,
    };
    driver::run(&client, command)
        .await
        .map_err(driver_error(primary, what))?;
    Ok(())
}

#[derive(PartialEq, Eq)]
enum Role {
    /// `election` grows with each election; a standalone has none.
    Primary {
        election: Option<ObjectId>,
    },
    Secondary,
    Other,
}

async fn role(client: &Client) -> Role {
    let Ok(hello) = driver::run(client, doc! { "hello": 1 }).await else {
        return Role::Other;
    };
    if hello.get_bool("isWritablePrimary").unwrap_or(false) {
        let election = hello.get_object_id("electionId").ok();
        Role::Primary { election }
    } else if hello.get_bool("secondary").unwrap_or(false) {
        Role::Secondary
    } else {
        Role::Other
    }
}

fn client(
    deployment: &Deployment,
    member: &Member,
    root: bool,
    what: &str,
) -> Result<Client, EmbeddedError> {
    connect(&deployment.options, member.port(), root).map_err(driver_error(member, what))
}

fn driver_error(
    member: &Member,
    what: &str,
) -> impl FnOnce(mongodb::error::Error) -> EmbeddedError {
    move |source| EmbeddedError::Driver {
        what: format!("{what} ({})", member.address()),
        source: Box::new(source),
        log: member.log_tail(),
    }
}

const POLL: Duration = Duration::from_millis(10);
