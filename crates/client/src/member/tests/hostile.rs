//! Peers and supernodes that lie: nothing panics, nobody is fooled, and honest devices recover.

use ahoy_core::Question;

use super::*;
use crate::mls::Mls;

/// What becomes of a sealed field.
const MUTATIONS: [fn(&mut Bytes); 4] = [
    |bytes| *bytes = Bytes::new(),
    |bytes| *bytes = some_bytes(300),
    |bytes| *bytes = bytes.slice(..bytes.len() / 2),
    |bytes| {
        let mut changed = bytes.to_vec();
        let middle = changed.len() * 2 / 3;
        changed[middle] ^= 1;
        *bytes = changed.into();
    },
];

/// Finds a sealed field in a message.
type Field = fn(&mut v1::SupernodeMessage) -> Option<&mut Bytes>;

const FIELDS: [Field; 6] = [
    |message| match &mut message.body {
        Some(Body::IncomingCall(incoming)) => Some(&mut incoming.sealed),
        _ => None,
    },
    |message| match &mut message.body {
        Some(Body::LegUp(up)) => Some(&mut up.sealed),
        _ => None,
    },
    |message| match &mut message.body {
        Some(Body::InboxEntry(v1::InboxEntry { body: Some(v1::inbox_entry::Body::Welcome(welcome)), .. })) => {
            Some(welcome)
        }
        _ => None,
    },
    |message| match &mut message.body {
        Some(Body::LogEntry(v1::LogEntry { body: Some(v1::log_entry::Body::Commit(commit)), .. })) => Some(commit),
        _ => None,
    },
    |message| match &mut message.body {
        Some(Body::GroupInfo(info)) => Some(&mut info.group_info),
        _ => None,
    },
    |message| match &mut message.body {
        Some(Body::KeyPackages(packages)) => packages.packages.first_mut().map(|package| &mut package.key_package),
        _ => None,
    },
];

impl World {
    fn tamper_all(&mut self, field: Field, mutation: fn(&mut Bytes)) {
        for client in &mut self.clients {
            client.tamper = Some(Box::new(move |message| {
                if let Some(bytes) = field(message).filter(|bytes| !bytes.is_empty()) {
                    mutation(bytes);
                }
            }));
        }
    }

    fn hang_up_all(&mut self) {
        for who in 0..self.clients.len() {
            if let Some(call) = self.clients[who].events.iter().rev().find_map(call_of) {
                let now = self.now.instant;
                let _ = self.member(who).hang_up(call, now);
            }
        }
        self.settle();
    }
}

fn call_of(event: &Event) -> Option<CallId> {
    match event {
        Event::Ringing { call } | Event::Incoming { call, .. } | Event::Connected { call, .. } => Some(*call),
        _ => None,
    }
}

/// Somebody's offers are opened by everybody they are meant for, and by nobody else.
fn rings(world: &mut World, who: Who) -> bool {
    world.events(who).iter().any(|event| matches!(event, Event::Incoming { .. }))
}

#[test]
fn tampering_with_any_sealed_field_fools_nobody_and_leaves_no_lasting_harm() {
    for field in FIELDS {
        for mutation in MUTATIONS {
            let (mut world, alice, bob) = World::of_two();
            world.tamper_all(field, mutation);
            let call = world.call(alice, "bob");
            let now = world.now.instant;
            let _ = world.member(bob).answer(call, now);
            world.settle();
            let tablet = world.device(2, "bob", 22);
            world.pass(Duration::from_secs(50));
            world.hang_up_all();
            for client in &mut world.clients {
                client.tamper = None;
            }
            for who in [alice, bob, tablet] {
                world.lose_link(who);
                world.sign_in(who);
            }
            world.pass(Duration::from_secs(60));
            let call = world.connect(alice, bob);
            world.hang_up(alice, call);
            world.connect(tablet, alice);
        }
    }
}

#[test]
fn an_offer_does_not_ring_twice_nor_for_another_call() {
    let (mut world, alice, bob) = World::of_two();
    let call = world.connect(alice, bob);
    world.hang_up(alice, call);
    let seen = std::rc::Rc::new(std::cell::RefCell::new(None));
    let copy = seen.clone();
    world.clients[bob].tamper = Some(Box::new(move |message| {
        if let Some(Body::IncomingCall(incoming)) = &message.body {
            *copy.borrow_mut() = Some(incoming.clone());
        }
    }));
    let call = world.call(alice, "bob");
    world.hang_up(alice, call);
    world.forget_events();
    let old: v1::IncomingCall = seen.borrow().clone().expect("it rang");
    let other_call = v1::IncomingCall { call: some_bytes(16), ..old.clone() };
    let other_leg = v1::IncomingCall { leg: some_bytes(16), ..old };
    for replayed in [other_call, other_leg] {
        let message = v1::SupernodeMessage { in_reply_to: 0, body: Some(Body::IncomingCall(replayed)) };
        world.clients[bob].from_supernode.push_back(message);
        world.settle();
        assert!(!rings(&mut world, bob));
    }
    world.connect(alice, bob);
}

#[test]
fn an_offer_that_claims_an_epoch_to_come_changes_nothing() {
    let (mut world, alice, bob) = World::of_two();
    let call = world.connect(alice, bob);
    world.hang_up(alice, call);
    world.clients[bob].tamper = Some(Box::new(|message| {
        if let Some(Body::IncomingCall(incoming)) = &mut message.body {
            // Version, wire format, group id with its length, then the epoch.
            let mut sealed = incoming.sealed.to_vec();
            sealed[25..33].copy_from_slice(&77u64.to_be_bytes());
            incoming.sealed = sealed.into();
        }
    }));
    let call = world.call(alice, "bob");
    world.hang_up(alice, call);
    world.clients[bob].tamper = None;
    assert!(!rings(&mut world, bob));
    let id = world.store.conversations(AccountId([1; 16]))[0];
    assert!(world.store.log(id).is_empty(), "nobody entered anew");
    world.connect(alice, bob);
}

#[test]
fn a_log_that_is_said_to_be_longer_than_it_is_does_no_lasting_harm() {
    let (mut world, alice, bob) = World::of_two();
    let call = world.connect(alice, bob);
    world.hang_up(alice, call);
    let conversation = world.store.conversations(AccountId([1; 16]))[0];
    let entry = v1::LogEntry { conversation: conversation.to_bytes(), sequence: u64::MAX, ..v1::LogEntry::default() };
    let message = v1::SupernodeMessage { in_reply_to: 0, body: Some(Body::LogEntry(entry)) };
    world.clients[bob].from_supernode.push_back(message);
    world.settle();
    assert_eq!(world.store.log(conversation).len(), 1, "Bob entered anew, once");
    world.connect(alice, bob);
}

#[test]
fn an_offer_counts_only_with_the_message_around_it() {
    let changes: [fn(&mut v1::IncomingCall); 3] = [
        |incoming| incoming.call = some_bytes(16),
        |incoming| incoming.leg = some_bytes(16),
        |incoming| incoming.caller = some_bytes(16),
    ];
    for change in changes {
        let (mut world, alice, bob) = World::of_two();
        let call = world.connect(alice, bob);
        world.hang_up(alice, call);
        world.clients[bob].tamper = Some(Box::new(move |message| {
            if let Some(Body::IncomingCall(incoming)) = &mut message.body {
                change(incoming);
            }
        }));
        world.forget_events();
        world.call(alice, "bob");
        assert!(!rings(&mut world, bob));
    }
}

#[test]
fn nobody_can_ring_under_somebody_elses_name() {
    for known in [false, true] {
        let (mut world, alice, bob) = World::of_two();
        if known {
            let call = world.connect(alice, bob);
            world.hang_up(alice, call);
        }
        let carol = world.newcomer(3, "carol", 31);
        world.clients[carol].identity.name = name("alice");
        world.restart(carol);
        world.forget_events();
        let call = world.call(carol, "bob");
        assert!(!rings(&mut world, bob));
        assert!(world.events(carol).contains(&ended(call, v1::Cause::Incompatible)));
        world.connect(alice, bob);
    }
}

#[test]
fn a_device_that_enters_on_a_forged_binding_is_refused_by_everybody() {
    let (mut world, alice, bob) = World::of_two();
    let call = world.connect(alice, bob);
    world.hang_up(alice, call);
    // The operator makes a device of Bob's account with an account key of its own, and takes the way from outside.
    let forged = identity(2, "bob", 29, &SigningKey::from_bytes(&[66; 32]));
    let mls = Mls::new(&forged.device_key, &forged.binding, [5; 32]);
    let id = world.store.conversations(AccountId([1; 16]))[0];
    let info = Question::FetchGroupInfo { account: forged.account, conversation: id };
    let ahoy_core::Answer::GroupInfo(info) = world.store.answer(info) else { panic!("no GroupInfo") };
    let entered = mls.enter(&info.group_info).unwrap();
    world.store.add_device(forged.account, forged.device);
    let commit = Question::Commit(Box::new(ahoy_core::Commit {
        account: forged.account,
        device: forged.device,
        conversation: id,
        generation: info.generation,
        epoch: info.epoch,
        commit: entered.commit,
        group_info: entered.group_info,
        welcomes: vec![],
        add: vec![],
        remove: vec![],
        at_ms: START * 1000,
    }));
    assert!(matches!(world.store.answer(commit), ahoy_core::Answer::Committed { .. }));
    for who in [alice, bob] {
        world.lose_link(who);
        world.sign_in(who);
    }
    assert!(world.events(alice).contains(&Event::AccountKeyChanged { name: name("bob") }));
    let call = world.call(alice, "bob");
    let ending = Ending::Refused(Refusal::AccountKeyChanged);
    assert!(world.events(alice).contains(&Event::Ended { call, ending }));
    world.forget_events();
    let call = world.call(bob, "alice");
    let ending = Ending::Refused(Refusal::ConversationRefused);
    assert!(world.events(bob).contains(&Event::Ended { call, ending }));
    assert!(!rings(&mut world, alice));
}

#[test]
fn a_device_whose_binding_does_not_verify_is_left_out() {
    let (mut world, alice, bob) = World::of_two();
    let broken: [fn(&mut Identity); 2] = [
        |identity| identity.binding.made_at += 1,
        |identity| identity.binding = super::identity(2, "bob", 21, &account_key(2)).binding,
    ];
    for (index, breaks) in broken.into_iter().enumerate() {
        let mut identity = identity(2, "bob", 25 + index as u8, &account_key(2));
        breaks(&mut identity);
        let who = world.add(identity);
        world.sign_in(who);
    }
    world.connect(alice, bob);
    let conversation = world.clients[alice].member.conversations.values().next().unwrap();
    let group = conversation.group(&world.clients[alice].member.mls).unwrap();
    assert_eq!(group.leaves().unwrap().len(), 2);
}

#[test]
fn messages_that_make_no_sense_are_ignored() {
    let (mut world, alice, bob) = World::of_two();
    let call = world.connect(alice, bob);
    let bodies = [
        Body::LegUp(v1::LegUp { call: call.to_bytes(), ..v1::LegUp::default() }),
        Body::LegAttached(v1::LegAttached { call: call.to_bytes(), flow: u64::MAX, ..v1::LegAttached::default() }),
        Body::LegDown(v1::LegDown { call: call.to_bytes(), leg: some_bytes(16) }),
        Body::IncomingCall(v1::IncomingCall::default()),
        Body::CallEnded(v1::CallEnded { call: some_bytes(16), cause: 3 }),
        Body::LogEntry(v1::LogEntry::default()),
        Body::LogEntry(v1::LogEntry { conversation: some_bytes(16), sequence: u64::MAX, ..v1::LogEntry::default() }),
        Body::InboxEntry(v1::InboxEntry { sequence: 5, ..v1::InboxEntry::default() }),
        Body::Conversations(v1::Conversations::default()),
        Body::Done(v1::Done {}),
    ];
    for in_reply_to in [0, 1, 12_345] {
        for body in &bodies {
            let message = v1::SupernodeMessage { in_reply_to, body: Some(body.clone()) };
            world.clients[alice].from_supernode.push_back(message);
        }
    }
    world.settle();
    world.pass(Duration::from_secs(1));
    world.hang_up(bob, call);
    assert!(world.events(alice).contains(&ended(call, v1::Cause::HungUp)));
}
