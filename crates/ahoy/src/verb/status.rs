//! `ahoy status`: each hop on its own, from here to a session, and the first that is broken by its name.

use ahoy_client::account::{Contact, contact};
use ahoy_client::driver::{Client, Online};
use ahoy_client::profile::{Identity, Profile};
use ahoy_proto::VERSION;
use serde_json::{Value, json};

use crate::cli::Common;
use crate::failure::Failure;
use crate::tell::Tell;
use crate::{online, place};

pub(crate) fn run(common: &Common, tell: Tell) -> Result<(), Failure> {
    let identity = place::who(common)?;
    let mut report = Report::default();
    let result = look(common, identity.as_ref(), &mut report);
    tell.event("status", &report.fields(result.as_ref().err()), &report.lines.join("\n"));
    result
}

fn look(common: &Common, identity: Option<&Identity>, report: &mut Report) -> Result<(), Failure> {
    report.say("program", &format!("ahoy {}, protocol version {VERSION}", env!("CARGO_PKG_VERSION")));
    let reached = match identity {
        Some(identity) => contact(&identity.network.url, Some(&identity.network), place::now()).map_err(Failure::from),
        None => place::network(common),
    };
    match reached {
        Ok(contact) => report.authority(&contact),
        // The authority is not needed to call: look on.
        Err(failure) if identity.is_some() => report.broken("authority", failure),
        Err(failure) => return Err(report.stop("authority", failure)),
    }
    let Some(identity) = identity else { return Err(report.stop("account", Failure::not_signed_in())) };
    report.account(identity);
    let profile = Profile::open(&place::folder(common)?).map_err(|error| report.stop("profile", error.into()))?;
    online::run(async {
        match Client::start(profile, online::options(common)).await {
            Ok((client, _events)) => {
                report.supernode(client.online());
                client.close().await;
                report.first_broken.take().map_or(Ok(()), Err)
            }
            Err(error) => Err(report.stop("supernode", error.into())),
        }
    })
}

/// What was found so far.
#[derive(Debug, Default)]
struct Report {
    lines: Vec<String>,
    fields: serde_json::Map<String, Value>,
    first_broken: Option<Failure>,
}

impl Report {
    fn say(&mut self, hop: &str, text: &str) {
        self.lines.push(format!("{hop:<11} {text}"));
    }

    fn authority(&mut self, contact: &Contact) {
        let network = &contact.network;
        self.fields.insert("authority".to_owned(), json!("ok"));
        self.fields.insert("network".to_owned(), json!(network.name));
        self.say("authority", &format!("ok: {} at {}", network.name, network.url));
    }

    fn account(&mut self, identity: &Identity) {
        let expires = identity.verified_credential(place::now()).ok().map(|credential| credential.expires);
        self.fields.insert("name".to_owned(), json!(identity.name));
        self.fields.insert("credential_expires".to_owned(), json!(expires));
        let days = expires.map(|expires| expires.distance(place::now()).as_secs() / 86_400);
        let credential = days.map_or_else(
            || "its credential has to be renewed".to_owned(),
            |days| format!("credential good for {days} days, renewed by itself"),
        );
        self.say("account", &format!("ok: {}, {credential}", identity.full_name()));
    }

    fn supernode(&mut self, online: &Online) {
        let round_trip_ms = online.round_trip.as_secs_f64() * 1_000.0;
        self.fields.insert("supernode".to_owned(), json!("ok"));
        self.fields.insert("supernode_id".to_owned(), json!(online.supernode));
        self.fields.insert("address".to_owned(), json!(online.address));
        self.fields.insert("region".to_owned(), json!(online.region));
        let (transport, by) = if online.by_web_socket { ("websocket", ", by WebSocket") } else { ("quic", "") };
        self.fields.insert("transport".to_owned(), json!(transport));
        self.fields.insert("round_trip_ms".to_owned(), json!(round_trip_ms));
        self.fields.insert("clock_skew_ms".to_owned(), json!(online.skew_ms));
        let region = if online.region.is_empty() { String::new() } else { format!(" ({})", online.region) };
        self.say("supernode", &format!("ok: {}{region}, round trip {round_trip_ms:.1} ms{by}", online.address));
        let skew = online.skew_ms as f64 / 1_000.0;
        self.say(
            "clock",
            &format!(
                "ok: the network's is {:.1} s {} this machine's",
                skew.abs(),
                if skew < 0.0 { "behind" } else { "ahead of" }
            ),
        );
    }

    fn broken(&mut self, hop: &str, failure: Failure) {
        self.fields.insert(hop.to_owned(), json!("broken"));
        self.say(hop, &format!("BROKEN: {}", failure.text));
        self.first_broken.get_or_insert(failure);
    }

    /// Nothing further can be looked at; gives the first thing that was broken.
    fn stop(&mut self, hop: &str, failure: Failure) -> Failure {
        self.broken(hop, failure);
        self.first_broken.take().expect("one was noted just now")
    }

    fn fields(&self, failure: Option<&Failure>) -> Value {
        let mut fields = self.fields.clone();
        fields.insert("ok".to_owned(), json!(failure.is_none()));
        Value::Object(fields)
    }
}
