//! Links and sessions: what a client meets before, during and after sign-in.

use ahoy_proto::{document::Revoked, limits::PROOF_TIMEOUT, v1::ErrorCode};

use super::*;

#[tokio::test]
async fn the_challenge_arrives_before_anything_is_asked() {
    let rig = Rig::start(1);
    let client = rig.dial().await;
    let Some(Say::Challenge(challenge)) = client.next().await.unwrap().body else { panic!("no challenge") };
    assert_eq!(challenge.supernode, rig.supernode.id().to_bytes());
    assert_eq!(challenge.nonce.len(), 32);
}

#[tokio::test]
async fn a_session_can_ask_the_store() {
    let rig = Rig::start(2);
    let (alice, bob) = rig.two_people().await;
    let mut client = rig.sign_in(&alice).await;
    let found = client.ask(Ask::FindAccount(v1::FindAccount { name: "bob".to_owned() })).await;
    let Say::AccountFound(found) = found else { panic!("{found:?}") };
    assert_eq!(found.account, bob.account.to_bytes());
    let missing = client.ask(Ask::FindAccount(v1::FindAccount { name: "carol".to_owned() })).await;
    assert!(matches!(&missing, Say::Error(error) if error.code() == ErrorCode::NotFound), "{missing:?}");
}

#[tokio::test]
async fn a_link_that_does_not_prove_itself_in_time_is_closed() {
    let rig = Rig::start(1);
    let client = rig.dial().await;
    client.next().await.unwrap();
    rig.pass(PROOF_TIMEOUT);
    assert_eq!(client.end().await, LinkEnd::Closed(ErrorCode::ProofTimeout));
}

#[tokio::test]
async fn a_proof_by_another_key_is_refused_with_its_code() {
    let rig = Rig::start(1);
    let person = Person::new("alice", 10);
    let mut client = rig.dial().await;
    client.prove(&person.credential(), &key(99)).await;
    let code = client.event(|message| if let Say::Error(error) = message { Some(error.code()) } else { None }).await;
    assert_eq!(code, ErrorCode::ProofInvalid);
    assert_eq!(client.end().await, LinkEnd::Closed(ErrorCode::ProofInvalid));
}

#[tokio::test]
async fn a_revoked_device_loses_its_session_and_gets_no_other() {
    let rig = Rig::start(2);
    let (alice, _) = rig.two_people().await;
    let client = rig.sign_in(&alice).await;
    let mut revocations = no_revocations();
    revocations.serial = 2;
    revocations.devices.push(Revoked { id: alice.device, at: unix_now().plus(Duration::from_secs(1)) });
    rig.supernode.update_keys(keys(revocations));
    assert_eq!(client.end().await, LinkEnd::Closed(ErrorCode::CredentialRevoked));
}

#[tokio::test]
async fn a_device_that_signs_in_again_replaces_its_session() {
    let rig = Rig::start(2);
    let (alice, _) = rig.two_people().await;
    let first = rig.sign_in(&alice).await;
    let mut second = rig.sign_in(&alice).await;
    assert_eq!(first.end().await, LinkEnd::Closed(ErrorCode::SessionReplaced));
    let listed = second.ask(Ask::ListConversations(v1::ListConversations::default())).await;
    assert!(matches!(listed, Say::Conversations(_)), "{listed:?}");
}

#[tokio::test]
async fn a_message_over_the_limit_before_proof_is_refused() {
    let rig = Rig::start(1);
    let mut client = rig.dial().await;
    let prove = v1::Prove { credential: "x".repeat(5_000), ..Default::default() };
    client.send(Ask::Prove(prove));
    assert_eq!(client.end().await, LinkEnd::Closed(ErrorCode::MessageTooLong));
}

#[tokio::test]
async fn a_drained_supernode_asks_its_sessions_to_go_and_takes_no_new_ones() {
    let rig = Rig::start(2);
    let (alice, _) = rig.two_people().await;
    let mut client = rig.sign_in(&alice).await;
    rig.supernode.drain(Duration::from_secs(2), Duration::from_secs(5));
    let asked = client.event(|event| if let Say::GoAway(asked) = event { Some(asked) } else { None }).await;
    assert_eq!((asked.reconnect_in_ms, asked.spread_ms), (2_000, 5_000));
    let late = Client::turned_away(&rig.entry(), &alice).await;
    assert_eq!(late, LinkEnd::Closed(ErrorCode::ShuttingDown));
}

#[tokio::test]
async fn a_shutdown_is_announced_and_then_closes_every_session() {
    let rig = Rig::start(2);
    let (alice, bob) = rig.two_people().await;
    let mut clients = [rig.sign_in(&alice).await, rig.sign_in(&bob).await];
    let supernode = rig.supernode;
    let ended = tokio::task::spawn_blocking(move || supernode.shut_down(Duration::from_secs(1), Duration::ZERO));
    for client in &mut clients {
        client.event(|event| if let Say::GoAway(asked) = event { Some(asked) } else { None }).await;
        assert_eq!(client.end().await, LinkEnd::Closed(ErrorCode::ShuttingDown));
    }
    ended.await.unwrap();
}

#[tokio::test]
async fn a_restart_resets_sessions_at_once_and_they_can_sign_in_again() {
    let rig = Rig::start(2);
    let (alice, _) = rig.two_people().await;
    let client = rig.sign_in(&alice).await;
    let Rig { supernode, store, _folder: folder, .. } = rig;
    let port = supernode.addresses()[0].port();
    drop(supernode);
    let rig = Rig::on(store, folder, 2, port);
    client.link.send_datagram(vec![0; 100].into()).unwrap();
    let end = tokio::time::timeout(Duration::from_secs(5), client.link.ended()).await;
    assert_eq!(end, Ok(LinkEnd::Reset));
    rig.sign_in(&alice).await;
}

#[tokio::test]
async fn a_mebibyte_of_noise_leaves_sessions_unharmed() {
    let rig = Rig::start(2);
    let (alice, _) = rig.two_people().await;
    let mut client = rig.sign_in(&alice).await;
    let noise = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let mut sent = 0;
    while sent < 1 << 20 {
        let mut packet = vec![0; rand::random_range(1..1472)];
        rand::fill(&mut packet[..]);
        noise.send_to(&packet, rig.supernode.addresses()[0]).unwrap();
        sent += packet.len();
    }
    let listed = client.ask(Ask::ListConversations(v1::ListConversations::default())).await;
    assert!(matches!(listed, Say::Conversations(_)), "{listed:?}");
    rig.sign_in(&alice).await;
    assert!(rig.supernode.is_sound());
}
