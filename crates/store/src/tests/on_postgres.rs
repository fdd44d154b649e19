//! The conformance suite on PostgreSQL.

#[path = "conformance/accounts.rs"]
pub(super) mod accounts;
#[path = "conformance/contacts.rs"]
pub(super) mod contacts;
#[path = "conformance/conversations.rs"]
pub(super) mod conversations;
#[path = "conformance/deletion.rs"]
pub(super) mod deletion;
#[path = "conformance/expiry.rs"]
pub(super) mod expiry;
#[path = "conformance/groups.rs"]
pub(super) mod groups;
#[path = "conformance/messages.rs"]
pub(super) mod messages;
#[path = "conformance/people.rs"]
pub(super) mod people;
#[path = "conformance/restoration.rs"]
pub(super) mod restoration;
#[path = "conformance/supernodes.rs"]
pub(super) mod supernodes;

use super::*;

/// A store on PostgreSQL.
pub(super) type World = super::World<testing::Database>;
