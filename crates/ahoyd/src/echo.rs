//! The echo account: an ordinary client in our own process that answers with the caller's own voice, as many at once as an account
//! may be in calls.
//!
//! It has no privilege but its reserved name. Its password is random and lies beside its profile, so that it can sign in again
//! after the profile is lost. It never delays anything else.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use ahoy_authority::{Admission, Authority, wall_clock};
use ahoy_client::account::{self, AccountError, NetworkUrl, contact};
use ahoy_client::driver::{Client, ClientError, ClientOptions, Event, Events};
use ahoy_client::profile::{Identity, Profile};
use ahoy_client::voice::Speaker;
use ahoy_proto::api::ApiErrorCode;
use ahoy_proto::{Name, limits, v1};
use anyhow::{Context as _, bail};

use crate::config::Config;
use crate::folder::{self, DataFolder};

/// Pause after a failure. The client reconnects by itself; what gets here is rare and lasts.
const PAUSE: Duration = Duration::from_secs(10);

/// What this device is called.
const DEVICE_NAME: &str = "ahoyd";

/// The account and where its things lie.
#[derive(Debug, Clone)]
pub(crate) struct Echo {
    name: Name,
    url: String,
    profile: PathBuf,
    password: PathBuf,
    authority: Authority,
}

impl Echo {
    /// The echo account of this configuration, if there is to be one. `url` is where the authority is found.
    pub(crate) fn of(config: &Config, url: String, folder: &DataFolder, authority: &Authority) -> Option<Self> {
        let name = Name::parse(&config.echo).ok()?;
        let home = folder.echo();
        let (profile, password) = (home.join("profile"), home.join("password"));
        Some(Self { name, url, profile, password, authority: authority.clone() })
    }

    /// Answers calls for ever. `settled` is called once: when the account can be called, or can't for now.
    pub(crate) async fn run(self, settled: impl FnOnce() + Send) {
        let mut settled = Some(settled);
        loop {
            let result = self.answer(&mut || settled.take().map_or((), |settled| settled())).await;
            if let Err(error) = result {
                tracing::error!(error = format!("{error:#}"), "the echo account can't be called; trying again");
            }
            if let Some(settled) = settled.take() {
                settled();
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Signs in and answers until the client stops.
    async fn answer(&self, ready: &mut (dyn FnMut() + Send)) -> anyhow::Result<()> {
        let invite = self.authority.make_invite(Admission::Operator).await?;
        let this = self.clone();
        let profile = tokio::task::spawn_blocking(move || this.signed_in(&invite)).await??;
        let calls_max = NonZeroUsize::new(limits::CALLS_PER_ACCOUNT_MAX).unwrap_or(NonZeroUsize::MIN);
        let options = ClientOptions { calls_max, ..ClientOptions::default() };
        match Client::start(profile, options).await {
            Ok((client, events)) => answer_all(&client, events, ready).await,
            Err(error) if is_signed_out(&error) => {
                Profile::open(&self.profile)?.forget()?;
                Err(error).context("signed out; signing in anew")
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The profile with an identity in it, and what it knows of the network up to date. Blocks.
    fn signed_in(&self, invite: &str) -> anyhow::Result<Profile> {
        let url: NetworkUrl = self.url.parse()?;
        folder::make(self.password.parent().context("the password lies in a folder")?)?;
        let profile = Profile::open(&self.profile)?;
        let identity = match profile.identity()? {
            // The port may be another than last time.
            Some(mut identity) => {
                identity.network = contact(&url, Some(&identity.network), wall_clock())?.network;
                identity
            }
            None => self.new_identity(&url, invite)?,
        };
        if identity.name != self.name {
            bail!("the profile in {} is {}'s: move it away", self.profile.display(), identity.name);
        }
        profile.keep(&identity)?;
        Ok(profile)
    }

    /// Signs up; or in, if the account is there and only the profile was lost.
    fn new_identity(&self, url: &NetworkUrl, invite: &str) -> anyhow::Result<Identity> {
        let password = self.password()?;
        let network = contact(url, None, wall_clock())?.network;
        let new = account::NewAccount {
            name: &self.name,
            password: password.as_str().into(),
            invite: Some(invite),
            device_name: DEVICE_NAME,
        };
        match account::sign_up(&network, new, wall_clock()) {
            Ok(signed_up) => Ok(signed_up.identity),
            Err(AccountError::Refused(error)) if error.code == ApiErrorCode::NameTaken => {
                let lost = || format!("the name is taken, and {} is not its password", self.password.display());
                account::sign_in(&network, &self.name, &password, DEVICE_NAME, wall_clock()).with_context(lost)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Kept before it is used, so that no account is ever without it.
    fn password(&self) -> anyhow::Result<String> {
        if let Ok(password) = std::fs::read_to_string(&self.password) {
            return Ok(password);
        }
        let password = rand::random::<[u8; 16]>().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        folder::write_secret(&self.password, password.as_bytes())
            .with_context(|| format!("can't write {}", self.password.display()))?;
        Ok(password)
    }
}

async fn answer_all(client: &Client, mut events: Events, ready: &mut (dyn FnMut() + Send)) -> anyhow::Result<()> {
    while let Some(event) = events.next().await {
        match event {
            Event::Ready => {
                take_calls_of_anyone(client).await;
                ready();
            }
            Event::Incoming { call, .. } => {
                if let Err(error) = client.answer(call, Speaker::Echo).await {
                    tracing::info!(%error, "a call to the echo account ended before it was answered");
                }
            }
            Event::Stopped(error) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Whoever tries the network has no contacts yet.
async fn take_calls_of_anyone(client: &Client) {
    if let Err(error) = client.set_calls_from(v1::CallsFrom::Anyone).await {
        tracing::warn!(%error, "the echo account takes calls of its contacts only");
    }
}

/// Whether the credential is void, or so old that only the password helps.
fn is_signed_out(error: &ClientError) -> bool {
    matches!(error, ClientError::NotSignedIn)
        || matches!(error, ClientError::Account(AccountError::Refused(error)) if error.code == ApiErrorCode::CredentialRefused)
}
