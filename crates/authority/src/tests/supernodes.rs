//! Who becomes a supernode and who does not.

use ahoy_proto::api::{Base64Url, DeviceVerb, EnrolSupernode, RenewSupernode, SupernodeEnrolled};
use ahoy_proto::document::{self, Document, Jwk, SigningKeyCertificate, SupernodePolicy};
use ahoy_proto::enrolment::{Particulars, ReplySecret, enrol_input, renew_input};
use ahoy_proto::limits::{CERTIFICATE_GRACE, CLOCK_SKEW_MAX, ROSTER_LIFE};
use ahoy_proto::{NetworkId, SupernodeId};
use ahoy_store::{ListSupernodes, Published, RevokeSupernode, Verb};
use ed25519_dalek::{Signer, SigningKey};

use super::*;

/// A machine that would be a supernode.
struct Machine {
    key: SigningKey,
    reply: ReplySecret,
}

impl Machine {
    fn new(seed: u8) -> Self {
        Self { key: SigningKey::from_bytes(&[seed; 32]), reply: ReplySecret::new([seed; 32]) }
    }

    fn id(&self) -> SupernodeId {
        SupernodeId::of_roster_key(&self.key.verifying_key().to_bytes())
    }

    fn enrolment(&self, token: &str) -> EnrolSupernode {
        let (addresses, region, weight) = (vec!["192.0.2.1:443".to_owned()], "said".to_owned(), 100);
        let reply_key = self.reply.reply_key();
        let particulars = Particulars { addresses: &addresses, region: &region, weight };
        let input = enrol_input(token, &reply_key, particulars).unwrap();
        EnrolSupernode {
            token: token.to_owned(),
            key: Jwk::ed25519(self.key.verifying_key().to_bytes()),
            addresses,
            region,
            weight,
            reply_key: Base64Url(reply_key.to_vec()),
            signature: self.sign(&input),
        }
    }

    fn renewal(&self, world: &World, certificate: &str, time: UnixTime) -> RenewSupernode {
        let reply_key = self.reply.reply_key();
        let input = renew_input(world.authority.0.keys.network(), self.id(), time, &reply_key);
        let signature = self.sign(&input);
        RenewSupernode {
            certificate: certificate.to_owned(),
            time,
            reply_key: Base64Url(reply_key.to_vec()),
            signature,
        }
    }

    fn sign(&self, input: &[u8]) -> Base64Url {
        Base64Url(self.key.sign(input).to_bytes().to_vec())
    }
}

impl World {
    fn token(&self, granted: Granted) -> String {
        self.runtime.block_on(make_enrolment(&self.authority.0.store, granted, self.now())).unwrap()
    }

    fn store<V: Verb>(&self, verb: V) -> V::Output {
        self.runtime.block_on(self.authority.0.store.call(verb)).unwrap()
    }

    fn enrol(&self, request: &EnrolSupernode) -> Said {
        self.post("/v1/supernodes/enrol", request)
    }

    fn renew(&self, request: &RenewSupernode) -> Said {
        self.post("/v1/supernodes/renew", request)
    }

    fn enrolled(&self, machine: &Machine) -> SupernodeEnrolled {
        let said = self.enrol(&machine.enrolment(&self.token(Granted::default())));
        assert_eq!(said.status, 200, "{said:?}");
        serde_json::from_str(&said.body).unwrap()
    }

    /// Who is in the roster, as everybody reads it.
    fn listed(&self) -> Vec<SupernodeId> {
        let keys = &self.authority.0.keys;
        let token = self.fetch("/v1/roster").body;
        let roster: Roster = document::verify(&token, &keys.signing_keys(), keys.network(), self.now()).unwrap();
        roster.supernodes.iter().map(|entry| entry.supernode).collect()
    }

    fn sign<D: Document>(&self, document: &D) -> String {
        document::sign(document, self.authority.0.keys.signing_key())
    }
}

#[test]
fn no_token_looks_like_an_option() {
    assert!((0..2_000).all(|_| !token().starts_with('-')));
}

fn world() -> World {
    World::new(SignUpPolicy::Open)
}

fn refused(said: &Said) -> (u16, String) {
    (said.status, said.code())
}

fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn a_token_makes_a_supernode_and_everybody_hears_of_it_at_once() {
    let (world, machine) = (world(), Machine::new(1));
    let before = world.authority.roster().borrow().document.serial;
    let granted = Granted { region: Some("granted".to_owned()), ..Granted::default() };
    let said = world.enrol(&machine.enrolment(&world.token(granted)));
    let enrolled: SupernodeEnrolled = serde_json::from_str(&said.body).unwrap();
    let network = NetworkId::of_root_key(enrolled.root_key.bytes());
    assert_eq!(network, world.authority.0.keys.network());
    let root = enrolled.root_key.verifying_key().unwrap();
    let signing: SigningKeyCertificate =
        document::verify(&enrolled.signing_keys[0], &[root], network, world.now()).unwrap();
    let signing = [signing.key.verifying_key().unwrap()];
    let certificate: SupernodeCertificate =
        document::verify(&enrolled.certificate, &signing, network, world.now()).unwrap();
    assert_eq!((certificate.supernode, certificate.number), (machine.id(), 0));
    assert_eq!(certificate.policy, SupernodePolicy::Hosted);
    assert_eq!(certificate.confirmation.jwk.bytes(), machine.key.verifying_key().as_bytes());
    let revocations: Revocations =
        document::verify(enrolled.revocations.as_deref().unwrap(), &signing, network, world.now()).unwrap();
    assert_eq!(revocations, world.revoked());
    let key = machine.reply.open(&enrolled.sealed_call_token_key.0, machine.id()).unwrap();
    assert_eq!(&*key, world.authority.0.keys.call_token_key().as_bytes());
    let roster = world.authority.roster().borrow().document.clone();
    assert!(roster.serial > before);
    assert_eq!((roster.supernodes[0].region.as_str(), roster.supernodes[0].number), ("granted", 0));
    let published = world.store(Published { revocations: 0, roster: 0 });
    assert_eq!(published.roster.unwrap().token, world.fetch("/v1/roster").body, "supernodes read the same");
    assert!(published.revocations.is_some());
}

#[test]
fn a_token_that_is_used_expired_unknown_or_of_another_network_is_refused_alike() {
    let (world, other) = (world(), world());
    let (used, expired, foreign) =
        (world.token(Granted::default()), world.token(Granted::default()), other.token(Granted::default()));
    assert_eq!(world.enrol(&Machine::new(1).enrolment(&used)).status, 200);
    let machine = Machine::new(2);
    let first = world.enrol(&machine.enrolment(&used));
    assert_eq!(refused(&first), is(403, "supernode-refused"));
    world.pass(ENROLMENT_LIFE + Duration::from_secs(1));
    for token in [&expired, &foreign, "", "no token", &"x".repeat(60_000)] {
        assert_eq!(world.enrol(&machine.enrolment(token)), first);
    }
    assert_eq!(world.listed(), [Machine::new(1).id()]);
}

#[test]
fn a_token_that_two_show_at_the_same_moment_makes_one_supernode() {
    let world = world();
    let token = world.token(Granted::default());
    let said: Vec<u16> = std::thread::scope(|scope| {
        let show = |seed| {
            let (world, token) = (&world, &token);
            scope.spawn(move || world.enrol(&Machine::new(seed).enrolment(token)).status)
        };
        [1, 2, 3, 4].map(show).into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(said.iter().filter(|&&status| status == 200).count(), 1, "{said:?}");
    assert_eq!(said.iter().filter(|&&status| status == 403).count(), 3, "{said:?}");
    assert_eq!(world.listed().len(), 1);
}

#[test]
fn a_key_counts_only_with_its_own_signature_over_all_that_is_said() {
    let (world, machine) = (world(), Machine::new(1));
    let token = world.token(Granted::default());
    let whole = machine.enrolment(&token);
    let another = EnrolSupernode { key: Jwk::ed25519(Machine::new(2).key.verifying_key().to_bytes()), ..whole.clone() };
    let unsigned = EnrolSupernode { signature: Base64Url::default(), ..whole.clone() };
    let elsewhere = EnrolSupernode { addresses: vec!["203.0.113.1:443".to_owned()], ..whole.clone() };
    let heavier = EnrolSupernode { weight: 1_000_000, ..whole.clone() };
    let reply_key = Base64Url(Machine::new(3).reply.reply_key().to_vec());
    let listening = EnrolSupernode { reply_key, ..whole.clone() };
    for forged in [another, unsigned, elsewhere, heavier, listening] {
        assert_eq!(refused(&world.enrol(&forged)), is(401, "credential-refused"));
    }
    // A weak key verifies anything; it has no holder.
    let weak = EnrolSupernode { key: Jwk::ed25519([0; 32]), ..whole.clone() };
    assert_eq!(refused(&world.enrol(&weak)), is(401, "credential-refused"));
    assert!(world.listed().is_empty());
    assert_eq!(world.enrol(&whole).status, 200, "none of them used the token up");
}

#[test]
fn what_the_roster_can_not_hold_is_refused_before_the_token_is_used() {
    let (world, machine) = (world(), Machine::new(1));
    let token = world.token(Granted::default());
    let whole = machine.enrolment(&token);
    for addresses in [vec![], vec!["nowhere".to_owned()], vec!["a:1".to_owned(); 9]] {
        let said = world.enrol(&EnrolSupernode { addresses, ..whole.clone() });
        assert_eq!(refused(&said), is(400, "invalid"));
    }
    let said = world.enrol(&EnrolSupernode { region: "x".repeat(65), ..whole.clone() });
    assert_eq!(refused(&said), is(400, "invalid"));
    let said = world.enrol(&EnrolSupernode { reply_key: Base64Url(vec![1; 31]), ..whole });
    assert_eq!(refused(&said), is(400, "invalid"));
    assert_eq!(world.enrol(&machine.enrolment(&token)).status, 200);
}

#[test]
fn a_certificate_is_renewed_by_its_key_and_a_replay_opens_nothing() {
    let (world, machine) = (world(), Machine::new(1));
    let first = world.enrolled(&machine);
    world.pass(Duration::from_secs(3_600));
    let request = machine.renewal(&world, &first.certificate, world.now());
    let renewed: SupernodeEnrolled = serde_json::from_str(&world.renew(&request).body).unwrap();
    let keys = &world.authority.0.keys;
    let certificate: SupernodeCertificate =
        document::verify(&renewed.certificate, &keys.signing_keys(), keys.network(), world.now()).unwrap();
    assert_eq!((certificate.number, certificate.expires), (0, world.now().plus(ROSTER_LIFE)));
    assert!(machine.reply.open(&renewed.sealed_call_token_key.0, machine.id()).is_some());
    // Within the clock's tolerance a replay is answered, with what only the asker opens.
    let replayed: SupernodeEnrolled = serde_json::from_str(&world.renew(&request).body).unwrap();
    assert!(replayed.revocations.is_none(), "it names accounts");
    assert!(Machine::new(2).reply.open(&replayed.sealed_call_token_key.0, machine.id()).is_none());
    world.pass(CLOCK_SKEW_MAX + Duration::from_secs(1));
    assert_eq!(refused(&world.renew(&request)), is(401, "credential-refused"));
}

#[test]
fn who_is_revoked_is_out_of_the_roster_and_gets_no_certificate() {
    let (world, machine) = (world(), Machine::new(1));
    let enrolled = world.enrolled(&machine);
    assert_eq!(world.listed(), [machine.id()]);
    // By another process, as `ahoyd supernodes revoke` does it.
    world.store(RevokeSupernode { supernode: machine.id(), at: world.now() });
    world.runtime.block_on(world.authority.follow_changes()).unwrap();
    assert!(world.listed().is_empty());
    let token = world.store(Published { revocations: 0, roster: 0 }).roster.unwrap().token;
    assert_eq!(token, world.fetch("/v1/roster").body);
    let said = world.renew(&machine.renewal(&world, &enrolled.certificate, world.now()));
    assert_eq!(refused(&said), is(403, "supernode-refused"));
    assert!(said.body.contains("revoked"), "{said:?}");
    let said = world.enrol(&machine.enrolment(&world.token(Granted::default())));
    assert_eq!(refused(&said), is(403, "supernode-refused"));
    assert_eq!(world.enrol(&Machine::new(2).enrolment(&world.token(Granted::default()))).status, 200, "a new key does");
}

#[test]
fn a_certificate_is_this_authoritys_word_for_this_key_or_nothing() {
    let (world, other, machine, thief) = (world(), world(), Machine::new(1), Machine::new(2));
    let enrolled = world.enrolled(&machine);
    let person = world.sign_up("alice", "password");
    let keys = &world.authority.0.keys;
    let genuine: SupernodeCertificate =
        document::verify(&enrolled.certificate, &keys.signing_keys(), keys.network(), world.now()).unwrap();
    let own = SupernodeCertificate {
        supernode: thief.id(),
        confirmation: document::Confirmation { jwk: Jwk::ed25519(thief.key.verifying_key().to_bytes()) },
        ..genuine.clone()
    };
    let cases = [
        ("signed by the stranger", document::sign(&own, &thief.key), &thief),
        ("of another network", other.enrolled(&thief).certificate, &thief),
        ("a copied roster", world.fetch("/v1/roster").body, &thief),
        ("an account's credential", person.credential.clone(), &thief),
        ("somebody else's", enrolled.certificate.clone(), &thief),
        ("not a document", "certificate".to_owned(), &thief),
        ("of no network", String::new(), &machine),
    ];
    for (what, certificate, who) in cases {
        let said = world.renew(&who.renewal(&world, &certificate, world.now()));
        assert_eq!(refused(&said), is(401, "credential-refused"), "{what}");
    }
    // Whatever else the authority's key should ever have signed: who has not enrolled is none.
    let said = world.renew(&thief.renewal(&world, &world.sign(&own), world.now()));
    assert_eq!(refused(&said), is(403, "supernode-refused"));
    let renumbered = SupernodeCertificate { number: 7, ..genuine };
    let said = world.renew(&machine.renewal(&world, &world.sign(&renumbered), world.now()));
    assert_eq!(refused(&said), is(403, "supernode-refused"));
    // A device's signature on a device's request is none of a supernode.
    let device = world.device_request(&person, DeviceVerb::Renew);
    assert_eq!(world.post("/v1/supernodes/renew", &device).status, 400);
    assert_eq!(world.listed(), [machine.id()]);
}

#[test]
fn a_certificate_that_expired_serves_for_a_month_to_get_the_next() {
    let (world, machine) = (world(), Machine::new(1));
    let enrolled = world.enrolled(&machine);
    world.pass(ROSTER_LIFE + CERTIFICATE_GRACE);
    assert_eq!(world.renew(&machine.renewal(&world, &enrolled.certificate, world.now())).status, 200);
    world.pass(Duration::from_secs(1));
    let said = world.renew(&machine.renewal(&world, &enrolled.certificate, world.now()));
    assert_eq!(refused(&said), is(401, "credential-refused"));
    assert!(said.body.contains("enrol anew"), "{said:?}");
    assert_eq!(world.enrolled(&machine).time, world.now());
    assert_eq!(world.store(ListSupernodes).supernodes.len(), 1, "with the number that it had");
}

#[test]
fn who_asks_in_bulk_has_to_wait() {
    let (world, machine) = (world(), Machine::new(1));
    let said: Vec<u16> = (0..40).map(|_| world.enrol(&machine.enrolment("guess")).status).collect();
    assert!(said.contains(&403) && said[39] == 429, "{said:?}");
}

#[test]
fn the_own_supernode_is_certified_without_a_token_and_again_each_hour() {
    let folder = TempDir::new().unwrap();
    let store = || Store::open(&folder.path().join("ahoy.db")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let now = Arc::new(AtomicU64::new(START.0));
    let authority = |own| {
        let (keys, now) = (Keys::load_or_create(&folder.path().join("keys"), START).unwrap(), now.clone());
        let clock: Clock = Arc::new(move || UnixTime(now.load(Ordering::Relaxed)));
        let (name, rate_limits) = ("example.org".to_owned(), RateLimits::default());
        let (sign_up, unlimited) = (SignUpPolicy::Open, Vec::new());
        let certificate_hashes = watch::channel(Vec::new()).1;
        let config =
            AuthorityConfig { name, sign_up, echo: None, own, rate_limits, unlimited, certificate_hashes, clock };
        runtime.block_on(Authority::new(store(), keys, config))
    };
    let place = Place { addresses: vec!["192.0.2.1:443".to_owned()], region: String::new(), weight: 100 };
    assert!(authority(None).unwrap().certificate().is_none());
    let running = authority(Some(place.clone())).unwrap();
    let certificate = running.certificate().unwrap();
    let id = SupernodeId::of_roster_key(running.0.keys.roster_key().verifying_key().as_bytes());
    assert_eq!((certificate.borrow().document.supernode, certificate.borrow().document.number), (id, 0));
    assert_eq!(running.roster().borrow().document.supernodes[0].supernode, id);
    now.fetch_add(3_600, Ordering::Relaxed);
    runtime.block_on(running.renew_lists()).unwrap();
    assert_eq!(certificate.borrow().document.issued_at.0, START.0 + 3_600);
    runtime.block_on(store().call(RevokeSupernode { supernode: id, at: START })).unwrap();
    assert_eq!(authority(Some(place)).err(), Some(StoreError::Forbidden), "a revoked one does not start again");
}
