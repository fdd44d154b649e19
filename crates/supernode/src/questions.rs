//! What the exchange asks, as the store's verbs: one question is one verb.

use ahoy_core::{Answer, CallWelcome, Callee, Commit, ContactChange, Delivery, FoundAccount, Question, StoreError};
use ahoy_store as verbs;
use ahoy_store::{Created, Day, Sent, Store, Verb};

#[cfg(test)]
mod tests;

/// Puts a question to the store. `reply` is called exactly once and must not block.
pub(crate) fn ask(store: &Store, question: Question, reply: impl FnOnce(Result<Answer, StoreError>) + Send + 'static) {
    match question {
        Question::PublishKeyPackages { account, device, packages, last_resort } => {
            put(store, verbs::PublishKeyPackages { account, device, packages, last_resort }, reply, done);
        }
        Question::ClaimKeyPackages { account } => {
            put(store, verbs::ClaimKeyPackages { account }, reply, Answer::KeyPackages);
        }
        Question::FetchInbox { device, after } => {
            put(store, verbs::FetchInbox { device, after }, reply, Answer::InboxEntries);
        }
        Question::Acknowledge { device, inbox, logs } => {
            put(store, verbs::Acknowledge { device, inbox, logs }, reply, done);
        }
        Question::FindAccount { .. }
        | Question::SearchDirectory { .. }
        | Question::CheckIn { .. }
        | Question::ListDevices { .. }
        | Question::MarkSeen { .. }
        | Question::ChangeSettings { .. }
        | Question::ListContacts { .. }
        | Question::RequestContact { .. }
        | Question::AnswerContact { .. }
        | Question::RemoveContact { .. }
        | Question::BlockAccount { .. }
        | Question::Report { .. } => ask_about_people(store, question, reply),
        Question::ListConversations { .. }
        | Question::CreateConversation { .. }
        | Question::FetchGroupInfo { .. }
        | Question::Commit(_)
        | Question::SendMessage { .. }
        | Question::FetchLog { .. }
        | Question::ListMemberIds { .. }
        | Question::FetchMembers { .. }
        | Question::SetReceipt { .. }
        | Question::FetchReceipts { .. }
        | Question::LeaveConversation { .. }
        | Question::Callees { .. } => ask_about_conversations(store, question, reply),
    }
}

fn ask_about_people(
    store: &Store,
    question: Question,
    reply: impl FnOnce(Result<Answer, StoreError>) + Send + 'static,
) {
    match question {
        Question::FindAccount { name } => put(store, verbs::FindAccount { name }, reply, |found| accounts(vec![found])),
        Question::SearchDirectory { prefix } => put(store, verbs::SearchDirectory { prefix }, reply, accounts),
        Question::CheckIn { account, device, serial, today } => {
            let today = Day(today.0);
            put(store, verbs::CheckIn { account, device, serial, today }, reply, Answer::Devices);
        }
        Question::ListDevices { account, today } => {
            put(store, verbs::ListDevices { account, today: Day(today.0) }, reply, Answer::Devices);
        }
        Question::MarkSeen { account, today } => {
            put(store, verbs::MarkSeen { account, today: Day(today.0) }, reply, done);
        }
        Question::ChangeSettings { account, change } => {
            put(store, verbs::ChangeSettings { account, change }, reply, Answer::Settings);
        }
        Question::ListContacts { account, after, today } => {
            let today = Day(today.0);
            put(store, verbs::ListContacts { account, after, today }, reply, Answer::Contacts);
        }
        Question::RequestContact { account, peer, note, at } => {
            put(store, verbs::RequestContact { account, peer, note, at }, reply, contact);
        }
        Question::AnswerContact { account, peer, accept, at } => {
            put(store, verbs::AnswerContact { account, peer, accept, at }, reply, contact);
        }
        Question::RemoveContact { account, peer } => {
            put(store, verbs::RemoveContact { account, peer }, reply, contact);
        }
        Question::BlockAccount { account, peer, block, at } => {
            put(store, verbs::BlockAccount { account, peer, block, at }, reply, contact);
        }
        Question::Report { account, about, sealed, at } => {
            put(store, verbs::Report { account, about, sealed, at }, reply, done);
        }
        _ => unreachable!("only questions about people come here"),
    }
}

fn ask_about_conversations(
    store: &Store,
    question: Question,
    reply: impl FnOnce(Result<Answer, StoreError>) + Send + 'static,
) {
    match question {
        Question::ListConversations { account, device, after } => {
            put(store, verbs::ListConversations { account, device, after }, reply, Answer::Conversations);
        }
        Question::CreateConversation { account, device, conversation, peer, epoch, group_info, welcomes } => {
            let welcomes = welcomes.into_iter().map(welcoming).collect();
            let verb = verbs::CreateConversation { account, device, conversation, peer, epoch, group_info, welcomes };
            put(store, verb, reply, created);
        }
        Question::FetchGroupInfo { account, conversation } => {
            put(store, verbs::FetchGroupInfo { account, conversation }, reply, Answer::GroupInfo);
        }
        Question::Commit(next) => put(store, commit(*next), reply, committed),
        Question::SendMessage { account, device, conversation, number, generation, epoch, sealed, at_ms } => {
            let verb = verbs::SendMessage { account, device, conversation, number, generation, epoch, sealed, at_ms };
            put(store, verb, reply, sent);
        }
        Question::FetchLog { account, conversation, after } => {
            put(store, verbs::FetchLog { account, conversation, after }, reply, Answer::LogEntries);
        }
        Question::ListMemberIds { account, conversation } => {
            put(store, verbs::ListMemberIds { account, conversation }, reply, Answer::MemberIds);
        }
        Question::FetchMembers { account, conversation } => {
            put(store, verbs::FetchMembers { account, conversation }, reply, Answer::Members);
        }
        Question::SetReceipt { account, device, conversation, sealed } => {
            put(store, verbs::SetReceipt { account, device, conversation, sealed }, reply, receipt);
        }
        Question::FetchReceipts { account, conversation, after } => {
            put(store, verbs::FetchReceipts { account, conversation, after }, reply, Answer::Receipts);
        }
        Question::LeaveConversation { account, device, conversation, at_ms } => {
            put(store, verbs::LeaveConversation { account, device, conversation, at_ms }, reply, appended);
        }
        Question::Callees { account, conversation } => {
            put(store, verbs::Callees { account, conversation }, reply, callees);
        }
        _ => unreachable!("only questions about conversations come here"),
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
        E::Forbidden => Ok(Answer::Forbidden),
        E::AlreadyExists | E::NameTaken => Ok(Answer::AlreadyExists),
        E::Conflict => Ok(Answer::Conflict),
        E::LimitReached => Ok(Answer::LimitReached),
        E::StateTooOld => Ok(Answer::StateTooOld),
        // The exchange checks fields; what it can't know to be out of range is a thing that can't be there.
        E::Invalid | E::InviteRefused => Ok(Answer::NotFound),
        E::Busy => Err(StoreError::Busy),
        // Other failures of the store are in its own log lines; this one only the operator can end.
        E::Full => {
            tracing::warn!(%error, "the store failed");
            Err(StoreError::Unavailable)
        }
        _ => Err(StoreError::Unavailable),
    }
}

fn done((): ()) -> Answer {
    Answer::Done
}

fn accounts(all: Vec<verbs::FoundAccount>) -> Answer {
    let found = |found: verbs::FoundAccount| FoundAccount {
        account: found.account,
        name: found.name,
        account_key: found.account_key,
        request_key: found.request_key,
    };
    Answer::Accounts(all.into_iter().map(found).collect())
}

fn contact(change: verbs::ContactChange) -> Answer {
    Answer::Contact(Box::new(ContactChange { own: change.own, other: change.other }))
}

fn welcoming(welcoming: ahoy_core::Welcoming) -> verbs::Welcoming {
    verbs::Welcoming { devices: welcoming.devices, welcome: welcoming.welcome }
}

fn commit(commit: Commit) -> verbs::Commit {
    verbs::Commit {
        account: commit.account,
        device: commit.device,
        conversation: commit.conversation,
        generation: commit.generation,
        epoch: commit.epoch,
        commit: commit.commit,
        group_info: commit.group_info,
        welcomes: commit.welcomes.into_iter().map(welcoming).collect(),
        add: commit.add,
        remove: commit.remove,
        at_ms: commit.at_ms,
    }
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

fn sent(sent: Sent) -> Answer {
    match sent {
        Sent::Appended(entry) => appended(entry),
        Sent::Repeated(newest) => {
            Answer::Repeated { newest: newest.map(|newest| (Box::new(newest.entry), newest.members)) }
        }
    }
}

fn appended(appended: verbs::Appended) -> Answer {
    Answer::Appended { entry: appended.entry, members: appended.members }
}

fn receipt(set: verbs::ReceiptSet) -> Answer {
    Answer::ReceiptSet { receipt: set.receipt, members: set.members }
}

fn deliveries(all: Vec<verbs::Delivery>) -> Vec<Delivery> {
    all.into_iter().map(|(account, device, entry)| Delivery { account, device, entry }).collect()
}

fn callees(all: Vec<verbs::Callee>) -> Answer {
    let callee = |callee: verbs::Callee| {
        let welcome = match callee.welcome {
            verbs::CallWelcome::Rings => CallWelcome::Rings,
            verbs::CallWelcome::BecomesRequest => CallWelcome::BecomesRequest,
            verbs::CallWelcome::Unreachable => CallWelcome::Unreachable,
        };
        Callee { account: callee.account, welcome }
    };
    Answer::Callees(all.into_iter().map(callee).collect())
}
