//! What is written: every message in every history once, in order, whatever happens on the way.

use super::*;
use crate::member::history::MessageRef;

impl World {
    /// The one-to-one conversation of two, made by the first.
    pub(super) fn pair(&mut self, who: Who, other: Who) -> ConversationId {
        let (named, account) = (self.clients[other].identity.name.clone(), self.clients[other].identity.account);
        let now = self.now.instant;
        self.member(who).verify(&named, Ticket(900), now).unwrap();
        self.settle();
        self.member(who).open_pair(account, Ticket(901), now).unwrap();
        self.settle();
        match self.answer_to(who, Ticket(901)) {
            Ok(Answer::Conversation(conversation)) => conversation,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn say(&mut self, who: Who, conversation: ConversationId, text: &str) -> MessageRef {
        let now = self.now.instant;
        let reference = self.member(who).send(conversation, text, None, None, now).unwrap();
        self.settle();
        reference
    }

    pub(super) fn texts(&self, who: Who, conversation: ConversationId) -> Vec<String> {
        self.clients[who].history.texts(conversation)
    }

    pub(super) fn both_read(&self, conversation: ConversationId, clients: &[Who], texts: &[&str]) {
        for who in clients {
            assert_eq!(self.texts(*who, conversation), texts, "client {who}");
        }
    }
}

#[test]
fn two_people_chat() {
    let (mut world, alice, bob) = World::of_two();
    let conversation = world.pair(alice, bob);
    let first = world.say(alice, conversation, "hello");
    let now = world.now.instant;
    world.member(bob).send(conversation, "hello yourself", Some(first), Some(Ticket(7)), now).unwrap();
    world.settle();
    let sent = world.answer_to(bob, Ticket(7));
    let reference = MessageRef { device: DeviceId([21; 16]), number: 1 };
    assert_eq!(sent, Ok(Answer::Sent { reference, sequence: 2 }));
    world.both_read(conversation, &[alice, bob], &["hello", "hello yourself"]);
    let line = world.clients[alice].history.line(conversation, reference);
    let body = MessageBody::Text { text: "hello yourself".to_owned(), reply_to: Some(first) };
    assert_eq!(line.message.body, body);
    assert_eq!(line.message.at_ms, START * 1000);
    assert_eq!(world.clients[alice].history.lines(conversation), world.clients[bob].history.lines(conversation));
}

#[test]
fn what_is_written_without_a_session_leaves_with_the_next_in_order() {
    let (mut world, alice, bob) = World::of_two();
    let conversation = world.pair(alice, bob);
    world.say(alice, conversation, "0");
    world.lose_link(alice);
    let texts: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    for text in &texts[1..] {
        world.say(alice, conversation, text);
    }
    assert_eq!(world.texts(bob, conversation), ["0"]);
    world.restart(alice);
    // The supernode takes 20 at once.
    world.pass(Duration::from_secs(5));
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    world.both_read(conversation, &[alice, bob], &texts);
    assert!(world.clients[alice].history.lines(conversation).iter().all(|line| line.message.sequence.is_some()));
}

#[test]
fn what_an_earlier_build_has_queued_leaves_with_its_number_in_it() {
    let (mut world, alice, bob) = World::of_two();
    let conversation = world.pair(alice, bob);
    world.lose_link(alice);
    for text in ["one", "two"] {
        world.say(alice, conversation, text);
    }
    for (_, value) in world.clients[alice].disk.iter_mut().filter(|(key, _)| key.starts_with(b"queue/")) {
        let content = v1::Content::decode(&value[..]).unwrap();
        *value = v1::Content { number: 0, ..content }.encode_to_vec();
    }
    world.restart(alice);
    world.both_read(conversation, &[alice, bob], &["one", "two"]);
}

#[test]
fn a_device_that_was_away_catches_up_exactly() {
    let (mut world, alice, bob) = World::of_two();
    let tablet = world.device(2, "bob", 22);
    let conversation = world.pair(alice, bob);
    world.say(alice, conversation, "one");
    world.lose_link(tablet);
    for text in ["two", "three"] {
        world.say(alice, conversation, text);
        world.say(bob, conversation, text);
    }
    world.device(2, "bob", 23);
    world.say(bob, conversation, "four");
    world.restart(tablet);
    let texts = ["one", "two", "two", "three", "three", "four"];
    world.both_read(conversation, &[alice, bob, tablet], &texts);
    assert_eq!(world.clients[tablet].history.gaps(conversation), 0);
}

/// A message and a list of conversations are under way at once, and the list, which is older, is answered last. Gives the conversation
/// after the message, which is "two".
fn overtaken_list(world: &mut World, alice: Who, bob: Who) -> ConversationId {
    let conversation = world.pair(alice, bob);
    world.say(alice, conversation, "one");
    let now = world.now.instant;
    world.member(alice).resync(now);
    world.member(alice).send(conversation, "two", None, None, now).unwrap();
    world.drain_member(alice);
    world.drain_exchange();
    let queue = &mut world.clients[alice].from_supernode;
    let place = queue.iter().position(|message| matches!(message.body, Some(Body::Conversations(_)))).unwrap();
    let Some(Body::Conversations(list)) = &queue[place].body else { unreachable!() };
    assert_eq!(list.conversations[0].sent, 1, "the list is to be of the time before the message");
    let list = queue.remove(place).unwrap();
    queue.push_back(list);
    world.settle();
    conversation
}

#[test]
fn a_list_that_a_message_has_overtaken_uses_no_number_twice() {
    let (mut world, alice, bob) = World::of_two();
    let conversation = overtaken_list(&mut world, alice, bob);
    world.say(alice, conversation, "three");
    world.both_read(conversation, &[alice, bob], &["one", "two", "three"]);
}

#[test]
fn a_list_that_a_message_has_overtaken_does_not_retire_the_device() {
    let (mut world, alice, bob) = World::of_two();
    let conversation = overtaken_list(&mut world, alice, bob);
    let now = world.now.instant;
    world.member(alice).resync(now);
    world.settle();
    world.say(alice, conversation, "three");
    world.both_read(conversation, &[alice, bob], &["one", "two", "three"]);
}

#[test]
fn what_was_taken_in_is_acknowledged_and_forgotten() {
    let (mut world, alice, bob) = World::of_two();
    let conversation = world.pair(alice, bob);
    world.say(alice, conversation, "one");
    world.say(bob, conversation, "two");
    assert_eq!(world.store.log(conversation).len(), 2);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.store.log(conversation).len(), 0);
    assert!(world.store.inbox(DeviceId([21; 16])).is_empty());
    world.say(alice, conversation, "three");
    world.both_read(conversation, &[alice, bob], &["one", "two", "three"]);
}

/// Lets `victim` die after each number of outputs of a chat, and start again; all that was written has to be there once.
fn dies_while_chatting(victim: Who) {
    for outputs in 0..200 {
        let (mut world, alice, bob) = World::of_two();
        let conversation = world.pair(alice, bob);
        world.say(alice, conversation, "first");
        let before = world.clients[victim].outputs;
        world.clients[victim].dies_after = Some(before + outputs);
        for number in 0..4 {
            let now = world.now.instant;
            let own = world.clients[victim].dies_after.is_some_and(|limit| world.clients[victim].outputs < limit);
            for who in [alice, bob] {
                if who != victim || own {
                    world.member(who).send(conversation, &format!("{who} {number}"), None, None, now).unwrap();
                }
            }
            world.settle();
        }
        world.pass(Duration::from_secs(1));
        let done = world.clients[victim].outputs < before + outputs;
        world.restart(victim);
        world.say(alice, conversation, "last");
        world.say(bob, conversation, "last");
        world.pass(Duration::from_secs(5));
        let (ours, theirs) = (world.texts(alice, conversation), world.texts(bob, conversation));
        assert_eq!(ours, theirs, "after {outputs} outputs");
        let of =
            |who: Who| theirs.iter().filter(|text| text.starts_with(&who.to_string())).cloned().collect::<Vec<_>>();
        let survivor: Vec<String> = (0..4).map(|number| format!("{} {number}", 1 - victim)).collect();
        assert_eq!(of(1 - victim), survivor, "after {outputs} outputs");
        let own = of(victim);
        // What was committed before death is there, in order.
        assert!(own.windows(2).all(|pair| pair[0] < pair[1]), "{own:?}");
        let lines = world.clients[victim].history.lines(conversation);
        assert!(lines.iter().all(|line| line.message.sequence.is_some() && !line.failed));
        assert_eq!(world.clients[victim].history.gaps(conversation), 0);
        if done {
            return;
        }
    }
    panic!("the chat has no end");
}

#[test]
fn the_one_who_made_the_conversation_may_die_at_any_point_of_a_chat() {
    dies_while_chatting(0);
}

#[test]
fn the_other_may_die_at_any_point_of_a_chat() {
    dies_while_chatting(1);
}

#[test]
fn an_answer_that_got_lost_sends_nothing_twice() {
    let (mut world, alice, bob) = World::of_two();
    let conversation = world.pair(alice, bob);
    world.clients[alice].tamper = Some(Box::new(|message| {
        if let Some(Body::MessageAccepted(_)) = &message.body {
            message.body = None;
        }
    }));
    for text in ["one", "two", "three"] {
        world.say(alice, conversation, text);
    }
    world.clients[alice].tamper = None;
    world.lose_link(alice);
    world.sign_in(alice);
    world.say(alice, conversation, "four");
    world.both_read(conversation, &[alice, bob], &["one", "two", "three", "four"]);
}

#[test]
fn messages_sealed_before_somebody_came_in_are_sealed_anew_where_they_have_to() {
    let (mut world, alice, bob) = World::of_two();
    let conversation = world.pair(alice, bob);
    world.say(alice, conversation, "one");
    // Alice does not hear of the epochs that Bob's devices make: her message is of one that is over.
    world.clients[alice].tamper = Some(Box::new(|message| {
        if let Some(Body::LogEntry(_)) = &message.body {
            message.body = None;
        }
    }));
    for device in 22..28 {
        world.device(2, "bob", device);
    }
    world.say(alice, conversation, "two");
    world.pass(Duration::from_secs(5));
    world.both_read(conversation, &[alice, bob], &["one", "two"]);
}

#[test]
fn edits_deletions_and_reactions_count_for_whom_they_may() {
    let (mut world, alice, bob) = World::of_two();
    let conversation = world.pair(alice, bob);
    let now = world.now.instant;
    let (first, second) = (world.say(alice, conversation, "one"), world.say(alice, conversation, "two"));
    world.member(alice).edit(conversation, first, "eins", None, now).unwrap();
    world.member(bob).edit(conversation, first, "uno", None, now).unwrap();
    world.member(bob).delete(conversation, first, None, now).unwrap();
    world.member(bob).react(conversation, first, Reaction::Set("👍"), None, now).unwrap();
    world.member(bob).react(conversation, first, Reaction::Set("👎"), None, now).unwrap();
    world.member(bob).react(conversation, first, Reaction::TakeBack("👎"), None, now).unwrap();
    world.member(alice).delete(conversation, second, None, now).unwrap();
    world.member(alice).edit(conversation, second, "zwei", None, now).unwrap();
    world.settle();
    world.both_read(conversation, &[alice, bob], &["eins"]);
    for who in [alice, bob] {
        let line = world.clients[who].history.line(conversation, first);
        assert_eq!(line.reactions, [(AccountId([2; 16]), "👍".to_owned())].into());
        assert!(world.clients[who].history.line(conversation, second).deleted);
    }
}

#[test]
fn what_is_too_long_empty_or_too_much_is_not_taken() {
    let (mut world, alice, bob) = World::of_two();
    let conversation = world.pair(alice, bob);
    let now = world.now.instant;
    let long = "x".repeat(limits::TEXT_MAX + 1);
    let target = MessageRef { device: DeviceId([11; 16]), number: 1 };
    let member = world.member(alice);
    assert_eq!(member.send(conversation, &long, None, None, now), Err(CommandError::Length));
    assert_eq!(member.send(conversation, "", None, None, now), Err(CommandError::Length));
    assert_eq!(member.edit(conversation, target, "", None, now), Err(CommandError::Length));
    assert_eq!(member.react(conversation, target, Reaction::Set(&long), None, now), Err(CommandError::Length));
    let nowhere = ConversationId([9; 16]);
    assert_eq!(member.send(nowhere, "x", None, None, now), Err(CommandError::NoSuchConversation));
    assert_eq!(member.rename(conversation, "x", Ticket(1), now), Err(CommandError::NoSuchConversation));
    world.lose_link(alice);
    let member = world.member(alice);
    for _ in 0..1000 {
        member.send(conversation, "x", None, None, now).unwrap();
    }
    assert_eq!(member.send(conversation, "x", None, None, now), Err(CommandError::TooManyWaiting));
    world.sign_in(alice);
    for _ in 0..20 {
        world.pass(Duration::from_secs(20));
    }
    assert_eq!(world.texts(bob, conversation).len(), 1000);
    // The longest that may be written fits into all that is around it.
    world.say(alice, conversation, &long[1..]);
    assert_eq!(world.texts(bob, conversation).len(), 1001);
}

#[test]
fn state_that_is_older_than_what_was_sent_is_not_used() {
    let (mut world, alice, bob) = World::of_two();
    let conversation = world.pair(alice, bob);
    world.say(alice, conversation, "one");
    let copy = world.clients[alice].disk.clone();
    world.say(alice, conversation, "two");
    world.clients[alice].disk = copy;
    world.restart(alice);
    assert!(world.events(alice).contains(&Event::StateTooOld));
    let now = world.now.instant;
    let _ = world.member(alice).send(conversation, "three", None, None, now);
    world.settle();
    assert_eq!(world.texts(bob, conversation), ["one", "two"]);
}

#[test]
fn messages_that_are_forged_replayed_or_misattributed_are_passed_over() {
    let changes: [fn(&mut v1::LogEntry, &mut v1::SealedMessage); 5] = [
        |_, message| message.sealed = some_bytes(300),
        |_, message| message.sealed = message.sealed.slice(..message.sealed.len() / 2),
        |entry, _| entry.account = some_bytes(16),
        |entry, _| entry.device = some_bytes(16),
        |entry, _| entry.account = Bytes::new(),
    ];
    for change in changes {
        let (mut world, alice, bob) = World::of_two();
        let conversation = world.pair(alice, bob);
        world.say(alice, conversation, "one");
        world.clients[bob].tamper = Some(Box::new(move |message| {
            if let Some(Body::LogEntry(entry)) = &mut message.body
                && let Some(v1::log_entry::Body::Message(mut sealed)) = entry.body.take()
            {
                change(entry, &mut sealed);
                entry.body = Some(v1::log_entry::Body::Message(sealed));
            }
        }));
        world.say(alice, conversation, "two");
        world.clients[bob].tamper = None;
        world.say(alice, conversation, "three");
        world.both_read(conversation, &[bob], &["one", "three"]);
        assert_eq!(world.clients[bob].history.gaps(conversation), 0);
    }
}

#[test]
fn a_message_that_comes_again_under_another_place_is_passed_over() {
    let (mut world, alice, bob) = World::of_two();
    let conversation = world.pair(alice, bob);
    let seen = std::rc::Rc::new(std::cell::RefCell::new(None));
    world.clients[bob].tamper = Some(Box::new(move |message| {
        if let Some(Body::LogEntry(entry)) = &mut message.body {
            match seen.borrow_mut().get_or_insert_with(|| entry.body.clone()) {
                // The second is replaced by the first.
                first if entry.sequence == 2 => entry.body.clone_from(first),
                _ => {}
            }
        }
    }));
    for text in ["one", "two", "three"] {
        world.say(alice, conversation, text);
    }
    world.both_read(conversation, &[bob], &["one", "three"]);
}

#[test]
fn a_supernode_that_renumbers_messages_changes_nothing_in_a_history_and_the_log_goes_on() {
    let renumber: [fn(u64) -> u64; 4] = [|_| 0, |_| 1, |number| number + 1, |_| u64::MAX];
    for renumber in renumber {
        let (mut world, alice, bob) = World::of_two();
        let laptop = world.device(1, "alice", 12);
        let conversation = world.pair(alice, bob);
        let (first, now) = (world.say(alice, conversation, "one"), world.now.instant);
        for who in [bob, laptop] {
            world.clients[who].tamper = Some(Box::new(move |message| {
                if let Some(Body::LogEntry(entry)) = &mut message.body
                    && let Some(v1::log_entry::Body::Message(sealed)) = &mut entry.body
                {
                    sealed.number = renumber(sealed.number);
                }
            }));
        }
        world.say(alice, conversation, "two");
        world.member(alice).edit(conversation, first, "eins", None, now).unwrap();
        world.member(alice).react(conversation, first, Reaction::Set("👍"), None, now).unwrap();
        world.settle();
        for who in [bob, laptop] {
            world.clients[who].tamper = None;
            assert_eq!(world.member(who).passed_over(), 3);
        }
        world.say(alice, conversation, "five");
        world.both_read(conversation, &[bob, laptop], &["one", "five"]);
        for who in [bob, laptop] {
            assert_eq!(world.clients[who].history.gaps(conversation), 0);
            assert!(world.clients[who].history.line(conversation, first).reactions.is_empty());
        }
    }
}

#[test]
fn a_number_that_this_device_has_not_given_does_not_stand_in_the_log_for_it() {
    let (mut world, alice, bob) = World::of_two();
    let conversation = world.pair(alice, bob);
    world.say(alice, conversation, "one");
    let now = world.now.instant;
    // What is said between the question for the list and its answer is taken for newer than the list.
    world.member(alice).resync(now);
    let sealed = v1::SealedMessage { number: u64::MAX, sealed: some_bytes(300) };
    let entry = v1::LogEntry {
        conversation: conversation.to_bytes(),
        sequence: 2,
        generation: 1,
        account: AccountId([1; 16]).to_bytes(),
        device: DeviceId([11; 16]).to_bytes(),
        body: Some(v1::log_entry::Body::Message(sealed)),
        ..v1::LogEntry::default()
    };
    let message = v1::SupernodeMessage { in_reply_to: 0, body: Some(Body::LogEntry(entry)) };
    world.clients[alice].from_supernode.push_back(message);
    world.settle();
    assert_eq!(world.member(alice).passed_over(), 1);
    world.say(alice, conversation, "two");
    world.both_read(conversation, &[alice, bob], &["one", "two"]);
}
