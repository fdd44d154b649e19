//! Requests of a session: how often each kind may come, and what its checked fields ask for.
//!
//! Nothing a client sends gets further than this module without its lengths and ranges checked.

use std::time::Duration;

use ahoy_proto::v1::client_message::Body;
use ahoy_proto::{AccountId, CallId, ConversationId, DeviceId, LegId, Name, limits, v1};
use bytes::Bytes;

use crate::Question;
use crate::outbox::Refusal;
use crate::rate::Rate;

/// Kinds of requests, each with a token bucket of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    RenewSession,
    FindAccount,
    SetCallsFrom,
    PublishKeyPackages,
    ClaimKeyPackages,
    ListConversations,
    CreateConversation,
    FetchGroupInfo,
    Commit,
    FetchLog,
    FetchInbox,
    AcknowledgeInbox,
    StartCall,
    /// Answer, decline, hang up and attach.
    InCall,
    /// What this supernode does not know.
    Unknown,
}

impl Kind {
    pub(crate) const COUNT: usize = Self::Unknown as usize + 1;

    /// Burst and refill. All together let one session ask for about 50 store verbs a second, of which a store does
    /// tens of thousands.
    pub(crate) fn rate(self) -> Rate {
        let (burst, refill_ms) = match self {
            // Once in half of a credential's life; each checks a signature.
            Self::RenewSession => (5, 60_000),
            // A person adds a few names at once; a harvester gets 1,200 an hour.
            Self::FindAccount => (20, 3_000),
            Self::SetCallsFrom => (5, 10_000),
            // One batch fills the stock of 100.
            Self::PublishKeyPackages => (5, 10_000),
            // Each takes one of another's stock of 100: emptying it takes 10 minutes, and then the last resort is there.
            Self::ClaimKeyPackages => (10, 6_000),
            Self::ListConversations => (30, 500),
            Self::CreateConversation => (10, 6_000),
            Self::FetchGroupInfo => (30, 1_000),
            Self::Commit => (20, 1_000),
            // Paging: a page is 60 KiB, so 100 ms let a client catch up at 600 KiB/s.
            Self::FetchLog | Self::FetchInbox | Self::AcknowledgeInbox => (60, 100),
            // Each may ring 8 devices.
            Self::StartCall => (10, 3_000),
            // After a lost link all 64 calls of an account attach at once, and as many ring; a flapping link does so again
            // every half minute at most.
            Self::InCall => (128, 250),
            // A newer client asks once and then knows.
            Self::Unknown => (20, 1_000),
        };
        Rate { burst, refill: Duration::from_millis(refill_ms) }
    }

    /// `None` for a proof, which is no request of a session.
    pub(crate) fn of(body: Option<&Body>) -> Option<Self> {
        let Some(body) = body else { return Some(Self::Unknown) };
        Some(match body {
            Body::Prove(_) => return None,
            Body::RenewSession(_) => Self::RenewSession,
            Body::FindAccount(_) => Self::FindAccount,
            Body::SetCallsFrom(_) => Self::SetCallsFrom,
            Body::PublishKeyPackages(_) => Self::PublishKeyPackages,
            Body::ClaimKeyPackages(_) => Self::ClaimKeyPackages,
            Body::ListConversations(_) => Self::ListConversations,
            Body::CreateConversation(_) => Self::CreateConversation,
            Body::FetchGroupInfo(_) => Self::FetchGroupInfo,
            Body::Commit(_) => Self::Commit,
            Body::FetchLog(_) => Self::FetchLog,
            Body::FetchInbox(_) => Self::FetchInbox,
            Body::AcknowledgeInbox(_) => Self::AcknowledgeInbox,
            Body::StartCall(_) => Self::StartCall,
            Body::AnswerCall(_) | Body::DeclineCall(_) | Body::HangUp(_) | Body::AttachLeg(_) => Self::InCall,
        })
    }
}

/// A request whose fields have been checked.
#[derive(Debug)]
pub(crate) enum Request {
    Ask(Question),
    RenewSession { credential: String },
    StartCall { call: CallId, conversation: ConversationId, leg: LegId, sealed: Bytes },
    AnswerCall { call: CallId, leg: LegId, sealed: Bytes },
    Decline { call: CallId, cause: v1::Cause },
    HangUp { call: CallId, cause: v1::Cause },
    Attach { call_token: Bytes, leg: LegId, sealed: Bytes },
}

/// Checks a request of a session and says what it asks for.
pub(crate) fn check(body: Option<Body>, account: AccountId, device: DeviceId) -> Result<Request, Refusal> {
    Ok(Request::Ask(match body.ok_or(UNIMPLEMENTED)? {
        Body::FindAccount(v1::FindAccount { name }) => {
            Question::FindAccount { name: Name::parse(&name).map_err(|_| Refusal::invalid("that is no name"))? }
        }
        Body::SetCallsFrom(request) => match request.calls_from() {
            v1::CallsFrom::Unspecified => return Err(Refusal::invalid("calls_from is not one of the known values")),
            calls_from => Question::SetCallsFrom { account, calls_from },
        },
        Body::PublishKeyPackages(request) => publish(request, account, device)?,
        Body::ClaimKeyPackages(request) => Question::ClaimKeyPackages { account: id(&request.account)? },
        Body::ListConversations(request) => {
            let after = if request.after.is_empty() { None } else { Some(id(&request.after)?) };
            Question::ListConversations { account, after }
        }
        Body::CreateConversation(request) => {
            let peer = id(&request.peer)?;
            if peer == account {
                return Err(Refusal::invalid("a conversation is with somebody else"));
            }
            Question::CreateConversation {
                account,
                device,
                conversation: id(&request.conversation)?,
                peer,
                epoch: request.epoch,
                group_info: present(request.group_info)?,
                welcomes: welcomes(request.welcomes)?,
            }
        }
        Body::FetchGroupInfo(request) => Question::FetchGroupInfo { account, conversation: id(&request.conversation)? },
        Body::Commit(request) => Question::Commit {
            account,
            device,
            conversation: id(&request.conversation)?,
            generation: request.generation,
            epoch: request.epoch,
            commit: present(request.commit)?,
            group_info: present(request.group_info)?,
            welcomes: welcomes(request.welcomes)?,
        },
        Body::FetchLog(request) => {
            Question::FetchLog { account, conversation: id(&request.conversation)?, after: number(request.after)? }
        }
        Body::FetchInbox(request) => Question::FetchInbox { device, after: number(request.after)? },
        Body::AcknowledgeInbox(request) => Question::AcknowledgeInbox { device, up_to: number(request.up_to)? },
        Body::RenewSession(request) => return renew(request),
        body => return check_call(body),
    }))
}

fn renew(request: v1::RenewSession) -> Result<Request, Refusal> {
    let v1::RenewSession { credential } = request;
    if credential.len() > limits::UNPROVEN_MESSAGE_MAX {
        return Err(Refusal::invalid("a credential is shorter than 4 KiB"));
    }
    Ok(Request::RenewSession { credential })
}

fn check_call(body: Body) -> Result<Request, Refusal> {
    Ok(match body {
        Body::StartCall(request) => Request::StartCall {
            call: id(&request.call)?,
            conversation: id(&request.conversation)?,
            leg: id(&request.leg)?,
            sealed: sealed(&request.sealed)?,
        },
        Body::AnswerCall(request) => {
            Request::AnswerCall { call: id(&request.call)?, leg: id(&request.leg)?, sealed: sealed(&request.sealed)? }
        }
        Body::DeclineCall(request) => match request.cause() {
            cause @ (v1::Cause::Declined | v1::Cause::Busy | v1::Cause::Incompatible) => {
                Request::Decline { call: id(&request.call)?, cause }
            }
            _ => return Err(Refusal::invalid("a call is declined as DECLINED, BUSY or INCOMPATIBLE")),
        },
        Body::HangUp(request) => match request.cause() {
            cause @ (v1::Cause::HungUp | v1::Cause::Incompatible | v1::Cause::Lost) => {
                Request::HangUp { call: id(&request.call)?, cause }
            }
            _ => return Err(Refusal::invalid("one hangs up with HUNG_UP, INCOMPATIBLE or LOST")),
        },
        Body::AttachLeg(request) => {
            if request.call_token.len() > limits::CALL_TOKEN_MAX {
                return Err(Refusal::invalid("a call token is at most 512 bytes"));
            }
            Request::Attach { call_token: request.call_token, leg: id(&request.leg)?, sealed: sealed(&request.sealed)? }
        }
        // A proof; a second one has closed its link before it gets here.
        _ => return Err(UNIMPLEMENTED),
    })
}

fn publish(request: v1::PublishKeyPackages, account: AccountId, device: DeviceId) -> Result<Question, Refusal> {
    let v1::PublishKeyPackages { key_packages: packages, last_resort } = request;
    let long = packages.iter().chain([&last_resort]).any(|package| package.len() > limits::KEY_PACKAGE_MAX);
    if packages.len() > limits::KEY_PACKAGES_MAX || long {
        return Err(Refusal::invalid("at most 100 key packages of at most 4 KiB"));
    }
    if packages.iter().any(Bytes::is_empty) || packages.is_empty() && last_resort.is_empty() {
        return Err(Refusal::invalid("a key package is missing"));
    }
    let last_resort = (!last_resort.is_empty()).then_some(last_resort);
    Ok(Question::PublishKeyPackages { account, device, packages, last_resort })
}

fn welcomes(welcomes: Vec<v1::DeviceWelcome>) -> Result<Vec<(DeviceId, Bytes)>, Refusal> {
    if welcomes.len() > WELCOMES_MAX {
        return Err(Refusal::invalid("more Welcomes than a conversation has devices"));
    }
    welcomes.into_iter().map(|line| Ok((id(&line.device)?, present(line.welcome)?))).collect()
}

/// Devices of both members of a one-to-one conversation.
const WELCOMES_MAX: usize = 2 * limits::DEVICES_MAX;

fn id<'a, Id: TryFrom<&'a [u8]>>(bytes: &'a [u8]) -> Result<Id, Refusal> {
    Id::try_from(bytes).map_err(|_| Refusal::invalid("an id is 16 bytes"))
}

fn present(bytes: Bytes) -> Result<Bytes, Refusal> {
    if bytes.is_empty() { Err(Refusal::invalid("a field is missing")) } else { Ok(bytes) }
}

/// Copied, because a call keeps it for longer than the message that it came in.
fn sealed(bytes: &Bytes) -> Result<Bytes, Refusal> {
    if bytes.is_empty() || bytes.len() > limits::SEALED_MAX {
        return Err(Refusal::invalid("a sealed part has 1 to 4096 bytes"));
    }
    Ok(Bytes::copy_from_slice(bytes))
}

const UNIMPLEMENTED: Refusal = Refusal::new(v1::ErrorCode::Unimplemented, "this supernode does not know that request");

/// Sequence numbers are signed 64-bit numbers in the store.
fn number(number: u64) -> Result<u64, Refusal> {
    if i64::try_from(number).is_ok() { Ok(number) } else { Err(Refusal::invalid("a sequence number is below 2^63")) }
}
