//! The verbs, one file each.

mod call;
mod listen;
mod password;
mod recover;
mod rings;
mod sign_in;
mod sign_out;
mod sign_up;
mod status;
mod verify;
mod whoami;

use crate::cli::{Cli, Verb};
use crate::failure::Failure;
use crate::tell::Tell;

/// Does what was asked.
pub(crate) fn run(cli: &Cli, tell: &Tell) -> Result<(), Failure> {
    let common = &cli.common;
    match &cli.verb {
        Verb::SignUp(arguments) => sign_up::run(common, arguments, *tell),
        Verb::SignIn(arguments) => sign_in::run(common, arguments, *tell),
        Verb::SignOut(arguments) => sign_out::run(common, arguments, *tell),
        Verb::Whoami => whoami::run(common, *tell),
        Verb::Password(arguments) => password::run(common, arguments, *tell),
        Verb::Recover(arguments) => recover::run(common, arguments, *tell),
        Verb::Call(arguments) => call::run(common, arguments, *tell),
        Verb::Listen(arguments) => listen::run(common, arguments, *tell),
        Verb::Status => status::run(common, *tell),
        Verb::Verify(arguments) => verify::run(common, arguments, *tell),
        Verb::Rings(arguments) => rings::run(common, arguments, *tell),
    }
}
