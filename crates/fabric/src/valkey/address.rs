//! Where Valkey is, and the way to the one node of it that has the leases.

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, PushInfo,
    RedisConnectionInfo, aio::MultiplexedConnection,
};
use tokio::sync::Notify;

use super::Failure;
use crate::ANSWER_MAX;

/// Sentinels or nodes of a cluster that an address may name. Any one of them that lives is enough.
const NODES_MAX: usize = 16;

/// Where Valkey is. Read from one of
///
/// - `redis://HOST:PORT`, or `unix:///PATH`: one server;
/// - `redis-sentinel://HOST:PORT,HOST:PORT/NAME`: the primary that these sentinels call NAME;
/// - `redis-cluster://HOST:PORT,HOST:PORT`: a cluster that these nodes belong to.
///
/// `USER:PASSWORD@` may stand before the hosts, percent-encoded; sentinels are asked without it.
///
/// With `rediss` in the place of `redis` everything is encrypted, and all of them have to prove the names or addresses that they are
/// reached by with certificates that the system trusts. It takes the process's `rustls` provider, which has to be installed. Without,
/// nothing is encrypted: that is meant for a private network or a socket of the same machine.
#[derive(Clone)]
pub struct ValkeyConfig {
    nodes: Vec<ConnectionInfo>,
    topology: Topology,
}

#[derive(Debug, Clone)]
enum Topology {
    Single,
    Sentinel { service: String, primary: RedisConnectionInfo },
    Cluster,
}

/// Why text is no address of Valkey. Does not repeat the text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAddress {
    /// No or another scheme.
    #[error(
        "write redis://, redis-sentinel:// or redis-cluster:// with host:port (rediss for redis to encrypt), or unix:// with a path"
    )]
    Scheme,
    /// TLS with whoever answers.
    #[error("a server's certificate is always verified: leave out #insecure")]
    Insecure,
    /// No primary's name.
    #[error(
        "after the sentinels' addresses comes a slash and the primary's name, such as redis-sentinel://host:26379/ahoy"
    )]
    Service,
    /// A path where none can be.
    #[error("a cluster has no databases: nothing comes after the addresses")]
    Path,
    /// None, too many, or one without a port.
    #[error("1 to {NODES_MAX} addresses, each with its port, separated by commas")]
    Nodes,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl FromStr for ValkeyConfig {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidAddress::Scheme)?;
        match scheme.split_once('-').unwrap_or((scheme, "")) {
            ("redis" | "rediss" | "valkey" | "valkeys" | "unix", "") => {
                Ok(Self { nodes: vec![node(text)?], topology: Topology::Single })
            }
            (way @ ("redis" | "rediss"), "sentinel") => {
                let (hosts, service) = rest.rsplit_once('/').ok_or(InvalidAddress::Service)?;
                if service.is_empty() {
                    return Err(InvalidAddress::Service);
                }
                let (secret, hosts) = split_secret(hosts);
                let primary = settings(&node(&format!("redis://{secret}localhost"))?);
                let topology = Topology::Sentinel { service: service.to_owned(), primary };
                Ok(Self { nodes: nodes(way, "", hosts)?, topology })
            }
            (way @ ("redis" | "rediss"), "cluster") => {
                let (secret, hosts) = split_secret(rest);
                if hosts.contains('/') {
                    return Err(InvalidAddress::Path);
                }
                Ok(Self { nodes: nodes(way, secret, hosts)?, topology: Topology::Cluster })
            }
            _ => Err(InvalidAddress::Scheme),
        }
    }
}

/// What stands up to the last @, with it.
fn split_secret(text: &str) -> (&str, &str) {
    text.split_at(text.rfind('@').map_or(0, |at| at + 1))
}

fn nodes(way: &str, secret: &str, hosts: &str) -> Result<Vec<ConnectionInfo>, InvalidAddress> {
    let has_port = |host: &&str| host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let hosts: Vec<&str> = hosts.split(',').collect();
    if hosts.len() > NODES_MAX || !hosts.iter().all(has_port) {
        return Err(InvalidAddress::Nodes);
    }
    hosts.iter().map(|host| node(&format!("{way}://{secret}{host}"))).collect()
}

fn node(text: &str) -> Result<ConnectionInfo, InvalidAddress> {
    let node = text.into_connection_info().map_err(|error| InvalidAddress::Other(error.to_string()))?;
    if matches!(node.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
        return Err(InvalidAddress::Insecure);
    }
    let settings = settings(&node);
    Ok(node.set_redis_settings(settings))
}

/// Of a connection that hears of messages beside the answers.
fn settings(node: &ConnectionInfo) -> RedisConnectionInfo {
    node.redis_settings().clone().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name()
}

impl fmt::Debug for ValkeyConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<String> = self.nodes.iter().map(|node| node.addr().to_string()).collect();
        f.debug_struct("ValkeyConfig").field("nodes", &addresses).finish_non_exhaustive()
    }
}

impl ValkeyConfig {
    /// Whether anything of it crosses a network unencrypted: to a host that is not this machine, without `rediss`. Sentinels and
    /// clusters count even here, for where they lead to is theirs to say.
    pub fn is_in_the_clear(&self) -> bool {
        let stays = |host: &str| matches!(self.topology, Topology::Single) && is_loopback(host);
        self.nodes.iter().any(|node| matches!(node.addr(), ConnectionAddr::Tcp(host, _) if !stays(host)))
    }

    /// A connection to the node that has this key. `turn` says which of the configured nodes is asked for the way; it goes up from
    /// attempt to attempt. `changed` is notified by every message that the connection brings.
    pub(crate) async fn connect(
        &self,
        turn: usize,
        key: String,
        changed: Arc<Notify>,
    ) -> Result<MultiplexedConnection, Failure> {
        let asked = &self.nodes[turn % self.nodes.len()];
        match &self.topology {
            Topology::Single => open(asked, changed).await,
            Topology::Sentinel { service, primary } => {
                let mut sentinel = open(asked, Arc::default()).await?;
                let mut command = redis::cmd("SENTINEL");
                command.arg("GET-MASTER-ADDR-BY-NAME").arg(service);
                let found: Option<(String, u16)> = command.query_async(&mut sentinel).await?;
                let (host, port) = found.ok_or_else(|| Failure::NoPrimary(service.clone()))?;
                let address = as_asked(asked.addr(), host, port);
                let node = asked.clone().set_addr(address).set_redis_settings(primary.clone());
                open(&node, changed).await
            }
            Topology::Cluster => {
                let mut node = open(asked, Arc::clone(&changed)).await?;
                let held: Result<(), _> = redis::cmd("EXISTS").arg(key).query_async(&mut node).await;
                let Err(error) = held else { return Ok(node) };
                match error.redirect_node().and_then(|(address, _slot)| moved(asked.addr(), address)) {
                    Some(address) => open(&asked.clone().set_addr(address), changed).await,
                    None => Err(error.into()),
                }
            }
        }
    }
}

/// Where a cluster says that a key is. Without a host, it is that of whoever said so.
fn moved(asked: &ConnectionAddr, address: &str) -> Option<ConnectionAddr> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match (host, asked) {
        ("", ConnectionAddr::Tcp(asked, _) | ConnectionAddr::TcpTls { host: asked, .. }) => asked,
        (host, _) => host,
    };
    Some(as_asked(asked, host.to_owned(), port.parse().ok()?))
}

/// Another server, encrypted if the one is that was asked for it.
fn as_asked(asked: &ConnectionAddr, host: String, port: u16) -> ConnectionAddr {
    match asked {
        ConnectionAddr::TcpTls { .. } => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        _ => ConnectionAddr::Tcp(host, port),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

async fn open(node: &ConnectionInfo, changed: Arc<Notify>) -> Result<MultiplexedConnection, Failure> {
    let heard = move |_: PushInfo| {
        changed.notify_one();
        Ok::<_, std::convert::Infallible>(())
    };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER_MAX))
        .set_response_timeout(Some(ANSWER_MAX))
        .set_push_sender(heard);
    Ok(Client::open(node.clone())?.get_multiplexed_async_connection_with_config(&config).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<String> {
        text.parse::<ValkeyConfig>().unwrap().nodes.iter().map(|node| node.addr().to_string()).collect()
    }

    #[test]
    fn each_kind_of_address_is_understood() {
        assert_eq!(addresses("redis://valkey.internal"), ["valkey.internal:6379"]);
        assert_eq!(addresses("unix:///run/valkey.sock"), ["/run/valkey.sock"]);
        assert_eq!(addresses("redis-cluster://a:1,b:2,[::1]:3"), ["a:1", "b:2", "::1:3"]);
        let sentinel: ValkeyConfig = "redis-sentinel://ahoy:p%40ss@a:1,b:2/main".parse().unwrap();
        let Topology::Sentinel { service, primary } = &sentinel.topology else { panic!("{sentinel:?}") };
        assert_eq!((service.as_str(), primary.username(), primary.password()), ("main", Some("ahoy"), Some("p@ss")));
        assert!(sentinel.nodes.iter().all(|node| node.redis_settings().password().is_none()));
    }

    #[test]
    fn what_is_asked_for_encrypted_is_so_at_every_node_and_wherever_those_lead() {
        for text in ["rediss://a:1", "valkeys://a:1", "rediss-sentinel://a:1,b:2/main", "rediss-cluster://a:1,b:2"] {
            for node in text.parse::<ValkeyConfig>().unwrap().nodes {
                let leads =
                    [node.addr().clone(), moved(node.addr(), ":3").unwrap(), moved(node.addr(), "c:3").unwrap()];
                assert!(leads.iter().all(|to| matches!(to, ConnectionAddr::TcpTls { insecure: false, .. })), "{text}");
            }
        }
    }

    #[test]
    fn what_others_on_the_way_can_read_is_known() {
        let is_in_the_clear = |text: &str| text.parse::<ValkeyConfig>().unwrap().is_in_the_clear();
        for text in ["redis://valkey.internal", "redis-sentinel://[::1]:1/main", "redis-cluster://10.0.0.1:1"] {
            assert!(is_in_the_clear(text), "{text}");
        }
        for text in
            ["rediss://valkey.internal", "rediss-cluster://10.0.0.1:1", "redis://[::1]", "unix:///run/valkey.sock"]
        {
            assert!(!is_in_the_clear(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        let refused = |text: &str| text.parse::<ValkeyConfig>().unwrap_err();
        assert_eq!(refused("valkey.internal:6379"), InvalidAddress::Scheme);
        assert_eq!(refused("http://valkey.internal"), InvalidAddress::Scheme);
        assert_eq!(refused("rediss://valkey.internal/#insecure"), InvalidAddress::Insecure);
        assert_eq!(refused("unix-cluster://a:1"), InvalidAddress::Scheme);
        assert_eq!(refused("redis-sentinel://a:1"), InvalidAddress::Service);
        assert_eq!(refused("redis-sentinel://a:1/"), InvalidAddress::Service);
        assert_eq!(refused("redis-sentinel://a/main"), InvalidAddress::Nodes);
        assert_eq!(refused("redis-cluster://a:1,,b:1"), InvalidAddress::Nodes);
        assert_eq!(refused("redis-cluster://a:1/0"), InvalidAddress::Path);
        assert_eq!(refused(&format!("redis-cluster://{}a:1", "a:1,".repeat(NODES_MAX))), InvalidAddress::Nodes);
        assert!(matches!(refused("redis://valkey.internal/main"), InvalidAddress::Other(_)));
    }

    #[test]
    fn no_password_is_shown() {
        for text in ["redis://u:sesame@h:1", "redis-cluster://u:sesame@h:1", "redis-sentinel://u:sesame@h:1/main"] {
            assert!(!format!("{:?}", text.parse::<ValkeyConfig>().unwrap()).contains("sesame"), "{text}");
        }
        for text in
            ["redis://u:sesame@h:1/x", "redis://u:sesame@", "redis-cluster://u:sesame@h", "redis://u:sesame%@:1"]
        {
            let refused = text.parse::<ValkeyConfig>().unwrap_err();
            assert!(!format!("{refused:?} {refused}").contains("sesame"), "{text}: {refused}");
        }
    }

    #[test]
    fn a_cluster_that_names_no_host_means_the_one_that_was_asked() {
        let asked = ConnectionAddr::Tcp("a".to_owned(), 1);
        assert_eq!(moved(&asked, ":7001"), Some(ConnectionAddr::Tcp("a".to_owned(), 7001)));
        assert_eq!(moved(&asked, "fd00::1:7001"), Some(ConnectionAddr::Tcp("fd00::1".to_owned(), 7001)));
        assert_eq!(moved(&asked, "b"), None);
    }
}
