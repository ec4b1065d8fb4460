//! The fields of commands that mean something to the proxy, by name.
//!
//! A command's fields are recognised once, when it is read; whoever looks at them later compares
//! numbers, not names.

macro_rules! field_names {
    ($($text:literal => $name:ident),+ $(,)?) => {
        /// A top-level field of a command.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) enum FieldName {
            /// One that isn't in the table.
            #[default]
            Other,
            $($name,)+
        }

        const _: () = assert!([$(FieldName::$name),+].len() < u64::BITS as usize);

        impl FieldName {
            /// Looks a name up, case-sensitively, as mongod does.
            pub fn of(key: &[u8]) -> FieldName {
                match key {
                    $($text => FieldName::$name,)+
                    _ => FieldName::Other,
                }
            }
        }
    };
}

field_names! {
    // Of any command.
    b"$db" => Db,
    b"lsid" => Lsid,
    b"txnNumber" => TxnNumber,
    b"autocommit" => Autocommit,
    b"$clusterTime" => ClusterTime,
    b"$readPreference" => ReadPreference,
    b"readConcern" => ReadConcern,
    b"writeConcern" => WriteConcern,
    b"maxTimeMS" => MaxTimeMs,
    b"comment" => Comment,
    b"stmtId" => StmtId,
    b"stmtIds" => StmtIds,
    b"startTransaction" => StartTransaction,
    b"apiVersion" => ApiVersion,
    b"apiStrict" => ApiStrict,
    b"apiDeprecationErrors" => ApiDeprecationErrors,
    // Of reads.
    b"filter" => Filter,
    b"query" => Query,
    b"pipeline" => Pipeline,
    b"key" => Key,
    b"sort" => Sort,
    b"projection" => Projection,
    b"skip" => Skip,
    b"limit" => Limit,
    b"hint" => Hint,
    b"min" => Min,
    b"max" => Max,
    b"let" => Let,
    b"collation" => Collation,
    b"returnKey" => ReturnKey,
    b"showRecordId" => ShowRecordId,
    b"allowPartialResults" => AllowPartialResults,
    b"allowDiskUse" => AllowDiskUse,
    b"singleBatch" => SingleBatch,
    b"batchSize" => BatchSize,
    b"cursor" => Cursor,
    b"tailable" => Tailable,
    b"awaitData" => AwaitData,
    b"noCursorTimeout" => NoCursorTimeout,
    b"oplogReplay" => OplogReplay,
    b"collection" => Collection,
    // Of writes.
    b"documents" => Documents,
    b"updates" => Updates,
    b"deletes" => Deletes,
    b"ordered" => Ordered,
    b"bypassDocumentValidation" => BypassDocumentValidation,
    b"encryptionInformation" => EncryptionInformation,
}

/// A set of names: a bit for each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Names(u64);

impl Names {
    pub const fn of(names: &[FieldName]) -> Names {
        Names(0).and(names)
    }

    /// These and some more.
    pub const fn and(self, names: &[FieldName]) -> Names {
        let (mut set, mut rest) = (self.0, names);
        while let [name, others @ ..] = rest {
            set |= 1 << *name as u8;
            rest = others;
        }
        Names(set)
    }

    /// Adds one; whether it wasn't in the set.
    #[must_use]
    pub fn add(&mut self, name: FieldName) -> bool {
        let before = *self;
        *self = self.and(&[name]);
        !before.has(name)
    }

    #[inline]
    pub const fn has(self, name: FieldName) -> bool {
        self.0 & (1 << name as u8) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_known_by_its_exact_name_only() {
        assert_eq!(FieldName::of(b"filter"), FieldName::Filter);
        assert_eq!(FieldName::of(b"$db"), FieldName::Db);
        for other in ["Filter", "filte", "filters", "filter.", "db", "", "$where"] {
            assert_eq!(
                FieldName::of(other.as_bytes()),
                FieldName::Other,
                "{other:?}"
            );
        }
    }
}
