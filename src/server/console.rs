//! The seam to the virtual database: who answers commands that aren't for the server.

use super::shared::Shared;
use crate::pipeline::Request;

/// Answers commands on a database that the proxy itself plays. What it leaves alone goes on as
/// any other command.
pub trait Console: Send + Sync {
    /// The reply document, if the command is for the console.
    fn answer(&self, shared: &Shared, request: &Request) -> Option<Vec<u8>>;

    /// The server's reply document as this client should see it, if that is another one: a list
    /// of databases has one more.
    fn amend(&self, request: &Request, reply: &[u8]) -> Option<Vec<u8>>;
}
