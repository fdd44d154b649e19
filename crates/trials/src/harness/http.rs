//! As much HTTP as metrics, health and the noise trials need: one request, one response, plain TCP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;

/// A whole response.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    /// Such as 200.
    pub status: u16,
    /// As text.
    pub body: String,
}

const TIMEOUT: Duration = Duration::from_secs(5);

/// GET of one path.
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub fn http_get(address: SocketAddr, path: &str) -> anyhow::Result<HttpResponse> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    let response = String::from_utf8_lossy(&response);
    let (head, body) = response.split_once("\r\n\r\n").context("a response has a head")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("a response has a status")?;
    Ok(HttpResponse { status, body: body.to_owned() })
}
