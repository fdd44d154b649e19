//! The store on disk and the one in memory are the same thing: whatever is asked of both, they answer alike.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::mpsc;

use ahoy_core::testing::MemoryStore;
use ahoy_core::{Commit, Day, Welcoming};
use ahoy_proto::{AccountId, ConversationId, DeviceId, Name, UnixTime, v1};
use ahoy_store::{AddAccount, AddDevice, Admission, Device, NewAccount, Recovery};
use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use tempfile::TempDir;

use super::*;

/// Accounts, each with two devices: its own number, and ten more.
const ACCOUNTS: std::ops::RangeInclusive<u8> = 1..=3;

/// Conversations that there may be.
const CONVERSATIONS: std::ops::Range<u8> = 100..104;

/// Seconds since the Unix epoch at which everything begins.
const BEGINNING: u64 = 20_000 * 86_400;

fn account(number: u8) -> AccountId {
    AccountId([number; 16])
}

fn name(number: u8) -> Name {
    Name::parse(&format!("name{number}")).unwrap()
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Both stores, in the same state.
struct Both {
    memory: MemoryStore,
    store: Store,
    _folder: TempDir,
    /// Questions and what they came to, by name.
    heard: BTreeSet<String>,
}

impl Both {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = Store::open(&folder.path().join("ahoy.db")).unwrap();
        let mut memory = MemoryStore::default();
        for number in ACCOUNTS {
            memory.add_account(account(number), name(number), [number; 32]);
            let made = NewAccount {
                account: account(number),
                name: name(number),
                account_key: [number; 32],
                request_key: None,
                opaque_record: vec![1],
                sealed_account_key: vec![2],
                recovery: Recovery { verifier: [3; 32], sealed_account_key: vec![4] },
            };
            let at = UnixTime(0);
            let device = Self::device(number);
            run(&store, AddAccount { account: made, device, admission: Admission::Anyone, invite: None, at });
            run(&store, AddDevice { account: account(number), device: Self::device(number + 10), at });
            for device in [number, number + 10] {
                memory.add_device(account(number), DeviceId([device; 16]));
            }
        }
        Self { memory, store, _folder: folder, heard: BTreeSet::new() }
    }

    fn device(number: u8) -> Device {
        let device = DeviceId([number; 16]);
        Device { device, name: "device".to_owned(), device_key: [number; 32], binding: vec![5] }
    }

    fn ask(&mut self, question: Question) -> (Answer, Answer) {
        let (send, answer) = mpsc::channel();
        ask(&self.store, question.clone(), move |answer| send.send(answer).unwrap());
        (self.memory.answer(question), answer.recv().unwrap().unwrap())
    }

    /// Asks both and compares, but for what is each store's own: inbox sequences, and the order of members.
    fn check(&mut self, question: Question) {
        let (memory, store) = self.ask(question.clone());
        self.heard.insert(format!("{} {}", variant(&question), variant(&store)));
        assert_eq!(comparable(memory), comparable(store), "memory and store on {question:?}");
    }

    fn forget_device(&mut self, account: AccountId, device: DeviceId) {
        self.memory.remove_device(device);
        let verb = verbs::RevokeDevice { account, device, at: UnixTime(BEGINNING) };
        let (send, revoked) = mpsc::channel();
        self.store.submit(verb, move |result| send.send(result).unwrap());
        _ = revoked.recv().unwrap();
    }

    /// Acknowledges the first entries of an inbox, which have other numbers in each store.
    fn acknowledge_inbox(&mut self, device: DeviceId, count: usize) {
        let (memory, store) = self.ask(Question::FetchInbox { device, after: 0 });
        let [memory, store] = [memory, store].map(|answer| {
            let Answer::InboxEntries(inbox) = answer else { panic!("not an inbox: {answer:?}") };
            let last = count.checked_sub(1).and_then(|last| inbox.entries.get(last));
            last.map_or(0, |entry| entry.sequence)
        });
        let acknowledge = |inbox| Question::Acknowledge { device, inbox, logs: Vec::new() };
        assert_eq!(self.memory.answer(acknowledge(memory)), Answer::Done);
        let (send, answer) = mpsc::channel();
        ask(&self.store, acknowledge(store), move |answer| send.send(answer).unwrap());
        assert_eq!(answer.recv().unwrap(), Ok(Answer::Done));
    }

    /// Everything that can be looked at.
    fn check_all(&mut self, today: Day) {
        for number in ACCOUNTS {
            let account = account(number);
            self.check(Question::ListDevices { account, today });
            self.check(Question::ListContacts { account, after: None, today });
            for device in [number, number + 10].map(|device| DeviceId([device; 16])) {
                self.check(Question::ListConversations { account, device, after: None });
                self.check(Question::FetchInbox { device, after: 0 });
            }
            for conversation in CONVERSATIONS.map(|number| ConversationId([number; 16])) {
                self.check(Question::FetchGroupInfo { account, conversation });
                self.check(Question::FetchLog { account, conversation, after: 0 });
                self.check(Question::FetchMembers { account, conversation });
                self.check(Question::ListMemberIds { account, conversation });
                self.check(Question::FetchReceipts { account, conversation, after: 0 });
                self.check(Question::Callees { account, conversation });
            }
        }
    }
}

fn run<V: Verb<Output = ()>>(store: &Store, verb: V) {
    let (send, result) = mpsc::channel();
    store.submit(verb, move |result| send.send(result).unwrap());
    result.recv().unwrap().unwrap();
}

/// An answer without what the two stores may differ in.
fn comparable(answer: Answer) -> Answer {
    let unnumbered = |mut deliveries: Vec<Delivery>| {
        deliveries.iter_mut().for_each(|delivery| delivery.entry.sequence = 0);
        deliveries
    };
    let sorted = |mut members: Vec<AccountId>| {
        members.sort_unstable();
        members
    };
    match answer {
        Answer::Created { conversation, deliveries } => {
            Answer::Created { conversation, deliveries: unnumbered(deliveries) }
        }
        Answer::Committed { entry, members, deliveries } => {
            Answer::Committed { entry, members: sorted(members), deliveries: unnumbered(deliveries) }
        }
        Answer::Appended { entry, members } => Answer::Appended { entry, members: sorted(members) },
        Answer::ReceiptSet { receipt, members } => Answer::ReceiptSet { receipt, members: sorted(members) },
        Answer::MemberIds(members) => Answer::MemberIds(sorted(members)),
        Answer::Callees(mut callees) => {
            callees.sort_unstable_by_key(|callee| callee.account);
            Answer::Callees(callees)
        }
        Answer::InboxEntries(mut inbox) => {
            inbox.entries.iter_mut().for_each(|entry| entry.sequence = 0);
            Answer::InboxEntries(inbox)
        }
        other => other,
    }
}

/// What is asked, and how many hours after the last question.
#[derive(Debug, Clone)]
struct Step {
    hours: u64,
    asks: u8,
    second_device: bool,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Find(u8),
    Search(&'static str),
    CheckIn(u64),
    MarkSeen,
    Settings { calls_from: Option<i32>, listed: Option<bool> },
    Request(u8),
    Answer(u8, bool),
    Remove(u8),
    Block(u8, bool),
    Report(u8),
    Publish(bool),
    Claim(u8),
    Create { id: u8, peer: Option<u8>, welcome: Vec<u8> },
    Commit { id: u8, behind: u64, welcome: Vec<u8>, add: Option<u8>, remove: Option<u8> },
    Send { id: u8, number: u64, behind: u64 },
    Acknowledge { id: u8, sequence: u64 },
    AcknowledgeInbox(usize),
    Receipt(u8),
    Leave(u8),
    Revoke,
    LookAtAll,
}

fn what() -> impl Strategy<Value = What> {
    let welcome = || proptest::collection::vec(prop_oneof![ACCOUNTS, 11..=13_u8], 0..3);
    let people = prop_oneof![
        (1..=4_u8).prop_map(What::Find),
        prop_oneof![Just("nam"), Just("name1"), Just("x")].prop_map(What::Search),
        (0..6_u64).prop_map(What::CheckIn),
        Just(What::MarkSeen),
        (proptest::option::of(1..=3_i32), any::<Option<bool>>())
            .prop_map(|(calls_from, listed)| What::Settings { calls_from, listed }),
        ACCOUNTS.prop_map(What::Request),
        ACCOUNTS.prop_map(What::Request),
        (ACCOUNTS, any::<bool>()).prop_map(|(peer, accept)| What::Answer(peer, accept)),
        ACCOUNTS.prop_map(What::Remove),
        (ACCOUNTS, any::<bool>()).prop_map(|(peer, block)| What::Block(peer, block)),
        (1..=4_u8).prop_map(What::Report),
        any::<bool>().prop_map(What::Publish),
        (1..=4_u8).prop_map(What::Claim),
    ];
    let conversations = prop_oneof![
        (CONVERSATIONS, proptest::option::of(1..=4_u8), welcome()).prop_map(|(id, peer, welcome)| What::Create {
            id,
            peer,
            welcome
        }),
        (CONVERSATIONS, 0..8_u64, welcome(), proptest::option::of(1..=4_u8), proptest::option::of(ACCOUNTS)).prop_map(
            |(id, behind, welcome, add, remove)| {
                let remove = remove.filter(|_| behind > 4);
                What::Commit { id, behind: behind / 7, welcome, add, remove }
            }
        ),
        (CONVERSATIONS, 0..12_u64, 0..7_u64).prop_map(|(id, number, behind)| What::Send { id, number, behind }),
        (CONVERSATIONS, 0..12_u64, 0..7_u64).prop_map(|(id, number, behind)| What::Send { id, number, behind }),
        (CONVERSATIONS, 0..20_u64).prop_map(|(id, sequence)| What::Acknowledge { id, sequence }),
        (0..3_usize).prop_map(What::AcknowledgeInbox),
        CONVERSATIONS.prop_map(What::Receipt),
        CONVERSATIONS.prop_map(What::Leave),
    ];
    prop_oneof![8 => people, 16 => conversations, 1 => Just(What::Revoke), 1 => Just(What::LookAtAll)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..100_u64, ACCOUNTS, any::<bool>(), what());
    let step = step.prop_map(|(hours, asks, second_device, what)| Step { hours, asks, second_device, what });
    proptest::collection::vec(step, 1..150)
}

/// What a device knows of a conversation, so that random commits and messages are sometimes the next ones.
fn listed(both: &mut Both, account: AccountId, device: DeviceId, conversation: ConversationId) -> v1::Conversation {
    let (_, answer) = both.ask(Question::ListConversations { account, device, after: None });
    let Answer::Conversations(all) = answer else { panic!("not a list: {answer:?}") };
    let known = all.conversations.into_iter().find(|known| known.conversation == conversation.0[..]);
    known.unwrap_or_default()
}

fn people(step: &Step, at: UnixTime, today: Day, device: DeviceId) -> Option<Question> {
    let asks = account(step.asks);
    Some(match step.what {
        What::Find(number) => Question::FindAccount { name: name(number) },
        What::Search(prefix) => Question::SearchDirectory { prefix: prefix.to_owned() },
        What::CheckIn(serial) => Question::CheckIn { account: asks, device, serial, today },
        What::MarkSeen => Question::MarkSeen { account: asks, today },
        What::Settings { calls_from, listed } => {
            let change = v1::ChangeSettings { calls_from, listed, ..v1::ChangeSettings::default() };
            Question::ChangeSettings { account: asks, change }
        }
        What::Request(peer) => Question::RequestContact { account: asks, peer: account(peer), note: bytes("note"), at },
        What::Answer(peer, accept) => Question::AnswerContact { account: asks, peer: account(peer), accept, at },
        What::Remove(peer) => Question::RemoveContact { account: asks, peer: account(peer) },
        What::Block(peer, block) => Question::BlockAccount { account: asks, peer: account(peer), block, at },
        What::Report(about) => Question::Report { account: asks, about: account(about), sealed: bytes("report"), at },
        What::Publish(last) => {
            let last_resort = last.then(|| bytes("last resort"));
            Question::PublishKeyPackages {
                account: asks,
                device,
                packages: vec![bytes("one"), bytes("two")],
                last_resort,
            }
        }
        What::Claim(whose) => Question::ClaimKeyPackages { account: account(whose) },
        _ => return None,
    })
}

fn conversations(both: &mut Both, step: &Step, at: UnixTime, device: DeviceId) -> Option<Question> {
    let (asks, at_ms) = (account(step.asks), at.0 * 1_000);
    let to = |welcome: &[u8]| {
        let devices: Vec<_> = welcome.iter().map(|device| DeviceId([*device; 16])).collect();
        let welcoming = Welcoming { devices, welcome: bytes("welcome") };
        if welcome.is_empty() { Vec::new() } else { vec![welcoming] }
    };
    let id = |number: u8| ConversationId([number; 16]);
    Some(match &step.what {
        What::Create { id: number, peer, welcome } => Question::CreateConversation {
            account: asks,
            device,
            conversation: id(*number),
            peer: peer.map(account),
            epoch: 1,
            group_info: bytes("group info"),
            welcomes: to(welcome),
        },
        What::Commit { id: number, behind, welcome, add, remove } => {
            let known = listed(both, asks, device, id(*number));
            Question::Commit(Box::new(Commit {
                account: asks,
                device,
                conversation: id(*number),
                generation: 1,
                epoch: known.epoch.saturating_sub(*behind),
                commit: bytes("commit"),
                group_info: bytes("next group info"),
                welcomes: to(welcome),
                add: add.map(account).into_iter().collect(),
                remove: remove.map(account).into_iter().collect(),
                at_ms,
            }))
        }
        What::Send { id: number, number: ahead, behind } => {
            let known = listed(both, asks, device, id(*number));
            Question::SendMessage {
                account: asks,
                device,
                conversation: id(*number),
                // Mostly the next one, at times one before or after it.
                number: known.sent + [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 2, 3][*ahead as usize],
                generation: 1,
                epoch: known.epoch.saturating_sub(*behind),
                sealed: bytes("message"),
                at_ms,
            }
        }
        What::Acknowledge { id: number, sequence } => {
            Question::Acknowledge { device, inbox: 0, logs: vec![(id(*number), *sequence)] }
        }
        What::Receipt(number) => {
            Question::SetReceipt { account: asks, device, conversation: id(*number), sealed: bytes("receipt") }
        }
        What::Leave(number) => Question::LeaveConversation { account: asks, device, conversation: id(*number), at_ms },
        _ => return None,
    })
}

/// The name of a variant.
fn variant(of: &impl std::fmt::Debug) -> String {
    format!("{of:?}").chars().take_while(|character| character.is_alphanumeric()).collect()
}

/// Gives the questions that were asked and what they came to.
fn play(steps: &[Step]) -> BTreeSet<String> {
    let mut both = Both::new();
    // Strangers hardly ever come to a conversation by chance: one account begins as everybody's contact, and at times with
    // a one-to-one conversation.
    for (asks, peer) in [(1, 2), (2, 1), (1, 3), (3, 1)] {
        let at = UnixTime(BEGINNING);
        both.check(Question::RequestContact { account: account(asks), peer: account(peer), note: Bytes::new(), at });
    }
    if steps.len().is_multiple_of(2) {
        both.check(Question::CreateConversation {
            account: account(1),
            device: DeviceId([1; 16]),
            conversation: ConversationId([CONVERSATIONS.start; 16]),
            peer: Some(account(2)),
            epoch: 1,
            group_info: bytes("group info"),
            welcomes: vec![Welcoming { devices: vec![DeviceId([2; 16])], welcome: bytes("welcome") }],
        });
    }
    let mut revoked = BTreeSet::new();
    let mut at = UnixTime(BEGINNING);
    for step in steps {
        at = UnixTime(at.0 + step.hours * 3_600);
        let today = Day(u32::try_from(at.0 / 86_400).unwrap());
        let device = DeviceId([step.asks + if step.second_device { 10 } else { 0 }; 16]);
        // The exchange asks for nobody who is not there, and nobody about itself.
        let of_itself = match step.what {
            What::Request(peer) | What::Answer(peer, _) | What::Remove(peer) | What::Block(peer, _) => {
                peer == step.asks
            }
            What::Create { peer, .. } => peer == Some(step.asks),
            _ => false,
        };
        if of_itself || revoked.contains(&device) {
            continue;
        }
        match step.what {
            What::AcknowledgeInbox(count) => both.acknowledge_inbox(device, count),
            What::Revoke => {
                both.forget_device(account(step.asks), device);
                revoked.insert(device);
            }
            What::LookAtAll => both.check_all(today),
            _ => {
                let question = people(step, at, today, device).or_else(|| conversations(&mut both, step, at, device));
                both.check(question.unwrap());
            }
        }
    }
    let today = Day(u32::try_from(at.0 / 86_400).unwrap());
    both.check_all(today);
    both.heard
}

/// What must come up in the playing, or it would show little.
const EXPECTED: [&str; 34] = [
    "FindAccount Accounts",
    "FindAccount NotFound",
    "SearchDirectory Accounts",
    "CheckIn Devices",
    "CheckIn StateTooOld",
    "ChangeSettings Settings",
    "RequestContact Contact",
    "RequestContact Forbidden",
    "AnswerContact Contact",
    "AnswerContact NotFound",
    "RemoveContact Contact",
    "RemoveContact NotFound",
    "BlockAccount Contact",
    "Report Done",
    "Report NotFound",
    "PublishKeyPackages Done",
    "ClaimKeyPackages KeyPackages",
    "ClaimKeyPackages NotFound",
    "CreateConversation Created",
    "CreateConversation Existing",
    "CreateConversation Forbidden",
    "CreateConversation AlreadyExists",
    "CreateConversation Conflict",
    "Commit Committed",
    "Commit Conflict",
    "Commit Forbidden",
    "Commit NotFound",
    "SendMessage Appended",
    "SendMessage Repeated",
    "SendMessage Conflict",
    "SendMessage NotFound",
    "SetReceipt ReceiptSet",
    "LeaveConversation Appended",
    "LeaveConversation Forbidden",
];

#[test]
fn the_store_in_memory_answers_as_the_one_on_disk_does() {
    let heard = RefCell::new(BTreeSet::new());
    // Always the same games, so that what they come to is no matter of luck.
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(ProptestConfig { cases: 96, ..ProptestConfig::default() }, rng);
    let played = runner.run(&steps(), |steps| {
        heard.borrow_mut().extend(play(&steps));
        Ok(())
    });
    played.unwrap();
    let heard = heard.into_inner();
    let missing: Vec<_> = EXPECTED.iter().filter(|expected| !heard.contains(**expected)).collect();
    assert!(missing.is_empty(), "the playing did not come to {missing:?}, but to {heard:?}");
}
