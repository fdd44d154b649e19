//! The TCP side of the port: the authority's HTTP API and links by WebSocket, over TLS unless we are on loopback.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use ahoy_net::WebCertificate;
use anyhow::Context as _;
use axum::middleware::AddExtension;
use axum::{Extension, Router};
use axum_server::Handle;
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tower_layer::Layer;

/// TCP connections at once, those aside that have become links. TLS and HTTP/2 state take some 60 KB each, so 4,096 hold 250 MB at worst; sign-in takes
/// half a second of one, so they serve some thousands of people a second.
const CONNECTIONS_MAX: usize = 4_096;

/// Bytes that the kernel takes before the first of them leave: half a second of voice. By default it takes as much as the network carries in
/// some seconds, and voice on a link would wait behind it.
const UNSENT_MAX: u32 = 4 * 1024;

/// Connections that the kernel keeps for us until we accept them; the usual limit of `somaxconn`.
const BACKLOG: i32 = 4_096;

/// From connection to the end of the first request, TLS aside.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// From connection to the end of the TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the certificate files are looked at.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(60);

/// Binds the TCP side of each address. IPv6 sockets take IPv6 only, as their UDP twins do.
///
/// # Errors
/// Names the address and what to do about it.
pub(crate) fn bind(addresses: &[SocketAddr]) -> anyhow::Result<Vec<TcpListener>> {
    addresses.iter().map(|&address| listener(address).with_context(|| refusal(address, "TCP"))).collect()
}

/// What to say when an address can't be had; the system's own words follow.
pub(crate) fn refusal(address: SocketAddr, protocol: &str) -> String {
    let port = address.port();
    let hint = if port < 1024 {
        "ports below 1024 need the capability CAP_NET_BIND_SERVICE"
    } else {
        "stop what is using it, or choose another port"
    };
    format!("can't listen on {address} ({protocol}); {hint}")
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    // Connections inherit both.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT_MAX)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The certificate in force, of this side and of links by WebTransport; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    https: RustlsConfig,
    web: WebCertificate,
}

impl Certificate {
    /// Reads both files.
    ///
    /// # Errors
    /// When they can't be read or don't fit together.
    pub(crate) async fn read(certificate: &Path, key: &Path, web: WebCertificate) -> anyhow::Result<Self> {
        let files = || format!("can't use {} and {}", certificate.display(), key.display());
        let https = RustlsConfig::from_pem_file(certificate, key).await.with_context(files)?;
        web.read(certificate, key).with_context(files)?;
        Ok(Self { https, web })
    }

    /// Reads the files again on SIGHUP and whenever they change. What can't be used is reported and left out.
    pub(crate) async fn follow(self, certificate: &Path, key: &Path) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
        let mut seen = changed(certificate, key);
        loop {
            let asked = tokio::select! {
                _ = hangup.recv() => true,
                () = tokio::time::sleep(CERTIFICATE_INTERVAL) => false,
            };
            let now = changed(certificate, key);
            if !asked && now == seen {
                continue;
            }
            seen = now;
            let https = self.https.reload_from_pem_file(certificate, key).await.map_err(anyhow::Error::from);
            match https.and_then(|()| Ok(self.web.read(certificate, key)?)) {
                Ok(()) => tracing::info!("the certificate was read again"),
                Err(error) => tracing::error!(%error, "the new certificate can't be used; the old one stays"),
            }
        }
    }
}

/// When each file was last written.
fn changed(certificate: &Path, key: &Path) -> [Option<SystemTime>; 2] {
    [certificate, key].map(|file| file.metadata().and_then(|attributes| attributes.modified()).ok())
}

/// Listeners that serve; see [`serve`].
#[derive(Debug)]
pub(crate) struct Front {
    tasks: JoinSet<io::Result<()>>,
    handle: Handle<SocketAddr>,
}

/// Serves what the port offers on every listener.
///
/// # Errors
/// When a listener can't be made asynchronous.
pub(crate) fn serve(listeners: Vec<TcpListener>, port: &Router, tls: Option<&Certificate>) -> io::Result<Front> {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let handle = Handle::new();
    let mut tasks = JoinSet::new();
    for listener in listeners {
        let mut server = axum_server::from_tcp(listener)?;
        server.http_builder().http1().header_read_timeout(FIRST_REQUEST_TIMEOUT);
        let server = server
            .handle(handle.clone())
            .first_request_timeout(FIRST_REQUEST_TIMEOUT)
            .accept_error_handler(|_, error| tracing::debug!(%error, "a connection was not accepted"))
            .acceptor(Bounded { permits: Arc::clone(&permits) });
        let service = port.clone().into_make_service_with_connect_info::<SocketAddr>();
        match tls {
            None => _ = tasks.spawn(server.serve(service)),
            Some(Certificate { https, .. }) => {
                let acceptor = RustlsAcceptor::new(https.clone()).handshake_timeout(TLS_TIMEOUT);
                _ = tasks.spawn(server.map(|bounded| acceptor.acceptor(bounded)).serve(service));
            }
        }
    }
    Ok(Front { tasks, handle })
}

impl Front {
    /// Accepts no more, and waits for requests that are being answered, for this long at most.
    pub(crate) async fn close(mut self, grace: Duration) {
        self.handle.graceful_shutdown(Some(grace));
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Accepts as many connections as there are permits; the rest are closed at once.
#[derive(Debug, Clone)]
struct Bounded {
    permits: Arc<Semaphore>,
}

impl<S: Send + 'static> Accept<TcpStream, S> for Bounded {
    type Stream = Permitted;
    type Service = AddExtension<S, Slot>;
    type Future = std::future::Ready<io::Result<(Permitted, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        std::future::ready(match permit {
            Ok(permit) => {
                let slot = Slot(Arc::new(Mutex::new(Some(permit))));
                let service = Extension(slot.clone()).layer(service);
                Ok((Permitted { stream, slot }, service))
            }
            Err(_) => Err(io::Error::new(io::ErrorKind::ResourceBusy, "too many connections")),
        })
    }
}

/// A connection's place among so many.
#[derive(Debug, Clone)]
pub(crate) struct Slot(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Slot {
    /// Leaves it to somebody else.
    pub(crate) fn free(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// A connection that gives its place back when it ends.
struct Permitted {
    stream: TcpStream,
    slot: Slot,
}

impl Drop for Permitted {
    fn drop(&mut self) {
        self.slot.free();
    }
}

impl AsyncRead for Permitted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Permitted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
