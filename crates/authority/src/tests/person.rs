//! A person with a device: the client's half of everything.

use ahoy_proto::api::{
    AccountOpened, AccountStarted, AddDevice, Base64Url, DeleteAccount, DeviceRequest, DeviceVerb, FinishAccount,
    FinishPassword, FinishSignIn, NewDevice, PasswordStarted, Recover, Recovery, RenameDevice, RevokeDevice,
    SignInStarted, StartAccount, StartPassword, StartSignIn, device_request_input,
};
use ahoy_proto::document::{self, Credential, Jwk};
use ahoy_proto::opaque::Suite;
use ahoy_proto::sealing::{RecoveryCode, SealingKey, open_account_key, seal_account_key};
use ahoy_proto::{AccountId, DeviceId, binding, request_key};
use argon2::Argon2;
use ed25519_dalek::{Signer, SigningKey};
use opaque_ke::{
    ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialResponse, Identifiers, RegistrationResponse,
};
use prost::Message;

use super::*;
use crate::opaque::Rng;

/// Somebody who has an account and a device of it.
pub(super) struct Person {
    pub(super) account: AccountId,
    pub(super) device: DeviceId,
    pub(super) device_key: SigningKey,
    pub(super) account_key: SigningKey,
    pub(super) code: RecoveryCode,
    pub(super) credential: String,
}

/// A sign-up on the point of being finished.
pub(super) fn registration(world: &World, started: &AccountStarted, client: Registration) -> (FinishAccount, Person) {
    let (upload, sealing_key) = client.finish(&started.registration_response);
    let account = started.account;
    let account_key = SigningKey::from_bytes(&rand::random());
    let code = RecoveryCode::new(rand::random());
    let (device_key, device) = (SigningKey::from_bytes(&rand::random()), DeviceId(rand::random()));
    let finish = FinishAccount {
        state: started.state.clone(),
        registration_upload: upload,
        account_key: Jwk::ed25519(*account_key.verifying_key().as_bytes()),
        request_key: Base64Url(request_key::publish(account, &account_key).to_vec()),
        sealed_account_key: sealed(&account_key, account, &sealing_key),
        recovery: recovery(&account_key, account, &code),
        device: new_device(world, account, device, &device_key, &account_key),
    };
    (finish, Person { account, device, device_key, account_key, code, credential: String::new() })
}

pub(super) fn new_device(
    world: &World,
    account: AccountId,
    device: DeviceId,
    device_key: &SigningKey,
    account_key: &SigningKey,
) -> NewDevice {
    let binding = binding::make(account, device, &device_key.verifying_key(), account_key, world.now());
    NewDevice { device, name: "telephone".to_owned(), binding: Base64Url(binding.encode_to_vec()) }
}

/// A request for another device of an account that lies open.
pub(super) fn add_device(opened: &AccountOpened, device: NewDevice, account_key: &SigningKey) -> AddDevice {
    let request_key = Base64Url(request_key::publish(opened.account, account_key).to_vec());
    AddDevice { ticket: opened.ticket.clone(), request_key, device }
}

fn sealed(account_key: &SigningKey, account: AccountId, key: &SealingKey) -> Base64Url {
    Base64Url(seal_account_key(account_key, account, key, rand::random()))
}

pub(super) fn recovery(account_key: &SigningKey, account: AccountId, code: &RecoveryCode) -> Recovery {
    Recovery {
        verifier: Base64Url(code.secret().verifier().to_vec()),
        sealed_account_key: sealed(account_key, account, &code.sealing_key()),
    }
}

/// Far less than what ships, which runs on the client: the authority can't tell, and the tests are quick.
fn key_stretching() -> Argon2<'static> {
    let params = argon2::Params::new(8, 1, 1, None).unwrap();
    Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
}

/// The client's half of a registration.
pub(super) struct Registration {
    password: String,
    state: ClientRegistration<Suite>,
}

impl Registration {
    pub(super) fn start(password: &str) -> (Self, Base64Url) {
        let started = ClientRegistration::<Suite>::start(&mut Rng, password.as_bytes()).unwrap();
        let request = Base64Url(started.message.serialize().to_vec());
        (Self { password: password.to_owned(), state: started.state }, request)
    }

    fn finish(self, response: &Base64Url) -> (Base64Url, SealingKey) {
        let response = RegistrationResponse::deserialize(&response.0).unwrap();
        let stretching = key_stretching();
        let parameters = ClientRegistrationFinishParameters::new(Identifiers::default(), Some(&stretching));
        let finished = self.state.finish(&mut Rng, self.password.as_bytes(), response, parameters).unwrap();
        let upload = Base64Url(finished.message.serialize().to_vec());
        (upload, SealingKey::of_export_key(&finished.export_key))
    }
}

/// The client's half of a sign-in.
pub(super) struct Login {
    password: String,
    state: ClientLogin<Suite>,
}

impl Login {
    pub(super) fn start(password: &str) -> (Self, Base64Url) {
        let started = ClientLogin::<Suite>::start(&mut Rng, password.as_bytes()).unwrap();
        let request = Base64Url(started.message.serialize().to_vec());
        (Self { password: password.to_owned(), state: started.state }, request)
    }

    /// `None`: the password is wrong, or nobody has this name.
    pub(super) fn finish(self, response: &Base64Url) -> Option<(Base64Url, SealingKey)> {
        let response = CredentialResponse::deserialize(&response.0).unwrap();
        let stretching = key_stretching();
        let parameters = ClientLoginFinishParameters::new(None, Identifiers::default(), Some(&stretching));
        let finished = self.state.finish(&mut Rng, self.password.as_bytes(), response, parameters).ok()?;
        Some((Base64Url(finished.message.serialize().to_vec()), SealingKey::of_export_key(&finished.export_key)))
    }
}

impl World {
    pub(super) fn start_sign_up(&self, name: &str, invite: Option<&str>, request: &Base64Url) -> Said {
        let request = StartAccount {
            name: name.to_owned(),
            registration_request: request.clone(),
            invite: invite.map(str::to_owned),
        };
        self.post("/v1/accounts/start", &request)
    }

    pub(super) fn try_sign_up(&self, name: &str, password: &str, invite: Option<&str>) -> Result<Person, Said> {
        let (client, request) = Registration::start(password);
        let started = ok(self.start_sign_up(name, invite, &request))?;
        let (finish, person) = registration(self, &serde_json::from_value(started).unwrap(), client);
        let issued = ok(self.post("/v1/accounts/finish", &finish))?;
        Ok(Person { credential: issued["credential"].as_str().unwrap().to_owned(), ..person })
    }

    pub(super) fn sign_up(&self, name: &str, password: &str) -> Person {
        self.try_sign_up(name, password, None).unwrap()
    }

    pub(super) fn start_sign_in(&self, name: &str, request: &Base64Url) -> Said {
        self.post("/v1/sign-in/start", &StartSignIn { name: name.to_owned(), credential_request: request.clone() })
    }

    /// The account, and its key as it opens; the client's own finding that the password is wrong is an empty `Said`.
    pub(super) fn sign_in(&self, name: &str, password: &str) -> Result<(AccountOpened, SigningKey), Said> {
        let (client, request) = Login::start(password);
        let started: SignInStarted = serde_json::from_value(ok(self.start_sign_in(name, &request))?).unwrap();
        let wrong = || Said { status: 0, body: String::new() };
        let (credential_finalization, key) = client.finish(&started.credential_response).ok_or_else(wrong)?;
        let finish = FinishSignIn { state: started.state, credential_finalization };
        let opened: AccountOpened = serde_json::from_value(ok(self.post("/v1/sign-in/finish", &finish))?).unwrap();
        let account_key = open_account_key(&opened.sealed_account_key.0, opened.account, &key).unwrap();
        Ok((opened, account_key))
    }

    pub(super) fn recover(&self, name: &str, code: &RecoveryCode) -> Result<(AccountOpened, SigningKey), Said> {
        let recovery_secret = Base64Url(code.secret().as_bytes().to_vec());
        let recover = Recover { name: name.to_owned(), recovery_secret };
        let opened: AccountOpened = serde_json::from_value(ok(self.post("/v1/recovery", &recover))?).unwrap();
        let sealed = &opened.sealed_account_key.0;
        let account_key = open_account_key(sealed, opened.account, &code.sealing_key()).unwrap();
        Ok((opened, account_key))
    }

    pub(super) fn change_password(
        &self,
        (opened, account_key): &(AccountOpened, SigningKey),
        password: &str,
        code: Option<&RecoveryCode>,
    ) -> Said {
        let (client, registration_request) = Registration::start(password);
        let start = StartPassword { ticket: opened.ticket.clone(), registration_request };
        let started = match ok(self.post("/v1/password/start", &start)) {
            Ok(started) => serde_json::from_value::<PasswordStarted>(started).unwrap(),
            Err(refused) => return refused,
        };
        let (registration_upload, sealing_key) = client.finish(&started.registration_response);
        let finish = FinishPassword {
            ticket: opened.ticket.clone(),
            registration_upload,
            sealed_account_key: sealed(account_key, opened.account, &sealing_key),
            recovery: code.map(|code| recovery(account_key, opened.account, code)),
        };
        self.post("/v1/password/finish", &finish)
    }

    pub(super) fn add_device(&self, (opened, account_key): &(AccountOpened, SigningKey), device: DeviceId) -> Said {
        let device = new_device(self, opened.account, device, &key_of(device), account_key);
        self.post("/v1/devices", &add_device(opened, device, account_key))
    }

    /// Another device of a person.
    pub(super) fn second_device(&self, person: &Person, opened: &(AccountOpened, SigningKey)) -> Person {
        let device = DeviceId(rand::random());
        let issued = ok(self.add_device(opened, device)).unwrap();
        Person {
            device,
            device_key: key_of(device),
            account: person.account,
            account_key: person.account_key.clone(),
            code: RecoveryCode::new([0; 20]),
            credential: issued["credential"].as_str().unwrap().to_owned(),
        }
    }

    pub(super) fn delete(&self, opened: &AccountOpened) -> Said {
        self.post("/v1/accounts/delete", &DeleteAccount { ticket: opened.ticket.clone() })
    }

    /// What a device asks with its key, on the path that is for it.
    pub(super) fn ask(&self, person: &Person, verb: DeviceVerb<'_>) -> Said {
        let by = self.device_request(person, verb);
        match verb {
            DeviceVerb::Renew => self.post("/v1/credentials/renew", &by),
            DeviceVerb::Revoke => self.post("/v1/credentials/revoke", &by),
            DeviceVerb::RevokeDevice { target } => self.post("/v1/devices/revoke", &RevokeDevice { by, target }),
            DeviceVerb::RenameDevice { target, name } => {
                self.post("/v1/devices/rename", &RenameDevice { by, target, name: name.to_owned() })
            }
        }
    }

    pub(super) fn device_request(&self, person: &Person, verb: DeviceVerb<'_>) -> DeviceRequest {
        let network = self.authority.0.keys.network();
        let input = device_request_input(verb, network, person.device, self.now());
        let signature = Base64Url(person.device_key.sign(&input).to_bytes().to_vec());
        DeviceRequest { credential: person.credential.clone(), time: self.now(), signature }
    }

    /// A credential that supernodes would accept at this moment.
    pub(super) fn credential(&self, token: &str) -> Credential {
        let keys = &self.authority.0.keys;
        document::verify(token, &keys.signing_keys(), keys.network(), self.now()).unwrap()
    }
}

/// A key for each device, so that a request can be repeated.
fn key_of(device: DeviceId) -> SigningKey {
    SigningKey::from_bytes(&device.0.repeat(2).try_into().unwrap())
}

/// The body of a success, or the whole response.
pub(super) fn ok(said: Said) -> Result<Value, Said> {
    if said.status == 200 { Ok(said.json()) } else { Err(said) }
}
