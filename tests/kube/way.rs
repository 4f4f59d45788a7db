//! A way to a server that can be cut in the middle.

use std::net::Ipv4Addr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What becomes of connections.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum State {
    /// They lead to the server.
    Open,
    /// They end, those that there are and new ones.
    Cut,
    /// Nothing passes any more, and nobody is told. What this befell stays so, whatever comes afterwards.
    Silent,
}

/// A TCP proxy, until it is dropped.
pub(crate) struct Way {
    /// Where it listens.
    pub(crate) port: u16,
    state: watch::Sender<State>,
    _tasks: JoinSet<()>,
}

impl Way {
    /// An open way to a port of this host.
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, states) = watch::channel(State::Open);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, server, states.clone()));
            }
        });
        Self { port, state, _tasks: tasks }
    }

    /// What becomes of connections from now on.
    pub(crate) fn is(&self, state: State) {
        self.state.send_replace(state);
    }
}

async fn carry(mut client: TcpStream, server: u16, mut states: watch::Receiver<State>) {
    let copy = async {
        let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await else { return };
        // Whoever ends it, it has ended.
        let _ended = copy_bidirectional(&mut client, &mut server).await;
    };
    let closed = tokio::select! {
        () = copy => return,
        state = states.wait_for(|state| *state != State::Open) => state.is_ok_and(|state| *state == State::Cut),
    };
    if !closed {
        std::future::pending().await
    }
}
