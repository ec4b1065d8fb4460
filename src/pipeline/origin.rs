//! Where a request comes from, for the server's own records.
//!
//! Links are shared, so that the server's `currentOp`, slow log and profiler name the proxy for every application. With
//! `upstream.comments` a command that has no `comment` gets one on its way to the server, and these show it.

use crate::command::{Command, FieldName, Kind};
use crate::wire::build::DocBuf;

/// The application and the client behind a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The name that the application gives itself, if any.
    pub application: Option<String>,
    /// Its clients' addresses, or how many there are.
    pub clients: Clients,
}

/// Whose request it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clients {
    /// One client's, with its address.
    One(String),
    /// A batch of so many clients' writes.
    Several(usize),
}

impl Origin {
    /// Of a batch: an application is named if it is that of all.
    pub fn of_all<'a>(members: impl Iterator<Item = &'a Origin>) -> Option<Origin> {
        let mut members = members.peekable();
        let mut application = members.peek()?.application.clone();
        let mut count = 0;
        for member in members {
            count += 1;
            if member.application != application {
                application = None;
            }
        }
        let clients = Clients::Several(count);
        Some(Origin {
            application,
            clients,
        })
    }

    /// The element `comment` for a command, if it may have one from the proxy: it has none itself, and is one that a person
    /// would look for. (A `getMore` takes over its cursor's.)
    pub fn comment(&self, command: &Command) -> Option<Vec<u8>> {
        if !may_have_one(command) {
            return None;
        }
        let mut comment = DocBuf::with_capacity(128);
        comment.append_doc_with("comment", |comment| {
            if let Some(application) = &self.application {
                comment.append_str("application", application);
            }
            match &self.clients {
                Clients::One(address) => comment.append_str("client", address),
                Clients::Several(count) => {
                    comment.append_i32("clients", i32::try_from(*count).unwrap_or(i32::MAX))
                }
            };
        });
        let document = comment.finish();
        // The element without the document around it.
        document
            .get(4..document.len().saturating_sub(1))
            .map(<[u8]>::to_vec)
    }
}

fn may_have_one(command: &Command) -> bool {
    let is_one = match command.kind {
        Kind::Find
        | Kind::Aggregate
        | Kind::Count
        | Kind::Distinct
        | Kind::Read
        | Kind::Insert
        | Kind::Update
        | Kind::Delete
        | Kind::FindAndModify
        | Kind::BulkWrite
        | Kind::IndexChange
        | Kind::Definition
        | Kind::Rename
        | Kind::Validate => true,
        Kind::Hello
        | Kind::Auth
        | Kind::GetMore
        | Kind::KillCursors
        | Kind::Commit
        | Kind::Abort
        | Kind::Upkeep
        | Kind::Unknown => false,
    };
    is_one
        && command.body().len() < LONGEST
        && command.fields().all(|(name, _)| name != FieldName::Comment)
}

/// A body that is nearly as long as a server accepts stays as it is.
const LONGEST: usize = 16_000_000;

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;
    use crate::pipeline::scripted::request;

    fn of(application: &str) -> Origin {
        Origin {
            application: Some(application.to_owned()),
            clients: Clients::One("10.0.0.1:5".to_owned()),
        }
    }

    #[test]
    fn a_comment_names_application_and_client_where_there_is_none() {
        let comment = |command: Document| of("shop").comment(&request(&command).command);
        let added = comment(doc! {"find": "c", "$db": "d"}).unwrap();
        let expected = doc! {"comment": {"application": "shop", "client": "10.0.0.1:5"}};
        let expected = expected.to_vec().unwrap();
        assert_eq!(added, expected[4..expected.len() - 1]);
        for own in [
            doc! {"find": "c", "comment": "mine", "$db": "d"},
            doc! {"find": "c", "comment": null, "$db": "d"},
            doc! {"getMore": 5_i64, "collection": "c", "$db": "d"},
            doc! {"commitTransaction": 1, "$db": "admin"},
            doc! {"whatever": 1, "$db": "admin"},
        ] {
            assert_eq!(comment(own.clone()), None, "{own}");
        }
    }

    #[test]
    fn a_batch_names_the_application_that_all_have() {
        let (shop, game) = (of("shop"), of("game"));
        let both = Origin::of_all([&shop, &shop].into_iter()).unwrap();
        assert_eq!(both.application.as_deref(), Some("shop"));
        assert_eq!(both.clients, Clients::Several(2));
        let mixed = Origin::of_all([&shop, &game, &shop].into_iter()).unwrap();
        assert_eq!(
            (mixed.application, mixed.clients),
            (None, Clients::Several(3))
        );
        assert_eq!(Origin::of_all([].into_iter()), None);
    }
}
