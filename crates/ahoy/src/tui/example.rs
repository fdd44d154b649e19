//! A made-up evening aboard: the model that the tests and the pictures of the documentation show.

use ahoy_client::member::{
    Change, Contact, ContactState, ConversationStanding, Kind, MemberOf, Message, MessageBody, MessageRef, Person,
    Presence, Summary,
};
use ahoy_proto::v1::{Availability, LastSeen};
use ahoy_proto::{AccountId, CallId, ConversationId, DeviceId, Name};
use jiff::tz::TimeZone;

use super::message::{Input, News};
use super::model::{Call, CallStage, Entry, Figures, Focus, Me, Model, Receipt};
use super::theme::Theme;
use super::update::update;
use crate::when::Clock;

/// Tuesday 25 November 2025, 20:14 UTC.
const NOW_MS: u64 = 1_764_101_640_000;
const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;

const PEOPLE: [&str; 8] = ["alice", "bob", "carol", "dora.k", "emil", "yuki", "frida", "old_jack"];

pub(super) const BOB: usize = 1;
const CREW: u8 = 1;

pub(super) fn account(index: usize) -> AccountId {
    // The first byte colours the name.
    AccountId([index as u8; 16])
}

fn person(index: usize) -> Person {
    Person { account: account(index), name: Name::parse(PEOPLE[index]).unwrap() }
}

pub(super) fn conversation(index: u8) -> ConversationId {
    ConversationId([index; 16])
}

fn tell(model: &mut Model, news: News) {
    update(model, Input::News(news));
}

fn contact(model: &mut Model, index: usize, state: ContactState, availability: Availability, mood: &str) {
    let contact = Contact {
        person: person(index),
        state,
        since: NOW_MS / 1_000 - index as u64,
        note: None,
        alias: None,
        presence: Presence { availability, mood: mood.to_owned(), last_seen: LastSeen::ThisWeek },
    };
    tell(model, News::Contact(contact));
}

fn summary(id: u8, kind: Kind, members: usize, read: u64) -> News {
    let standing = ConversationStanding::Inside;
    News::Conversation(Summary { conversation: conversation(id), kind, standing, members, head: 99, read })
}

/// Somebody says something; gives the reference.
fn say(model: &mut Model, place: (u8, u64), by: usize, at_ms: u64, body: MessageBody) -> MessageRef {
    let (id, sequence) = place;
    let reference = MessageRef { device: DeviceId([by as u8; 16]), number: sequence };
    let message = Message { reference, account: account(by), sequence: Some(sequence), at_ms, body };
    tell(model, News::History { conversation: conversation(id), change: Change::Put(message) });
    reference
}

fn text(text: &str, reply_to: Option<MessageRef>) -> MessageBody {
    MessageBody::Text { text: text.to_owned(), reply_to }
}

fn change(model: &mut Model, id: u8, change: Change) {
    tell(model, News::History { conversation: conversation(id), change });
}

/// Alice's evening, with the conversation with Bob open.
pub(super) fn evening() -> Model {
    let clock = Clock { now_ms: NOW_MS, zone: TimeZone::UTC };
    let mut model = Model::new(clock, Theme::Dark);
    let me = Me { account: account(0), name: "alice".to_owned(), network: "example.org".to_owned() };
    contacts(&mut model);
    tell(&mut model, summary(2, Kind::Pair(account(BOB), Some(person(BOB))), 2, 99));
    with_bob(&mut model);
    crew(&mut model);
    tell(&mut model, summary(3, Kind::Pair(account(2), Some(person(2))), 2, 99));
    say(&mut model, (3, 1), 2, NOW_MS - DAY_MS, text("Good winds!", None));
    tell(&mut model, summary(4, Kind::Pair(account(5), Some(person(5))), 2, 0));
    say(&mut model, (4, 1), 5, NOW_MS - 13 * DAY_MS, text("また明日 🌙", None));
    tell(&mut model, News::SignedIn { me, round_trip_ms: 18 });
    update(&mut model, Input::News(News::Lines { conversation: conversation(2), lines: Vec::new(), are_more: false }));
    model.open = Entry::Conversation(conversation(2));
    model.focus = Focus::Input;
    model
}

fn contacts(model: &mut Model) {
    model.me.account = account(0);
    contact(model, BOB, ContactState::Accepted, Availability::Online, "back at noon");
    contact(model, 2, ContactState::Accepted, Availability::Away, "");
    contact(model, 3, ContactState::Accepted, Availability::DoNotDisturb, "on watch");
    contact(model, 4, ContactState::Accepted, Availability::Offline, "");
    contact(model, 5, ContactState::Accepted, Availability::Online, "東京");
    contact(model, 6, ContactState::Asked, Availability::Offline, "");
    contact(model, 7, ContactState::Asks, Availability::Offline, "");
    let mut jack = model.contacts[&account(7)].clone();
    jack.note = Some("We met in the harbour of Cuxhaven. I have your compass.".to_owned());
    tell(model, News::Contact(jack));
}

fn with_bob(model: &mut Model) {
    say(model, (2, 1), BOB, NOW_MS - DAY_MS - 15 * MINUTE_MS, text("The mast is up. Took all day.", None));
    say(model, (2, 2), 0, NOW_MS - DAY_MS - 14 * MINUTE_MS, text("Pictures or it did not happen!", None));
    let question = say(model, (2, 3), BOB, NOW_MS - 22 * MINUTE_MS, text("Do we still sail on Saturday?", None));
    say(
        model,
        (2, 4),
        BOB,
        NOW_MS - 21 * MINUTE_MS,
        text("The forecast says north-west 5, gusts up to 7, and it turns to the west in the afternoon.", None),
    );
    let answer = say(model, (2, 5), 0, NOW_MS - 12 * MINUTE_MS, text("Aye. We leave at nine.", Some(question)));
    change(
        model,
        2,
        Change::Edited { target: answer, by: account(0), text: "Aye. We leave at eight.".to_owned(), at_ms: NOW_MS },
    );
    for (by, emoji) in [(BOB, "👍"), (BOB, "❤️"), (0, "❤️")] {
        change(model, 2, Change::Reacted { target: answer, by: account(by), emoji: emoji.to_owned(), set: true });
    }
    say(model, (2, 6), 0, NOW_MS - 3 * MINUTE_MS, text("Call me when you are home?", None));
    let receipt = Receipt { delivered: 6, read: 5 };
    tell(model, News::Receipt { conversation: conversation(2), account: account(BOB), receipt });
    tell(model, News::Typing { conversation: conversation(2), account: account(BOB), typing: true });
}

fn crew(model: &mut Model) {
    tell(model, summary(CREW, Kind::Group { title: "Crew of the Albatross".to_owned() }, 4, 3));
    let member = |index: usize, is_owner| MemberOf {
        account: account(index),
        person: Some(person(index)),
        is_owner,
        devices: 1,
    };
    let members = vec![member(0, true), member(BOB, false), member(2, false), member(3, false)];
    tell(model, News::Members { conversation: conversation(CREW), members });
    let start = NOW_MS - 90 * MINUTE_MS;
    let joined = vec![account(BOB), account(2), account(3)];
    say(model, (CREW, 1), 0, start, MessageBody::Membership { joined, left: Vec::new() });
    say(model, (CREW, 2), 0, start, text("Ahoy, crew! Who brings the coffee?", None));
    say(model, (CREW, 3), 2, start + 8 * MINUTE_MS, text("Me. ☕", None));
    let late = start + 52 * MINUTE_MS;
    let gone = say(model, (CREW, 4), 3, late, text("no", None));
    change(model, CREW, Change::Deleted { target: gone, by: account(3) });
    say(model, (CREW, 5), 3, late + MINUTE_MS, text("I take the night watch, then.", None));
    say(
        model,
        (CREW, 6),
        BOB,
        late + 2 * MINUTE_MS,
        text("Grüße aus Föhr — see https://example.org/tides for the tides.", None),
    );
}

/// A call of this evening.
pub(super) fn call(stage: CallStage) -> Call {
    Call { peer: Name::parse("bob").unwrap(), stage }
}

/// How a good call fares.
pub(super) fn running() -> CallStage {
    let figures = Figures { seconds: 151, loss: 0.004, delay_ms: 60, round_trip_ms: 18, said: 44, heard: 20 };
    CallStage::Running { call: CallId([9; 16]), figures, trouble: None }
}
