//! What links count against.

/// A link's budget. A link that is in use for a request that waits at the server does no work there: such links have a
/// budget of their own, so that others never wait for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Budget {
    /// `upstream.max_links`: for all requests that are work.
    Shared,
    /// As many as there may be clients: for a `getMore` that awaits something new.
    Awaiting,
}
