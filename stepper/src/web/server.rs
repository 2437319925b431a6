//! The server: a task for each connection, and so many of them.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use trapline::hyper::HyperIo;
use trapline::net::{TcpListener, TcpStream};

use super::guard::Guard;
use super::patience::Patient;
use super::run::Run;
use super::site::Site;
use crate::failure::Failure;

/// Browsers open about six to one server.
const MAX_CONNECTIONS: usize = 64;

/// How often it is looked whether one is to end.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Server {
    port: u16,
    patience: Duration,
    is_to_end: Arc<AtomicBool>,
}

impl Server {
    /// Ctrl-C and its kin end what it serves, and so the program that it shows.
    pub(super) fn new(port: u16, patience: Duration) -> Result<Server, Failure> {
        let is_to_end = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
            signal_hook::flag::register(signal, Arc::clone(&is_to_end))
                .map_err(|error| Failure::said(format!("signals: {error}")))?;
        }
        Ok(Server { port, patience, is_to_end })
    }

    pub(super) async fn serve(&self, run: Run, title: &str) -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))?;
        let guard = Guard::new(listener.local_addr()?)?;
        println!("{}", guard.link());
        let site = Rc::new(Site::new(guard, title, run)?);
        trapline::race(self.accept(&listener, &site), self.end()).await
    }

    async fn end(&self) -> io::Result<()> {
        while !self.is_to_end.load(Ordering::Relaxed) {
            trapline::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn accept(&self, listener: &TcpListener, site: &Rc<Site>) -> io::Result<()> {
        let open = Rc::new(());
        loop {
            let (stream, _) = listener.accept().await?;
            // One more than are open: this has one, too.
            if Rc::strong_count(&open) > MAX_CONNECTIONS {
                continue;
            }
            let (site, open, patience) = (Rc::clone(site), Rc::clone(&open), self.patience);
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
