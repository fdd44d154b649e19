//! Everything that a network tells to whoever has no credential, by HTTP and by QUIC, and whether two looks tell apart.
//!
//! Each answer is kept as its bytes, and as a canonical text in which what is a time or a random number has given way to its name and
//! length. Two looks at the same network must have the same texts: what differs tells something. The whole list of what gives way:
//!
//! | what | why |
//! |---|---|
//! | HTTP `date`; JSON `iat`, `exp`, `time`; `time_ms` of a challenge | times |
//! | `state`, `account`, `registration_response`, `credential_response` of the first step of a sign-up or sign-in | made anew for each request: sealed, random, or blinded by both ends' random numbers |
//! | the last part of a JWS | a signature: over what stands before it, which stays |
//! | `nonce` of a challenge | random |
//! | TLS: server random, key share, signature of CertificateVerify, Finished | random, or made of it |
//! | QUIC transport parameters: connection ids, reset token, reserved ones; their order | random |
//!
//! Not seen here: acknowledgements, sizes of UDP packets, and when they come.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ahoy_proto::frame::{self, Deframer};
use ahoy_proto::{limits, v1};
use anyhow::{Context as _, ensure};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use prost::Message as _;
use quinn::crypto::rustls::QuicClientConfig;
use quinn_proto::crypto::{
    ClientConfig, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, Session as CryptoSession,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectError, ConnectionId, Side, TransportError};
use serde_json::Value;

use crate::wire;

/// How long an answer may take; the longest is that of a link which proves nothing, after ten seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Names of JSON fields that give way.
const FLEETING: [&str; 7] = ["iat", "exp", "time", "state", "account", "registration_response", "credential_response"];

/// Transport parameters that give way: original destination id, reset token, source id.
const FLEETING_PARAMETERS: [u64; 3] = [0x00, 0x02, 0x0f];

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What was asked.
    pub asked: String,
    /// What came, with what is sealed in text (base64url of documents) opened beside it.
    pub bytes: Vec<u8>,
    /// What must stay the same.
    pub text: String,
}

/// All that differs between two looks, in words; empty: nothing.
pub fn differences(before: &[Told], after: &[Told]) -> Vec<String> {
    let mut found = Vec::new();
    for told in before {
        match after.iter().find(|other| other.asked == told.asked) {
            None => found.push(format!("{}: no answer any more", told.asked)),
            Some(other) if other.text == told.text => {}
            Some(other) => {
                found.push(format!("{}:\n  before: {}\n  after:  {}", told.asked, told.text, other.text));
            }
        }
    }
    let new = after.iter().filter(|told| !before.iter().any(|other| other.asked == told.asked));
    found.extend(new.map(|told| format!("{}: no answer before", told.asked)));
    found
}

/// In which answers any of these byte strings stands; `what` names each.
pub fn holding<'a>(all: &'a [Told], secrets: &'a [(String, Vec<u8>)]) -> Vec<(&'a str, &'a str)> {
    let mut found = Vec::new();
    for told in all {
        for (what, secret) in secrets {
            if told.bytes.windows(secret.len()).any(|window| window == secret) {
                found.push((told.asked.as_str(), what.as_str()));
            }
        }
    }
    found
}

/// The forms in which an id of 16 bytes may stand somewhere.
pub fn forms_of_id(what: &str, id: &[u8]) -> Vec<(String, Vec<u8>)> {
    let hex = HEXLOWER.encode(id);
    vec![
        (format!("{what} (bytes)"), id.to_vec()),
        (format!("{what} (hexadecimal)"), hex.clone().into_bytes()),
        (format!("{what} (HEXADECIMAL)"), hex.to_uppercase().into_bytes()),
        (format!("{what} (base64url)"), BASE64URL_NOPAD.encode(id).into_bytes()),
    ]
}

/// The forms in which an address may stand somewhere.
pub fn forms_of_address(what: &str, address: SocketAddr) -> Vec<(String, Vec<u8>)> {
    let mut forms = vec![(format!("{what} (text)"), address.to_string().into_bytes())];
    if let SocketAddr::V4(v4) = address {
        let binary = |port: [u8; 2]| [&v4.ip().octets()[..], &port].concat();
        forms.push((format!("{what} (big-endian)"), binary(v4.port().to_be_bytes())));
        forms.push((format!("{what} (little-endian)"), binary(v4.port().to_le_bytes())));
    }
    forms
}

/// One request by HTTP, as it is written.
///
/// # Errors
/// When nobody answers.
pub fn http(address: SocketAddr, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Told> {
    let body = body.map(Value::to_string);
    let asked = format!("{method} {path} {}", body.as_deref().unwrap_or_default());
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    let request = match &body {
        None => format!("{head}\r\n"),
        Some(body) => format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
    };
    tcp(address, &asked, request.as_bytes())
}

/// Bytes by TCP, and what comes until the end.
///
/// # Errors
/// When nobody listens.
pub fn tcp(address: SocketAddr, asked: &str, request: &[u8]) -> anyhow::Result<Told> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).with_context(|| asked.to_owned())?;
    Ok(of_http(asked, bytes))
}

fn of_http(asked: &str, mut bytes: Vec<u8>) -> Told {
    let whole = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = whole.split_once("\r\n\r\n").unwrap_or((&whole, ""));
    let mut text = String::new();
    for line in head.split("\r\n") {
        let is_date = line.get(..5).is_some_and(|name| name.eq_ignore_ascii_case("date:"));
        let _ = writeln!(text, "{}", if is_date { "date: <time>" } else { line });
    }
    let mut opened = String::new();
    match serde_json::from_str::<Value>(body) {
        Ok(value) => text += &canonical(&value, &mut opened).to_string(),
        Err(_) => text += &jws(body.trim(), &mut opened).unwrap_or_else(|| body.to_owned()),
    }
    bytes.extend(opened.into_bytes());
    Told { asked: asked.to_owned(), bytes, text }
}

/// JSON without what is fleeting. What was sealed in text stands in `opened`.
fn canonical(value: &Value, opened: &mut String) -> Value {
    match value {
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                let value = match FLEETING.contains(&name.as_str()) {
                    true => Value::String(format!("<{name}, {}>", extent(value))),
                    false => canonical(value, opened),
                };
                (name.clone(), value)
            };
            Value::Object(fields.iter().map(field).collect())
        }
        Value::Array(values) => Value::Array(values.iter().map(|value| canonical(value, opened)).collect()),
        Value::String(text) => Value::String(jws(text, opened).unwrap_or_else(|| text.clone())),
        other => other.clone(),
    }
}

/// How much room something takes; of a number only that it is one, because times grow.
fn extent(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{} letters", text.len()),
        Value::Number(_) => "a number".to_owned(),
        other => other.to_string(),
    }
}

/// A signed document with its claims in the clear, if this is one.
fn jws(text: &str, opened: &mut String) -> Option<String> {
    let parts: Vec<_> = text.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else { return None };
    let decode =
        |part: &str| -> Option<Value> { serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).ok()?).ok() };
    let (header, claims) = (decode(header)?, decode(claims)?);
    let _ = write!(opened, "\n{header} {claims}");
    let claims = canonical(&claims, opened);
    Some(format!("JWS {header} {claims} <signature, {} letters>", signature.len()))
}

/// What a supernode answers to a packet of a version of QUIC that it does not speak.
///
/// # Errors
/// When it does not answer.
pub fn unknown_version(supernode: SocketAddr) -> anyhow::Result<Told> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // A long header with two ids of 8 bytes, filled up to the size that servers ask for.
    let mut packet = vec![0xc0, 0xba, 0xba, 0xba, 0xba, 8];
    packet.extend([7; 8]);
    packet.push(8);
    packet.extend([9; 8]);
    packet.resize(1_200, 0);
    socket.send_to(&packet, supernode)?;
    let mut answer = [0; 1_500];
    let (length, _) = socket.recv_from(&mut answer)?;
    let bytes = answer[..length].to_vec();
    // All but the first bit of the first byte is random.
    let text = format!("first bit {} {}", bytes[0] >> 7, HEXLOWER.encode(&bytes[1..]));
    Ok(Told { asked: "QUIC: an unknown version".to_owned(), bytes, text })
}

/// What is done on a fresh link once the supernode has spoken.
pub type Deed<'a> = Box<dyn Fn(&v1::Challenge) -> Act + 'a>;

/// What a stranger does on a link.
#[derive(Debug, Clone)]
pub enum Act {
    /// Closes it.
    Leave,
    /// Sends these bytes on the stream, and waits for the end.
    Send(Vec<u8>),
    /// Sends these bytes on the stream, takes one answer, and closes.
    Ask(Vec<u8>),
    /// Opens a stream that the protocol does not have.
    OpenStream,
}

/// A message, framed.
pub fn framed(request: u64, body: wire::Request) -> Vec<u8> {
    frame::encode(&v1::ClientMessage { request, body: Some(body) }).to_vec()
}

/// A link of somebody who proves nothing: the handshake, every message, and the close.
///
/// # Errors
/// When no link comes about, or it does not end.
pub async fn link(supernode: SocketAddr, asked: &str, alpn: &[u8], deed: &Deed<'_>) -> anyhow::Result<Told> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let crypto = QuicClientConfig::try_from(wire::tls(alpn)?)?;
    let mut config = quinn::ClientConfig::new(Arc::new(Spy { inner: Arc::new(crypto), heard: Arc::clone(&heard) }));
    config.transport_config(Arc::new(wire::transport()?));
    let endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let mut told = Told { asked: format!("QUIC: {asked}"), bytes: Vec::new(), text: String::new() };
    let connected = endpoint.connect_with(config, supernode, "ahoy.invalid")?.await;
    let ended = match connected {
        Ok(connection) => tokio::time::timeout(PATIENCE, converse(&connection, deed, &mut told)).await??,
        Err(error) => error,
    };
    let handshake = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
    told.text = format!("{}{}ended: {ended:?}", handshake_text(&handshake), told.text);
    told.bytes.extend(handshake);
    told.bytes.extend(format!("{ended:?}").into_bytes());
    Ok(told)
}

async fn converse(
    connection: &quinn::Connection,
    deed: &Deed<'_>,
    told: &mut Told,
) -> anyhow::Result<quinn::ConnectionError> {
    let (mut send, mut stream) = match connection.accept_bi().await {
        Ok(stream) => stream,
        Err(ended) => return Ok(ended),
    };
    let mut deframer = Deframer::default();
    let mut act = None;
    loop {
        while let Some(bytes) = deframer.next(limits::MESSAGE_MAX)? {
            told.bytes.extend(&bytes);
            let message = v1::SupernodeMessage::decode(bytes.clone())?;
            ensure!(message.encode_to_vec() == bytes[..], "fields that the schema does not have: {bytes:?}");
            let (text, challenge) = message_text(message, &mut told.bytes);
            told.text += &text;
            match (&act, challenge) {
                (None, Some(challenge)) => {
                    act = Some(deed(&challenge));
                    match act.as_ref().context("it was set just now")? {
                        Act::Leave => connection.close(0_u8.into(), b""),
                        // It may close before everything is written.
                        Act::Send(bytes) | Act::Ask(bytes) => _ = send.write_all(bytes).await,
                        Act::OpenStream => _ = connection.open_uni().await?.write_all(b"x").await,
                    }
                }
                (Some(Act::Ask(_)), None) => connection.close(0_u8.into(), b""),
                _ => {}
            }
        }
        match stream.read_chunk(limits::MESSAGE_MAX, true).await {
            Ok(Some(chunk)) => deframer.push(&chunk.bytes),
            Ok(None) | Err(_) => return Ok(connection.closed().await),
        }
    }
}

/// A message without what is fleeting, and the challenge if it is one.
fn message_text(message: v1::SupernodeMessage, bytes: &mut Vec<u8>) -> (String, Option<v1::Challenge>) {
    let v1::SupernodeMessage { in_reply_to, body } = message;
    match body {
        Some(wire::Response::Challenge(challenge)) => {
            let mut opened = String::new();
            let certificate = jws(&challenge.certificate, &mut opened).unwrap_or_else(|| challenge.certificate.clone());
            bytes.extend(opened.into_bytes());
            let stays = v1::Challenge {
                nonce: bytes::Bytes::new(),
                time_ms: 0,
                certificate: String::new(),
                ..challenge.clone()
            };
            let nonce = challenge.nonce.len();
            (format!("{in_reply_to} {stays:?} <nonce, {nonce} bytes> <time_ms> {certificate}\n"), Some(challenge))
        }
        other => (format!("{in_reply_to} {other:?}\n"), None),
    }
}

/// The supernode's side of the TLS handshake, message by message, without what is fleeting.
fn handshake_text(mut bytes: &[u8]) -> String {
    let mut text = String::new();
    while let [kind, a, b, c, rest @ ..] = bytes {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some((body, rest)) = rest.split_at_checked(length) else { break };
        let told = match kind {
            2 => server_hello(body),
            8 => body.get(2..).map(extensions),
            15 => body.get(..2).map(|scheme| format!("scheme {} <signature>", HEXLOWER.encode(scheme))),
            20 => Some("<finished>".to_owned()),
            _ => None,
        };
        // Reserved transport parameters have any length, and an ECDSA signature one of four, so that of what holds them says nothing.
        let length = if matches!(kind, 8 | 15) { String::new() } else { format!(", {length} bytes") };
        let _ = writeln!(text, "TLS {kind}{length}: {}", told.unwrap_or_else(|| HEXLOWER.encode(body)));
        bytes = rest;
    }
    if !bytes.is_empty() {
        let _ = writeln!(text, "TLS, unfinished: {}", HEXLOWER.encode(bytes));
    }
    text
}

fn server_hello(body: &[u8]) -> Option<String> {
    let (version, rest) = body.split_at_checked(2)?;
    let (_random, rest) = rest.split_at_checked(32)?;
    let (length, rest) = rest.split_first()?;
    let (session, rest) = rest.split_at_checked(usize::from(*length))?;
    let (suite, rest) = rest.split_at_checked(3)?;
    let told = [version, session, suite].map(|part| HEXLOWER.encode(part)).join(" ");
    Some(format!("{told} <random> {}", extensions(rest.get(2..)?)))
}

fn extensions(mut bytes: &[u8]) -> String {
    const KEY_SHARE: u16 = 51;
    const TRANSPORT_PARAMETERS: u16 = 57;
    let mut told = Vec::new();
    while let [a, b, c, d, rest @ ..] = bytes {
        let (kind, length) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
        let Some((value, rest)) = rest.split_at_checked(length.into()) else { break };
        told.push(match kind {
            KEY_SHARE => {
                format!("{kind}: {} <key share, {length} bytes>", HEXLOWER.encode(&value[..value.len().min(2)]))
            }
            TRANSPORT_PARAMETERS => format!("{kind}: {}", parameters(value)),
            _ => format!("{kind}: {}", HEXLOWER.encode(value)),
        });
        bytes = rest;
    }
    if !bytes.is_empty() {
        told.push(format!("unfinished: {}", HEXLOWER.encode(bytes)));
    }
    told.join("; ")
}

/// Transport parameters in the order of their ids. Reserved ones are there to be ignored.
fn parameters(mut bytes: &[u8]) -> String {
    let mut all = Vec::new();
    while let Some((id, rest)) = varint(bytes)
        && let Some((length, rest)) = varint(rest)
        && let Some((value, rest)) = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length))
    {
        let reserved = id >= 27 && (id - 27).is_multiple_of(31);
        if FLEETING_PARAMETERS.contains(&id) {
            all.push((id, format!("<{length} bytes>")));
        } else if !reserved {
            all.push((id, HEXLOWER.encode(value)));
        }
        bytes = rest;
    }
    if !bytes.is_empty() {
        all.push((u64::MAX, format!("unfinished: {}", HEXLOWER.encode(bytes))));
    }
    all.sort();
    all.iter().map(|(id, value)| format!("{id:#x}={value}")).collect::<Vec<_>>().join(" ")
}

/// A number of QUIC's (RFC 9000, section 16), and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = 1 << (bytes.first()? >> 6);
    let (number, rest) = bytes.split_at_checked(length)?;
    let first = u64::from(number[0] & 0x3f);
    Some((number[1..].iter().fold(first, |value, &byte| value << 8 | u64::from(byte)), rest))
}

/// TLS that writes down what it hears.
struct Spy {
    inner: Arc<QuicClientConfig>,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl ClientConfig for Spy {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn CryptoSession>, ConnectError> {
        let inner = Arc::clone(&self.inner).start_session(version, server_name, params)?;
        Ok(Box::new(SpySession { inner, heard: Arc::clone(&self.heard) }))
    }
}

struct SpySession {
    inner: Box<dyn CryptoSession>,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl CryptoSession for SpySession {
    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
        self.inner.read_handshake(bytes)
    }

    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.inner.initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn std::any::Any>> {
        self.inner.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn std::any::Any>> {
        self.inner.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.inner.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.inner.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.inner.transport_parameters()
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        self.inner.write_handshake(buf)
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.inner.next_1rtt_keys()
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.inner.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.inner.export_keying_material(output, label, context)
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    fn answer(body: &str) -> Told {
        of_http("asked", format!("HTTP/1.1 200 OK\r\ndate: now\r\nx-other: 1\r\n\r\n{body}").into_bytes())
    }

    fn document(claims: &str, signature: &str) -> String {
        let part = |json: &str| BASE64URL_NOPAD.encode(json.as_bytes());
        format!("{}.{}.{signature}", part(r#"{"alg":"EdDSA"}"#), part(claims))
    }

    #[test]
    fn times_and_random_numbers_are_no_difference() {
        let before = of_http("asked", b"HTTP/1.1 200 OK\r\nDate: Mon\r\n\r\n{\"iat\":1,\"state\":\"abcd\"}".to_vec());
        let after = of_http("asked", b"HTTP/1.1 200 OK\r\nDate: Tue\r\n\r\n{\"iat\":2,\"state\":\"efgh\"}".to_vec());
        assert_eq!(differences(&[before], &[after]), Vec::<String>::new());
        let [one, other] = ["c2ln", "bmV3"].map(|signature| answer(&document(r#"{"serial":7,"exp":1}"#, signature)));
        assert_eq!(differences(&[one], &[other]), Vec::<String>::new());
    }

    #[test]
    fn a_leak_that_is_planted_is_found_wherever_it_stands() {
        let found = |before: &Told, after: &Told| differences(from_ref(before), from_ref(after)).len();
        let count = |users: u32| answer(&format!("{{\"users\":{users}}}"));
        assert_eq!(found(&count(3), &count(4)), 1, "a number in JSON");
        let signed = |length: u32| answer(&document(&format!("{{\"key_log\":{{\"length\":{length}}}}}"), "c2ln"));
        assert_eq!(found(&signed(3), &signed(4)), 1, "a number in a signed document");
        let within = |length: u32| answer(&format!("[\"{}\"]", document(&format!("{{\"length\":{length}}}"), "c2ln")));
        assert_eq!(found(&within(3), &within(4)), 1, "a number in a document in JSON");
        let state = |text: &str| answer(&format!("{{\"state\":\"{text}\"}}"));
        assert_eq!(found(&state("abcd"), &state("abcde")), 1, "the length of what is random");
        let header = |users: u32| of_http("asked", format!("HTTP/1.1 200 OK\r\nx-users: {users}\r\n\r\n").into_bytes());
        assert_eq!(found(&header(3), &header(4)), 1, "a number in a header");
        assert_eq!(differences(&[count(3)], &[]).len(), 1, "an answer that is gone");
        assert_eq!(differences(&[], &[count(3)]).len(), 1, "an answer that is new");
    }

    #[test]
    fn a_leak_in_a_handshake_or_a_message_is_found() {
        let parameter = |users: u8| [0x80, 0, 0x12, 0x34, 1, users];
        assert_ne!(parameters(&parameter(3)), parameters(&parameter(4)), "a transport parameter");
        assert_eq!(
            parameters(&[2, 1, 9, 0x1b, 1, 7, 4, 1, 5]),
            parameters(&[4, 1, 5, 2, 1, 8]),
            "reserved, random, order"
        );
        let hello = |suite: u8| [vec![2, 0, 0, 40, 3, 3], vec![9; 32], vec![0, 0x13, suite, 0, 0, 0]].concat();
        assert_ne!(handshake_text(&hello(1)), handshake_text(&hello(2)));
        let says = |agent: &str| {
            let challenge = v1::Challenge { agent: agent.to_owned(), time_ms: 5, ..v1::Challenge::default() };
            let body = Some(wire::Response::Challenge(challenge));
            message_text(v1::SupernodeMessage { in_reply_to: 0, body }, &mut Vec::new()).0
        };
        assert_ne!(says("ahoyd, 3 users"), says("ahoyd, 4 users"));
    }

    #[test]
    fn what_is_searched_for_is_found_in_documents_too() {
        let told = [answer(&document(r#"{"name":"alice"}"#, "c2ln")), answer("{}")];
        let secrets = [("a name".to_owned(), b"alice".to_vec())];
        assert_eq!(holding(&told, &secrets), [("asked", "a name")]);
        let address: SocketAddr = "127.0.0.1:4660".parse().unwrap();
        let binary =
            Told { asked: "binary".to_owned(), bytes: vec![0, 127, 0, 0, 1, 0x12, 0x34, 0], text: String::new() };
        assert_eq!(holding(&[binary], &forms_of_address("address", address)).len(), 1);
        let id = [0xab; 16];
        let text = answer(&format!("{{\"id\":\"{}\"}}", HEXLOWER.encode(&id)));
        assert_eq!(holding(&[text], &forms_of_id("id", &id)).len(), 1);
    }
}
