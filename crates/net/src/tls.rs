//! TLS 1.3 for links: a supernode proves itself by the Ed25519 key that stands in the roster, nothing else counts.
//!
//! Browsers, which ask for `h3`, are shown a certificate of the web instead. The other one is only a wrapper for that key: self-signed, its names and dates are not looked at.

use std::sync::Arc;

use ahoy_proto::ALPN;
use ed25519_dalek::{SigningKey, VerifyingKey};
use quinn_proto::{
    TransportErrorCode,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::{
    CertificateError, DigitallySignedStruct, KeyLogFile, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};

use crate::{Origins, Web, WebCertificate, shard::h3};

/// What comes before the 32 bytes of an Ed25519 seed in PKCS #8 (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// What comes before the 32 bytes of an Ed25519 public key in a SubjectPublicKeyInfo (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// The name in certificates and in SNI. No supernode is called so: a name here would only tell observers who is dialled.
pub(crate) const NAME: &str = "ahoy.invalid";

/// Why TLS material can't be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate that wraps the roster key can't be made.
    #[error("cannot make a certificate for the roster key: {0}")]
    Certificate(#[from] rcgen::Error),
    /// rustls refuses the key or the parameters.
    #[error("cannot configure TLS: {0}")]
    Config(#[from] rustls::Error),
    /// A certificate or key of the web can't be read.
    #[error("cannot read the certificate or its key: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
}

/// The supernode's side of TLS, shared by all shards.
#[derive(Clone)]
pub struct ServerTls {
    quic: Arc<QuicServerConfig>,
    origins: Origins,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTls(..)")
    }
}

impl ServerTls {
    /// For a supernode whose roster entry holds the public half of this key, and for browsers where there is a way in for them. `key_log` writes the links' secrets to the
    /// file that `SSLKEYLOGFILE` names: for looking into one's own captures, never in production.
    ///
    /// # Errors
    /// When the TLS library refuses the key.
    pub fn new(roster_key: &SigningKey, web: Option<Web>, key_log: bool) -> Result<Self, TlsError> {
        let provider = provider();
        let (web, origins) = web.map(|web| (web.certificate, web.origins)).unzip();
        let alpn = [ALPN].into_iter().chain(web.is_some().then_some(h3::ALPN));
        let alpn = alpn.map(<[u8]>::to_vec).collect();
        let certificates = Certificates { native: Arc::new(certificate(roster_key, &provider)?), web };
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = alpn;
        // Resumption saves little and a ticket store costs memory on every handshake.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        if key_log {
            config.key_log = Arc::new(KeyLogFile::new());
        }
        let config =
            QuicServerConfig::try_from(config).expect("the provider has the cipher suite that QUIC starts with");
        Ok(Self { quic: Arc::new(config), origins: origins.unwrap_or_default() })
    }

    pub(crate) fn quic(&self) -> Arc<QuicServerConfig> {
        Arc::clone(&self.quic)
    }

    /// Whose pages may open links.
    pub(crate) fn origins(&self) -> &Origins {
        &self.origins
    }
}

/// The client's side, for one supernode.
pub(crate) fn client(supernode: &VerifyingKey, key_log: bool) -> Result<QuicClientConfig, TlsError> {
    let provider = provider();
    let verifier = Pinned { key: *supernode.as_bytes(), provider: Arc::clone(&provider) };
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_sni = false;
    if key_log {
        config.key_log = Arc::new(KeyLogFile::new());
    }
    Ok(QuicClientConfig::try_from(config).expect("the provider has the cipher suite that QUIC starts with"))
}

/// Whether a QUIC error code carries a TLS alert (RFC 9001, section 4.8). When we dial, it says that the pinned key is not there.
pub(crate) fn is_alert(code: TransportErrorCode) -> bool {
    (0x100..=0x1ff).contains(&u64::from(code))
}

/// ring with AES-128 first, because voice packets are small and the key schedule counts; X25519 before P-256.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    use rustls::crypto::ring::{cipher_suite, default_provider, kx_group};
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
        ],
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1],
        ..default_provider()
    })
}

fn certificate(key: &SigningKey, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let mut pkcs8 = PKCS8_PREFIX.to_vec();
    pkcs8.extend_from_slice(key.as_bytes());
    let pkcs8 = PrivatePkcs8KeyDer::from(pkcs8);
    let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &rcgen::PKCS_ED25519)?;
    let certificate = rcgen::CertificateParams::new(vec![NAME.to_owned()])?.self_signed(&pair)?;
    let signer = provider.key_provider.load_private_key(pkcs8.into())?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], signer))
}

/// Chooses the certificate by the protocol that the client asks for.
#[derive(Debug)]
struct Certificates {
    /// For `ahoy/1`: the roster key.
    native: Arc<CertifiedKey>,
    /// For `h3`.
    web: Option<WebCertificate>,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if hello.alpn()?.any(|protocol| protocol == ALPN) {
            return Some(Arc::clone(&self.native));
        }
        let asks = hello.alpn()?.any(|protocol| protocol == h3::ALPN);
        self.web.as_ref().filter(|_| asks)?.get()
    }
}

/// Accepts one public key, whatever certificate it comes in.
#[derive(Debug)]
struct Pinned {
    key: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let spki = certificate.subject_public_key_info();
        if spki.strip_prefix(&SPKI_PREFIX) != Some(&self.key) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
