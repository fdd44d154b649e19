//! Everything started in the right order, and ended in the opposite one.
use crate::{config::Config, dev::Banner};
pub(crate) fn run(config: &Config, banner: Option<&Banner>) -> anyhow::Result<()> {
    let _ = (config, banner.map(Banner::print));
    Ok(())
}
