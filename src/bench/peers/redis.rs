//! Redis, asked by the same generator for values of the same size as the MongoDB reply.

use super::Peer;
use crate::bench::connection::{Asker, ConnectionError};
use crate::bench::load::Target;
use crate::bench::process::{Child, ProcessError, find_program, free_address};
use crate::bench::reply::Protocol;
use crate::bench::workload::USERS;
use crate::bench::workload::redis::redis_digits;

/// Whether it's there to be started.
pub fn is_installed() -> bool {
    find_program(PROGRAM).is_some()
}

const PROGRAM: &str = "redis-server";

/// Starts Redis without persistence and fills it. `None` when it isn't installed.
pub fn start(value_bytes: usize) -> Result<Option<Peer>, ProcessError> {
    let Some(program) = find_program(PROGRAM) else {
        return Ok(None);
    };
    let address = free_address()?;
    let port = address.port().to_string();
    let args = [
        "--bind",
        "127.0.0.1",
        "--port",
        &port,
        "--save",
        "",
        "--appendonly",
        "no",
    ];
    let mut child = Child::start("redis", &program, &args)?;
    child.wait_for_port(address)?;
    let target = Target {
        address,
        protocol: Protocol::Resp,
    };
    fill(target, value_bytes)
        .map_err(|error| std::io::Error::other(format!("filling Redis: {error}")))?;
    Ok(Some(Peer { target, child }))
}

fn fill(target: Target, value_bytes: usize) -> Result<(), ConnectionError> {
    let mut asker = Asker::connect(target.address, target.protocol)?;
    let value = vec![b'x'; value_bytes];
    for index in 0..USERS as u32 {
        let mut request = b"*3\r\n$3\r\nSET\r\n$9\r\nuser".to_vec();
        request.extend_from_slice(&redis_digits(index));
        request.extend_from_slice(format!("\r\n${value_bytes}\r\n").as_bytes());
        request.extend_from_slice(&value);
        request.extend_from_slice(b"\r\n");
        asker.exchange(&request)?;
    }
    Ok(())
}
