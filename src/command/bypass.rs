//! Why a read isn't cached: every reason has a name, and is counted by it.

/// Why a read isn't served from the cache. Counted by these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Bypass {
    /// The cache is switched off.
    Disabled,
    /// Not a command that is cached.
    NotCacheable,
    /// Part of a transaction.
    Transaction,
    /// `readConcern` other than `local`.
    ReadConcern,
    /// `$readPreference` other than primary.
    ReadPreference,
    /// A top-level field that the key doesn't know.
    UnknownField,
    /// Tailable, awaitData, exhaust or no-timeout cursor.
    CursorKind,
    /// An operator or variable whose answer changes by itself.
    Volatile,
    /// `system.*`, `admin`, `config`, `local`, or listed in the configuration.
    Namespace,
    /// A write that may change the answer is under way.
    Fenced,
    /// The collection's facts aren't known, or it has none that can be relied on.
    UnknownCollection,
    /// The reply left a cursor open.
    OpenCursor,
    /// The reply is an error or partial.
    NotOk,
    /// The reply is larger than `cache.max_entry`.
    TooLarge,
    /// A write that may have changed the answer began while it was read.
    Raced,
    /// A pipeline stage that isn't known to be a pure function of the data.
    PipelineStage,
    /// The watch is down or lags too far behind.
    Blind,
    /// An answer is there, but isn't known to be as late as `afterClusterTime`.
    TooEarly,
    /// A rule of the configuration.
    Rule,
    /// Reads of this shape haven't paid for their place.
    NotWorthIt,
    /// Memory is critical: nothing new is kept or shared.
    Memory,
    /// The watch leaves the collection out, until it has heard of this read.
    Unwatched,
    /// The command is longer than what is analysed.
    TooLong,
    /// The server's profiler records every operation of the database.
    Profiler,
}

impl Bypass {
    /// How many reasons there are.
    pub const COUNT: usize = Bypass::Profiler as usize + 1;

    /// All reasons, in order.
    pub const ALL: [Bypass; Bypass::COUNT] = [
        Bypass::Disabled,
        Bypass::NotCacheable,
        Bypass::Transaction,
        Bypass::ReadConcern,
        Bypass::ReadPreference,
        Bypass::UnknownField,
        Bypass::CursorKind,
        Bypass::Volatile,
        Bypass::Namespace,
        Bypass::Fenced,
        Bypass::UnknownCollection,
        Bypass::OpenCursor,
        Bypass::NotOk,
        Bypass::TooLarge,
        Bypass::Raced,
        Bypass::PipelineStage,
        Bypass::Blind,
        Bypass::TooEarly,
        Bypass::Rule,
        Bypass::NotWorthIt,
        Bypass::Memory,
        Bypass::Unwatched,
        Bypass::TooLong,
        Bypass::Profiler,
    ];

    /// The word used in metrics, status and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Bypass::Disabled => "disabled",
            Bypass::NotCacheable => "not_cacheable",
            Bypass::Transaction => "transaction",
            Bypass::ReadConcern => "read_concern",
            Bypass::ReadPreference => "read_preference",
            Bypass::UnknownField => "unknown_field",
            Bypass::CursorKind => "cursor_kind",
            Bypass::Volatile => "volatile",
            Bypass::Namespace => "namespace",
            Bypass::Fenced => "fenced",
            Bypass::UnknownCollection => "unknown_collection",
            Bypass::OpenCursor => "open_cursor",
            Bypass::NotOk => "not_ok",
            Bypass::TooLarge => "too_large",
            Bypass::Raced => "raced",
            Bypass::PipelineStage => "pipeline_stage",
            Bypass::Blind => "blind",
            Bypass::TooEarly => "too_early",
            Bypass::Rule => "rule",
            Bypass::NotWorthIt => "not_worth_it",
            Bypass::Memory => "memory",
            Bypass::Unwatched => "unwatched",
            Bypass::TooLong => "too_long",
            Bypass::Profiler => "profiler",
        }
    }
}
