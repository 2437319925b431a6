//! The server: a task for each connection, and so many of them.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use trapline::hyper::HyperIo;
use trapline::net::{TcpListener, TcpStream};

use super::guard::Guard;
use super::patience::Patient;
use super::site::{Shown, Site};

/// Browsers open about six to one server.
const MAX_CONNECTIONS: usize = 64;

pub(super) struct Server {
    pub(super) port: u16,
    pub(super) patience: Duration,
}

impl Server {
    pub(super) async fn serve(&self, shown: Shown) -> io::Result<Infallible> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))?;
        let guard = Guard::new(listener.local_addr()?)?;
        println!("{}", guard.link());
        let site = Rc::new(Site::new(guard, shown)?);
        let open = Rc::new(());
        loop {
            let (stream, _) = listener.accept().await?;
            // One more than are open: the listener has one, too.
            if Rc::strong_count(&open) > MAX_CONNECTIONS {
                continue;
            }
            let (site, open, patience) = (Rc::clone(&site), Rc::clone(&open), self.patience);
            let connection = async move {
                connection(site, stream, patience).await;
                drop(open);
            };
            trapline::spawn(connection).name("connection").await.detach();
        }
    }
}

/// One request and its answer, which may be long.
async fn connection(site: Rc<Site>, stream: TcpStream, patience: Duration) {
    let is_asked = Rc::new(Cell::new(false));
    let io = Patient::new(HyperIo::new(stream), patience, Rc::clone(&is_asked));
    let service = service_fn(|request| {
        let (site, is_asked) = (Rc::clone(&site), Rc::clone(&is_asked));
        async move { Ok::<_, Infallible>(site.answer(request, &is_asked).await) }
    });
    // What a client does wrong is its own affair.
    let _ = http1::Builder::new().keep_alive(false).serve_connection(io, service).await;
}
