//! What anybody can see: each supernode of the roster, dialled as any client would, with nothing proven to it.

use std::net::IpAddr;

use ahoy_client::account::{Network, NetworkUrl, contact};
use ahoy_client::census::{Introduction, Seen, Sighting, State, look};
use ahoy_proto::UnixTime;
use ahoy_proto::control::table::{short, table};
use ahoy_proto::document::{Roster, SupernodeCertificate, SupernodePolicy};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::Picture;
use crate::cli::{Common, DEFAULT_NETWORK};
use crate::failure::{Exit, Failure};
use crate::place;
use crate::text::{clean_line, cut, width};

/// How much is shown of what a supernode says in its own words, in columns.
const SAID_MAX: usize = 60;

/// Looks from outside.
pub(super) struct Outside {
    url: NetworkUrl,
    /// As it was seen last, or as the profile has it.
    known: Option<Network>,
    /// Where to dial in place of the roster's addresses.
    at: Option<String>,
}

impl Outside {
    /// The network named, else the profile's, else that of this machine.
    pub(super) fn new(common: &Common) -> Result<Self, Failure> {
        let at = common.supernode.clone();
        if let Some(url) = common.network.clone() {
            return Ok(Self { url, known: None, at });
        }
        let known = place::who(common)?.map(|identity| identity.network);
        let default = || NetworkUrl::parse(DEFAULT_NETWORK).expect("the default is an address");
        let url = known.as_ref().map_or_else(default, |network| network.url.clone());
        Ok(Self { url, known, at })
    }

    pub(super) async fn look(&mut self) -> Result<Picture, Failure> {
        let (url, known) = (self.url.clone(), self.known.clone());
        let asked = spawn_blocking(move || contact(&url, known.as_ref(), place::now())).await;
        let asked = asked.map_err(|error| Failure::new(Exit::Other, "runtime", error.to_string(), ""))?;
        let (network, away) = match (asked, &self.known) {
            (Ok(contact), _) => (contact.network, None),
            // The roster that is known serves for a week.
            (Err(error), Some(known)) if is_away(&error) => (known.clone(), Some(error.to_string())),
            (Err(error), _) => return Err(error.into()),
        };
        let roster = network.verified_roster(place::now())?;
        let sightings = look(&network, &roster, self.at.as_deref()).await?;
        let picture = picture(&network, &roster, &sightings, away, place::now());
        self.known = Some(network);
        Ok(picture)
    }
}

fn is_away(error: &ahoy_client::account::AccountError) -> bool {
    use ahoy_client::account::AccountError as E;
    matches!(error, E::Unreachable { .. } | E::HostNotFound(_) | E::Refused(_))
}

fn picture(network: &Network, roster: &Roster, sightings: &[Sighting], away: Option<String>, now: UnixTime) -> Picture {
    let name = clean_line(&network.name);
    let of = |state: State| sightings.iter().filter(|sighting| sighting.state() == state).count();
    let (all, silent) = (sightings.len(), of(State::NoAnswer));
    let verdict = verdict(all, silent, of(State::NotCertified));
    let mut events: Vec<_> =
        sightings.iter().map(|sighting| ("supernode", fields(sighting, &network.name, now))).collect();
    events.push((
        "census",
        json!({
            "ok": verdict.is_ok(),
            "network": network.name,
            "network_id": network.network,
            "url": network.url,
            "authority": away.is_none(),
            "roster_serial": roster.serial,
            "roster_expires": roster.expires,
            "supernodes": all,
            "answer": all - silent,
            "up": of(State::Up),
        }),
    ));
    let rows: Vec<_> = sightings.iter().map(|sighting| row(sighting, &name, now)).collect();
    let head = ["SUPERNODE", "STATE", "VERSION", "HOSTED BY", "REGION", "ADDRESS", ">ROUND TRIP", "CERTIFICATE"];
    let authority =
        away.map_or_else(String::new, |why| format!("; {}: this is the roster as it was", clean_line(&why)));
    let text = format!(
        "{name} ({}) at {}{authority}\nroster {}, good for {}: {} of {all} answer\n\n{}",
        network.network.to_hex(),
        network.url,
        roster.serial,
        span(now, roster.expires),
        all - silent,
        table(&head, &rows, width)
    );
    Picture { events, text, verdict }
}

fn verdict(all: usize, silent: usize, uncertified: usize) -> Result<(), Failure> {
    if all == 0 {
        return Err(Failure::new(
            Exit::Unreachable,
            "no-supernode",
            "the network's roster lists no supernode",
            "Its operator enrols one with `ahoyd enrol`.",
        ));
    }
    if silent > 0 {
        return Err(Failure::new(
            Exit::Unreachable,
            "supernode-not-reachable",
            format!("{silent} of {all} supernodes do not answer"),
            "Look from another place too: a firewall that lets no UDP through looks the same.",
        ));
    }
    if uncertified > 0 {
        return Err(Failure::new(
            Exit::Refused,
            "supernode-not-certified",
            format!("{uncertified} of {all} supernodes show no good certificate: clients leave them"),
            "If this machine's clock is right, they were not enrolled, or have lost touch with the authority.",
        ));
    }
    Ok(())
}

fn state_code(state: State) -> &'static str {
    match state {
        State::Up => "up",
        State::Full => "full",
        State::GoingDown => "going-down",
        State::Refuses => "refuses",
        State::NotCertified => "not-certified",
        State::NoAnswer => "no-answer",
    }
}

/// For programs.
fn fields(sighting: &Sighting, network: &str, now: UnixTime) -> Value {
    let entry = &sighting.entry;
    let seen = sighting.seen.as_ref().ok();
    let says = seen.and_then(|seen| seen.says.as_ref().ok());
    let certificate = says.and_then(|says| says.certificate.as_ref().ok());
    json!({
        "supernode": entry.supernode,
        "state": state_code(sighting.state()),
        "error": error(sighting),
        "agent": says.map(|says| own_words(&says.agent)),
        "minimum_version": says.map(|says| says.minimum_version),
        "operator": certificate.and_then(|certificate| operator(certificate, network)),
        "region": entry.region,
        "weight": entry.weight,
        "addresses": entry.addresses,
        "address": seen.map(|seen| seen.address),
        "reach": seen.map(|seen| reach(seen.address.ip())),
        "round_trip_ms": seen.map(|seen| seen.round_trip.as_secs_f64() * 1_000.0),
        "clock_skew_ms": says.map(|says| says.skew_ms),
        "certificate": certificate.map(|certificate| json!({
            "number": certificate.number,
            "policy": policy(certificate.policy),
            "issued_at": certificate.issued_at,
            "expires": certificate.expires,
            "left_s": certificate.expires.0.saturating_sub(now.0),
        })),
    })
}

/// What anybody who is in the roster's place may say.
fn own_words(text: &str) -> String {
    cut(&clean_line(text), SAID_MAX)
}

/// What is wrong, in words.
fn error(sighting: &Sighting) -> Option<String> {
    match &sighting.seen {
        Err(unseen) => Some(unseen.to_string()),
        Ok(Seen { says: Err(refusal), .. }) => Some(own_words(&refusal.text)),
        Ok(Seen { says: Ok(Introduction { certificate: Err(error), .. }), .. }) => Some(error.to_string()),
        Ok(_) => None,
    }
}

fn row(sighting: &Sighting, network: &str, now: UnixTime) -> Vec<String> {
    let entry = &sighting.entry;
    let id = short(&entry.supernode.to_hex()).to_owned();
    let state = state_code(sighting.state()).to_owned();
    let region = clean_line(&entry.region);
    let said = entry.addresses.first().map(|address| clean_line(address)).unwrap_or_default();
    let wrong = error(sighting).map(|error| clean_line(&error)).unwrap_or_default();
    let dash = || "-".to_owned();
    let Ok(seen) = &sighting.seen else {
        return vec![id, state, dash(), dash(), region, said, dash(), wrong];
    };
    let round_trip = format!("{:.1} ms", seen.round_trip.as_secs_f64() * 1_000.0);
    let found = seen.address.to_string();
    let also = if said == found { String::new() } else { format!("{found}, ") };
    let address = format!("{said} ({also}{})", reach(seen.address.ip()));
    let Ok(says) = &seen.says else {
        return vec![id, state, dash(), dash(), region, address, round_trip, wrong];
    };
    let version = if says.agent.is_empty() { dash() } else { own_words(&says.agent) };
    let (by, certificate) = match &says.certificate {
        Ok(certificate) => (
            operator(certificate, network).unwrap_or("?").to_owned(),
            format!(
                "no. {}, {}, {} left",
                certificate.number,
                policy(certificate.policy),
                span(now, certificate.expires)
            ),
        ),
        Err(_) => ("?".to_owned(), wrong),
    };
    vec![id, state, version, by, region, address, round_trip, certificate]
}

/// By whom a supernode is hosted. The certificate's policy says so; nobody else is asked.
fn operator<'a>(certificate: &SupernodeCertificate, network: &'a str) -> Option<&'a str> {
    match certificate.policy {
        SupernodePolicy::Hosted => Some(network),
    }
}

fn policy(policy: SupernodePolicy) -> &'static str {
    match policy {
        SupernodePolicy::Hosted => "hosted",
    }
}

/// Who can reach an address, as far as it says itself.
fn reach(address: IpAddr) -> &'static str {
    let (loopback, private) = match address.to_canonical() {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            (v4.is_loopback(), v4.is_private() || v4.is_link_local() || shared)
        }
        IpAddr::V6(v6) => (v6.is_loopback(), v6.is_unique_local() || v6.is_unicast_link_local()),
    };
    match (loopback, private) {
        (true, _) => "loopback",
        (_, true) => "private",
        _ => "public",
    }
}

/// Time that is left, in its two largest units.
fn span(now: UnixTime, until: UnixTime) -> String {
    let left = until.0.saturating_sub(now.0);
    let (days, hours, minutes) = (left / 86_400, left / 3_600 % 24, left / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_who_can_reach_it() {
        for (address, expected) in [
            ("127.0.0.1", "loopback"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("10.1.2.3", "private"),
            ("100.64.0.1", "private"),
            ("100.128.0.1", "public"),
            ("fe80::1", "private"),
            ("fd00::1", "private"),
            ("192.0.2.7", "public"),
            ("2001:db8::1", "public"),
        ] {
            assert_eq!(reach(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn what_a_supernode_says_of_itself_takes_its_place_and_no_more() {
        assert_eq!(own_words("ahoyd/0.1.0\x1b[2J\nx"), "ahoyd/0.1.0[2J x");
        assert_eq!(own_words(&"a".repeat(10_000)).chars().count(), SAID_MAX);
    }

    #[test]
    fn time_that_is_left_is_told_in_two_units() {
        let left = |seconds: u64| span(UnixTime(1_000), UnixTime(1_000 + seconds));
        assert_eq!(left(6 * 86_400 + 3 * 3_600 + 59), "6 d 3 h");
        assert_eq!(left(2 * 3_600 + 60), "2 h 1 min");
        assert_eq!(left(59), "0 min");
        assert_eq!(span(UnixTime(5), UnixTime(1)), "0 min");
    }

    #[test]
    fn the_exit_code_says_what_is_wrong() {
        assert!(verdict(3, 0, 0).is_ok());
        assert_eq!(verdict(3, 1, 1).unwrap_err().exit, Exit::Unreachable);
        assert_eq!(verdict(3, 0, 1).unwrap_err().exit, Exit::Refused);
        assert_eq!(verdict(0, 0, 0).unwrap_err().exit, Exit::Unreachable);
    }
}
