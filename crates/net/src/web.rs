//! What a supernode shows to browsers: a certificate of the web, since they can pin no roster key.

use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};

use crate::{
    Origins,
    tls::{self, TlsError},
};

/// The way in for browsers, by WebTransport.
#[derive(Debug, Clone, Default)]
pub struct Web {
    /// What proves the supernode.
    pub certificate: WebCertificate,
    /// Whose pages may open links.
    pub origins: Origins,
}

/// The certificate in force. Clones share it; without one, browsers are refused.
#[derive(Clone, Default)]
pub struct WebCertificate(Arc<RwLock<Option<Arc<CertifiedKey>>>>);

impl std::fmt::Debug for WebCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("WebCertificate").field(&self.get().is_some()).finish()
    }
}

impl WebCertificate {
    /// Puts a chain, PEM, and its key into force.
    ///
    /// # Errors
    /// When they can't be read or used; what was in force stays.
    pub fn read(&self, chain: &Path, key: &Path) -> Result<(), TlsError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(chain)?.collect();
        self.set(chain?, PrivateKeyDer::from_pem_file(key)?)
    }

    /// Puts a certificate of our own into force.
    ///
    /// # Errors
    /// When it can't be used.
    pub fn set_own(&self, own: &SelfSigned) -> Result<(), TlsError> {
        let key = PrivatePkcs8KeyDer::from(own.key.clone());
        self.set(vec![own.certificate.clone().into()], key.into())
    }

    fn set(&self, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<(), TlsError> {
        let certified = CertifiedKey::from_der(chain, key, &tls::provider())?;
        // Whoever panicked before has left a whole certificate.
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(certified));
        Ok(())
    }

    pub(crate) fn get(&self) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A certificate that nobody else vouches for, and its key: for a network on one machine. Browsers take it by its hash, if it is ECDSA on
/// P-256 and valid for at most 14 days.
pub struct SelfSigned {
    /// DER.
    pub certificate: Vec<u8>,
    /// PKCS #8, DER.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for SelfSigned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SelfSigned").finish_non_exhaustive()
    }
}

impl SelfSigned {
    /// For these names and addresses, from `from` on.
    ///
    /// # Errors
    /// When one of the names is none.
    pub fn new(names: Vec<String>, from: SystemTime, lasts: Duration) -> Result<Self, TlsError> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Ahoy on this machine");
        params.not_before = from.into();
        params.not_after = (from + lasts).into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?;
        Ok(Self { certificate: certificate.der().to_vec(), key: key.serialize_der() })
    }
}
