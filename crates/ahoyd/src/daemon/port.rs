//! The TCP side of the port, put together: the authority's API and the browser client where this process has an authority, links by
//! WebSocket where it has a supernode.

use std::net::TcpListener;

use ahoy_authority::Authority;
use ahoy_net::Origins;
use ahoy_supernode::Supernode;
use axum::Router;
use axum::middleware::from_fn;
use tokio::task::JoinSet;

use super::own_url;
use crate::config::Config;
use crate::http::{self, Certificate, Front};
use crate::session::Sessions;
use crate::web::Pages;

/// Bound, and not yet open.
pub(super) struct Port {
    certificate: Option<Certificate>,
    listeners: Vec<TcpListener>,
}

impl Port {
    /// Reads the certificate, if there is to be one, follows it, and binds the port.
    ///
    /// # Errors
    /// When certificate or port can't be had.
    pub(super) async fn bind(config: &Config, tasks: &mut JoinSet<()>) -> anyhow::Result<Self> {
        let certificate = web_certificate(config, tasks).await?;
        Ok(Self { certificate, listeners: http::bind(&config.api_addresses())? })
    }

    /// Opens it. `None` where there is no listener: a supernode alone that has no certificate, and others to serve than this machine.
    ///
    /// # Errors
    /// When a listener can't be made asynchronous.
    pub(super) fn open(
        self,
        authority: Option<&Authority>,
        sessions: Option<Sessions>,
    ) -> anyhow::Result<Option<Front>> {
        if self.listeners.is_empty() {
            return Ok(None);
        }
        let mut port = authority.map_or_else(Router::new, Authority::router);
        if let Some(sessions) = sessions {
            port = port.merge(sessions.router());
        }
        if let Some(authority) = authority {
            let pages = Pages { roster: authority.roster(), tls: self.certificate.is_some() };
            port = port.layer(from_fn(move |request, next| pages.clone().serve(request, next)));
        }
        Ok(Some(http::serve(self.listeners, &port, self.certificate.as_ref())?))
    }
}

/// Links for the supernode of this process, from pages of its own port and of the network's.
pub(super) fn sessions(config: &Config, supernode: &Supernode) -> Sessions {
    Sessions { sockets: supernode.sockets(), origins: origins(config) }
}

/// Where the network's pages come from, besides the supernode's own port.
fn origins(config: &Config) -> Origins {
    let network = match &config.authority {
        Some(authority) => authority.clone(),
        None => own_url(config),
    };
    Origins::new([network])
}

async fn web_certificate(config: &Config, tasks: &mut JoinSet<()>) -> anyhow::Result<Option<Certificate>> {
    let Some((certificate, key)) = config.certificate_files() else { return Ok(None) };
    let read = Certificate::read(certificate, key).await?;
    let (following, certificate, key) = (read.clone(), certificate.to_owned(), key.to_owned());
    tasks.spawn(async move { following.follow(&certificate, &key).await });
    Ok(Some(read))
}
