//! Users and roles of the run's own database.

use bson::doc;

use super::super::mask::Mask;
use super::{Op, once, read};

/// The list.
pub fn ops() -> Vec<Op> {
    vec![
        once("drop_all_users_first", |_| doc! { "dropAllUsersFromDatabase": 1 }),
        once("drop_all_roles_first", |_| doc! { "dropAllRolesFromDatabase": 1 }),
        once("create_role", |c| {
            doc! { "createRole": "reader", "roles": [], "privileges": [
                { "resource": { "db": c.database.as_str(), "collection": "people" }, "actions": ["find"] }] }
        }),
        once("create_role_again", |_| doc! { "createRole": "reader", "roles": [], "privileges": [] }),
        once("create_user", |c| {
            doc! { "createUser": "ann", "pwd": "secret", "mechanisms": ["SCRAM-SHA-256"], "customData": { "desk": 4 },
            "roles": ["readWrite", { "role": "reader", "db": c.database.as_str() }] }
        }),
        once("create_user_again", |_| doc! { "createUser": "ann", "pwd": "secret", "roles": [] }),
        once("create_user_without_password", |_| doc! { "createUser": "bea", "roles": [] }),
        once("create_user_unknown_role", |_| {
            doc! { "createUser": "bea", "pwd": "x", "roles": ["nothing"] }
        }),
        read("users_info", |_| doc! { "usersInfo": "ann" }).masking(USERS),
        read("users_info_all", |_| doc! { "usersInfo": 1 }).masking(USERS),
        read("users_info_privileges", |_| {
            doc! { "usersInfo": { "user": "ann", "db": "nowhere" }, "showPrivileges": true }
        })
        .masking(USERS),
        once("update_user", |_| {
            doc! { "updateUser": "ann", "customData": { "desk": 5 }, "roles": ["read"] }
        }),
        once("update_absent_user", |_| doc! { "updateUser": "nobody", "roles": [] }),
        once("grant_roles_to_user", |_| {
            doc! { "grantRolesToUser": "ann", "roles": ["dbAdmin"] }
        }),
        once("revoke_roles_from_user", |_| {
            doc! { "revokeRolesFromUser": "ann", "roles": ["read"] }
        }),
        read("users_info_after_changes", |_| doc! { "usersInfo": "ann" }).masking(USERS),
        once("update_role", |c| {
            doc! { "updateRole": "reader", "privileges": [
                { "resource": { "db": c.database.as_str(), "collection": "" }, "actions": ["find", "insert"] }] }
        }),
        once("grant_roles_to_role", |_| doc! { "grantRolesToRole": "reader", "roles": ["read"] }),
        once("grant_privileges", |c| {
            doc! { "grantPrivilegesToRole": "reader", "privileges": [
                { "resource": { "db": c.database.as_str(), "collection": "x" }, "actions": ["update"] }] }
        }),
        once("revoke_privileges", |c| {
            doc! { "revokePrivilegesFromRole": "reader", "privileges": [
                { "resource": { "db": c.database.as_str(), "collection": "x" }, "actions": ["update"] }] }
        }),
        once("revoke_roles_from_role", |_| doc! { "revokeRolesFromRole": "reader", "roles": ["read"] }),
        read("roles_info", |_| doc! { "rolesInfo": "reader", "showPrivileges": true }),
        read("roles_info_builtin", |_| doc! { "rolesInfo": "read" }),
        read("roles_info_absent", |_| doc! { "rolesInfo": "nothing" }),
        once("authenticate_with_unknown_mechanism", |_| {
            doc! { "saslStart": 1, "mechanism": "MAGIC", "payload": bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![1, 2] } }
        }),
        once("sasl_continue_out_of_turn", |_| {
            doc! { "saslContinue": 1, "conversationId": 1, "payload": bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![] } }
        })
        .answered_by_the_proxy(),
        once("logout", |_| doc! { "logout": 1 }).answered_by_the_proxy(),
        once("drop_user", |_| doc! { "dropUser": "ann" }),
        once("drop_user_again", |_| doc! { "dropUser": "ann" }),
        once("drop_role", |_| doc! { "dropRole": "reader" }),
        once("drop_role_again", |_| doc! { "dropRole": "reader" }),
        once("drop_all_users", |_| doc! { "dropAllUsersFromDatabase": 1 }),
    ]
}

const USERS: &[(&str, Mask)] = &[
    ("users.*.userId", Mask::Value),
    ("users.*.roles", Mask::Unordered),
    ("users.*.inheritedRoles", Mask::Unordered),
];
