//! The TCP side of the port, put together: the authority's API and the browser client where this process has an authority, links by
//! WebSocket where it has a supernode; and what proves both sides of the port to browsers.

use std::net::TcpListener;
use std::time::SystemTime;

use ahoy_authority::Authority;
use ahoy_net::{Origins, Web, WebCertificate};
use ahoy_supernode::SocketAcceptor;
use axum::Router;
use axum::middleware::from_fn;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::own_url;
use crate::certificate::{Hashes, OwnCertificates};
use crate::config::{Config, Role};
use crate::folder::DataFolder;
use crate::http::{self, Certificate, Front};
use crate::session::Sessions;
use crate::web::Pages;

/// Bound, and not yet open.
pub(super) struct Port {
    certificate: Option<Certificate>,
    listeners: Vec<TcpListener>,
    web: Option<WebCertificate>,
    origins: Origins,
}

impl Port {
    /// Reads the certificate, or makes one where none is needed, follows it, and binds the port. What browsers are to take by its hash goes
    /// to `hashes`.
    ///
    /// # Errors
    /// When certificate or port can't be had.
    pub(super) async fn bind(
        config: &Config,
        folder: &DataFolder,
        hashes: watch::Sender<Hashes>,
        tasks: &mut JoinSet<()>,
    ) -> anyhow::Result<Self> {
        let web = WebCertificate::default();
        let certificate = web_certificate(config, &web, tasks).await?;
        // A supernode alone has nobody who would publish its hashes.
        let has_own = certificate.is_none() && config.is(Role::Authority) && config.is(Role::Supernode);
        if has_own {
            let own = OwnCertificates::load_or_create(&folder.keys(), names(config), SystemTime::now().into())?;
            tasks.spawn(own.serve(web.clone(), hashes)?);
        }
        let web = Some(web).filter(|_| has_own || certificate.is_some());
        Ok(Self { certificate, listeners: http::bind(&config.api_addresses())?, web, origins: origins(config) })
    }

    /// The way in for browsers by WebTransport, if there is one.
    pub(super) fn web(&self) -> Option<Web> {
        let certificate = self.web.clone()?;
        Some(Web { certificate, origins: self.origins.clone() })
    }

    /// Opens it. `None` where there is no listener: a supernode alone that has no certificate, and others to serve than this machine.
    ///
    /// # Errors
    /// When a listener can't be made asynchronous.
    pub(super) fn open(
        self,
        authority: Option<&Authority>,
        sockets: Option<SocketAcceptor>,
    ) -> anyhow::Result<Option<Front>> {
        if self.listeners.is_empty() {
            return Ok(None);
        }
        let mut port = authority.map_or_else(Router::new, Authority::router);
        if let Some(sockets) = sockets {
            port = port.merge(Sessions { sockets, origins: self.origins }.router());
        }
        if let Some(authority) = authority {
            let pages = Pages { roster: authority.roster(), tls: self.certificate.is_some() };
            port = port.layer(from_fn(move |request, next| pages.clone().serve(request, next)));
        }
        Ok(Some(http::serve(self.listeners, &port, self.certificate.as_ref())?))
    }
}

/// Where the network's pages come from, besides the supernode's own port.
fn origins(config: &Config) -> Origins {
    let network = match &config.authority {
        Some(authority) => authority.clone(),
        None => own_url(config),
    };
    Origins::new([network])
}

/// By what this machine is called where nobody else calls it.
fn names(config: &Config) -> Vec<String> {
    let mut names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let name = config.network_name().to_owned();
    if !name.is_empty() && !names.contains(&name) {
        names.push(name);
    }
    names
}

async fn web_certificate(
    config: &Config,
    web: &WebCertificate,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<Option<Certificate>> {
    let Some((certificate, key)) = config.certificate_files() else { return Ok(None) };
    let read = Certificate::read(certificate, key, web.clone()).await?;
    let (following, certificate, key) = (read.clone(), certificate.to_owned(), key.to_owned());
    tasks.spawn(async move { following.follow(&certificate, &key).await });
    Ok(Some(read))
}
