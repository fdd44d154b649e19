//! Proving oneself, every rule that closes a link, and one session a device.

use super::*;
use crate::session::Session;

/// Sends one proof on a fresh link and says how the link was closed.
fn proof_refused(change: impl Fn(&mut v1::Prove)) -> (v1::ErrorCode, Violation) {
    let mut rig = Rig::new(1, 0);
    let member = Member::new(1, 1);
    let link = rig.link_up();
    let nonce = rig.nonce(link);
    let mut prove = member.prove(&nonce, None);
    change(&mut prove);
    rig.ask(link, Ask::Prove(prove));
    closed_by(&mut rig, link)
}

/// The error that came last, the close and the count must say the same.
fn closed_by(rig: &mut Rig, link: Recipient) -> (v1::ErrorCode, Violation) {
    let code = rig.closed(link).expect("closed");
    let last = rig.take(link).pop_back().unwrap();
    assert_eq!((last.in_reply_to, error_code(&last.body.unwrap())), (0, code));
    let mut counted = Violation::ALL.iter().filter(|v| rig.counters(|c| c.violations[v.index()]) == 1);
    let violation = *counted.next().expect("counted");
    assert_eq!(counted.next(), None);
    assert_eq!(violation.code(), code);
    rig.assert_no_calls();
    assert_eq!(rig.gauges(|g| g.links + g.accounts), 0);
    (code, violation)
}

fn resigned(change: impl Fn(&mut Credential)) -> String {
    let mut credential = Member::new(1, 1).credential();
    change(&mut credential);
    document::sign(&credential, &authority_key())
}

#[test]
fn a_device_with_a_credential_signs_in_on_its_exporter() {
    let mut rig = Rig::new(1, 0);
    let member = Member::new(1, 1);
    let link = Recipient { node: Node::OWN, shard: ShardId(0), link: LinkId(99) };
    rig.seen.insert(link, Seen::default());
    let now = rig.now;
    rig.shards[0].handle_link_up(link.link, Some([5; 32]), now);
    rig.settle();
    let nonce = rig.nonce(link);
    let Say::Welcome(welcome) = rig.request(link, Ask::Prove(member.prove(&nonce, Some(&[5; 32])))) else {
        panic!("no welcome");
    };
    assert_eq!((welcome.roster_serial, welcome.revocations_serial, welcome.session.len()), (3, 1, 16));
    assert_eq!((rig.gauges(|g| g.sessions), rig.gauges(|g| g.half_open), rig.gauges(|g| g.timers)), (1, 0, 1));
}

#[test]
fn a_proof_for_another_exporter_is_invalid() {
    let other = Member::new(1, 1);
    let refused = proof_refused(|prove| prove.signature = other.prove(&[0; 32], Some(&[6; 32])).signature);
    assert_eq!(refused, (v1::ErrorCode::ProofInvalid, Violation::ProofInvalid));
}

#[test]
fn a_proof_by_another_key_is_invalid() {
    let refused = proof_refused(|prove| {
        let mut signature = prove.signature.to_vec();
        signature[40] ^= 1;
        prove.signature = signature.into();
    });
    assert_eq!(refused.1, Violation::ProofInvalid);
}

#[test]
fn a_proof_of_the_wrong_length_is_invalid() {
    assert_eq!(proof_refused(|prove| prove.signature = Bytes::new()).1, Violation::ProofInvalid);
}

#[test]
fn a_credential_by_a_strange_key_is_forged() {
    let strange = document::sign(&Member::new(1, 1).credential(), &SigningKey::from_bytes(&[43; 32]));
    let refused = proof_refused(|prove| prove.credential = strange.clone());
    assert_eq!(refused, (v1::ErrorCode::CredentialForged, Violation::CredentialForged));
}

#[test]
fn a_credential_that_is_no_document_is_forged() {
    assert_eq!(proof_refused(|prove| prove.credential = "a.b.c".to_owned()).1, Violation::CredentialForged);
}

#[test]
fn an_expired_credential_is_refused() {
    let expired = resigned(|credential| credential.expires = UnixTime(START - 1));
    let refused = proof_refused(|prove| prove.credential = expired.clone());
    assert_eq!(refused, (v1::ErrorCode::CredentialExpired, Violation::CredentialExpired));
}

#[test]
fn a_credential_of_another_network_is_refused() {
    let abroad = resigned(|credential| credential.network = NetworkId([8; 16]));
    let refused = proof_refused(|prove| prove.credential = abroad.clone());
    assert_eq!(refused, (v1::ErrorCode::WrongNetwork, Violation::WrongNetwork));
}

#[test]
fn a_version_below_the_minimum_is_refused() {
    assert_eq!(proof_refused(|prove| prove.version = 0), (v1::ErrorCode::VersionTooOld, Violation::VersionTooOld));
}

#[test]
fn a_revoked_credential_does_not_sign_in_and_a_newer_one_does() {
    let mut rig = Rig::new(1, 0);
    let member = Member::new(1, 1);
    revoke(&mut rig, &member, START - 1, 5);
    rig.sign_in(&member);
    revoke(&mut rig, &member, START, 6);
    let link = rig.link_up();
    let nonce = rig.nonce(link);
    rig.ask(link, Ask::Prove(member.prove(&nonce, None)));
    assert_eq!(closed_by(&mut rig, link), (v1::ErrorCode::CredentialRevoked, Violation::CredentialRevoked));
}

fn revoke(rig: &mut Rig, member: &Member, at: u64, serial: u64) {
    let line = document::Revoked { id: member.device, at: UnixTime(at) };
    let list = Revocations { serial, devices: vec![line], ..no_revocations() };
    let now = rig.now;
    for shard in &mut rig.shards {
        shard.handle_lists(lists(list.clone(), 4), now);
    }
    rig.settle();
}

#[test]
fn a_revocation_list_closes_the_sessions_that_it_voids_and_no_others() {
    in_all_orders(|rig| {
        let (gone, stays) = (Member::new(1, 1), Member::new(2, 2));
        let (gone_link, stays_link) = (rig.sign_in(&gone), rig.sign_in(&stays));
        revoke(rig, &gone, START, 6);
        assert_eq!(rig.closed(gone_link), Some(v1::ErrorCode::CredentialRevoked));
        assert_eq!(rig.closed(stays_link), None);
        assert_eq!((rig.gauges(|g| g.accounts), rig.counters(|c| c.sessions_revoked)), (1, 1));
    });
}

const LIFE: Duration = limits::CREDENTIAL_LIFE;

fn renew(credential: String) -> Ask {
    Ask::RenewSession(v1::RenewSession { credential })
}

/// Valid for so long from the rig's present.
fn renewed(rig: &Rig, member: &Member, change: impl Fn(&mut Credential)) -> Ask {
    let now = UnixTime(rig.now.unix_ms / 1000);
    let mut credential = Credential { issued_at: now, expires: now.plus(LIFE), ..member.credential() };
    change(&mut credential);
    renew(document::sign(&credential, &authority_key()))
}

#[test]
fn a_session_ends_in_the_second_after_its_credentials_last() {
    let mut rig = Rig::new(1, 0);
    let link = rig.sign_in(&Member::new(1, 1));
    rig.pass(LIFE + Duration::from_millis(999));
    assert_eq!(rig.closed(link), None);
    rig.pass(Duration::from_millis(1));
    assert_eq!(closed_by(&mut rig, link), (v1::ErrorCode::CredentialExpired, Violation::CredentialExpired));
}

#[test]
fn a_renewed_session_lives_as_long_as_the_newer_credential() {
    let mut rig = Rig::new(1, 0);
    let member = Member::new(1, 1);
    let link = rig.sign_in(&member);
    for _ in 0..5 {
        rig.pass(LIFE / 2);
        let newer = renewed(&rig, &member, |_| {});
        assert_eq!(rig.request(link, newer), Say::Done(v1::Done {}));
        assert_eq!(rig.gauges(|g| g.timers), 1);
    }
    rig.pass(LIFE);
    assert_eq!(rig.closed(link), None);
    rig.pass(Duration::from_secs(1));
    assert_eq!(closed_by(&mut rig, link).1, Violation::CredentialExpired);
}

#[test]
fn a_credential_that_could_not_have_opened_the_session_does_not_prolong_it() {
    let mut rig = Rig::new(1, 0);
    let member = Member::new(1, 1);
    revoke(&mut rig, &member, START - 1, 5);
    let link = rig.sign_in(&member);
    let strange = Credential { expires: UnixTime(START).plus(2 * LIFE), ..member.credential() };
    let bad = [
        renewed(&rig, &member, |credential| credential.account = AccountId([2; 16])),
        renewed(&rig, &member, |credential| credential.device = DeviceId([2; 16])),
        renewed(&rig, &member, |credential| credential.confirmation = Member::new(1, 2).credential().confirmation),
        renewed(&rig, &member, |credential| credential.network = NetworkId([8; 16])),
        renewed(&rig, &member, |credential| credential.issued_at = UnixTime(START - 1)),
        renewed(&rig, &member, |credential| credential.expires = UnixTime(START - 1)),
        renew(document::sign(&strange, &SigningKey::from_bytes(&[43; 32]))),
        renew("a.b.c".to_owned()),
        renew(String::new()),
    ];
    for credential in bad {
        assert_eq!(error_code(&rig.request(link, credential)), v1::ErrorCode::Forbidden);
        // There is room for a few only.
        rig.pass(Duration::from_secs(60));
    }
    let long = error_code(&rig.request(link, renew("x".repeat(limits::UNPROVEN_MESSAGE_MAX + 1))));
    assert_eq!(long, v1::ErrorCode::InvalidArgument);
    rig.pass(LIFE);
    assert_eq!(closed_by(&mut rig, link).1, Violation::CredentialExpired);
}

#[test]
fn revocations_go_by_the_newer_credential() {
    in_all_orders(|rig| {
        let (renews, stays) = (Member::new(1, 1), Member::new(2, 2));
        let (renewed_link, link) = (rig.sign_in(&renews), rig.sign_in(&stays));
        rig.pass(Duration::from_secs(10));
        let newer = renewed(rig, &renews, |_| {});
        rig.request(renewed_link, newer);
        for (serial, member) in [(6, &renews), (7, &stays)] {
            revoke(rig, member, START + 5, serial);
        }
        assert_eq!((rig.closed(renewed_link), rig.closed(link)), (None, Some(v1::ErrorCode::CredentialRevoked)));
        revoke(rig, &renews, START + 10, 8);
        assert_eq!(rig.closed(renewed_link), Some(v1::ErrorCode::CredentialRevoked));
    });
}

#[test]
fn a_wall_clock_that_is_set_is_noticed_within_the_hour() {
    let hour = Duration::from_secs(3600);
    let mut rig = Rig::new(1, 0);
    let link = rig.sign_in(&Member::new(1, 1));
    rig.pass(hour / 2);
    // It was a week slow.
    rig.now.unix_ms += LIFE.as_millis() as u64;
    rig.pass(hour / 2);
    assert_eq!(closed_by(&mut rig, link).1, Violation::CredentialExpired);
    let mut rig = Rig::new(1, 0);
    let link = rig.sign_in(&Member::new(1, 1));
    // It was a day fast.
    rig.now.unix_ms -= 86_400_000;
    rig.pass(LIFE + Duration::from_secs(86_400));
    assert_eq!(rig.closed(link), None);
    rig.pass(Duration::from_secs(1));
    assert_eq!(closed_by(&mut rig, link).1, Violation::CredentialExpired);
}

#[test]
fn an_older_revocation_list_does_not_bring_a_credential_back() {
    let mut rig = Rig::new(1, 0);
    let member = Member::new(1, 1);
    revoke(&mut rig, &member, START, 6);
    let now = rig.now;
    rig.shards[0].handle_lists(lists(no_revocations(), 4), now);
    let link = rig.link_up();
    let nonce = rig.nonce(link);
    rig.ask(link, Ask::Prove(member.prove(&nonce, None)));
    assert_eq!(rig.closed(link), Some(v1::ErrorCode::CredentialRevoked));
}

#[test]
fn bytes_that_are_no_message_close_a_link() {
    for proven in [false, true] {
        let mut rig = Rig::new(1, 0);
        let link = if proven { rig.sign_in(&Member::new(1, 1)) } else { rig.link_up() };
        rig.bytes(link, &[3, 0xff, 0xff, 0xff]);
        assert_eq!(closed_by(&mut rig, link), (v1::ErrorCode::Malformed, Violation::Malformed));
    }
}

#[test]
fn more_than_4_kib_before_proof_close_a_link() {
    let mut rig = Rig::new(1, 0);
    let link = rig.link_up();
    let long = v1::Prove { credential: "x".repeat(limits::UNPROVEN_MESSAGE_MAX), ..Default::default() };
    let bytes = frame::encode(&v1::ClientMessage { request: 1, body: Some(Ask::Prove(long)) });
    rig.bytes(link, &bytes[..3]);
    assert_eq!(closed_by(&mut rig, link), (v1::ErrorCode::MessageTooLong, Violation::MessageTooLong));
}

#[test]
fn more_than_64_kib_after_proof_close_a_link() {
    let mut rig = Rig::new(1, 0);
    let link = rig.sign_in(&Member::new(1, 1));
    rig.bytes(link, &[0xff, 0xff, 0x7f]);
    assert_eq!(closed_by(&mut rig, link).1, Violation::MessageTooLong);
}

#[test]
fn a_request_before_proof_closes_a_link() {
    let mut rig = Rig::new(1, 0);
    for body in [None, Some(Ask::ListConversations(v1::ListConversations::default()))] {
        let link = rig.link_up();
        rig.send(link, 1, body);
        assert_eq!(rig.closed(link), Some(v1::ErrorCode::OutOfOrder));
    }
    assert_eq!(rig.counters(|c| c.violations[Violation::OutOfOrder.index()]), 2);
}

#[test]
fn a_second_proof_closes_a_link() {
    let mut rig = Rig::new(1, 0);
    let member = Member::new(1, 1);
    let link = rig.sign_in(&member);
    rig.ask(link, Ask::Prove(member.prove(&[0; 32], None)));
    assert_eq!(closed_by(&mut rig, link), (v1::ErrorCode::OutOfOrder, Violation::OutOfOrder));
}

#[test]
fn request_number_0_closes_a_link() {
    let mut rig = Rig::new(1, 0);
    let link = rig.sign_in(&Member::new(1, 1));
    rig.send(link, 0, Some(Ask::ListConversations(v1::ListConversations::default())));
    assert_eq!(closed_by(&mut rig, link), (v1::ErrorCode::RequestNumber, Violation::RequestNumber));
}

#[test]
fn the_number_of_an_unanswered_request_closes_a_link_and_is_free_again_after_the_answer() {
    let mut rig = Rig::new(1, 0);
    let link = rig.sign_in(&Member::new(1, 1));
    let list = frame::encode(&v1::ClientMessage {
        request: 7,
        body: Some(Ask::ListConversations(v1::ListConversations::default())),
    });
    rig.bytes(link, &list);
    rig.bytes(link, &list);
    assert_eq!(rig.closed(link), None);
    rig.bytes(link, &[list.clone(), list].concat());
    assert_eq!(closed_by(&mut rig, link).1, Violation::RequestNumber);
}

#[test]
fn no_proof_within_ten_seconds_closes_a_link() {
    let mut rig = Rig::new(1, 0);
    let link = rig.link_up();
    rig.pass(limits::PROOF_TIMEOUT - Duration::from_millis(1));
    assert_eq!(rig.closed(link), None);
    rig.pass(Duration::from_millis(1));
    assert_eq!(closed_by(&mut rig, link), (v1::ErrorCode::ProofTimeout, Violation::ProofTimeout));
}

#[test]
fn more_unanswered_requests_than_allowed_close_a_link() {
    let mut rig = Rig::new(1, 0);
    let link = rig.sign_in(&Member::new(1, 1));
    for _ in 0..=limits::REQUESTS_IN_FLIGHT_MAX {
        rig.ask_quietly(link, Ask::FetchInbox(v1::FetchInbox { after: 0 }));
    }
    rig.settle();
    assert_eq!(closed_by(&mut rig, link), (v1::ErrorCode::TooManyRequests, Violation::TooManyRequests));
}

#[test]
fn every_violation_has_a_wire_code_of_its_own_that_closes() {
    let codes: BTreeSet<_> = Violation::ALL.iter().map(|violation| violation.code() as i32).collect();
    assert_eq!(codes.len(), Violation::ALL.len());
    assert!(codes.iter().all(|code| *code >= 100));
    assert!(Violation::ALL.iter().enumerate().all(|(index, violation)| violation.index() == index));
}

#[test]
fn a_long_program_name_is_refused_and_the_proof_may_come_again() {
    let mut rig = Rig::new(1, 0);
    let member = Member::new(1, 1);
    let link = rig.link_up();
    let nonce = rig.nonce(link);
    let good = member.prove(&nonce, None);
    let long = v1::Prove { agent: "x".repeat(limits::AGENT_MAX + 1), ..good.clone() };
    assert_eq!(error_code(&rig.request(link, Ask::Prove(long))), v1::ErrorCode::InvalidArgument);
    assert!(matches!(rig.request(link, Ask::Prove(good)), Say::Welcome(_)));
}

#[test]
fn of_two_links_of_a_device_the_later_one_stays() {
    in_all_orders(|rig| {
        let member = Member::new(1, 1);
        let first = rig.sign_in(&member);
        rig.pass(Duration::from_millis(1));
        let second = rig.sign_in(&member);
        assert_eq!((rig.closed(first), rig.closed(second)), (Some(v1::ErrorCode::SessionReplaced), None));
        assert_eq!((rig.gauges(|g| g.sessions), rig.gauges(|g| g.accounts)), (1, 1));
    });
}

#[test]
fn of_many_links_of_a_device_that_race_over_all_shards_one_stays() {
    in_all_orders(|rig| {
        let member = Member::new(1, 1);
        let links: Vec<_> = (0..5).map(|_| rig.link_up()).collect();
        for link in &links {
            let nonce = rig.nonce(*link);
            rig.ask_quietly(*link, Ask::Prove(member.prove(&nonce, None)));
            if rig.rng.random() {
                rig.now.instant += Duration::from_millis(1);
            }
        }
        rig.settle();
        let open: Vec<_> = links.iter().filter(|link| rig.closed(**link).is_none()).collect();
        assert_eq!(open.len(), 1);
        assert_eq!(rig.gauges(|g| g.sessions), 1);
        // The one that stays is the one that events reach.
        let open = *open[0];
        rig.lose(open);
        assert_eq!(rig.gauges(|g| g.accounts), 0);
    });
}

#[test]
fn a_shard_with_as_many_unproven_links_as_it_bears_refuses_more() {
    let mut rig = Rig::new(1, 0);
    let links: Vec<_> = (0..51).map(|_| rig.link_up()).collect();
    assert_eq!(rig.closed(links[49]), None);
    assert_eq!(rig.closed(links[50]), Some(v1::ErrorCode::Overloaded));
    rig.lose(links[0]);
    let link = rig.link_up();
    assert_eq!(rig.closed(link), None);
}

#[test]
fn a_full_supernode_names_one_nearby_that_is_not_draining() {
    let mut rig = Rig::new(1, 0);
    let node = |number: u8, near: bool, weight: u32| FleetNode {
        node: Node(number.into()),
        supernode: SupernodeId([number + 1; 16]),
        incarnation: 1,
        shards: 1,
        weight,
        near,
    };
    let fleet = Fleet::new(vec![node(0, true, 1), node(1, true, 0), node(2, false, 1), node(3, true, 1)]);
    rig.shards[0].handle_fleet(Arc::new(fleet), rig.now);
    for _ in 0..50 {
        rig.link_up();
    }
    let refused = rig.link_up();
    let said: Vec<_> = rig.take(refused).into_iter().filter_map(|message| message.body).collect();
    let [Say::GoAway(away), Say::Error(error)] = &said[..] else { panic!("{said:?}") };
    assert_eq!((&away.supernode[..], error.code()), (&[4; 16][..], v1::ErrorCode::Overloaded));
}

#[test]
fn while_the_store_is_slow_what_can_wait_is_refused_and_messages_are_not() {
    let mut rig = Rig::new(1, 0);
    rig.shards[0] = Exchange::new(ExchangeConfig { sessions_max: 1_000, ..config(0, 1) }, [0; 32]);
    rig.shards[0].handle_lists(lists(no_revocations(), 3), rig.now);
    let members: Vec<_> = (0..160).flat_map(|account| [1, 2].map(|device| Member::new(account, device))).collect();
    let links: Vec<_> = members.iter().map(|member| rig.sign_in(member)).collect();
    let page = || Ask::FetchLog(v1::FetchLog { conversation: Bytes::from_static(&[7; 16]), after: 0 });
    for link in &links[..10_000 / 32 + 1] {
        for _ in 0..32 {
            rig.ask_quietly(*link, page());
        }
    }
    let (search, log) = (Ask::FindAccount(v1::FindAccount { name: "alice".to_owned() }), page());
    let asker = links[319];
    let (refused, taken) = (rig.ask_quietly(asker, search), rig.ask_quietly(asker, log));
    let answered = |rig: &mut Rig| rig.take(asker).into_iter().map(|message| message.in_reply_to).collect::<Vec<_>>();
    assert_eq!(answered(&mut rig), [refused]);
    rig.settle();
    assert_eq!(answered(&mut rig), [taken]);
}

#[test]
fn a_drain_asks_sessions_to_go_and_refuses_sign_ins() {
    let mut rig = Rig::new(2, 0);
    let session = rig.sign_in(&Member::new(1, 1));
    let half_open = rig.link_up();
    for shard in &mut rig.shards {
        shard.drain(Duration::from_secs(2), Duration::from_secs(30));
    }
    rig.settle();
    assert_eq!(
        rig.events(session),
        [Say::GoAway(v1::GoAway { reconnect_in_ms: 2_000, spread_ms: 30_000, supernode: Bytes::new() })]
    );
    assert_eq!((rig.closed(session), rig.closed(half_open)), (None, None));
    for (account, link) in [(2, half_open), (3, rig.link_up())] {
        let nonce = rig.nonce(link);
        rig.ask(link, Ask::Prove(Member::new(account, 1).prove(&nonce, None)));
        assert_eq!(rig.closed(link), Some(v1::ErrorCode::ShuttingDown));
    }
}

#[test]
fn a_full_shard_has_room_for_an_eighth_more_who_are_in_a_call() {
    let mut rig = Rig::new(1, 0);
    let sign_in = |rig: &mut Rig, account: u8, urgency: v1::Urgency| {
        let link = rig.link_up();
        let nonce = rig.nonce(link);
        let proof = Member::new(account, 1).prove(&nonce, None);
        rig.ask(link, Ask::Prove(v1::Prove { urgency: urgency.into(), ..proof }));
        rig.closed(link)
    };
    let most = config(0, 1).sessions_max as u8;
    assert!((0..most).all(|account| sign_in(&mut rig, account, v1::Urgency::Resume).is_none()));
    assert_eq!(sign_in(&mut rig, most, v1::Urgency::Resume), Some(v1::ErrorCode::Overloaded));
    let more = (most..).take_while(|account| sign_in(&mut rig, *account, v1::Urgency::InCall).is_none()).count();
    assert_eq!(more, usize::from(most) / 8);
    assert_eq!(rig.gauges(|g| g.half_open), 0);
}

#[test]
fn an_idle_session_costs_less_than_half_a_kibibyte() {
    assert!(size_of::<Session>() <= 512, "{}", size_of::<Session>());
}

#[test]
fn in_a_storm_the_less_urgent_are_put_off_first_each_to_a_moment_of_its_own_and_come_in_then() {
    let mut rig = Rig::new(1, 0);
    let member = Member::new(1, 1);
    // The same device each time, so that no more than one session is there: what counts is how many sign in.
    let sign_in = |rig: &mut Rig, urgency: v1::Urgency| {
        let link = rig.link_up();
        let nonce = rig.nonce(link);
        rig.ask(link, Ask::Prove(v1::Prove { urgency: urgency.into(), ..member.prove(&nonce, None) }));
        match rig.take(link).pop_back().unwrap().body.unwrap() {
            Say::Error(error) => Err((error.code(), error.retry_after_ms)),
            _ => Ok(()),
        }
    };
    let admitted = |rig: &mut Rig, urgency| (0..3_000).take_while(|_| sign_in(rig, urgency).is_ok()).count();
    assert_eq!(admitted(&mut rig, v1::Urgency::Unspecified), 500);
    assert_eq!(admitted(&mut rig, v1::Urgency::Resume), 500, "1,000 altogether");
    assert_eq!(admitted(&mut rig, v1::Urgency::InCall), 1_000, "2,000 altogether");
    let told: Vec<u32> = (0..100)
        .map(|_| {
            let (code, retry_after_ms) = sign_in(&mut rig, v1::Urgency::Unspecified).unwrap_err();
            assert_eq!(code, v1::ErrorCode::Overloaded);
            retry_after_ms
        })
        .collect();
    assert!(told.is_sorted_by(|one, next| one + 1 == *next), "{told:?}");
    assert!(rig.counters(|c| c.sign_ins_put_off) >= 103);
    rig.pass(Duration::from_millis(told[0].into()));
    for _ in 0..10 {
        assert_eq!(sign_in(&mut rig, v1::Urgency::Unspecified), Ok(()));
        rig.pass(Duration::from_millis(1));
    }
    assert_eq!(rig.gauges(|g| g.half_open), 0);
}
