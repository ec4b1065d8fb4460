//! The table of commands: what each name means to Petiole.
//!
//! Only commands listed here as reads are trusted not to write. A name that is
//! missing is `Unknown` (also what can change answers only in some forms: `validate` with `repair`,
//! `setParameter`, fail points, plan cache), which is forwarded and fences everything (DESIGN §4 rule 6).

/// What Petiole knows of a command by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `hello`, `isMaster`, `ismaster`: answered by the proxy.
    Hello,
    /// `saslStart`, `saslContinue`, `authenticate`, `logout`: relayed on a link of their own.
    Auth,
    /// `find`.
    Find,
    /// `aggregate`; whether it writes depends on its pipeline.
    Aggregate,
    /// `getMore`.
    GetMore,
    /// `killCursors`.
    KillCursors,
    /// `count`.
    Count,
    /// `distinct`.
    Distinct,
    /// Every other command known to be a pure read.
    Read,
    /// `insert`.
    Insert,
    /// `update`.
    Update,
    /// `delete`.
    Delete,
    /// `findAndModify`.
    FindAndModify,
    /// `bulkWrite` (several namespaces, on `admin`).
    BulkWrite,
    /// `commitTransaction`.
    Commit,
    /// `abortTransaction`.
    Abort,
    /// Index builds and drops: they touch one namespace (result order).
    IndexChange,
    /// `create`, `drop`, `collMod`, `convertToCapped`, `dropDatabase`: what a name means may change.
    Definition,
    /// `renameCollection`.
    Rename,
    /// Session upkeep and other commands that touch no data and no definition.
    Upkeep,
    /// Not in the table: assumed to write everywhere.
    Unknown,
}

impl Kind {
    /// Looks a command name up, case-sensitively, as mongod does.
    pub fn of(name: &str) -> Kind {
        match name {
            "find" => Kind::Find,
            "insert" => Kind::Insert,
            "update" => Kind::Update,
            "delete" => Kind::Delete,
            "aggregate" => Kind::Aggregate,
            "getMore" => Kind::GetMore,
            "findAndModify" | "findandmodify" => Kind::FindAndModify,
            "hello" | "isMaster" | "ismaster" => Kind::Hello,
            "killCursors" => Kind::KillCursors,
            "saslStart" | "saslContinue" | "authenticate" | "logout" => Kind::Auth,
            "commitTransaction" => Kind::Commit,
            "abortTransaction" => Kind::Abort,
            "bulkWrite" => Kind::BulkWrite,
            "createIndexes" | "dropIndexes" | "deleteIndexes" | "reIndex" => Kind::IndexChange,
            "create" | "drop" | "collMod" | "convertToCapped" | "dropDatabase" => Kind::Definition,
            "renameCollection" => Kind::Rename,
            "endSessions"
            | "startSession"
            | "refreshSessions"
            | "killSessions"
            | "killAllSessions"
            | "killAllSessionsByPattern"
            | "killOp"
            | "ping"
            | "getnonce"
            | "profile"
            | "fsync"
            | "logRotate" => Kind::Upkeep,
            "count" => Kind::Count,
            "distinct" => Kind::Distinct,
            "listCollections"
            | "listIndexes"
            | "listDatabases"
            | "explain"
            | "dbStats"
            | "dbstats"
            | "collStats"
            | "collstats"
            | "dataSize"
            | "datasize"
            | "buildInfo"
            | "buildinfo"
            | "serverStatus"
            | "hostInfo"
            | "getParameter"
            | "getCmdLineOpts"
            | "connectionStatus"
            | "whatsmyuri"
            | "currentOp"
            | "top"
            | "usersInfo"
            | "rolesInfo"
            | "getLog"
            | "features"
            | "connPoolStats"
            | "replSetGetStatus"
            | "replSetGetConfig"
            | "dbHash"
            | "dbhash"
            | "listCommands"
            | "lockInfo"
            | "getDefaultRWConcern"
            | "planCacheListFilters"
            | "getShardMap"
            | "listShards"
            | "getShardVersion"
            | "isdbgrid"
            | "atlasVersion"
            | "getFreeMonitoringStatus"
            | "filemd5"
            | "availableQueryOptions"
            | "dbCheck"
            | "forceerror"
            | "getLastError"
            | "getlasterror" => Kind::Read,
            _ => Kind::Unknown,
        }
    }

    /// Whether the command is one that this proxy trusts not to change data,
    /// definitions or rights. (`aggregate` and `getMore` need a closer look.)
    pub fn never_writes(self) -> bool {
        matches!(
            self,
            Kind::Find
                | Kind::Count
                | Kind::Distinct
                | Kind::Read
                | Kind::Upkeep
                | Kind::KillCursors
                | Kind::Hello
                | Kind::Auth
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_in_the_table_is_unknown_and_may_write() {
        for name in [
            "Find",
            "FIND",
            "find ",
            "frobnicate",
            "mapReduce",
            "applyOps",
            "createUser",
        ] {
            assert_eq!(Kind::of(name), Kind::Unknown, "{name}");
            assert!(!Kind::of(name).never_writes());
        }
    }

    #[test]
    fn writers_are_never_taken_for_reads() {
        for name in [
            "insert",
            "update",
            "delete",
            "findAndModify",
            "bulkWrite",
            "create",
            "drop",
        ] {
            assert!(!Kind::of(name).never_writes(), "{name}");
        }
    }
}
