//! Whatever peers send, in whatever phase: no panic, every request answered once, nothing left behind.

use proptest::prelude::*;

use super::calls::*;
use super::legs::{Talk, attach, talk};
use super::*;

/// A link in each phase that one can be in.
fn links_in_all_phases(rig: &mut Rig) -> Vec<Recipient> {
    let Talk { links, .. } = talk(rig);
    let mut links = links.to_vec();
    links.push(rig.link_up());
    links.push(rig.sign_in(&Member::new(2, 23)));
    links.push(rig.sign_in(&Member::new(3, 33)));
    links
}

/// Everybody leaves: nothing may stay.
fn assert_nothing_stays(rig: &mut Rig, links: &[Recipient]) {
    for link in links {
        if rig.closed(*link).is_none() {
            rig.lose(*link);
        }
    }
    // Names learnt are remembered for an hour.
    rig.pass(limits::RING_TIMEOUT + limits::LEG_RETURN + Duration::from_secs(3600));
    rig.assert_no_calls();
    assert_eq!(rig.gauges(|g| g.links + g.accounts + g.queries), 0);
}

/// An id, seldom a good one.
fn id() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        6 => (1u8..5).prop_map(|byte| Bytes::from(vec![byte; 16])),
        2 => Just(CONVERSATION.to_bytes()),
        3 => (0u8..4).prop_map(|first| call_id(first).to_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from),
    ]
}

fn blob() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from),
        1 => Just(Bytes::from(vec![7; limits::SEALED_MAX + 1])),
    ]
}

fn request() -> impl Strategy<Value = Ask> {
    let welcome = || {
        let devices = proptest::collection::vec(id(), 0..3);
        let welcome = (devices, blob()).prop_map(|(devices, welcome)| v1::Welcoming { devices, welcome });
        proptest::collection::vec(welcome, 0..3)
    };
    let calls = prop_oneof![
        (id(), id(), id(), blob())
            .prop_map(|(call, conversation, leg, sealed)| v1::StartCall { call, conversation, leg, sealed })
            .prop_map(Ask::StartCall),
        (0u8..4, any::<u8>()).prop_map(|(call, leg)| start(call_id(call), leg)),
        (0u8..4, any::<u8>()).prop_map(|(call, leg)| answer(call_id(call), leg)),
        (id(), 0..14).prop_map(|(call, cause)| Ask::DeclineCall(v1::DeclineCall { call, cause })),
        (id(), 0..14).prop_map(|(call, cause)| Ask::HangUp(v1::HangUp { call, cause })),
        (blob(), any::<u8>()).prop_map(|(token, leg)| attach(&token, leg)),
    ];
    let store = prop_oneof![
        any::<String>().prop_map(|name| Ask::FindAccount(v1::FindAccount { name })),
        (proptest::collection::vec(blob(), 0..4), blob())
            .prop_map(|(key_packages, last_resort)| v1::PublishKeyPackages { key_packages, last_resort })
            .prop_map(Ask::PublishKeyPackages),
        id().prop_map(|account| Ask::ClaimKeyPackages(v1::ClaimKeyPackages { account })),
        id().prop_map(|after| Ask::ListConversations(v1::ListConversations { after })),
        (id(), id(), any::<u64>(), blob(), welcome())
            .prop_map(|(conversation, peer, epoch, group_info, welcomes)| v1::CreateConversation {
                conversation,
                peer,
                epoch,
                group_info,
                welcomes
            })
            .prop_map(Ask::CreateConversation),
        (id(), 0u32..3, 0u64..4, blob(), blob(), welcome(), ids(), ids())
            .prop_map(|(conversation, generation, epoch, commit, group_info, welcomes, add, remove)| v1::Commit {
                conversation,
                generation,
                epoch,
                commit,
                group_info,
                welcomes,
                add,
                remove
            })
            .prop_map(Ask::Commit),
        id().prop_map(|conversation| Ask::FetchGroupInfo(v1::FetchGroupInfo { conversation })),
        (id(), any::<u64>()).prop_map(|(conversation, after)| Ask::FetchLog(v1::FetchLog { conversation, after })),
        any::<u64>().prop_map(|after| Ask::FetchInbox(v1::FetchInbox { after })),
        (any::<String>(), blob())
            .prop_map(|(credential, signature)| v1::Prove { credential, signature, ..Default::default() })
            .prop_map(Ask::Prove),
    ];
    prop_oneof![3 => calls, 2 => store, 2 => people(), 2 => messages()]
}

fn ids() -> impl Strategy<Value = Vec<Bytes>> {
    proptest::collection::vec(id(), 0..3)
}

fn people() -> impl Strategy<Value = Ask> {
    let change = (proptest::option::of(-1..5), proptest::option::of(-1..7), proptest::option::of(any::<String>()));
    prop_oneof![
        any::<String>().prop_map(|prefix| Ask::SearchDirectory(v1::SearchDirectory { prefix })),
        any::<u64>().prop_map(|state_serial| Ask::CheckIn(v1::CheckIn { state_serial })),
        Just(Ask::ListDevices(v1::ListDevices {})),
        (change, proptest::option::of(any::<bool>())).prop_map(|((calls_from, availability, mood), listed)| {
            Ask::ChangeSettings(v1::ChangeSettings { calls_from, availability, mood, listed })
        }),
        any::<bool>().prop_map(|away| Ask::SetActivity(v1::SetActivity { away })),
        prop_oneof![Just(Bytes::new()), id()].prop_map(|after| Ask::ListContacts(v1::ListContacts { after })),
        (id(), blob()).prop_map(|(account, note)| Ask::RequestContact(v1::RequestContact { account, note })),
        (id(), any::<bool>()).prop_map(|(account, accept)| Ask::AnswerContact(v1::AnswerContact { account, accept })),
        id().prop_map(|account| Ask::RemoveContact(v1::RemoveContact { account })),
        (id(), any::<bool>()).prop_map(|(account, block)| Ask::BlockAccount(v1::BlockAccount { account, block })),
        (id(), blob()).prop_map(|(account, sealed)| Ask::Report(v1::Report { account, sealed })),
    ]
}

fn messages() -> impl Strategy<Value = Ask> {
    let mark = (id(), any::<u64>()).prop_map(|(conversation, sequence)| v1::LogMark { conversation, sequence });
    prop_oneof![
        (any::<u64>(), proptest::collection::vec(mark, 0..3))
            .prop_map(|(inbox, logs)| Ask::Acknowledge(v1::Acknowledge { inbox, logs })),
        (id(), 0u64..4, 0u32..3, 0u64..4, blob())
            .prop_map(|(conversation, number, generation, epoch, sealed)| v1::SendMessage {
                conversation,
                number,
                generation,
                epoch,
                sealed
            })
            .prop_map(Ask::SendMessage),
        (id(), blob()).prop_map(|(conversation, sealed)| Ask::SendSignal(v1::SendSignal { conversation, sealed })),
        (id(), blob()).prop_map(|(conversation, sealed)| Ask::SetReceipt(v1::SetReceipt { conversation, sealed })),
        (id(), any::<u64>())
            .prop_map(|(conversation, after)| Ask::FetchReceipts(v1::FetchReceipts { conversation, after })),
        id().prop_map(|conversation| Ask::FetchMembers(v1::FetchMembers { conversation })),
        id().prop_map(|conversation| Ask::LeaveConversation(v1::LeaveConversation { conversation })),
        any::<String>().prop_map(|credential| Ask::RenewSession(v1::RenewSession { credential })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_requests_from_everywhere_are_each_answered_once(
        shards in 1u16..4,
        seed in any::<u64>(),
        requests in proptest::collection::vec((0usize..5, request(), any::<bool>()), 1..80),
    ) {
        let mut rig = Rig::new(shards, seed);
        let links = links_in_all_phases(&mut rig);
        let mut asked = Vec::new();
        for (who, body, settle) in requests {
            let link = links[who];
            let request = rig.ask_quietly(link, body);
            asked.push((link, request));
            if settle {
                rig.settle();
                rig.pass(Duration::from_millis(300));
            }
        }
        rig.settle();
        for (link, request) in asked {
            if rig.closed(link).is_none() {
                rig.reply(link, request);
            }
        }
        assert_nothing_stays(&mut rig, &links);
    }

    #[test]
    fn random_bytes_in_any_phase_close_their_link_at_most(
        seed in any::<u64>(),
        pieces in proptest::collection::vec((0usize..5, proptest::collection::vec(any::<u8>(), 0..300)), 1..30),
    ) {
        let mut rig = Rig::new(2, seed);
        let links = links_in_all_phases(&mut rig);
        for (who, bytes) in pieces {
            rig.bytes(links[who], &bytes);
            let now = rig.now;
            rig.shard(links[who]).forward(links[who].link, &bytes, now);
        }
        assert_nothing_stays(&mut rig, &links);
    }

    #[test]
    fn bytes_and_losses_of_unknown_links_change_nothing(
        link in any::<u64>(),
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut rig = Rig::new(1, 0);
        let stranger = Recipient { node: Node::OWN, shard: ShardId(0), link: LinkId(link | 1 << 60) };
        rig.bytes(stranger, &bytes);
        rig.lose(stranger);
        let now = rig.now;
        rig.shards[0].handle_answer(QueryId(link), Ok(Answer::Done), now);
        rig.settle();
        prop_assert_eq!(rig.gauges(|g| g.links + g.accounts), 0);
    }
}
