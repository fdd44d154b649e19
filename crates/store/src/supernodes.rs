//! Supernodes: tokens that let one enrol, those that have, and the signed lists that they read.

use ahoy_proto::document::{Jwk, RosterEntry};
use ahoy_proto::limits::SUPERNODES_MAX;
use ahoy_proto::{SupernodeId, UnixTime};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::lists::{self, List};
use crate::sql::{Row, Transaction, params};
use crate::verb::Verb;

crate::statements::statements! {
    ADD_TOKEN = "INSERT INTO enrolments (hash, granted, expires) VALUES (?1, ?2, ?3)";
    FIND_TOKEN = "SELECT granted FROM enrolments WHERE hash = ?1 AND expires >= ?2";
    USE_UP_TOKEN = "DELETE FROM enrolments WHERE hash = ?1";
    PRUNE_TOKENS = "DELETE FROM enrolments WHERE expires < ?1";
    ALL = "SELECT number, supernode, roster_key, addresses, region, weight, enrolled_at, revoked_at FROM supernodes ORDER BY number";
    FIND = "SELECT number, supernode, roster_key, addresses, region, weight, enrolled_at, revoked_at FROM supernodes
        WHERE supernode = ?1";
    COUNT = "SELECT count(*) FROM supernodes WHERE revoked_at IS NULL";
    ADD = "INSERT INTO supernodes (number, supernode, roster_key, addresses, region, weight, enrolled_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    CHANGE = "UPDATE supernodes SET addresses = ?2, region = ?3, weight = ?4 WHERE supernode = ?1";
    REVOKE = "UPDATE supernodes SET revoked_at = ?2 WHERE supernode = ?1";
    PUBLISH = "INSERT INTO published (list, version, serial, token) VALUES (?1, 1, ?2, ?3)
        ON CONFLICT (list) DO UPDATE SET version = published.version + 1, serial = excluded.serial, token = excluded.token
        WHERE excluded.serial >= published.serial";
    PUBLISHED = "SELECT version, token FROM published WHERE list = ?1 AND version <> ?2";
}

/// What a supernode's roster entry says beside its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `host:port`, best first.
    pub addresses: Vec<String>,
    /// Where it stands, in the operator's words.
    pub region: String,
    /// Its share of new sessions, relative to the others.
    pub weight: u32,
}

/// What the operator decides of a [`Place`], now or when a token is made; the rest stays, or is the supernode's to say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Granted {
    /// See [`Place::addresses`].
    pub addresses: Option<Vec<String>>,
    /// See [`Place::region`].
    pub region: Option<String>,
    /// See [`Place::weight`].
    pub weight: Option<u32>,
}

impl Granted {
    /// The operator's word first.
    fn over(&self, place: &Place) -> Place {
        Place {
            addresses: self.addresses.as_ref().unwrap_or(&place.addresses).clone(),
            region: self.region.as_ref().unwrap_or(&place.region).clone(),
            weight: self.weight.unwrap_or(place.weight),
        }
    }
}

/// A supernode that has enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// Its id.
    pub supernode: SupernodeId,
    /// Its roster key, Ed25519, public.
    pub key: [u8; 32],
    /// Unique in the network, never given twice.
    pub number: u32,
    /// What the roster says of it.
    pub place: Place,
    /// When it enrolled.
    pub enrolled_at: UnixTime,
    /// When the operator revoked it: it is none any more.
    pub revoked_at: Option<UnixTime>,
}

impl Enrolled {
    /// Its line of the roster.
    pub fn roster_entry(self) -> RosterEntry {
        RosterEntry {
            supernode: self.supernode,
            key: Jwk::ed25519(self.key),
            addresses: self.place.addresses,
            region: self.place.region,
            weight: self.place.weight,
            number: self.number,
        }
    }
}

/// Keeps a token that lets one supernode enrol, and forgets those that have expired.
pub struct AddEnrolment {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// What the operator has decided.
    pub granted: Granted,
    /// Its last second.
    pub expires: UnixTime,
    /// Now.
    pub at: UnixTime,
}

impl std::fmt::Debug for AddEnrolment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AddEnrolment").field("granted", &self.granted).finish_non_exhaustive()
    }
}

impl Verb for AddEnrolment {
    type Output = ();
    fn run(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        transaction.execute(PRUNE_TOKENS, params![self.at])?;
        let granted = json(&self.granted);
        transaction.execute(ADD_TOKEN, params![self.hash, granted, self.expires])?;
        Ok(())
    }
}

/// Who enrols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolling {
    /// Made from the key.
    pub supernode: SupernodeId,
    /// The roster key, Ed25519, public.
    pub key: [u8; 32],
    /// What it says of itself.
    pub place: Place,
}

/// Uses up a token and makes its bearer a supernode; one that is one already keeps its number.
///
/// [`StoreError::EnrolmentRefused`] when the token is unknown, used or expired; [`StoreError::AlreadyExists`] when the id is enrolled with
/// another key; [`StoreError::Forbidden`] when the key was revoked; [`StoreError::LimitReached`] when the roster is full. The
/// token is used up by success only.
pub struct Enrol {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// Who shows it.
    pub who: Enrolling,
    /// Now.
    pub at: UnixTime,
}

impl std::fmt::Debug for Enrol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrol").field("who", &self.who).finish_non_exhaustive()
    }
}

impl Verb for Enrol {
    type Output = Enrolled;
    fn run(&self, transaction: &Transaction<'_>) -> Result<Enrolled, StoreError> {
        let granted: Option<String> = transaction.first(FIND_TOKEN, params![self.hash, self.at], |row| row.get(0))?;
        let granted: Granted = read(&granted.ok_or(StoreError::EnrolmentRefused)?)?;
        transaction.execute(USE_UP_TOKEN, params![self.hash])?;
        let place = granted.over(&self.who.place);
        enter(transaction, Enrolling { place, ..self.who.clone() }, self.at)
    }
}

/// The authority's own process enrols its supernode, without a token. Addresses and region follow its configuration; the weight is
/// the operator's after the first time.
///
/// Fails as [`Enrol`] does, but for the token.
#[derive(Debug)]
pub struct EnrolOwn {
    /// Who.
    pub who: Enrolling,
    /// Now.
    pub at: UnixTime,
}

impl Verb for EnrolOwn {
    type Output = Enrolled;
    fn run(&self, transaction: &Transaction<'_>) -> Result<Enrolled, StoreError> {
        let mut who = self.who.clone();
        if let Some(known) = find(transaction, who.supernode)? {
            who.place.weight = known.place.weight;
        }
        enter(transaction, who, self.at)
    }
}

/// Adds a supernode under the next number, or changes the one that there is.
fn enter(transaction: &Transaction<'_>, who: Enrolling, at: UnixTime) -> Result<Enrolled, StoreError> {
    let Enrolling { supernode, key, place } = who;
    if let Some(known) = find(transaction, supernode)? {
        return match known {
            Enrolled { key: other, .. } if other != key => Err(StoreError::AlreadyExists),
            Enrolled { revoked_at: Some(_), .. } => Err(StoreError::Forbidden),
            known => change(transaction, Enrolled { place, ..known.clone() }, &known),
        };
    }
    let count: usize = transaction.one(COUNT, params![], |row| row.get(0))?;
    if count >= SUPERNODES_MAX {
        return Err(StoreError::LimitReached);
    }
    let number = lists::serial(transaction, List::Numbers)?;
    lists::raise_serial(transaction, List::Numbers)?;
    let number = u32::try_from(number).map_err(|_| StoreError::LimitReached)?;
    let Place { addresses, region, weight } = &place;
    transaction.execute(ADD, params![number, supernode.0, key, json(addresses), region, *weight, at])?;
    lists::raise_serial(transaction, List::Roster)?;
    Ok(Enrolled { supernode, key, number, place, enrolled_at: at, revoked_at: None })
}

fn change(transaction: &Transaction<'_>, new: Enrolled, old: &Enrolled) -> Result<Enrolled, StoreError> {
    if new != *old {
        let Place { addresses, region, weight } = &new.place;
        transaction.execute(CHANGE, params![new.supernode.0, json(addresses), region, *weight])?;
        lists::raise_serial(transaction, List::Roster)?;
    }
    Ok(new)
}

/// Asks for one supernode; [`StoreError::NotFound`] when it never enrolled.
#[derive(Debug)]
pub struct SupernodeOf {
    /// Which.
    pub supernode: SupernodeId,
}

impl Verb for SupernodeOf {
    type Output = Enrolled;
    fn run(&self, transaction: &Transaction<'_>) -> Result<Enrolled, StoreError> {
        find(transaction, self.supernode)?.ok_or(StoreError::NotFound)
    }
}

/// All supernodes, those that were revoked too, by number; and of which roster that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supernodes {
    /// The roster's serial number.
    pub serial: u64,
    /// By number.
    pub supernodes: Vec<Enrolled>,
}

/// Asks for all supernodes.
#[derive(Debug)]
pub struct ListSupernodes;

impl Verb for ListSupernodes {
    type Output = Supernodes;
    fn run(&self, transaction: &Transaction<'_>) -> Result<Supernodes, StoreError> {
        let serial = lists::serial(transaction, List::Roster)?;
        let supernodes = transaction.all(ALL, params![], supernode)?;
        Ok(Supernodes { serial, supernodes })
    }
}

/// Changes what the roster says of a supernode; [`StoreError::NotFound`] when there is none, or it was revoked.
#[derive(Debug)]
pub struct ChangeSupernode {
    /// Which.
    pub supernode: SupernodeId,
    /// What changes.
    pub change: Granted,
}

impl Verb for ChangeSupernode {
    type Output = Enrolled;
    fn run(&self, transaction: &Transaction<'_>) -> Result<Enrolled, StoreError> {
        let known = find(transaction, self.supernode)?.filter(|known| known.revoked_at.is_none());
        let known = known.ok_or(StoreError::NotFound)?;
        change(transaction, Enrolled { place: self.change.over(&known.place), ..known.clone() }, &known)
    }
}

/// Takes a supernode out of the roster, for good; [`StoreError::NotFound`] when there is none. Once more is no error.
#[derive(Debug)]
pub struct RevokeSupernode {
    /// Which.
    pub supernode: SupernodeId,
    /// Now.
    pub at: UnixTime,
}

impl Verb for RevokeSupernode {
    type Output = ();
    fn run(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let known = find(transaction, self.supernode)?.ok_or(StoreError::NotFound)?;
        if known.revoked_at.is_some() {
            return Ok(());
        }
        transaction.execute(REVOKE, params![self.supernode.0, self.at])?;
        lists::raise_serial(transaction, List::Roster)
    }
}

/// A list that the authority signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishedList {
    /// Of credentials.
    Revocations,
    /// Of supernodes.
    Roster,
}

impl PublishedList {
    fn number(self) -> i32 {
        match self {
            Self::Revocations => List::Revocations as i32,
            Self::Roster => List::Roster as i32,
        }
    }
}

/// Hands a signed list to the supernodes, unless they have one of a higher serial number.
#[derive(Debug)]
pub struct Publish {
    /// Which.
    pub list: PublishedList,
    /// Its serial number.
    pub serial: u64,
    /// The compact JWS.
    pub token: String,
}

impl Verb for Publish {
    type Output = ();
    fn run(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        transaction.execute(PUBLISH, params![self.list.number(), self.serial, self.token])?;
        Ok(())
    }
}

/// A list as it was published last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Another with each publication. Nothing follows from its size.
    pub version: u64,
    /// The compact JWS.
    pub token: String,
}

/// The lists that are not those that the asker knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publications {
    /// Revocations.
    pub revocations: Option<Publication>,
    /// The roster.
    pub roster: Option<Publication>,
}

/// Asks for the signed lists, unless their versions are these. 0 is none's.
#[derive(Debug)]
pub struct Published {
    /// Of the revocation list.
    pub revocations: u64,
    /// Of the roster.
    pub roster: u64,
}

impl Verb for Published {
    type Output = Publications;
    fn run(&self, transaction: &Transaction<'_>) -> Result<Publications, StoreError> {
        let other_than = |list: PublishedList, version: u64| {
            let publication = |row: &Row<'_>| Ok(Publication { version: row.get(0)?, token: row.get(1)? });
            transaction.first(PUBLISHED, params![list.number(), version], publication)
        };
        Ok(Publications {
            revocations: other_than(PublishedList::Revocations, self.revocations)?,
            roster: other_than(PublishedList::Roster, self.roster)?,
        })
    }
}

fn find(transaction: &Transaction<'_>, id: SupernodeId) -> Result<Option<Enrolled>, StoreError> {
    transaction.first(FIND, params![id.0], supernode)
}

fn supernode(row: &Row<'_>) -> Result<Enrolled, StoreError> {
    let addresses: String = row.get(3)?;
    Ok(Enrolled {
        number: row.get(0)?,
        supernode: SupernodeId(row.get(1)?),
        key: row.get(2)?,
        place: Place { addresses: read(&addresses)?, region: row.get(4)?, weight: row.get(5)? },
        enrolled_at: UnixTime(row.get(6)?),
        revoked_at: row.get::<Option<u64>>(7)?.map(UnixTime),
    })
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("lists and structs of strings are always JSON")
}

/// Reads what [`json`] wrote.
fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| {
        tracing::error!(%error, "the database holds what it should not");
        StoreError::Unavailable
    })
}
