//! Groups: who comes, who goes, and what each of them can read.

use ahoy_proto::limits::GROUP_MEMBERS_MAX;

use super::*;
use crate::member::event::Kind;

impl World {
    /// A group of clients with different accounts, made by the first.
    pub(super) fn group(&mut self, title: &str, clients: &[Who]) -> ConversationId {
        let now = self.now.instant;
        self.member(clients[0]).create_group(title, Ticket(800), now).unwrap();
        self.settle();
        let conversation = match self.answer_to(clients[0], Ticket(800)) {
            Ok(Answer::Conversation(conversation)) => conversation,
            other => panic!("{other:?}"),
        };
        if clients.len() > 1 {
            assert_eq!(self.invite(clients[0], conversation, &clients[1..]), Ok(Answer::Done));
        }
        conversation
    }

    pub(super) fn join_group(&mut self, who: Who, conversation: ConversationId, other: Who) {
        // Names can be asked for every three seconds.
        self.pass(Duration::from_secs(30));
        assert_eq!(self.invite(who, conversation, &[other]), Ok(Answer::Done));
    }

    fn ask_to_invite(&mut self, who: Who, conversation: ConversationId, others: &[Who]) {
        for (at, other) in others.iter().enumerate() {
            let (named, now) = (self.clients[*other].identity.name.clone(), self.now.instant);
            self.member(who).verify(&named, Ticket(801), now).unwrap();
            self.settle();
            if at >= 15 {
                self.pass(Duration::from_secs(3));
            }
        }
        let now = self.now.instant;
        let accounts = others.iter().map(|other| self.clients[*other].identity.account).collect();
        self.member(who).invite(conversation, accounts, Ticket(802), now).unwrap();
    }

    fn invite(&mut self, who: Who, conversation: ConversationId, others: &[Who]) -> Result<Answer, Refusal> {
        self.ask_to_invite(who, conversation, others);
        self.settle();
        self.answer_to(who, Ticket(802))
    }

    fn remove(&mut self, who: Who, conversation: ConversationId, other: Who) -> Result<Answer, Refusal> {
        let (account, now) = (self.clients[other].identity.account, self.now.instant);
        self.member(who).remove_member(conversation, account, Ticket(803), now).unwrap();
        self.settle();
        self.answer_to(who, Ticket(803))
    }

    fn leave(&mut self, who: Who, conversation: ConversationId) -> Result<Answer, Refusal> {
        let now = self.now.instant;
        self.member(who).leave(conversation, Ticket(804), now).unwrap();
        self.settle();
        self.answer_to(who, Ticket(804))
    }

    fn title(&mut self, who: Who, conversation: ConversationId) -> Option<String> {
        let summaries = self.member(who).conversations();
        let of = summaries.into_iter().find(|summary| summary.conversation == conversation)?;
        match of.kind {
            Kind::Group { title } => Some(title),
            Kind::Pair(..) => panic!("a pair"),
        }
    }

    fn accounts(&mut self, who: Who, conversation: ConversationId) -> Vec<u8> {
        self.member(who).members(conversation).into_iter().map(|member| member.account.0[0]).collect()
    }

    fn of_three() -> (Self, Who, Who, Who) {
        let (mut world, alice, bob) = Self::of_two();
        let carol = world.newcomer(3, "carol", 31);
        (world, alice, bob, carol)
    }
}

fn left(events: &[Event], conversation: ConversationId) -> bool {
    events.iter().any(|event| matches!(event, Event::ConversationLeft { conversation: of, .. } if *of == conversation))
}

#[test]
fn three_people_chat_in_a_group() {
    let (mut world, alice, bob, carol) = World::of_three();
    let tablet = world.device(2, "bob", 22);
    let conversation = world.group("Crew", &[alice, bob, carol]);
    for (who, text) in [(alice, "one"), (bob, "two"), (carol, "three"), (tablet, "four")] {
        world.say(who, conversation, text);
    }
    world.both_read(conversation, &[alice, bob, carol, tablet], &["one", "two", "three", "four"]);
    for who in [alice, bob, carol, tablet] {
        assert_eq!(world.title(who, conversation).as_deref(), Some("Crew"));
        assert_eq!(world.accounts(who, conversation), [1, 2, 3]);
        assert_eq!(world.clients[who].history.gaps(conversation), 0);
    }
    let members = world.member(carol).members(conversation);
    assert!(members[0].is_owner && !members[1].is_owner);
    assert_eq!(members[1].devices, 2);
    assert_eq!(members[1].person.as_ref().map(|person| person.name.as_str()), Some("bob"));
}

/// As large as a group may be; one commit takes all of them in, and its Welcome is the longest message there is.
#[test]
fn a_group_of_256_people_reads_what_is_written_until_they_are_removed() {
    let mut world = World::new();
    let all: Vec<Who> = (0..=255).map(|at| world.newcomer(at, &format!("guest{at}"), at)).collect();
    let group = world.group("everybody", &all[..1]);
    world.ask_to_invite(all[0], group, &all[1..]);
    // Fifty key packages can be claimed at once, then one every two seconds.
    world.pass(Duration::from_secs(8 * 60));
    assert_eq!(world.answer_to(all[0], Ticket(802)), Ok(Answer::Done));
    assert_eq!(world.accounts(all[255], group).len(), GROUP_MEMBERS_MAX);
    world.say(all[0], group, "welcome");
    world.say(all[255], group, "thanks");
    for who in &all {
        assert_eq!(world.texts(*who, group), ["welcome", "thanks"]);
    }
    assert_eq!(world.remove(all[0], group, all[100]), Ok(Answer::Done));
    world.say(all[200], group, "one less");
    for who in &all {
        assert_eq!(world.texts(*who, group).len(), if *who == all[100] { 2 } else { 3 });
    }
}

#[test]
fn a_new_title_reaches_everybody_and_those_who_come_later() {
    let (mut world, alice, bob, carol) = World::of_three();
    let conversation = world.group("Crew", &[alice, bob]);
    let now = world.now.instant;
    world.member(bob).rename(conversation, "Ship", Ticket(5), now).unwrap();
    world.settle();
    assert!(world.answer_to(bob, Ticket(5)).is_ok());
    assert_eq!(world.title(alice, conversation).as_deref(), Some("Ship"));
    world.invite(bob, conversation, &[carol]).unwrap();
    assert_eq!(world.title(carol, conversation).as_deref(), Some("Ship"));
    // A device that comes from outside asks, and is told once.
    let laptop = world.device(1, "alice", 12);
    assert_eq!(world.title(laptop, conversation).as_deref(), Some(""));
    let before = world.store.head(conversation).unwrap();
    world.pass(Duration::from_secs(6));
    assert_eq!(world.title(laptop, conversation).as_deref(), Some("Ship"));
    assert_eq!(world.store.head(conversation).unwrap(), before + 1);
    assert_eq!(world.clients[laptop].history.gaps(conversation), 1);
    let renamed = |line: &history::Line| matches!(line.message.body, MessageBody::Renamed { .. });
    assert_eq!(world.clients[alice].history.lines(conversation).iter().filter(|line| renamed(line)).count(), 2);
}

#[test]
fn whoever_is_removed_reads_nothing_more_and_can_send_nothing() {
    let (mut world, alice, bob, carol) = World::of_three();
    let conversation = world.group("Crew", &[alice, bob, carol]);
    world.say(alice, conversation, "one");
    assert!(matches!(world.remove(bob, conversation, carol), Err(Refusal::Supernode { .. })), "only the owner may");
    world.lose_link(carol);
    world.say(carol, conversation, "unheard");
    assert_eq!(world.remove(alice, conversation, carol), Ok(Answer::Done));
    world.say(bob, conversation, "two");
    world.forget_events();
    world.sign_in(carol);
    world.both_read(conversation, &[alice, bob], &["one", "two"]);
    assert_eq!(world.texts(carol, conversation), ["one", "unheard"]);
    assert!(world.clients[carol].history.lines(conversation).iter().any(|line| line.failed));
    assert!(left(&world.tidings(carol), conversation));
    let now = world.now.instant;
    let refused = world.member(carol).send(conversation, "three", None, None, now);
    assert_eq!(refused, Err(CommandError::NoSuchConversation));
    for who in [alice, bob] {
        assert_eq!(world.accounts(who, conversation), [1, 2]);
    }
    assert!(world.clients[carol].disk.keys().all(|key| !key.windows(16).any(|part| part == conversation.0)));
}

#[test]
fn whoever_is_removed_and_there_is_told_by_whom() {
    let (mut world, alice, bob, carol) = World::of_three();
    let conversation = world.group("Crew", &[alice, bob, carol]);
    world.forget_events();
    world.remove(alice, conversation, carol).unwrap();
    let (by, now) = (Some(AccountId([1; 16])), world.now.instant);
    let own = world.member(alice).remove_member(conversation, AccountId([1; 16]), Ticket(1), now);
    assert_eq!(own, Err(CommandError::OwnName), "whoever wants to go leaves");
    assert!(world.tidings(carol).contains(&Event::ConversationLeft { conversation, by }));
    assert_eq!(world.invite(bob, conversation, &[carol]), Ok(Answer::Done));
    world.say(carol, conversation, "back");
    world.say(alice, conversation, "hello");
    world.both_read(conversation, &[alice, bob, carol], &["back", "hello"]);
}

#[test]
fn the_devices_of_whoever_leaves_are_taken_out_before_anybody_writes() {
    let (mut world, alice, bob, carol) = World::of_three();
    let conversation = world.group("Crew", &[alice, bob, carol]);
    assert_eq!(world.leave(carol, conversation), Ok(Answer::Done));
    assert_eq!(world.accounts(alice, conversation), [1, 2]);
    assert_eq!(devices(&world, alice, conversation), 3, "nobody has acted yet");
    world.say(bob, conversation, "one");
    assert_eq!(devices(&world, alice, conversation), 2);
    world.both_read(conversation, &[alice, bob], &["one"]);

    let dave = world.newcomer(4, "dave", 41);
    world.invite(alice, conversation, &[dave]).unwrap();
    world.leave(dave, conversation).unwrap();
    world.pass(Duration::from_secs(6));
    assert_eq!(devices(&world, bob, conversation), 2, "somebody did after a while");
    assert!(!left(&world.tidings(alice), conversation));
}

fn devices(world: &World, who: Who, conversation: ConversationId) -> usize {
    let entry = &world.clients[who].member.conversations[&conversation];
    entry.group(&world.clients[who].member.mls).unwrap().leaves().unwrap().len()
}

#[test]
fn commits_that_conflict_are_made_again_on_top() {
    let (mut world, alice, bob, carol) = World::of_three();
    let dave = world.newcomer(4, "dave", 41);
    let conversation = world.group("Crew", &[alice, bob]);
    // Both invite at the same moment, in part the same.
    world.ask_to_invite(alice, conversation, &[carol, dave]);
    world.ask_to_invite(bob, conversation, &[dave]);
    world.settle();
    world.pass(Duration::from_secs(5));
    assert_eq!(world.answer_to(alice, Ticket(802)), Ok(Answer::Done));
    assert_eq!(world.answer_to(bob, Ticket(802)), Ok(Answer::Done));
    for who in [alice, bob, carol, dave] {
        let mut accounts = world.accounts(who, conversation);
        accounts.sort_unstable();
        assert_eq!(accounts, [1, 2, 3, 4]);
        assert_eq!(devices(&world, who, conversation), 4);
    }
    world.say(dave, conversation, "all here");
    world.both_read(conversation, &[alice, bob, carol, dave], &["all here"]);
}

#[test]
fn key_packages_that_can_not_be_had_now_are_asked_for_again_after_a_second() {
    let (mut world, alice, bob, carol) = World::of_three();
    let conversation = world.group("Crew", &[alice, bob]);
    world.clients[alice].tamper = Some(Box::new(|message| {
        if matches!(message.body, Some(Body::KeyPackages(_))) {
            let code = v1::ErrorCode::Unavailable.into();
            message.body = Some(Body::Error(v1::Error { code, text: String::new(), retry_after_ms: 0 }));
        }
    }));
    let now = world.now.instant;
    world.ask_to_invite(alice, conversation, &[carol]);
    world.settle();
    let pause = world.member(alice).timers[&Timer::Claim(conversation)] - now;
    let second = Duration::from_secs(1);
    assert!((second..second * 3 / 2).contains(&pause), "{pause:?}");
    world.clients[alice].tamper = None;
    world.pass(second * 2);
    assert_eq!(world.accounts(bob, conversation).len(), 3);
}

#[test]
fn a_revoked_device_of_ones_own_is_taken_out() {
    let (mut world, alice, bob) = World::of_two();
    let laptop = world.device(1, "alice", 12);
    let conversation = world.pair(alice, bob);
    let now = world.now.instant;
    world.lose_link(laptop);
    world.pass(Duration::from_secs(6));
    assert_eq!(devices(&world, bob, conversation), 3);
    world.member(alice).remove_device(DeviceId([12; 16]), now);
    world.settle();
    assert_eq!(devices(&world, bob, conversation), 2, "at once");
    let phone = world.device(1, "alice", 13);
    world.lose_link(phone);
    world.pass(Duration::from_secs(6));
    assert_eq!(devices(&world, bob, conversation), 3, "it came after the list of devices, and is on the next one");
    world.store.remove_device(DeviceId([13; 16]));
    world.restart(alice);
    world.pass(Duration::from_secs(6));
    assert_eq!(devices(&world, bob, conversation), 2, "after a while");
}

#[test]
fn a_device_of_ones_own_that_is_not_known_is_told_of() {
    let (mut world, alice, bob) = World::of_two();
    world.pair(alice, bob);
    world.forget_events();
    world.device(1, "alice", 12);
    let device = DeviceId([12; 16]);
    assert!(world.tidings(alice).contains(&Event::NewOwnDevice { device }));
    world.restart(alice);
    assert!(!world.tidings(alice).contains(&Event::NewOwnDevice { device }));
}

#[test]
fn a_new_device_is_told_nothing_of_those_that_were_revoked_before_it_came() {
    let (mut world, alice, bob) = World::of_two();
    let conversation = world.pair(alice, bob);
    let tablet = world.device(1, "alice", 12);
    assert_eq!(devices(&world, bob, conversation), 3);
    // Nobody is there to take its leaf out.
    world.lose_link(tablet);
    world.lose_link(alice);
    world.store.remove_device(DeviceId([12; 16]));
    let laptop = world.device(1, "alice", 13);
    world.pass(Duration::from_secs(6));
    assert_eq!(devices(&world, bob, conversation), 3, "the laptop has taken its place");
    let told = |events: Vec<Event>| -> Vec<DeviceId> {
        let device = |event| if let Event::NewOwnDevice { device } = event { Some(device) } else { None };
        events.into_iter().filter_map(device).collect()
    };
    assert_eq!(told(world.tidings(laptop)), []);
    world.restart(alice);
    assert_eq!(told(world.tidings(alice)), [DeviceId([13; 16])], "who was there before is told of the laptop");
}

/// Lets `victim` die after each number of outputs while a group is made, grows and shrinks.
fn dies_in_a_group(victim: Who) {
    for outputs in 0..300 {
        let (mut world, alice, bob, carol) = World::of_three();
        let conversation = world.group("Crew", &[alice, bob]);
        let before = world.clients[victim].outputs;
        world.clients[victim].dies_after = Some(before + outputs);
        world.ask_to_invite(alice, conversation, &[carol]);
        world.settle();
        let now = world.now.instant;
        let _ = world.member(bob).send(conversation, "one", None, None, now);
        world.settle();
        let _ = world.member(alice).remove_member(conversation, AccountId([3; 16]), Ticket(1), now);
        world.settle();
        world.pass(Duration::from_secs(6));
        let done = world.clients[victim].outputs < before + outputs;
        world.restart(victim);
        world.pass(Duration::from_secs(20));
        world.say(alice, conversation, "two");
        world.say(bob, conversation, "three");
        let last = |who: Who| world.texts(who, conversation).into_iter().rev().take(2).collect::<Vec<_>>();
        assert_eq!(last(alice), ["three", "two"], "after {outputs} outputs");
        assert_eq!(last(bob), ["three", "two"], "after {outputs} outputs");
        for who in [alice, bob] {
            assert_eq!(world.accounts(who, conversation), world.accounts(alice, conversation));
            assert_eq!(devices(&world, who, conversation), world.accounts(alice, conversation).len());
            assert_eq!(world.clients[who].history.gaps(conversation), 0, "after {outputs} outputs");
        }
        if done {
            return;
        }
    }
    panic!("the scenario has no end");
}

#[test]
fn the_owner_of_a_group_may_die_at_any_point() {
    dies_in_a_group(0);
}

#[test]
fn a_member_of_a_group_may_die_at_any_point() {
    dies_in_a_group(1);
}

#[test]
fn a_device_that_lost_its_state_enters_from_outside_and_sees_where_it_was_away() {
    let (mut world, alice, bob, carol) = World::of_three();
    let conversation = world.group("Crew", &[alice, bob, carol]);
    world.say(alice, conversation, "one");
    world.drop_link(carol);
    world.lose_state(carol);
    world.clients[carol].history = History::default();
    world.restart(carol);
    world.pass(Duration::from_secs(6));
    world.say(bob, conversation, "two");
    world.say(carol, conversation, "three");
    assert_eq!(world.texts(carol, conversation), ["two", "three"]);
    world.both_read(conversation, &[alice, bob], &["one", "two", "three"]);
    assert_eq!(world.clients[carol].history.gaps(conversation), 1);
    assert_eq!(world.title(carol, conversation).as_deref(), Some("Crew"));
}

#[test]
fn a_log_with_a_gap_is_left_and_entered_anew() {
    let (mut world, alice, bob, carol) = World::of_three();
    let conversation = world.group("Crew", &[alice, bob, carol]);
    world.say(alice, conversation, "one");
    world.lose_link(carol);
    world.say(alice, conversation, "two");
    // Nobody waits for entries for longer than the supernode keeps them.
    world.store.expire(world.now.unix_ms + 31 * 86_400 * 1000);
    world.say(alice, conversation, "three");
    world.sign_in(carol);
    world.say(alice, conversation, "four");
    assert_eq!(world.texts(carol, conversation), ["one", "four"]);
    assert_eq!(world.clients[carol].history.gaps(conversation), 1);
    world.say(carol, conversation, "five");
    world.both_read(conversation, &[alice, bob], &["one", "two", "three", "four", "five"]);
}

/// A commit of a member's device, made as a hostile program would make it, put into the log as the store takes it.
fn commit_by_force(world: &mut World, who: Who, conversation: ConversationId, force: Force) {
    let client = &mut world.clients[who];
    let entry = &client.member.conversations[&conversation];
    let mut group = entry.group(&client.member.mls).unwrap();
    let (generation, epoch) = (entry.record.generation, entry.record.epoch);
    let (packages, remove) = match force {
        Force::Add(package) => (vec![client.member.mls.check_key_package(&package).unwrap().0], vec![]),
        Force::Remove(device) => (vec![], vec![device]),
    };
    let committed = group.commit(&client.member.mls, packages, &remove).unwrap();
    let (account, device) = (client.identity.account, client.identity.device);
    let commit = ahoy_core::Commit {
        account,
        device,
        conversation,
        generation,
        epoch,
        commit: committed.commit,
        group_info: committed.group_info,
        welcomes: vec![],
        add: vec![],
        remove: vec![],
        at_ms: START * 1000,
    };
    let answer = world.store.answer(ahoy_core::Question::Commit(Box::new(commit)));
    assert!(matches!(answer, ahoy_core::Answer::Committed { .. }));
}

enum Force {
    Add(Bytes),
    Remove(DeviceId),
}

#[test]
fn a_commit_that_does_more_than_the_log_says_is_not_followed() {
    let stranger = identity(9, "mallory", 91, &account_key(9));
    let mls = Mls::new(&stranger.device_key, &stranger.binding, [9; 32]);
    let package = mls.key_packages(&mut crate::mls::Values::new(), 1).unwrap().remove(0);
    for force in [Force::Add(package), Force::Remove(DeviceId([31; 16]))] {
        let (mut world, alice, bob, carol) = World::of_three();
        let conversation = world.group("Crew", &[alice, bob, carol]);
        world.say(alice, conversation, "one");
        world.lose_link(bob);
        commit_by_force(&mut world, bob, conversation, force);
        world.lose_link(alice);
        world.sign_in(alice);
        let summaries = world.member(alice).conversations();
        let refused = ConversationStanding::Refused(Refusal::ConversationRefused);
        assert_eq!(summaries[0].standing, refused);
        // What is written stays here: it is not said to whom nobody knows.
        world.say(alice, conversation, "two");
        assert_eq!(world.clients[alice].history.lines(conversation).last().unwrap().message.sequence, None);
    }
}

#[test]
fn a_commit_that_makes_no_sense_does_not_keep_anybody_out() {
    let changes: [fn(&mut v1::LogEntry); 4] = [
        |entry| entry.body = Some(v1::log_entry::Body::Commit(some_bytes(300))),
        |entry| entry.generation += 1,
        |entry| entry.generation = 0,
        |entry| entry.epoch = 0,
    ];
    for (case, change) in changes.into_iter().enumerate() {
        let (mut world, alice, bob, carol) = World::of_three();
        let conversation = world.group("Crew", &[alice, bob]);
        world.clients[bob].tamper = Some(Box::new(move |message| {
            if let Some(Body::LogEntry(entry)) = &mut message.body
                && let Some(v1::log_entry::Body::Commit(_)) = &entry.body
            {
                change(entry);
            }
        }));
        world.invite(alice, conversation, &[carol]).unwrap();
        world.pass(Duration::from_secs(10));
        world.clients[bob].tamper = None;
        world.lose_link(bob);
        world.sign_in(bob);
        world.pass(Duration::from_secs(10));
        // Where a commit was hidden, what comes after it shows that.
        world.say(carol, conversation, "hello");
        world.pass(Duration::from_secs(10));
        world.say(bob, conversation, "here");
        world.say(carol, conversation, "and here");
        for who in [alice, bob, carol] {
            let mut texts = world.texts(who, conversation);
            texts.retain(|text| text != "hello");
            assert_eq!(texts, ["here", "and here"], "case {case}, client {who}");
        }
    }
}
