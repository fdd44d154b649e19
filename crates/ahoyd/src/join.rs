//! How a machine asks the authority to be a supernode, and to stay one. Calls block.

use ahoy_authority::wall_clock;
use ahoy_client::account::{Authority, NetworkUrl};
use ahoy_proto::api::{Base64Url, EnrolSupernode, RenewSupernode, SupernodeEnrolled};
use ahoy_proto::document::{Jwk, Revocations, Roster};
use ahoy_proto::enrolment::{Particulars, ReplySecret, enrol_input, renew_input};
use ahoy_proto::{NetworkId, UnixTime};
use anyhow::{Context as _, bail};
use ed25519_dalek::Signer as _;
use serde_json::json;

use crate::Failure;
use crate::args::JoinArgs;
use crate::config::{Config, Role};
use crate::folder::{self, DataFolder};
use crate::membership::{Membership, OwnKeys};
use crate::operator::say;

/// The share of new sessions that a supernode asks for; the operator may give it another.
pub(crate) const WEIGHT: u32 = 100;

/// `ahoyd join`
pub(crate) fn run(args: &JoinArgs) -> Result<(), Failure> {
    let config = config(args).map_err(Failure::Usage)?;
    folder::keep_to_ourselves();
    join(&config, args.operator.json).map_err(Failure::Running)
}

/// What is in force, with what is said beside it.
fn config(args: &JoinArgs) -> anyhow::Result<Config> {
    let mut config = args.operator.config.load()?;
    config.authority = args.authority.clone().or(config.authority);
    config.enrolment_token = args.token.clone().or(config.enrolment_token);
    if config.is(Role::Authority) {
        bail!("`roles` says that this machine is the authority: set `roles = [\"supernode\"]` in its configuration");
    }
    config.check()?;
    if config.enrolment_token.is_none() {
        bail!("say --token: `ahoyd enrol` makes one where the authority is");
    }
    Ok(config)
}

fn join(config: &Config, json: bool) -> anyhow::Result<()> {
    let folder = DataFolder::claim(&config.data)?;
    let own = OwnKeys::load_or_create(&folder.keys())?;
    let now = wall_clock();
    // Whoever can't be renewed any more may enrol anew, and keeps its number.
    let known = Membership::load(&own, now).ok().flatten();
    if let Some(known) = known.filter(|known| known.is_current(now)) {
        bail!(
            "this machine is supernode {} of its network already: start `ahoyd serve` (to make it a new one, remove {})",
            known.certificate.document.number,
            folder.keys().display()
        );
    }
    let membership = enrol(config, &own)?;
    let (network, number) = (membership.network().to_hex(), membership.certificate.document.number);
    let object = json!({ "supernode": own.id().to_hex(), "number": number, "network": network });
    let text = format!("this machine is supernode {number}, {}: start `ahoyd serve`", own.id().to_hex());
    say(json, &object, &text);
    Ok(())
}

/// Enrols by the configuration's token, and keeps what comes of it.
///
/// # Errors
/// When the authority can't be reached, refuses, or says what does not verify.
pub(crate) fn enrol(config: &Config, own: &OwnKeys) -> anyhow::Result<Membership> {
    let token = config.enrolment_token.as_deref().context("there is no token")?;
    let url = url(config)?;
    let authority = Authority::new(url.clone());
    let (addresses, region) = (config.public_addresses(), config.region.clone());
    let secret = ReplySecret::new(rand::random());
    let particulars = Particulars { addresses: &addresses, region: &region, weight: WEIGHT };
    let input = enrol_input(token, &secret.reply_key(), particulars).context("an address is too long")?;
    let request = EnrolSupernode {
        token: token.to_owned(),
        key: Jwk::ed25519(own.roster.verifying_key().to_bytes()),
        addresses,
        region,
        weight: WEIGHT,
        reply_key: Base64Url(secret.reply_key().to_vec()),
        signature: Base64Url(own.roster.sign(&input).to_bytes().to_vec()),
    };
    let mut answer: SupernodeEnrolled =
        authority.post("/v1/supernodes/enrol", &request).context("the authority did not enrol this machine")?;
    let now = wall_clock();
    let revocations =
        answer.revocations.take().context("the authority says nothing of revocations: update it first")?;
    let membership = Membership::of_answer(own, None, answer, &secret, now).with_context(|| url.to_string())?;
    let wrong = || format!("{url} has signed what does not verify");
    let roster = membership.verify::<Roster>(authority.roster()?, now).with_context(wrong)?;
    membership.keep_list(&roster)?;
    let list = membership.verify::<Revocations>(revocations, now).with_context(wrong)?;
    membership.keep_list(&list)?;
    membership.keep()?;
    Ok(membership)
}

/// Asks for the next certificate on the word of the present one, and keeps it.
///
/// # Errors
/// When the authority can't be reached, refuses, or says what does not verify.
pub(crate) fn renew(
    config: &Config,
    own: &OwnKeys,
    (network, certificate): (NetworkId, String),
    time: UnixTime,
) -> anyhow::Result<Membership> {
    let authority = Authority::new(url(config)?);
    let secret = ReplySecret::new(rand::random());
    let input = renew_input(network, own.id(), time, &secret.reply_key());
    let request = RenewSupernode {
        certificate,
        time,
        reply_key: Base64Url(secret.reply_key().to_vec()),
        signature: Base64Url(own.roster.sign(&input).to_bytes().to_vec()),
    };
    let answer = authority.post("/v1/supernodes/renew", &request)?;
    let membership = Membership::of_answer(own, Some(network), answer, &secret, time)?;
    membership.keep()?;
    Ok(membership)
}

fn url(config: &Config) -> anyhow::Result<NetworkUrl> {
    config.authority.as_deref().context("`authority` is missing")?.parse().context("`authority`")
}
