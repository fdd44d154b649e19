//! x
pub(crate) fn run(_: &crate::config::Config, _days: u16) -> anyhow::Result<()> {
    Ok(())
}
