//! Requests of a session: how often each kind may come, and what its checked fields ask for.
//!
//! Nothing a client sends gets further than this module without its lengths and ranges checked.

use std::time::Duration;

use ahoy_proto::v1::client_message::Body;
use ahoy_proto::{AccountId, CallId, ConversationId, DeviceId, LegId, Name, limits, v1};
use bytes::Bytes;

use crate::outbox::Refusal;
use crate::question::{Commit, Welcoming};
use crate::rate::Rate;
use crate::{Now, Question};

/// Kinds of requests, each with a token bucket of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    RenewSession,
    CheckIn,
    ListDevices,
    Names,
    ChangeSettings,
    SetActivity,
    ListContacts,
    RequestContact,
    ChangeContact,
    Report,
    PublishKeyPackages,
    ClaimKeyPackages,
    ListConversations,
    CreateConversation,
    FetchGroupInfo,
    Commit,
    FetchLog,
    FetchInbox,
    Acknowledge,
    FetchReceipts,
    FetchMembers,
    SendMessage,
    SendSignal,
    SetReceipt,
    LeaveConversation,
    StartCall,
    /// Answer, decline, hang up and attach.
    InCall,
    /// What this supernode does not know.
    Unknown,
}

impl Kind {
    /// Burst and refill. All together let one session ask for about 60 store verbs a second, of which a store does
    /// tens of thousands.
    pub(crate) fn rate(self) -> Rate {
        let (burst, refill_ms) = match self {
            // Once in half of a credential's life; each checks a signature.
            Self::RenewSession => (5, 60_000),
            // Once in the life of a process, which may crash a few times in a row.
            Self::CheckIn => (5, 10_000),
            Self::ListDevices => (5, 3_000),
            // A person adds a few names at once, and each call is made sure of by one; the account's window of an hour counts.
            Self::Names => (20, 3_000),
            // Each may be told to 1,000 contacts.
            Self::ChangeSettings => (5, 10_000),
            // Likewise; a person leaves and comes back, and a computer says so after some minutes.
            Self::SetActivity => (10, 5_000),
            // 1,000 contacts with 100 notes are five pages, and each contact of a page costs a message between shards.
            Self::ListContacts => (20, 3_000),
            // Each may reach 8 devices of a stranger; 100 unanswered ones are the limit anyway.
            Self::RequestContact => (10, 6_000),
            // A person answers what has piled up.
            Self::ChangeContact => (30, 2_000),
            // The store keeps 10 a day.
            Self::Report => (5, 10_000),
            // One batch fills the stock of 100.
            Self::PublishKeyPackages => (5, 10_000),
            // A group of 50 is invited at once, one of 256 in seven minutes. Each takes one of another's stock of 100: emptying
            // it takes a minute and a half, and then the last resort is there.
            Self::ClaimKeyPackages => (50, 2_000),
            Self::ListConversations => (30, 500),
            // Each may fill 2,048 inboxes.
            Self::CreateConversation => (10, 6_000),
            Self::FetchGroupInfo => (30, 1_000),
            Self::Commit => (20, 1_000),
            // Paging: a page is 60 KiB, so 100 ms let a client catch up at 600 KiB/s.
            Self::FetchLog | Self::FetchInbox | Self::Acknowledge => (60, 100),
            // After a night, one for each conversation that has changed.
            Self::FetchReceipts | Self::FetchMembers => (60, 200),
            // People type, bots answer.
            Self::SendMessage => (20, 100),
            // Typing is told every 5 s, in a few conversations; each may reach 2,048 devices.
            Self::SendSignal => (10, 1_000),
            // One every 2 s in a conversation that is read; after a night, one for each.
            Self::SetReceipt => (30, 500),
            Self::LeaveConversation => (10, 3_000),
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

    /// Whether it waits for better times, so that calls and messages don't have to: nobody is the worse for having it a little later.
    pub(crate) fn gives_way(self) -> bool {
        matches!(
            self,
            Self::Names | Self::ChangeSettings | Self::SetActivity | Self::Report | Self::SendSignal | Self::SetReceipt
        )
    }

    /// `None` for a proof, which is no request of a session.
    pub(crate) fn of(body: Option<&Body>) -> Option<Self> {
        let Some(body) = body else { return Some(Self::Unknown) };
        Some(match body {
            Body::Prove(_) | Body::JoinTrunk(_) => return None,
            Body::RenewSession(_) => Self::RenewSession,
            Body::CheckIn(_) => Self::CheckIn,
            Body::ListDevices(_) => Self::ListDevices,
            Body::FindAccount(_) | Body::SearchDirectory(_) => Self::Names,
            Body::ChangeSettings(_) => Self::ChangeSettings,
            Body::SetActivity(_) => Self::SetActivity,
            Body::ListContacts(_) => Self::ListContacts,
            Body::RequestContact(_) => Self::RequestContact,
            Body::AnswerContact(_) | Body::RemoveContact(_) | Body::BlockAccount(_) => Self::ChangeContact,
            Body::Report(_) => Self::Report,
            Body::PublishKeyPackages(_) => Self::PublishKeyPackages,
            Body::ClaimKeyPackages(_) => Self::ClaimKeyPackages,
            Body::ListConversations(_) => Self::ListConversations,
            Body::CreateConversation(_) => Self::CreateConversation,
            Body::FetchGroupInfo(_) => Self::FetchGroupInfo,
            Body::Commit(_) => Self::Commit,
            Body::FetchLog(_) => Self::FetchLog,
            Body::FetchInbox(_) => Self::FetchInbox,
            Body::Acknowledge(_) => Self::Acknowledge,
            Body::FetchReceipts(_) => Self::FetchReceipts,
            Body::FetchMembers(_) => Self::FetchMembers,
            Body::SendMessage(_) => Self::SendMessage,
            Body::SendSignal(_) => Self::SendSignal,
            Body::SetReceipt(_) => Self::SetReceipt,
            Body::LeaveConversation(_) => Self::LeaveConversation,
            Body::StartCall(_) => Self::StartCall,
            Body::AnswerCall(_) | Body::DeclineCall(_) | Body::HangUp(_) | Body::AttachLeg(_) => Self::InCall,
            Body::Fragment(_) => Self::Unknown,
        })
    }
}

/// A request whose fields have been checked.
#[derive(Debug)]
pub(crate) enum Request {
    Ask(Question),
    /// A question whose answer shows names that the account may not have known: so many at most.
    AskNames(Question, usize),
    /// A question that the account's home puts, so that it hears the answer.
    AskAtHome(Question),
    RenewSession {
        credential: String,
    },
    SetActivity {
        away: bool,
    },
    SendSignal {
        conversation: ConversationId,
        sealed: Bytes,
    },
    StartCall {
        call: CallId,
        conversation: ConversationId,
        leg: LegId,
        sealed: Bytes,
    },
    AnswerCall {
        call: CallId,
        leg: LegId,
        sealed: Bytes,
    },
    Decline {
        call: CallId,
        cause: v1::Cause,
    },
    HangUp {
        call: CallId,
        cause: v1::Cause,
    },
    Attach {
        call_token: Bytes,
        leg: LegId,
        sealed: Bytes,
    },
}

/// Who asks, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    pub(crate) account: AccountId,
    pub(crate) device: DeviceId,
    pub(crate) now: Now,
}

/// Checks a request of a session and says what it asks for.
pub(crate) fn check(body: Option<Body>, asker: Asker) -> Result<Request, Refusal> {
    let Asker { account, device, now } = asker;
    Ok(match body.ok_or(UNIMPLEMENTED)? {
        Body::CheckIn(request) => {
            let serial = number(request.state_serial)?;
            Request::Ask(Question::CheckIn { account, device, serial, today: now.day() })
        }
        Body::ListDevices(v1::ListDevices {}) => Request::Ask(Question::ListDevices { account, today: now.day() }),
        Body::FindAccount(v1::FindAccount { name }) => {
            let name = Name::parse(&name).map_err(|_| Refusal::invalid("that is no name"))?;
            Request::AskNames(Question::FindAccount { name }, 1)
        }
        Body::SearchDirectory(request) => {
            let question = Question::SearchDirectory { prefix: prefix(&request.prefix)? };
            Request::AskNames(question, limits::SEARCH_RESULTS_MAX)
        }
        Body::ChangeSettings(change) => {
            Request::AskAtHome(Question::ChangeSettings { account, change: settings(change)? })
        }
        Body::SetActivity(v1::SetActivity { away }) => Request::SetActivity { away },
        // By way of the home, behind the word that the device is there: what is said after the page was read is told to it as an event.
        Body::ListConversations(request) => {
            let after = optional_id(&request.after)?;
            Request::AskAtHome(Question::ListConversations { account, device, after })
        }
        Body::FetchInbox(request) => Request::AskAtHome(Question::FetchInbox { device, after: number(request.after)? }),
        Body::ListContacts(request) => {
            let after = optional_id(&request.after)?;
            Request::AskAtHome(Question::ListContacts { account, after, today: now.day() })
        }
        Body::RequestContact(request) => {
            if request.note.len() > limits::NOTE_SEALED_MAX {
                return Err(Refusal::invalid("a note is at most 1280 bytes"));
            }
            let peer = other(&request.account, account)?;
            Request::Ask(Question::RequestContact { account, peer, note: request.note, at: now.unix() })
        }
        Body::AnswerContact(v1::AnswerContact { account: peer, accept }) => {
            let peer = other(&peer, account)?;
            Request::Ask(Question::AnswerContact { account, peer, accept, at: now.unix() })
        }
        Body::RemoveContact(request) => {
            Request::Ask(Question::RemoveContact { account, peer: other(&request.account, account)? })
        }
        Body::BlockAccount(v1::BlockAccount { account: peer, block }) => {
            let peer = other(&peer, account)?;
            Request::Ask(Question::BlockAccount { account, peer, block, at: now.unix() })
        }
        Body::Report(request) => {
            let sealed = bounded(request.sealed, limits::REPORT_SEALED_MAX, "a report has 1 to 32768 bytes")?;
            let about = other(&request.account, account)?;
            Request::Ask(Question::Report { account, about, sealed, at: now.unix() })
        }
        body => return check_conversation(body, asker),
    })
}

fn check_conversation(body: Body, asker: Asker) -> Result<Request, Refusal> {
    let Asker { account, device, now } = asker;
    Ok(Request::Ask(match body {
        Body::PublishKeyPackages(request) => publish(request, account, device)?,
        Body::ClaimKeyPackages(request) => Question::ClaimKeyPackages { account: id(&request.account)? },
        Body::CreateConversation(request) => create(request, asker)?,
        Body::FetchGroupInfo(request) => Question::FetchGroupInfo { account, conversation: id(&request.conversation)? },
        Body::Commit(request) => commit(request, asker)?,
        Body::FetchLog(request) => {
            Question::FetchLog { account, conversation: id(&request.conversation)?, after: number(request.after)? }
        }
        Body::Acknowledge(request) => {
            if request.logs.len() > limits::LOG_MARKS_MAX {
                return Err(Refusal::invalid("at most 100 logs are acknowledged at once"));
            }
            let mark = |mark: v1::LogMark| Ok((id(&mark.conversation)?, number(mark.sequence)?));
            let logs = request.logs.into_iter().map(mark).collect::<Result<_, Refusal>>()?;
            Question::Acknowledge { device, inbox: number(request.inbox)?, logs }
        }
        Body::FetchReceipts(request) => {
            Question::FetchReceipts { account, conversation: id(&request.conversation)?, after: number(request.after)? }
        }
        Body::FetchMembers(request) => Question::FetchMembers { account, conversation: id(&request.conversation)? },
        Body::SendMessage(request) => {
            if request.number == 0 {
                return Err(Refusal::invalid("messages are numbered from 1"));
            }
            Question::SendMessage {
                account,
                device,
                conversation: id(&request.conversation)?,
                number: number(request.number)?,
                generation: request.generation,
                epoch: number(request.epoch)?,
                sealed: bounded(request.sealed, limits::MESSAGE_SEALED_MAX, "a message has 1 to 32768 bytes")?,
                at_ms: now.unix_ms,
            }
        }
        Body::SendSignal(request) => {
            let sealed = bounded(request.sealed, limits::SIGNAL_SEALED_MAX, "a signal has 1 to 256 bytes")?;
            return Ok(Request::SendSignal { conversation: id(&request.conversation)?, sealed });
        }
        Body::SetReceipt(request) => {
            let sealed = bounded(request.sealed, limits::SIGNAL_SEALED_MAX, "a receipt has 1 to 256 bytes")?;
            Question::SetReceipt { account, device, conversation: id(&request.conversation)?, sealed }
        }
        Body::LeaveConversation(request) => {
            let conversation = id(&request.conversation)?;
            Question::LeaveConversation { account, device, conversation, at_ms: now.unix_ms }
        }
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

/// Lower case, and of characters that a name may begin with.
fn prefix(text: &str) -> Result<String, Refusal> {
    let prefix = text.to_ascii_lowercase();
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    if !(limits::SEARCH_PREFIX_MIN..=NAME_MAX).contains(&prefix.len()) || !prefix.bytes().all(fits) {
        return Err(Refusal::invalid("one searches for the first 3 to 32 characters of a name"));
    }
    Ok(prefix)
}

/// Longest name, in characters.
const NAME_MAX: usize = 32;

fn settings(change: v1::ChangeSettings) -> Result<v1::ChangeSettings, Refusal> {
    if change
        .calls_from
        .is_some_and(|value| matches!(v1::CallsFrom::try_from(value), Err(_) | Ok(v1::CallsFrom::Unspecified)))
    {
        return Err(Refusal::invalid("calls_from is not one of the known values"));
    }
    let settable = |value| {
        use v1::Availability::{Away, DoNotDisturb, Invisible, Online};
        matches!(v1::Availability::try_from(value), Ok(Online | Away | DoNotDisturb | Invisible))
    };
    if change.availability.is_some_and(|value| !settable(value)) {
        return Err(Refusal::invalid("availability is not one of the values that can be set"));
    }
    let mood = change.mood.as_deref().unwrap_or_default();
    if mood.chars().count() > limits::MOOD_CHARACTERS_MAX || mood.chars().any(char::is_control) {
        return Err(Refusal::invalid("a mood has at most 140 characters and no control characters"));
    }
    Ok(change)
}

fn create(request: v1::CreateConversation, asker: Asker) -> Result<Question, Refusal> {
    let Asker { account, device, .. } = asker;
    let peer = if request.peer.is_empty() { None } else { Some(other(&request.peer, account)?) };
    Ok(Question::CreateConversation {
        account,
        device,
        conversation: id(&request.conversation)?,
        peer,
        epoch: number(request.epoch)?,
        group_info: present(request.group_info)?,
        welcomes: welcomes(request.welcomes)?,
    })
}

fn commit(request: v1::Commit, asker: Asker) -> Result<Question, Refusal> {
    let Asker { account, device, now } = asker;
    Ok(Question::Commit(Box::new(Commit {
        account,
        device,
        conversation: id(&request.conversation)?,
        generation: request.generation,
        epoch: number(request.epoch)?,
        commit: present(request.commit)?,
        group_info: present(request.group_info)?,
        welcomes: welcomes(request.welcomes)?,
        add: accounts(&request.add)?,
        remove: accounts(&request.remove)?,
        at_ms: now.unix_ms,
    })))
}

/// Accounts of a commit: each once, and no more than a group has.
fn accounts(ids: &[Bytes]) -> Result<Vec<AccountId>, Refusal> {
    if ids.len() > limits::GROUP_MEMBERS_MAX {
        return Err(Refusal::invalid("a group has at most 256 members"));
    }
    let mut accounts = ids.iter().map(|bytes| id(bytes)).collect::<Result<Vec<AccountId>, _>>()?;
    accounts.sort_unstable();
    accounts.dedup();
    if accounts.len() == ids.len() { Ok(accounts) } else { Err(Refusal::invalid("an account is named twice")) }
}

fn welcomes(welcomes: Vec<v1::Welcoming>) -> Result<Vec<Welcoming>, Refusal> {
    if welcomes.iter().map(|welcoming| welcoming.devices.len()).sum::<usize>() > WELCOMED_MAX {
        return Err(Refusal::invalid("more devices than a group has"));
    }
    let checked = |v1::Welcoming { devices, welcome }| {
        if devices.is_empty() {
            return Err(Refusal::invalid("a Welcome is for somebody"));
        }
        let devices = devices.iter().map(|bytes| id(bytes)).collect::<Result<_, _>>()?;
        Ok(Welcoming { devices, welcome: present(welcome)? })
    };
    welcomes.into_iter().map(checked).collect()
}

/// Devices of all members of the largest group.
const WELCOMED_MAX: usize = limits::GROUP_MEMBERS_MAX * limits::DEVICES_MAX;

fn optional_id<'a, Id: TryFrom<&'a [u8]>>(bytes: &'a [u8]) -> Result<Option<Id>, Refusal> {
    if bytes.is_empty() { Ok(None) } else { id(bytes).map(Some) }
}

/// An account other than the asking one.
fn other(bytes: &[u8], account: AccountId) -> Result<AccountId, Refusal> {
    match id(bytes)? {
        other if other == account => Err(Refusal::invalid("that is for somebody else, not for oneself")),
        other => Ok(other),
    }
}

fn bounded(bytes: Bytes, max: usize, text: &'static str) -> Result<Bytes, Refusal> {
    if bytes.is_empty() || bytes.len() > max { Err(Refusal::invalid(text)) } else { Ok(bytes) }
}

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
