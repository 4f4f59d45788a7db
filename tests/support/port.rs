//! A port that is taken, at which nobody listens: connections are refused, and nobody else is given it.

use std::net::Ipv4Addr;

use tokio::net::TcpSocket;

/// Takes a port of this host, 0 for any. Whoever has its number may take it too and listen there, since Go, tokio and this set SO_REUSEADDR.
pub(crate) fn hold(port: u16) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, port).into()).unwrap();
    socket
}
