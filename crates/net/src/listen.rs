//! The UDP sockets of a supernode: one for each shard and listen address, sharing a port by `SO_REUSEPORT`.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::limits;

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddress {
    /// Port 0 asks the kernel for one; all addresses with port 0 then share it.
    pub address: SocketAddr,
    /// Whether an IPv6 socket takes IPv4 as well.
    pub dual_stack: bool,
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self { address, dual_stack: false }
    }
}

/// Binds one set of sockets a shard, in the order of `addresses`. Nothing is received before the shards run, and no
/// socket joins later, so that the kernel's choice of a shard for a client stays the same.
///
/// # Errors
/// When an address can't be bound, or when another process has it: `SO_REUSEPORT` alone would let two daemons
/// share the port and each lose half of its packets.
pub fn bind(addresses: &[ListenAddress], shards: u16) -> io::Result<Vec<Vec<UdpSocket>>> {
    let mut sets: Vec<Vec<UdpSocket>> = (0..shards).map(|_| Vec::with_capacity(addresses.len())).collect();
    let mut port = 0;
    for listen in addresses {
        let mut listen = *listen;
        if listen.address.port() == 0 {
            listen.address.set_port(port);
        }
        let alone = socket(listen, false)?;
        listen.address = alone.local_addr()?;
        port = listen.address.port();
        drop(alone);
        for set in &mut sets {
            set.push(socket(listen, true)?);
        }
    }
    Ok(sets)
}

fn socket(listen: ListenAddress, shared: bool) -> io::Result<UdpSocket> {
    let address = listen.address;
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!listen.dual_stack)?;
    }
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    // The kernel silently grants less where its limits are lower.
    socket.set_recv_buffer_size(limits::SOCKET_RECEIVE_BUFFER)?;
    socket.set_send_buffer_size(limits::SOCKET_SEND_BUFFER)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn all_shards_and_addresses_share_one_port() {
        let addresses =
            [SocketAddr::from(([127, 0, 0, 1], 0)).into(), SocketAddr::from((Ipv6Addr::LOCALHOST, 0)).into()];
        let sets = bind(&addresses, 3).unwrap();
        let ports: Vec<_> = sets.iter().flatten().map(|socket| socket.local_addr().unwrap().port()).collect();
        assert_eq!(ports.len(), 6);
        assert!(ports.iter().all(|port| *port == ports[0]));
    }

    #[test]
    fn a_port_that_is_taken_is_refused() {
        let first = bind(&[SocketAddr::from(([127, 0, 0, 1], 0)).into()], 2).unwrap();
        let taken = first[0][0].local_addr().unwrap();
        let second = bind(&[taken.into()], 2);
        assert_eq!(second.map(|_| ()).map_err(|error| error.kind()), Err(io::ErrorKind::AddrInUse));
    }
}
