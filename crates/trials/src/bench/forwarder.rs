//! The least that relaying can cost: a UDP forwarder without cryptography, batched both ways. It runs in a process of its own.
//!
//! Every packet begins with a flow number (4 bytes). A packet that holds nothing else says where that flow's packets go.

use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use rustix::event::{PollFd, PollFlags};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};

/// Length of a flow number.
pub const FLOW: usize = 4;

/// Flows that it knows at once.
const FLOWS_MAX: usize = 100_000;

/// Longest packet.
const PACKET_MAX: usize = 1500;

/// As large as a busy second needs.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// Serves until the process is killed. Prints its address once it listens.
///
/// # Errors
/// When the socket fails.
pub fn serve() -> anyhow::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let state = UdpSocketState::new((&socket).into())?;
    // The system may grant less; a drop shows in the count of delivered packets.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER);
    println!("{}", socket.local_addr()?);
    let mut routes: HashMap<[u8; FLOW], SocketAddr> = HashMap::new();
    let mut buffers = vec![[0; PACKET_MAX]; BATCH_SIZE];
    let mut meta = [RecvMeta::default(); BATCH_SIZE];
    loop {
        rustix::event::poll(&mut [PollFd::new(&socket, PollFlags::IN)], None)?;
        let received = {
            let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
            match state.recv((&socket).into(), &mut slices, &mut meta) {
                Ok(received) => received,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            }
        };
        let mut batch = Vec::with_capacity(BATCH_SIZE);
        for (buffer, meta) in buffers.iter().zip(&meta).take(received) {
            // One buffer holds several packets where the kernel has joined them.
            for packet in buffer[..meta.len].chunks(meta.stride.max(1)) {
                let Some((flow, rest)) = packet.split_first_chunk::<FLOW>() else { continue };
                if !rest.is_empty() {
                    batch.extend(routes.get(flow).map(|to| (SocketAddrAny::from(*to), packet)));
                } else if routes.len() < FLOWS_MAX {
                    routes.insert(*flow, meta.addr);
                }
            }
        }
        send(&socket, &batch)?;
    }
}

fn send(socket: &UdpSocket, batch: &[(SocketAddrAny, &[u8])]) -> anyhow::Result<()> {
    let slices: Vec<_> = batch.iter().map(|(_, packet)| [IoSlice::new(packet)]).collect();
    let mut controls: Vec<_> = batch.iter().map(|_| SendAncillaryBuffer::default()).collect();
    let mut messages: Vec<_> = batch
        .iter()
        .zip(&slices)
        .zip(&mut controls)
        .map(|(((to, _), slice), control)| MMsgHdr::new_with_addr(to, slice, control))
        .collect();
    let mut sent = 0;
    while sent < messages.len() {
        match sendmmsg(socket, &mut messages[sent..], SendFlags::empty()) {
            Ok(count) => sent += count,
            Err(rustix::io::Errno::AGAIN) => std::thread::sleep(Duration::from_micros(50)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
