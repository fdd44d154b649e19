//! What `ahoyd dev` presumes, and what it says once it runs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use toml::{Table, Value};

use crate::args::{self, DevArgs};
use crate::config::{self, Config, Layers};

/// A whole network on loopback.
///
/// # Errors
/// When a setting is wrong, or there is no home for the data folder.
pub(crate) fn config(args: &DevArgs) -> anyhow::Result<Config> {
    let data = match &args.data {
        Some(data) => data.clone(),
        None => default_data()?,
    };
    let preset = preset(&data, args.port)?;
    let mut config =
        config::load(Layers { preset, file: None, environment: args::environment(), settings: &args.set })?;
    let listen = config.listen.iter().map(SocketAddr::to_string).collect();
    config.public.get_or_insert(listen);
    config.check()?;
    Ok(config)
}

fn preset(data: &Path, port: u16) -> anyhow::Result<Table> {
    let data = std::path::absolute(data)?;
    let data = data.to_str().context("the data folder's name is not text")?;
    let data = Value::from(data);
    let listen: Vec<String> = loopbacks().into_iter().map(|ip| SocketAddr::new(ip, port).to_string()).collect();
    let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, port.checked_add(1).unwrap_or(port - 1)));
    let preset = format!(
        r#"
        name = "localhost"
        data = {data}
        listen = {listen:?}
        sign_up = "open"
        echo = "echo"
        admin.listen = ["{admin}"]
        log.level = "warn,ahoyd=info"
        "#
    );
    Ok(preset.parse()?)
}

/// Both loopback addresses: programs that are told `localhost` try ::1 first. Some machines have no IPv6.
fn loopbacks() -> Vec<IpAddr> {
    let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    both.into_iter().filter(|&ip| ip.is_ipv4() || TcpListener::bind((ip, 0)).is_ok()).collect()
}

/// By the XDG base directories.
fn default_data() -> anyhow::Result<PathBuf> {
    let absolute = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let share = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
    let share = share.context("neither XDG_DATA_HOME nor HOME is set: name a data folder with --data")?;
    Ok(share.join("ahoyd/dev"))
}

/// What a newcomer is told once everything listens.
#[derive(Debug)]
pub(crate) struct Banner(String);

impl Banner {
    /// For this configuration.
    pub(crate) fn new(config: &Config) -> Self {
        let port = config.listen.first().map_or(8080, SocketAddr::port);
        let listen = config.listen.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" and ");
        let ahoy = ahoy();
        let network = if port == 8080 { String::new() } else { format!(" --network http://localhost:{port}") };
        let admin = config
            .admin
            .listen
            .first()
            .map_or_else(|| "off".to_owned(), |address| format!("http://{address}/metrics, /live and /ready"));
        let first_call = match config.echo.as_str() {
            "" => String::new(),
            echo => format!(
                "  {ahoy}{network} call {echo} --play testdata/speech/it-male.wav --record back.wav --for 13s\n\n\
                 {echo} takes calls from anyone; people ring each other once they are contacts.\n"
            ),
        };
        Self(format!(
            "Ahoy is running: a whole voice network on this machine.

  in a browser        http://localhost:{port}
  clients and voice   {listen}, TCP and UDP
  metrics and health  {admin}
  data                {data}

In another terminal, in this folder:

  {ahoy}{network} sign-up alice
{first_call}
Ctrl-C ends it; accounts stay.
",
            data = config.data.display(),
        ))
    }

    /// Prints it.
    pub(crate) fn print(&self) {
        print!("{}", self.0);
    }
}

/// How to call `ahoy` from here: by name if that works, else the one beside us.
fn ahoy() -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).any(|folder| folder.join("ahoy").is_file());
    let beside = std::env::current_exe().ok().map(|exe| exe.with_file_name("ahoy")).filter(|file| file.is_file());
    let Some(beside) = beside.filter(|_| !installed) else { return "ahoy".to_owned() };
    let here = std::env::current_dir().unwrap_or_default();
    beside.strip_prefix(&here).unwrap_or(&beside).display().to_string()
}
