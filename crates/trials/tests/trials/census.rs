//! Who looks from outside learns which supernodes there are, and nothing of who uses them.

use std::net::SocketAddr;
use std::time::Duration;

use ahoy_proto::{AccountId, NetworkId, UnixTime, v1};
use ahoy_trials::harness::{
    Child, Daemon, DaemonOptions, Event, Machine, Person, Puppet, Trial, Verb, binary, free_port, http_get, trial,
};
use ahoy_trials::outside::{self, Act, Deed, Told};
use ahoy_trials::quality::{VOICES, speech};
use ahoy_trials::wire::{self, Identity, Link, NetworkKeys, Request, Session};
use anyhow::{Context as _, ensure};
use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use crate::fleet::{self, Fleet};
use crate::hostile_input::run;

/// The name that an outsider guesses: nobody's at first, and somebody's later.
const GUESSED: &str = "aleksandra-quill";

/// Signed in by hand, besides people with accounts.
const SESSIONS: usize = 40;

/// The base point of ristretto255 in base64url: a blinded password as good as any.
const POINT: &str = "4vKuCmq8TnGohKlhxQBRX1jjC2qlgt2NtqZZReCNLXY";

/// All that is routed, and what must not be.
const PATHS: [&str; 28] = [
    "/.well-known/ahoy",
    "/session",
    "/v1/roster",
    "/v1/accounts/start",
    "/v1/accounts/finish",
    "/v1/accounts/delete",
    "/v1/sign-in/start",
    "/v1/sign-in/finish",
    "/v1/recovery",
    "/v1/password/start",
    "/v1/password/finish",
    "/v1/devices",
    "/v1/devices/revoke",
    "/v1/devices/rename",
    "/v1/credentials/renew",
    "/v1/credentials/revoke",
    "/v1/supernodes/enrol",
    "/v1/supernodes/renew",
    "/",
    "/fleet",
    "/live",
    "/metrics",
    "/ready",
    "/v1/accounts",
    "/v1/key-log",
    "/v1/revocations",
    "/v1/supernodes",
    "/v1/accounts/aleksandra-quill",
];

/// What goes with requests that say something.
fn bodies() -> Vec<(&'static str, Value)> {
    let three = points(96);
    vec![
        ("/v1/accounts/start", json!({ "name": "newcomer", "registration_request": POINT })),
        ("/v1/accounts/start", json!({ "name": "x", "registration_request": POINT })),
        ("/v1/accounts/start", json!({ "name": "admin", "registration_request": POINT })),
        ("/v1/sign-in/start", json!({ "name": GUESSED, "credential_request": three })),
        ("/v1/sign-in/start", json!({ "name": "nobody-ever", "credential_request": three })),
        ("/v1/sign-in/finish", json!({ "state": "AAAA", "credential_finalization": "AAAA" })),
        ("/v1/recovery", json!({ "name": GUESSED, "recovery_secret": POINT })),
        ("/v1/recovery", json!({ "name": "nobody-ever", "recovery_secret": POINT })),
        ("/v1/password/start", json!({ "ticket": "AAAA", "registration_request": POINT })),
        ("/v1/accounts/delete", json!({ "ticket": "AAAA" })),
        ("/v1/credentials/renew", json!({ "credential": "a.b.c", "time": 1, "signature": "AAAA" })),
        ("/v1/credentials/revoke", json!({ "credential": "e30.e30.AAAA", "time": 1, "signature": "AAAA" })),
        ("/v1/supernodes/renew", json!({ "certificate": "a.b.c", "time": 1, "reply_key": POINT, "signature": "AAAA" })),
    ]
}

/// The base point again and again: KE1 of OPAQUE is a point, a nonce and a key share.
fn points(length: usize) -> String {
    let point = BASE64URL_NOPAD.decode(POINT.as_bytes()).expect("it is base64url");
    BASE64URL_NOPAD.encode(&point.repeat(length / point.len()))
}

/// A credential by somebody who is no authority, the same at each look but for its times.
fn forged() -> Identity {
    let network = NetworkId([9; 16]);
    let times = [UnixTime(1_800_000_000), UnixTime(1_800_000_001)];
    Identity::made_for(network, AccountId([7; 16]), &SigningKey::from_bytes(&[5; 32]), times)
}

/// Everything that an outsider can ask for.
fn look(at: SocketAddr) -> anyhow::Result<Vec<Told>> {
    let mut all = Vec::new();
    for path in PATHS {
        for method in ["GET", "HEAD", "OPTIONS", "PUT"] {
            all.push(outside::http(at, method, path, None)?);
        }
        all.push(outside::http(at, "POST", path, Some(&json!({})))?);
    }
    for (path, body) in bodies() {
        all.push(outside::http(at, "POST", path, Some(&body))?);
    }
    all.push(outside::tcp(at, "TCP: noise", b"\x16\x03\x01\x02\x00noise\r\n\r\n")?);
    all.push(outside::unknown_version(at)?);
    all.extend(run(look_by_quic(at))?);
    Ok(all)
}

async fn look_by_quic(at: SocketAddr) -> anyhow::Result<Vec<Told>> {
    let find = || Request::FindAccount(v1::FindAccount { name: GUESSED.to_owned() });
    let prove = |credential: &str, agent: &str| {
        Request::Prove(v1::Prove {
            credential: credential.to_owned(),
            signature: vec![1; 64].into(),
            version: ahoy_proto::VERSION,
            agent: agent.to_owned(),
            ..Default::default()
        })
    };
    let join = |challenge: &v1::Challenge| {
        let certificate = challenge.certificate.clone();
        let signature = vec![1; 64].into();
        Request::JoinTrunk(v1::JoinTrunk { certificate, signature, version: 1, incarnation: 1, shards: 1 })
    };
    let forger = forged();
    let deeds: Vec<(&str, Deed<'_>)> = vec![
        ("nothing but the handshake", Box::new(|_| Act::Leave)),
        ("noise", Box::new(|_| Act::Send(vec![3, 0xff, 0xff, 0xff]))),
        ("a message that is too long", Box::new(|_| Act::Send(vec![0xff, 0xff, 0xff, 0x7f]))),
        ("a question before proof", Box::new(|_| Act::Send(outside::framed(1, find())))),
        ("a request without a number", Box::new(|_| Act::Send(outside::framed(0, find())))),
        (
            "contacts before proof",
            Box::new(|_| Act::Send(outside::framed(1, Request::ListContacts(v1::ListContacts::default())))),
        ),
        ("no credential", Box::new(|_| Act::Send(outside::framed(1, prove("", "stranger"))))),
        ("a forged credential", Box::new(|_| Act::Send(outside::framed(1, prove(&forger.credential, "stranger"))))),
        ("a long name of a program", Box::new(|_| Act::Ask(outside::framed(1, prove("", &"x".repeat(65)))))),
        ("an old version", Box::new(|_| Act::Send(outside::framed(1, Request::Prove(v1::Prove::default()))))),
        (
            "a certificate that it has shown itself",
            Box::new(|challenge| Act::Send(outside::framed(1, join(challenge)))),
        ),
        ("a stream too many", Box::new(|_| Act::OpenStream)),
        ("silence until it has had enough", Box::new(|_| Act::Send(Vec::new()))),
    ];
    let mut all = Vec::new();
    for (asked, deed) in &deeds {
        all.push(outside::link(at, asked, ahoy_proto::ALPN, deed).await?);
    }
    let leave: Deed<'_> = Box::new(|_| Act::Leave);
    all.push(outside::link(at, "another protocol", b"echo", &leave).await?);
    all.push(outside::link(at, "what calls itself a browser", b"h3", &leave).await?);
    Ok(all)
}

/// People who have signed up, are there, and talk; and what nobody is to learn of them.
struct Crowd {
    _puppets: Vec<Puppet>,
    _call: [Verb; 2],
    _sessions: (Vec<quinn::Endpoint>, Vec<Session>),
    secrets: Vec<(String, Vec<u8>)>,
}

impl Crowd {
    fn gather(trial: &Trial, daemon: &Daemon, runtime: &tokio::runtime::Runtime) -> anyhow::Result<Self> {
        let names = [GUESSED, "bartholomew-finch", "cassiopeia-thorn", "demetrius-vole", "evangeline-moss"];
        let people = Person::signed_up_all(trial, names, daemon)?;
        let mut secrets: Vec<_> = names.map(|name| (name.to_owned(), name.as_bytes().to_vec())).into();
        for person in &people {
            let outcome = person.run(trial, ["whoami"])?.succeeded()?;
            secrets.extend(ids_of(person.name(), outcome.event("whoami")?)?);
        }
        let [one, two, three, four, five] = &people;
        one.befriend(trial, two)?;
        let mut puppets = vec![Puppet::start(trial, three)?, Puppet::start(trial, four)?];
        let [first, second] = puppets.as_mut_slice() else { unreachable!("there are two") };
        first.befriend(trial, second)?;
        first.send(four.name(), "Is anybody out there?")?;
        // One signs out, one is gone for good: both stand in the list of revocations.
        five.on_another_device().sign_in(trial)?.succeeded()?;
        five.on_another_device().run(trial, ["sign-out"])?.succeeded()?;
        five.run(trial, ["delete-account", "--confirm", five.name()])?.succeeded()?;
        let [mine, theirs] = VOICES.map(|voice| speech(voice).into_os_string());
        let mut listening = two.start(trial, ["listen".into(), "--auto-answer".into(), "--play".into(), theirs])?;
        listening.wait_for("listening")?;
        let mut calling = one.start(trial, ["call".into(), two.name().into(), "--play".into(), mine])?;
        calling.wait_for("voice")?;
        let sessions = runtime.block_on(sign_in_many(daemon))?;
        for endpoint in &sessions.0 {
            let port = endpoint.local_addr()?.port();
            secrets.extend(outside::forms_of_address("an address", ([127, 0, 0, 1], port).into()));
        }
        Ok(Self { _puppets: puppets, _call: [calling, listening], _sessions: sessions, secrets })
    }
}

fn ids_of(name: &str, whoami: &Event) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut forms = Vec::new();
    for field in ["account", "device"] {
        // All ids look the same.
        let id: AccountId = whoami.text(field).parse().with_context(|| format!("{name} has no {field}"))?;
        forms.extend(outside::forms_of_id(&format!("{field} of {name}"), &id.0));
    }
    Ok(forms)
}

async fn sign_in_many(daemon: &Daemon) -> anyhow::Result<(Vec<quinn::Endpoint>, Vec<Session>)> {
    let keys = NetworkKeys::read(daemon.data())?;
    let (mut endpoints, mut sessions) = (Vec::new(), Vec::new());
    for _ in 0..SESSIONS {
        let endpoint = wire::endpoint(None)?;
        sessions.push(Link::connect(&endpoint, daemon.address()).await?.sign_in(&keys.identity()).await?);
        endpoints.push(endpoint);
    }
    Ok((endpoints, sessions))
}

/// Nothing tells the two looks apart, and nothing that was told is one of these.
fn compare(before: &[Told], after: &[Told], secrets: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
    let told: Vec<&Told> = before.iter().chain(after).collect();
    println!(
        "{} questions, {} bytes of answers, {} things to look for",
        before.len(),
        told.iter().map(|told| told.bytes.len()).sum::<usize>(),
        secrets.len()
    );
    let differences = outside::differences(before, after);
    ensure!(differences.is_empty(), "the looks differ:\n{}", differences.join("\n"));
    for look in [before, after] {
        let found = outside::holding(look, secrets);
        ensure!(found.is_empty(), "an outsider is told {found:?}");
    }
    Ok(())
}

#[test]
fn an_outsider_learns_nothing_of_how_many_there_are_nor_who_nor_where() {
    trial(Duration::from_secs(240), Machine::Shared, |trial| {
        let mut daemon = Daemon::start(trial, DaemonOptions::default())?;
        let before = look(daemon.address())?;
        // The same network looks the same twice, so what differs later is not chance.
        compare(&before, &look(daemon.address())?, &[])?;
        let runtime = tokio::runtime::Runtime::new()?;
        let crowd = Crowd::gather(trial, &daemon, &runtime)?;
        compare(&before, &look(daemon.address())?, &crowd.secrets)?;
        // A restart signs every list anew: what was kept to itself until then would show now.
        daemon.kill_and_restart(trial)?;
        daemon.wait_until_ready(trial)?;
        compare(&before, &look(daemon.address())?, &crowd.secrets)
    });
}

/// `ahoy census` of a network, to its end.
fn census(trial: &Trial, url: &str, more: &[&str]) -> anyhow::Result<(Option<i32>, Vec<Value>)> {
    let mut command = std::process::Command::new(binary("ahoy")?);
    command
        .args(["--json", "--profile"])
        .arg(trial.folder().join("nobody"))
        .args(["--network", url, "census"])
        .args(more);
    let mut child = Child::start(trial, "census", &command)?;
    let mut objects = Vec::new();
    while let Some(line) = child.next_line()? {
        objects.push(serde_json::from_str(&line.text).with_context(|| line.text.clone())?);
    }
    Ok((child.wait()?.code(), objects))
}

fn of<'a>(objects: &'a [Value], event: &str) -> anyhow::Result<&'a Value> {
    objects.iter().find(|object| object["event"] == event).with_context(|| format!("no {event} in {objects:?}"))
}

#[test]
fn a_census_needs_no_account_and_fails_when_a_supernode_does_not_answer() {
    trial(Duration::from_secs(90), Machine::Shared, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let (code, objects) = census(trial, &daemon.network(), &[])?;
        ensure!(code == Some(0), "{code:?}: {objects:?}");
        let seen = of(&objects, "supernode")?;
        ensure!(seen["state"] == "up" && seen["certificate"]["policy"] == "hosted", "{seen}");
        ensure!(seen["agent"] == format!("ahoyd/{}", env!("CARGO_PKG_VERSION")), "{seen}");
        ensure!(seen["round_trip_ms"].as_f64().is_some_and(|ms| ms > 0.0) && seen["reach"] == "loopback", "{seen}");
        ensure!(of(&objects, "census")?["ok"] == true, "{objects:?}");
        // Nobody listens at the port that it is to dial.
        let nowhere = free_port();
        let (code, objects) = census(trial, &daemon.network(), &["--supernode", &format!("127.0.0.1:{nowhere}")])?;
        ensure!(code == Some(3), "{code:?}: {objects:?}");
        ensure!(of(&objects, "supernode")?["state"] == "no-answer", "{objects:?}");
        Ok(())
    });
}

#[test]
fn the_operator_s_census_takes_the_socket_and_counts_who_is_there() {
    trial(Duration::from_secs(90), Machine::Shared, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let runtime = tokio::runtime::Runtime::new()?;
        let _sessions = runtime.block_on(sign_in_many(&daemon))?;
        let data = daemon.data().to_str().context("the folder's name is text")?;
        let plot = trial.folder().join("fleet.svg");
        let options = ["--operator", data, "--plot", plot.to_str().context("text")?];
        let counted = |objects: &[Value]| of(objects, "census").ok()?["sessions"].as_u64();
        // Figures are up to two seconds old.
        let objects = trial.wait_for("everybody to be counted", || {
            let (code, objects) = census(trial, &daemon.network(), &options).ok()?;
            (code == Some(0) && counted(&objects)? > SESSIONS as u64).then_some(objects)
        })?;
        let row = of(&objects, "supernode")?;
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let told = row["machine"]["kernel"].as_str().context("a kernel")?;
        ensure!(!told.is_empty() && kernel.starts_with(told), "{row}");
        ensure!(row["weaknesses"].is_array(), "{row}");
        ensure!(std::fs::read_to_string(&plot)?.contains("</svg>"), "no drawing");
        let page = http_get(daemon.admin(), "/fleet")?;
        ensure!(page.status == 200 && page.body.contains("Signed in"), "{page:?}");
        ensure!(!page.body.contains(kernel.trim()), "the page, which asks for no credential, tells of the machine");
        Ok(())
    });
}

#[test]
fn a_watch_ends_well_by_ctrl_c() {
    trial(Duration::from_secs(60), Machine::Shared, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let mut command = std::process::Command::new(binary("ahoy")?);
        command.args(["--json", "--network", &daemon.network(), "census", "--watch=1s"]);
        let mut child = Child::start(trial, "census-watch", &command)?;
        let mut looks = 0;
        while looks < 2 {
            let line = child.next_line()?.context("it goes on")?;
            looks += usize::from(line.text.contains("\"census\""));
        }
        child.interrupt()?;
        let status = child.wait()?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    });
}

/// Signed in by hand on each supernode of a fleet.
const CROWDS: [usize; 3] = [260, 210, 170];

async fn crowd(fleet: &Fleet) -> anyhow::Result<Vec<Session>> {
    let keys = NetworkKeys::read(&fleet.authority.data)?;
    let endpoint = wire::endpoint(None)?;
    let mut sessions = Vec::new();
    for (node, many) in fleet.supernodes.iter().zip(CROWDS) {
        for _ in 0..many {
            let link = Link::connect(&endpoint, ([127, 0, 0, 1], node.port).into()).await?;
            sessions.push(link.sign_in(&keys.identity()).await?);
        }
    }
    Ok(sessions)
}

/// With `AHOY_CENSUS_PICTURES` set to a folder, its drawing is kept there.
#[test]
fn the_census_of_a_fleet_counts_all_and_tells_who_is_gone() {
    trial(Duration::from_secs(180), Machine::Shared, |trial| {
        let mut fleet = Fleet::start(trial)?;
        let runtime = tokio::runtime::Runtime::new()?;
        let _sessions = runtime.block_on(crowd(&fleet))?;
        let talkers = fleet.pair(trial, ["alice", "bob"])?;
        let verbs = fleet::call(trial, &talkers)?;
        let pictures = std::env::var_os("AHOY_CENSUS_PICTURES").map(std::path::PathBuf::from);
        let plot = pictures.unwrap_or_else(|| trial.folder().to_owned()).join("census.svg");
        let data = fleet.supernodes[0].data.to_string_lossy().into_owned();
        let options = ["--operator", data.as_str(), "--plot", plot.to_str().context("text")?];
        let url = fleet.authority.url();
        let many = CROWDS.iter().sum::<usize>() as u64 + 2;
        let objects = trial.wait_for("everybody to be counted", || {
            let (code, objects) = census(trial, &url, &options).ok()?;
            let whole = of(&objects, "census").ok()?;
            (code == Some(0) && whole["sessions"] == many && whole["calls"] == 1).then_some(objects)
        })?;
        let whole = of(&objects, "census")?;
        println!("{whole}");
        ensure!(whole["supernodes"] == 3 && whole["sessions_highest"].as_u64() >= Some(260), "{whole}");
        ensure!(whole["sessions_mean"].as_f64().is_some_and(|mean| (mean * 3.0 - many as f64).abs() < 0.1), "{whole}");
        let (code, objects) = census(trial, &url, &[])?;
        println!("{}", of(&objects, "supernode")?);
        ensure!(code == Some(0) && of(&objects, "census")?["up"] == 3, "{objects:?}");
        ensure!(!serde_json::to_string(&objects)?.contains("sessions"), "from outside nobody is counted: {objects:?}");
        fleet::hang_up(verbs)?;
        fleet.supernodes[2].kill()?;
        fleet.complete(trial, 2)?;
        trial.wait_for("one to be missing", || {
            let (code, objects) = census(trial, &url, &["--operator", &data]).ok()?;
            (code == Some(3) && of(&objects, "missing").is_ok()).then_some(())
        })?;
        let (code, objects) = census(trial, &url, &[])?;
        ensure!(code == Some(3) && of(&objects, "census")?["answer"] == 2, "{objects:?}");
        Ok(())
    });
}
