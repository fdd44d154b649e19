//! `ahoyd invite`: a code that lets one person sign up. Works beside a running daemon.

use ahoy_authority::{Admission, Authority, Keys, RateLimits, wall_clock};
use ahoy_store::Store;
use anyhow::{Context as _, bail};

use crate::config::Config;
use crate::{daemon, folder};

pub(crate) fn run(config: &Config) -> anyhow::Result<()> {
    let database = folder::database(&config.data);
    if !database.exists() {
        bail!("there is no network in {} yet: start `ahoyd serve` once", config.data.display());
    }
    let keys = Keys::load_or_create(&folder::keys(&config.data), wall_clock())?;
    let store = Store::open(&database).with_context(|| database.display().to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let token = runtime.block_on(async {
        let authority_config = daemon::authority_config(config, &keys, RateLimits::default());
        let authority = Authority::new(store, keys, authority_config).await?;
        authority.make_invite(Admission::Invited).await
    })?;
    println!("{token}");
    Ok(())
}
