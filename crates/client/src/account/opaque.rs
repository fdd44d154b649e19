//! The client's half of OPAQUE (RFC 9807): registration and sign-in.

use ahoy_proto::Name;
use ahoy_proto::api::{AccountOpened, ApiErrorCode, Base64Url, FinishSignIn, SignInStarted, StartSignIn};
use ahoy_proto::opaque::Suite;
use ahoy_proto::sealing::SealingKey;
use opaque_ke::errors::ProtocolError;
use opaque_ke::rand::{self, CryptoRng, RngCore};
use opaque_ke::{
    ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialResponse, Identifiers, RegistrationResponse,
};

use super::authority::Authority;
use super::{AccountError, Password};

/// A registration that waits for the authority's answer.
pub(super) struct Registration<'a> {
    password: Password<'a>,
    state: ClientRegistration<Suite>,
}

/// What a registration gives.
pub(super) struct Registered {
    pub(super) upload: Base64Url,
    pub(super) sealing_key: SealingKey,
}

impl<'a> Registration<'a> {
    /// Begins; also gives the RegistrationRequest.
    pub(super) fn start(password: Password<'a>) -> Result<(Self, Base64Url), AccountError> {
        let started =
            ClientRegistration::<Suite>::start(&mut Randomness, password.text().as_bytes()).map_err(nonsense)?;
        let request = started.message.serialize().as_slice().into();
        Ok((Self { password, state: started.state }, request))
    }

    /// Takes the RegistrationResponse. Runs Argon2id: a quarter of a second for a password that a person chose.
    pub(super) fn finish(self, response: &Base64Url) -> Result<Registered, AccountError> {
        let response = RegistrationResponse::deserialize(&response.0).map_err(nonsense)?;
        let stretching = self.password.stretching();
        let parameters = ClientRegistrationFinishParameters::new(Identifiers::default(), Some(&stretching));
        let finished = self
            .state
            .finish(&mut Randomness, self.password.text().as_bytes(), response, parameters)
            .map_err(nonsense)?;
        Ok(Registered {
            upload: finished.message.serialize().as_slice().into(),
            sealing_key: SealingKey::of_export_key(&finished.export_key),
        })
    }
}

/// Both steps of signing in; also gives what the account key is sealed with.
pub(super) fn sign_in(
    authority: &Authority,
    name: &Name,
    password: Password<'_>,
) -> Result<(AccountOpened, SealingKey), AccountError> {
    let started = ClientLogin::<Suite>::start(&mut Randomness, password.text().as_bytes()).map_err(nonsense)?;
    let request = StartSignIn {
        name: name.as_str().to_owned(),
        credential_request: started.message.serialize().as_slice().into(),
    };
    let answer: SignInStarted = authority.post("/v1/sign-in/start", &request)?;
    let response = CredentialResponse::deserialize(&answer.credential_response.0).map_err(nonsense)?;
    let stretching = password.stretching();
    let parameters = ClientLoginFinishParameters::new(None, Identifiers::default(), Some(&stretching));
    let finished =
        started.state.finish(&mut Randomness, password.text().as_bytes(), response, parameters).map_err(|error| {
            match error {
                ProtocolError::InvalidLoginError => AccountError::WrongPassword,
                error => nonsense(error),
            }
        })?;
    let finish =
        FinishSignIn { state: answer.state, credential_finalization: finished.message.serialize().as_slice().into() };
    let opened = authority.post("/v1/sign-in/finish", &finish).map_err(|error| match error {
        AccountError::Refused(refusal) if refusal.code == ApiErrorCode::SignInRefused => AccountError::WrongPassword,
        error => error,
    })?;
    Ok((opened, SealingKey::of_export_key(&finished.export_key)))
}

fn nonsense(_: ProtocolError) -> AccountError {
    AccountError::Nonsense("a step of OPAQUE does not fit")
}

/// The thread's cryptographic generator in the shape that OPAQUE asks for.
struct Randomness;

impl CryptoRng for Randomness {}

impl RngCore for Randomness {
    fn next_u32(&mut self) -> u32 {
        ::rand::random()
    }

    fn next_u64(&mut self) -> u64 {
        ::rand::random()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        ::rand::fill(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}
