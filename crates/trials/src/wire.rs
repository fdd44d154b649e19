//! The protocol spoken by hand: what hostile clients and a load of thousands need, without the SDK and its good manners.
//!
//! A link here trusts any certificate: it measures and provokes, it protects nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ahoy_proto::call_token::{self, CallTokenClaims, CallTokenKey};
use ahoy_proto::document::{self, Confirmation, Credential, Jwk};
use ahoy_proto::flow::FlowId;
use ahoy_proto::frame::{self, Deframer};
use ahoy_proto::{
    AccountId, CallId, ConversationId, DeviceId, Name, NetworkId, SupernodeId, UnixTime, limits, proof, v1,
};
use anyhow::{Context as _, bail};
use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey};
use prost::Message as _;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime as TlsTime};

/// What messages carry, either way.
pub use v1::client_message::Body as Request;
pub use v1::supernode_message::Body as Response;

/// Any server name does: the certificate is not looked at.
const SERVER_NAME: &str = "ahoy";

/// A QUIC endpoint for many links over one socket.
///
/// # Errors
/// When no socket can be bound.
pub fn endpoint(keylog: Option<&Path>) -> anyhow::Result<quinn::Endpoint> {
    let mut endpoint = quinn::Endpoint::client(SocketAddr::from(([0, 0, 0, 0], 0)))?;
    endpoint.set_default_client_config(client_config(keylog)?);
    Ok(endpoint)
}

fn client_config(keylog: Option<&Path>) -> anyhow::Result<quinn::ClientConfig> {
    let mut tls = tls(ahoy_proto::ALPN)?;
    if let Some(file) = keylog {
        tls.key_log = Arc::new(FileKeyLog(std::sync::Mutex::new(std::fs::File::create(file)?)));
    }
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport()?));
    Ok(config)
}

/// TLS that trusts any certificate.
pub(crate) fn tls(alpn: &[u8]) -> anyhow::Result<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.to_vec()];
    tls.resumption = rustls::client::Resumption::disabled();
    Ok(tls)
}

/// As clients have it.
pub(crate) fn transport() -> anyhow::Result<quinn::TransportConfig> {
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_idle_timeout(Some(limits::IDLE_TIMEOUT.try_into()?))
        .keep_alive_interval(Some(limits::KEEPALIVE))
        .mtu_discovery_config(None)
        .max_concurrent_bidi_streams(1u8.into())
        .max_concurrent_uni_streams(0u8.into());
    Ok(transport)
}

/// TLS secrets in NSS key log format, so that a capture can be read.
#[derive(Debug)]
struct FileKeyLog(std::sync::Mutex<std::fs::File>);

impl rustls::KeyLog for FileKeyLog {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        use std::io::Write as _;
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut file = self.0.lock().expect("nothing in here panics");
        // A key log that can't be written shows as a capture that does not open.
        let _ = writeln!(file, "{label} {} {}", hex(client_random), hex(secret));
    }
}

#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: TlsTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A device that can sign in.
#[derive(Clone)]
pub struct Identity {
    /// Its account.
    pub account: AccountId,
    /// Itself.
    pub device: DeviceId,
    /// Its network.
    pub network: NetworkId,
    /// Device key.
    pub key: SigningKey,
    /// A compact JWS.
    pub credential: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({:?})", self.device)
    }
}

impl Identity {
    /// A device of an account with a credential signed by `signing_key`: the authority's, or a forger's.
    pub fn made(network: NetworkId, account: AccountId, signing_key: &SigningKey) -> Self {
        let now = UnixTime::from(SystemTime::now());
        Self::made_for(network, account, signing_key, [UnixTime(now.0 - 60), now.plus(limits::CREDENTIAL_LIFE)])
    }

    /// The same, valid from and to these seconds.
    pub fn made_for(
        network: NetworkId,
        account: AccountId,
        signing_key: &SigningKey,
        [issued_at, expires]: [UnixTime; 2],
    ) -> Self {
        let key = SigningKey::from_bytes(&rand::random());
        let device = DeviceId(rand::random());
        let jwk = Jwk::ed25519(*key.verifying_key().as_bytes());
        let name = Name::parse("trial").expect("the name follows the rules");
        let confirmation = Confirmation { jwk };
        let claims = Credential { network, account, name, device, confirmation, issued_at, expires };
        Self { account, device, network, key, credential: document::sign(&claims, signing_key) }
    }
}

impl Identity {
    /// The same account on a device that there is already, with a key that only this identity has.
    #[must_use]
    pub fn on_device(self, device: DeviceId, signing_key: &SigningKey) -> Self {
        let now = UnixTime::from(SystemTime::now());
        let jwk = Jwk::ed25519(*self.key.verifying_key().as_bytes());
        let name = Name::parse("trial").expect("the name follows the rules");
        let (network, account) = (self.network, self.account);
        let (issued_at, expires) = (UnixTime(now.0 - 60), now.plus(limits::CREDENTIAL_LIFE));
        let claims =
            Credential { network, account, name, device, confirmation: Confirmation { jwk }, issued_at, expires };
        Self { device, credential: document::sign(&claims, signing_key), ..self }
    }
}

/// A connection on which the supernode has spoken, and nobody has signed in.
#[derive(Debug)]
pub struct Link {
    connection: quinn::Connection,
    send: quinn::SendStream,
    messages: Messages,
    challenge: v1::Challenge,
}

/// An authenticated link.
#[derive(Debug)]
pub struct Session {
    connection: quinn::Connection,
    send: quinn::SendStream,
    messages: Messages,
    next_request: u64,
    events: Vec<Response>,
}

#[derive(Debug)]
struct Messages {
    stream: quinn::RecvStream,
    deframer: Deframer,
}

/// Patience with a supernode that does not answer.
const PATIENCE: Duration = Duration::from_secs(15);

impl Messages {
    async fn next(&mut self) -> anyhow::Result<v1::SupernodeMessage> {
        loop {
            if let Some(bytes) = self.deframer.next(limits::MESSAGE_MAX)? {
                return Ok(v1::SupernodeMessage::decode(bytes)?);
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_chunk(limits::MESSAGE_MAX, true)).await??;
            self.deframer.push(&read.context("the supernode ended the stream")?.bytes);
        }
    }
}

impl Link {
    /// Connects and reads the challenge.
    ///
    /// # Errors
    /// When nobody answers in QUIC, or not with a challenge.
    pub async fn connect(endpoint: &quinn::Endpoint, supernode: SocketAddr) -> anyhow::Result<Self> {
        let connection = endpoint.connect(supernode, SERVER_NAME)?.await?;
        let (send, stream) = tokio::time::timeout(PATIENCE, connection.accept_bi()).await??;
        let mut messages = Messages { stream, deframer: Deframer::default() };
        let Some(Response::Challenge(challenge)) = messages.next().await?.body else {
            bail!("the supernode did not begin with a challenge");
        };
        Ok(Self { connection, send, messages, challenge })
    }

    /// The connection.
    pub fn connection(&self) -> &quinn::Connection {
        &self.connection
    }

    /// The message that proves an identity on this link.
    ///
    /// # Errors
    /// When the challenge is no challenge.
    pub fn proof(&self, identity: &Identity, agent: &str) -> anyhow::Result<v1::ClientMessage> {
        let mut exporter = [0; 32];
        self.connection
            .export_keying_material(&mut exporter, proof::EXPORTER_LABEL, b"")
            .map_err(|_| anyhow::anyhow!("the handshake is not over"))?;
        let nonce: [u8; 32] = self.challenge.nonce[..].try_into()?;
        let supernode = SupernodeId::try_from(&self.challenge.supernode[..])?;
        let input = proof::proof_input(identity.network, supernode, &nonce, Some(&exporter));
        let prove = v1::Prove {
            credential: identity.credential.clone(),
            signature: Bytes::copy_from_slice(&identity.key.sign(&input).to_bytes()),
            version: ahoy_proto::VERSION,
            agent: agent.to_owned(),
            ..Default::default()
        };
        Ok(v1::ClientMessage { request: 1, body: Some(Request::Prove(prove)) })
    }

    /// Signs in.
    ///
    /// # Errors
    /// When the supernode refuses, with its words.
    pub async fn sign_in(self, identity: &Identity) -> anyhow::Result<Session> {
        let proof = self.proof(identity, "ahoy-trials")?;
        self.sign_in_with(&proof).await
    }

    /// Signs in with a message made by [`proof`](Self::proof), or any other.
    ///
    /// # Errors
    /// When the supernode refuses, with its words.
    pub async fn sign_in_with(mut self, proof: &v1::ClientMessage) -> anyhow::Result<Session> {
        self.send.write_all(&frame::encode(proof)).await?;
        match self.messages.next().await?.body {
            Some(Response::Welcome(_)) => {}
            Some(Response::Error(error)) => bail!("refused ({:?}): {}", error.code(), error.text),
            other => bail!("the supernode answered a proof with {other:?}"),
        }
        let Self { connection, send, messages, .. } = self;
        Ok(Session { connection, send, messages, next_request: 2, events: Vec::new() })
    }

    /// Sends bytes as they are, in place of a message, and gives the code with which the supernode closes.
    ///
    /// # Errors
    /// When it does not close.
    pub async fn provoke(mut self, bytes: &[u8]) -> anyhow::Result<v1::ErrorCode> {
        // The supernode may close before everything is written.
        let _ = self.send.write_all(bytes).await;
        closing_code(&self.connection).await
    }
}

/// Waits until the supernode closes, and gives its code.
///
/// # Errors
/// When it does not, or not with a code of the protocol.
pub async fn closing_code(connection: &quinn::Connection) -> anyhow::Result<v1::ErrorCode> {
    match tokio::time::timeout(PATIENCE, connection.closed()).await? {
        quinn::ConnectionError::ApplicationClosed(close) => {
            let code = i32::try_from(close.error_code.into_inner())?;
            v1::ErrorCode::try_from(code).with_context(|| format!("closed with {code}, which is no code"))
        }
        other => bail!("not closed by the protocol: {other}"),
    }
}

/// Sends a request that breaks a rule, and gives the code with which the supernode closes.
///
/// # Errors
/// When it does not close.
pub async fn closing_code_of(session: &mut Session, body: Request) -> anyhow::Result<v1::ErrorCode> {
    let message = v1::ClientMessage { request: session.next_request, body: Some(body) };
    // The supernode may close before everything is written.
    let _ = session.send.write_all(&frame::encode(&message)).await;
    closing_code(&session.connection).await
}

impl Session {
    /// The connection.
    pub fn connection(&self) -> &quinn::Connection {
        &self.connection
    }

    /// Sends a request and gives its response; events that come before stay for [`event`](Self::event).
    ///
    /// # Errors
    /// When the link is lost.
    pub async fn request(&mut self, body: Request) -> anyhow::Result<Response> {
        let request = self.next_request;
        self.next_request += 1;
        let message = v1::ClientMessage { request, body: Some(body) };
        self.send.write_all(&frame::encode(&message)).await?;
        loop {
            let message = self.messages.next().await?;
            let body = message.body.context("a message of the supernode has a body")?;
            match message.in_reply_to {
                0 => self.events.push(body),
                number if number == request => return Ok(body),
                number => bail!("a response to {number}, which nobody asked"),
            }
        }
    }

    /// The same, for requests that must succeed.
    ///
    /// # Errors
    /// When the supernode refuses, with its words.
    pub async fn granted(&mut self, body: Request) -> anyhow::Result<Response> {
        match self.request(body).await? {
            Response::Error(error) => bail!("refused ({:?}): {}", error.code(), error.text),
            response => Ok(response),
        }
    }

    /// Sends several requests without waiting in between, each by itself, and gives their responses in the order of the requests.
    ///
    /// # Errors
    /// When the link is lost.
    pub async fn requests(&mut self, bodies: Vec<Request>) -> anyhow::Result<Vec<Response>> {
        let first = self.next_request;
        let mut responses: Vec<_> = bodies.iter().map(|_| None).collect();
        for body in bodies {
            let message = v1::ClientMessage { request: self.next_request, body: Some(body) };
            self.next_request += 1;
            self.send.write_all(&frame::encode(&message)).await?;
        }
        while responses.iter().any(Option::is_none) {
            let message = self.messages.next().await?;
            let body = message.body.context("a message of the supernode has a body")?;
            let Some(place) = message.in_reply_to.checked_sub(first) else {
                self.events.push(body);
                continue;
            };
            let place = usize::try_from(place).ok().and_then(|place| responses.get_mut(place));
            *place.context("a response to what nobody asked")? = Some(body);
        }
        Ok(responses.into_iter().flatten().collect())
    }

    /// The next event for which `pick` has an answer; others are dropped.
    ///
    /// # Errors
    /// When the link is lost, or nothing comes.
    pub async fn event<T>(&mut self, pick: impl Fn(&Response) -> Option<T>) -> anyhow::Result<T> {
        let early = std::mem::take(&mut self.events);
        if let Some(found) = early.iter().find_map(&pick) {
            return Ok(found);
        }
        loop {
            let message = self.messages.next().await?;
            if let Some(found) = message.body.as_ref().filter(|_| message.in_reply_to == 0).and_then(&pick) {
                return Ok(found);
            }
        }
    }
}

/// What an authority and its supernodes keep to themselves: enough to sign in anybody and to vouch for any call.
pub struct NetworkKeys {
    /// Made from the root key.
    pub network: NetworkId,
    /// Signs credentials.
    pub signing: SigningKey,
    /// Seals call tokens.
    pub call_token: CallTokenKey,
}

impl std::fmt::Debug for NetworkKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NetworkKeys({:?})", self.network)
    }
}

impl NetworkKeys {
    /// Reads them from the data folder of an `ahoyd`.
    ///
    /// # Errors
    /// When they are not there.
    pub fn read(data: &Path) -> anyhow::Result<Self> {
        let read = |name: &str| -> anyhow::Result<[u8; 32]> {
            let file = data.join("keys").join(name);
            let bytes = std::fs::read(&file).with_context(|| format!("can't read {}", file.display()))?;
            Ok(bytes.as_slice().try_into()?)
        };
        Ok(Self {
            network: NetworkId::of_root_key(&read("root.pub")?),
            signing: SigningKey::from_bytes(&read("signing.key")?),
            call_token: CallTokenKey::new(read("call-token.key")?),
        })
    }

    /// A device of an account that nobody has signed up: sessions need no store, so a supernode can't tell.
    pub fn identity(&self) -> Identity {
        Identity::made(self.network, AccountId(rand::random()), &self.signing)
    }

    /// A token for a device's leg in a call with one other.
    pub fn call_token(&self, call: CallId, own: &Identity, peer: &Identity) -> Vec<u8> {
        let now = UnixTime::from(SystemTime::now());
        let claims = CallTokenClaims {
            call,
            conversation: ConversationId(call.0),
            account: own.account,
            device: own.device,
            peers: vec![(peer.account, peer.device)],
            answered_at: now,
            expires: now.plus(limits::CALL_TOKEN_LIFE),
        };
        call_token::seal(&claims, self.network, &self.call_token, rand::random())
    }
}

/// Attaches a leg by a call token, as after the death of a supernode: no store, no ringing. Gives the flow id to send under.
///
/// # Errors
/// When it is refused.
pub async fn attach(session: &mut Session, call_token: Vec<u8>) -> anyhow::Result<FlowId> {
    let attach = v1::AttachLeg { call_token: call_token.into(), leg: noise(16), sealed: noise(250) };
    match session.granted(Request::AttachLeg(attach)).await? {
        Response::LegAttached(attached) => FlowId::new(attached.flow).context("a flow id has at most 62 bits"),
        other => bail!("AttachLeg was answered with {other:?}"),
    }
}

/// Random bytes.
pub fn noise(length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    rand::fill(&mut bytes[..]);
    bytes.into()
}
