//! The table of commands: what each name means to Petiole.
//!
//! Only commands listed here as reads are trusted not to write. A name that is
//! missing is `Unknown` (also what can change answers only in some forms: `setParameter`, fail points,
//! plan cache), which is forwarded and fences everything (docs/coherence.md, rule 6), unless its reply proves that the
//! server didn't execute it.

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
    /// `validate`: it corrects what `count` answers, and with `repair` documents too.
    Validate,
    /// Session upkeep and other commands that touch no data and no definition.
    Upkeep,
    /// Not in the table: assumed to write everywhere.
    Unknown,
}

impl Kind {
    /// Looks a command name up, case-sensitively, as mongod does.
    pub fn of(name: impl AsRef<[u8]>) -> Kind {
        match name.as_ref() {
            b"find" => Kind::Find,
            b"insert" => Kind::Insert,
            b"update" => Kind::Update,
            b"delete" => Kind::Delete,
            b"aggregate" => Kind::Aggregate,
            b"getMore" => Kind::GetMore,
            b"findAndModify" | b"findandmodify" => Kind::FindAndModify,
            b"hello" | b"isMaster" | b"ismaster" => Kind::Hello,
            b"killCursors" => Kind::KillCursors,
            b"saslStart" | b"saslContinue" | b"authenticate" | b"logout" => Kind::Auth,
            b"commitTransaction" => Kind::Commit,
            b"abortTransaction" => Kind::Abort,
            b"bulkWrite" => Kind::BulkWrite,
            b"createIndexes" | b"dropIndexes" | b"deleteIndexes" | b"reIndex" => Kind::IndexChange,
            b"create" | b"drop" | b"collMod" | b"convertToCapped" | b"dropDatabase" => {
                Kind::Definition
            }
            b"renameCollection" => Kind::Rename,
            b"endSessions"
            | b"startSession"
            | b"refreshSessions"
            | b"killSessions"
            | b"killAllSessions"
            | b"killAllSessionsByPattern"
            | b"killOp"
            | b"ping"
            | b"getnonce"
            | b"profile"
            | b"fsync"
            | b"fsyncUnlock"
            | b"connPoolSync"
            | b"dropConnections"
            | b"setFreeMonitoring"
            | b"setProfilingFilterGlobally"
            | b"startRecordingTraffic"
            | b"stopRecordingTraffic"
            | b"rotateCertificates"
            | b"logRotate" => Kind::Upkeep,
            b"validate" => Kind::Validate,
            b"count" => Kind::Count,
            b"distinct" => Kind::Distinct,
            b"listCollections"
            | b"listIndexes"
            | b"listDatabases"
            | b"explain"
            | b"dbStats"
            | b"dbstats"
            | b"collStats"
            | b"collstats"
            | b"dataSize"
            | b"datasize"
            | b"buildInfo"
            | b"buildinfo"
            | b"serverStatus"
            | b"hostInfo"
            | b"getParameter"
            | b"getCmdLineOpts"
            | b"connectionStatus"
            | b"whatsmyuri"
            | b"currentOp"
            | b"top"
            | b"usersInfo"
            | b"rolesInfo"
            | b"getLog"
            | b"features"
            | b"connPoolStats"
            | b"replSetGetStatus"
            | b"replSetGetConfig"
            | b"dbHash"
            | b"dbhash"
            | b"listCommands"
            | b"lockInfo"
            | b"getDefaultRWConcern"
            | b"planCacheListFilters"
            | b"getShardMap"
            | b"listShards"
            | b"getShardVersion"
            | b"isdbgrid"
            | b"atlasVersion"
            | b"getFreeMonitoringStatus"
            | b"filemd5"
            | b"availableQueryOptions"
            | b"dbCheck"
            | b"getDiagnosticData"
            | b"getClusterParameter"
            | b"getAuditConfig"
            | b"getDatabaseVersion"
            | b"replSetGetRBID"
            | b"shardConnPoolStats"
            | b"shardingState"
            | b"balancerStatus"
            | b"balancerCollectionStatus"
            | b"checkShardingIndex"
            | b"splitVector"
            | b"autoSplitVector"
            | b"analyzeShardKey"
            | b"validateDBMetadata"
            | b"checkMetadataConsistency"
            | b"listDatabasesForAllTenants"
            | b"driverOIDTest"
            | b"netstat"
            | b"whatsmysni"
            | b"isSelf"
            | b"_isSelf"
            | b"forceerror"
            | b"getLastError"
            | b"getlasterror" => Kind::Read,
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
