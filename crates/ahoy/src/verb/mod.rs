//! The verbs, one file each.

mod call;
mod census;
mod contacts;
mod delete_account;
mod devices;
mod group;
mod history;
mod inbox;
mod listen;
mod load;
mod password;
mod pipe;
mod presence;
mod receipts;
mod recover;
mod report;
mod rings;
mod search;
mod send;
mod sign_in;
mod sign_out;
mod sign_up;
mod status;
mod verify;
mod whoami;

use crate::cli::{Common, Verb};
use crate::failure::Failure;
use crate::tell::Tell;

/// Does what was asked.
pub(crate) fn run(verb: &Verb, common: &Common, tell: &Tell) -> Result<(), Failure> {
    match verb {
        Verb::SignUp(arguments) => sign_up::run(common, arguments, *tell),
        Verb::SignIn(arguments) => sign_in::run(common, arguments, *tell),
        Verb::SignOut(arguments) => sign_out::run(common, arguments, *tell),
        Verb::Whoami => whoami::run(common, *tell),
        Verb::Password(arguments) => password::run(common, arguments, *tell),
        Verb::Recover(arguments) => recover::run(common, arguments, *tell),
        Verb::Call(arguments) => call::run(common, arguments, *tell),
        Verb::Listen(arguments) => listen::run(common, arguments, *tell),
        Verb::Send(arguments) => send::run(common, arguments, *tell),
        Verb::Inbox(arguments) => inbox::run(common, arguments, *tell),
        Verb::History(arguments) => history::run(common, arguments, *tell),
        Verb::Pipe => pipe::run(common, *tell),
        Verb::Contacts(arguments) => contacts::run(common, arguments, *tell),
        Verb::Search(arguments) => search::run(common, arguments, *tell),
        Verb::Presence(arguments) => presence::run(common, arguments, *tell),
        Verb::Group(arguments) => group::run(common, arguments, *tell),
        Verb::Devices(arguments) => devices::run(common, arguments, *tell),
        Verb::Report(arguments) => report::run(common, arguments, *tell),
        Verb::DeleteAccount(arguments) => delete_account::run(common, arguments, *tell),
        Verb::Status => status::run(common, *tell),
        Verb::Census(arguments) => census::run(common, arguments, *tell),
        Verb::Verify(arguments) => verify::run(common, arguments, *tell),
        Verb::Rings(arguments) => rings::run(common, arguments, *tell),
        Verb::Receipts(arguments) => receipts::run(common, arguments, *tell),
        Verb::Load(arguments) => load::run(common, arguments, *tell),
    }
}
