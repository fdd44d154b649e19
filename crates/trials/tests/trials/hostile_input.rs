//! What strangers and liars can send, and that it costs nobody anything.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant, SystemTime};

use ahoy_proto::v1::ErrorCode;
use ahoy_proto::{AccountId, CallId, UnixTime, frame, limits, v1};
use ahoy_trials::harness::{Daemon, DaemonOptions, Machine, Person, metric, resident_bytes, trial};
use ahoy_trials::wire::{self, Identity, Link, NetworkKeys, Request, Response};
use anyhow::{Context as _, ensure};
use ed25519_dalek::SigningKey;

const LIMIT: Duration = Duration::from_secs(90);

/// Runs a future on this thread.
pub(crate) fn run<T>(body: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(body)
}

/// An own session that was there before still answers, a new one is let in, and the health check agrees.
async fn unharmed(daemon: &Daemon, keys: &NetworkKeys, before: &mut wire::Session) -> anyhow::Result<()> {
    let list = || Request::ListConversations(v1::ListConversations::default());
    before.granted(list()).await.context("the session that was there before")?;
    let endpoint = wire::endpoint(None)?;
    let mut session = Link::connect(&endpoint, daemon.address()).await?.sign_in(&keys.identity()).await?;
    session.granted(list()).await.context("a new session")?;
    Ok(())
}

async fn sign_in(daemon: &Daemon, keys: &NetworkKeys) -> anyhow::Result<wire::Session> {
    Link::connect(&wire::endpoint(None)?, daemon.address()).await?.sign_in(&keys.identity()).await
}

/// The number of links closed for breaking a rule.
fn closed_for(daemon: &Daemon, rule: &str) -> anyhow::Result<f64> {
    Ok(metric(&daemon.metrics()?, "ahoy_links_closed_total", &format!("rule=\"{rule}\"")))
}

#[test]
fn every_credential_that_is_not_good_is_refused_by_its_own_code() {
    trial(LIMIT, Machine::Shared, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let keys = NetworkKeys::read(daemon.data())?;
        let forger = SigningKey::from_bytes(&rand::random());
        let now = UnixTime::from(SystemTime::now());
        let (network, account) = (keys.network, AccountId(rand::random()));
        let day = 86_400;
        let expired = [UnixTime(now.0 - 8 * day), UnixTime(now.0 - day)];
        let early = [UnixTime(now.0 + day), UnixTime(now.0 + 8 * day)];
        let abroad = ahoy_proto::NetworkId(rand::random());
        let mut thief = keys.identity();
        thief.key = SigningKey::from_bytes(&rand::random());
        let cases = [
            (Identity::made(network, account, &forger), ErrorCode::CredentialForged, "credential_forged"),
            (
                Identity::made_for(network, account, &keys.signing, expired),
                ErrorCode::CredentialExpired,
                "credential_expired",
            ),
            (
                Identity::made_for(network, account, &keys.signing, early),
                ErrorCode::CredentialExpired,
                "credential_expired",
            ),
            (Identity::made(abroad, account, &keys.signing), ErrorCode::WrongNetwork, "wrong_network"),
            (thief, ErrorCode::ProofInvalid, "proof_invalid"),
        ];
        run(async {
            let mut witness = sign_in(&daemon, &keys).await?;
            for (identity, code, rule) in cases {
                let counted = closed_for(&daemon, rule)?;
                let link = Link::connect(&wire::endpoint(None)?, daemon.address()).await?;
                let proof = frame::encode(&link.proof(&identity, "")?);
                let closed = link.provoke(&proof).await?;
                ensure!(closed == code, "{closed:?} where {code:?} was due");
                trial.wait_for(rule, || closed_for(&daemon, rule).is_ok_and(|now| now > counted).then_some(()))?;
            }
            unharmed(&daemon, &keys, &mut witness).await
        })
    });
}

#[test]
fn every_broken_rule_closes_the_link_with_its_own_code() {
    trial(LIMIT, Machine::Shared, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let keys = NetworkKeys::read(daemon.data())?;
        let request = |number, body| frame::encode(&v1::ClientMessage { request: number, body: Some(body) }).to_vec();
        let find = || Request::FindAccount(v1::FindAccount { name: "alice".to_owned() });
        let too_long = [&[0xff, 0xff, 0x7f][..], &[0; 100]].concat();
        let cases = [
            (request(1, find()), ErrorCode::OutOfOrder),
            (request(0, find()), ErrorCode::RequestNumber),
            (too_long, ErrorCode::MessageTooLong),
            (vec![4, 0xff, 0xff, 0xff, 0xff], ErrorCode::Malformed),
        ];
        run(async {
            let mut witness = sign_in(&daemon, &keys).await?;
            for (bytes, code) in cases {
                let link = Link::connect(&wire::endpoint(None)?, daemon.address()).await?;
                let closed = link.provoke(&bytes).await?;
                ensure!(closed == code, "{closed:?} where {code:?} was due");
            }
            let link = Link::connect(&wire::endpoint(None)?, daemon.address()).await?;
            let mut old = link.proof(&keys.identity(), "")?;
            if let Some(Request::Prove(prove)) = &mut old.body {
                prove.version = 0;
            }
            let closed = link.provoke(&frame::encode(&old)).await?;
            ensure!(closed == ErrorCode::VersionTooOld, "{closed:?} where VersionTooOld was due");
            unharmed(&daemon, &keys, &mut witness).await
        })
    });
}

#[test]
fn a_call_token_of_another_network_is_refused_and_counted() {
    trial(LIMIT, Machine::Shared, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let keys = NetworkKeys::read(daemon.data())?;
        let foreign_key = ahoy_proto::call_token::CallTokenKey::new(rand::random());
        let foreign = NetworkKeys { call_token: foreign_key, ..NetworkKeys::read(daemon.data())? };
        let (own, peer) = (keys.identity(), keys.identity());
        run(async {
            let mut session = Link::connect(&wire::endpoint(None)?, daemon.address()).await?.sign_in(&own).await?;
            let call = CallId(rand::random());
            let others = keys.call_token(call, &peer, &own);
            for token in [foreign.call_token(call, &own, &peer), others, wire::noise(200).to_vec()] {
                let attach = v1::AttachLeg { call_token: token.into(), leg: wire::noise(16), sealed: wire::noise(99) };
                let Response::Error(error) = session.request(Request::AttachLeg(attach)).await? else {
                    anyhow::bail!("a token that is not good was taken");
                };
                ensure!(error.code() == ErrorCode::CallTokenRefused, "{:?}: {}", error.code(), error.text);
            }
            wire::attach(&mut session, keys.call_token(call, &own, &peer)).await.context("the good token")?;
            Ok(())
        })?;
        let refused = || daemon.metrics().is_ok_and(|text| metric(&text, "ahoy_call_tokens_refused_total", "") >= 3.0);
        trial.wait_for("three refusals to be counted", || refused().then_some(()))
    });
}

#[test]
fn voice_under_a_strange_flow_is_dropped_and_counted() {
    trial(LIMIT, Machine::Shared, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let keys = NetworkKeys::read(daemon.data())?;
        let (own, peer) = (keys.identity(), keys.identity());
        run(async {
            let endpoint = wire::endpoint(None)?;
            let mut session = Link::connect(&endpoint, daemon.address()).await?.sign_in(&own).await?;
            let mut listener = Link::connect(&endpoint, daemon.address()).await?.sign_in(&peer).await?;
            let liar = Link::connect(&endpoint, daemon.address()).await?.sign_in(&keys.identity()).await?;
            let call = CallId(rand::random());
            let flow = wire::attach(&mut session, keys.call_token(call, &own, &peer)).await?;
            wire::attach(&mut listener, keys.call_token(call, &peer, &own)).await?;
            let mut foreign = Vec::new();
            flow.encode(&mut foreign);
            foreign.extend_from_slice(b"somebody else's flow");
            liar.connection().send_datagram(foreign.into())?;
            liar.connection().send_datagram(wire::noise(100))?;
            // The first byte of a flow id of eight.
            liar.connection().send_datagram(bytes::Bytes::from_static(&[0xc0]))?;
            let silence = tokio::time::timeout(Duration::from_millis(500), listener.connection().read_datagram()).await;
            ensure!(silence.is_err(), "a liar's voice was forwarded");
            Ok(())
        })?;
        let dropped = |cause: &str| {
            let text = daemon.metrics().unwrap_or_default();
            metric(&text, "ahoy_voice_packets_dropped_total", &format!("cause=\"{cause}\"")) > 0.0
        };
        trial.wait_for("a foreign flow to be counted", || dropped("foreign_flow").then_some(()))?;
        trial.wait_for("a malformed packet to be counted", || dropped("malformed").then_some(()))
    });
}

/// Bytes of noise on each port.
const NOISE: usize = 1 << 20;

/// What a daemon may hold more after noise than before.
const GROWTH_MAX: u64 = 16 * 1024 * 1024;

#[test]
fn a_mebibyte_of_noise_on_the_port_changes_nothing() {
    trial(LIMIT, Machine::Shared, |trial| {
        let mut daemon = Daemon::start(trial, DaemonOptions::default())?;
        let keys = NetworkKeys::read(daemon.data())?;
        let alice = Person::signed_up(trial, "alice", &daemon)?;
        let before = resident_bytes(daemon.id())?;
        run(async {
            let mut witness = sign_in(&daemon, &keys).await?;
            let udp = UdpSocket::bind("127.0.0.1:0")?;
            for packet in wire::noise(NOISE).chunks(1200) {
                // The socket buffer may be full: then the noise never came.
                let _ = udp.send_to(packet, daemon.address());
            }
            for piece in wire::noise(NOISE).chunks(NOISE / 16) {
                noise_on_tcp(&daemon, piece);
            }
            let link = Link::connect(&wire::endpoint(None)?, daemon.address()).await?;
            link.provoke(&wire::noise(NOISE)).await.context("noise on a stream")?;
            unharmed(&daemon, &keys, &mut witness).await
        })?;
        ensure!(metric(&daemon.metrics()?, "ahoy_udp_packets_ignored_total", "") > 0.0, "noise was not counted");
        let after = resident_bytes(daemon.id())?;
        ensure!(after < before + GROWTH_MAX, "{before} bytes became {after}");
        ensure!(daemon.child().runs());
        alice.run(trial, ["status"])?.succeeded()?;
        Ok(())
    });
}

fn noise_on_tcp(daemon: &Daemon, noise: &[u8]) {
    let Ok(mut stream) = TcpStream::connect(daemon.address()) else { return };
    let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
    // It is refused at some point, which is what it should be.
    let _ = stream.write_all(noise);
    let _ = stream.read(&mut [0; 1024]);
}

/// How long half-open connections are watched.
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn half_open_connections_cost_others_nothing_and_end() {
    trial(Duration::from_secs(120), Machine::Idle, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let keys = NetworkKeys::read(daemon.data())?;
        let started = Instant::now();
        run(async {
            let mut witness = sign_in(&daemon, &keys).await?;
            let endpoint = wire::endpoint(None)?;
            // A QUIC handshake without a proof, one with the first half of a message, and TCP in the middle of a head.
            let silent = Link::connect(&endpoint, daemon.address()).await?;
            let halting = Link::connect(&endpoint, daemon.address()).await?.provoke(&[100, 1, 2, 3]);
            let mut tcp = TcpStream::connect(daemon.address())?;
            tcp.write_all(b"POST /v1/accounts/start HTTP/1.1\r\nContent-Length: 1000\r\nHost: x\r\n")?;
            let code = wire::closing_code(silent.connection()).await?;
            ensure!(code == ErrorCode::ProofTimeout, "{code:?} where ProofTimeout was due");
            let code = halting.await?;
            ensure!(code == ErrorCode::ProofTimeout, "{code:?} where ProofTimeout was due");
            let taken = started.elapsed();
            ensure!(taken < limits::PROOF_TIMEOUT + Duration::from_secs(5), "it took {taken:?}");
            tokio::time::sleep(MINUTE.saturating_sub(started.elapsed())).await;
            unharmed(&daemon, &keys, &mut witness).await?;
            tcp.set_read_timeout(Some(Duration::from_millis(100)))?;
            let ended =
                !matches!(tcp.read(&mut [0; 1024]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
            ensure!(ended, "a request without an end is still waited for after a minute");
            Ok(())
        })?;
        trial.wait_for("no link to be half-open", || none_half_open(&daemon).then_some(()))
    });
}

fn none_half_open(daemon: &Daemon) -> bool {
    daemon.metrics().is_ok_and(|text| metric(&text, "ahoy_links_half_open", "") == 0.0)
}
