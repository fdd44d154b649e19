//! What the exchange asks, as the store's verbs: one question is one verb.

use ahoy_core::{Answer, Callee, Delivery, Question, StoreError};
use ahoy_store as verbs;
use ahoy_store::{Created, Store, Verb};

/// Puts a question to the store. `reply` is called exactly once and must not block.
pub(crate) fn ask(store: &Store, question: Question, reply: impl FnOnce(Result<Answer, StoreError>) + Send + 'static) {
    match question {
        Question::FindAccount { name } => put(store, verbs::FindAccount { name }, reply, account),
        Question::SetCallsFrom { account, calls_from } => {
            put(store, verbs::SetCallsFrom { account, calls_from }, reply, done);
        }
        Question::PublishKeyPackages { account, device, packages, last_resort } => {
            put(store, verbs::PublishKeyPackages { account, device, packages, last_resort }, reply, done);
        }
        Question::ClaimKeyPackages { account } => {
            put(store, verbs::ClaimKeyPackages { account }, reply, Answer::KeyPackages);
        }
        Question::ListConversations { account, after } => {
            put(store, verbs::ListConversations { account, after }, reply, Answer::Conversations);
        }
        Question::CreateConversation { account, device, conversation, peer, epoch, group_info, welcomes } => {
            let verb = verbs::CreateConversation { account, device, conversation, peer, epoch, group_info, welcomes };
            put(store, verb, reply, created);
        }
        Question::FetchGroupInfo { account, conversation } => {
            put(store, verbs::FetchGroupInfo { account, conversation }, reply, Answer::GroupInfo);
        }
        Question::Commit { account, device, conversation, generation, epoch, commit, group_info, welcomes } => {
            let verb = verbs::Commit { account, device, conversation, generation, epoch, commit, group_info, welcomes };
            put(store, verb, reply, committed);
        }
        Question::FetchLog { account, conversation, after } => {
            put(store, verbs::FetchLog { account, conversation, after }, reply, Answer::LogEntries);
        }
        Question::FetchInbox { device, after } => {
            put(store, verbs::FetchInbox { device, after }, reply, Answer::InboxEntries);
        }
        Question::AcknowledgeInbox { device, up_to } => {
            put(store, verbs::AcknowledgeInbox { device, up_to }, reply, done);
        }
        Question::Callees { account, conversation } => {
            put(store, verbs::Callees { account, conversation }, reply, callees);
        }
    }
}

fn put<V: Verb>(
    store: &Store,
    verb: V,
    reply: impl FnOnce(Result<Answer, StoreError>) + Send + 'static,
    answer: fn(V::Output) -> Answer,
) {
    store.submit(verb, move |result| reply(result.map_or_else(refusal, |output| Ok(answer(output)))));
}

/// What a failed verb means to the one who asked.
fn refusal(error: verbs::StoreError) -> Result<Answer, StoreError> {
    use verbs::StoreError as E;
    match error {
        E::NotFound => Ok(Answer::NotFound),
        E::AlreadyExists | E::NameTaken => Ok(Answer::AlreadyExists),
        E::Conflict => Ok(Answer::Conflict),
        E::LimitReached => Ok(Answer::LimitReached),
        // The exchange checks fields; what it can't know to be out of range is a thing that can't be there.
        E::Invalid | E::InviteRefused => Ok(Answer::NotFound),
        E::Busy => Err(StoreError::Busy),
        _ => Err(StoreError::Unavailable),
    }
}

fn done((): ()) -> Answer {
    Answer::Done
}

fn account(found: verbs::FoundAccount) -> Answer {
    Answer::Account { account: found.account, name: found.name, account_key: found.account_key }
}

fn created(created: Created) -> Answer {
    match created {
        Created::New { conversation, deliveries: all } => Answer::Created { conversation, deliveries: deliveries(all) },
        Created::Existing { conversation } => Answer::Existing { conversation },
    }
}

fn committed(committed: verbs::Committed) -> Answer {
    let deliveries = deliveries(committed.deliveries);
    Answer::Committed { entry: committed.entry, members: committed.members, deliveries }
}

fn deliveries(all: Vec<verbs::Delivery>) -> Vec<Delivery> {
    all.into_iter().map(|(account, device, entry)| Delivery { account, device, entry }).collect()
}

fn callees(all: Vec<verbs::Callee>) -> Answer {
    let callee = |callee: verbs::Callee| Callee { account: callee.account, calls_from: callee.calls_from };
    Answer::Callees(all.into_iter().map(callee).collect())
}
