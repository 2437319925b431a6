//! `trapline web FILE`: the page, served by a scheduler of Trapline's to browsers of this machine.

mod guard;

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use trapline::hyper::HyperIo;
use trapline::net::{TcpListener, TcpStream};
use trapline_trace::format::Header;

use crate::failure::Failure;
use crate::html::bundle::Page;
use crate::plain::Plain;
use guard::Guard;

/// An order is a short text.
const MAX_ORDER: usize = 64 * 1024;

/// Browsers open about six to one server.
const MAX_CONNECTIONS: usize = 64;

/// How long a connection may take: who does not ask, or does not read, is dropped. The largest recording crosses the
/// loopback in a few seconds.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The recording
    file: PathBuf,
    /// The port; a free one, if it is 0
    #[arg(long, default_value_t = 0)]
    port: u16,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let trace = fs::read(&args.file).map_err(Failure::at(&args.file))?;
    let shown = args.file.display().to_string();
    let shown = Plain(&shown);
    Header::read(&trace).map_err(|error| Failure::said(format!("{shown}: {error}")))?;
    let title =
        args.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let served = trapline::block_on(async { serve(args.port, &title, trace).await });
    let error = match served {
        Ok(Err(error)) => error.to_string(),
        Ok(Ok(never)) => match never {},
        Err(error) => error.to_string(),
    };
    Err(Failure::said(format!("cannot serve: {error}")))
}

/// What is served.
struct Site {
    guard: Guard,
    page: Bytes,
    policy: HeaderValue,
    trace: Bytes,
}

async fn serve(port: u16, title: &str, trace: Vec<u8>) -> io::Result<Infallible> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let guard = Guard::new(listener.local_addr()?)?;
    let page = Page { title, trace: None, output: None };
    let policy = format!("{}; frame-ancestors 'none'", page.policy());
    let site = Rc::new(Site {
        policy: HeaderValue::from_str(&policy).map_err(io::Error::other)?,
        page: page.html().into(),
        trace: trace.into(),
        guard,
    });
    println!("{}", site.guard.link());
    let open = Rc::new(());
    loop {
        let (stream, _) = listener.accept().await?;
        // One more than are open: the listener has one, too.
        if Rc::strong_count(&open) > MAX_CONNECTIONS {
            continue;
        }
        let (site, open) = (Rc::clone(&site), Rc::clone(&open));
        let connection = async move {
            // Whoever took too long is dropped with its connection.
            let _ = trapline::timeout(PATIENCE, connection(site, stream)).await;
            drop(open);
        };
        trapline::spawn(connection).name("connection").await.detach();
    }
}

async fn connection(site: Rc<Site>, stream: TcpStream) {
    let service = service_fn(|request| {
        let site = Rc::clone(&site);
        async move { Ok::<_, Infallible>(answer(&site, request).await) }
    });
    let mut http = http1::Builder::new();
    // What a client does wrong is its own affair.
    let _ = http.keep_alive(false).serve_connection(HyperIo::new(stream), service).await;
}

type Answer = Response<Full<Bytes>>;

async fn answer(site: &Site, request: Request<Incoming>) -> Answer {
    if let Err(why) = site.guard.check_origin(request.headers()) {
        return text(StatusCode::FORBIDDEN, why);
    }
    // The page has nothing in it that not everybody may know; it asks for the recording with the token.
    if (request.method(), request.uri().path()) == (&Method::GET, "/") {
        return page(site);
    }
    if let Err(why) = site.guard.check_token(request.headers()) {
        return text(StatusCode::FORBIDDEN, why);
    }
    match (request.method().clone(), request.uri().path()) {
        (Method::GET, "/trace") => {
            with(StatusCode::OK, "application/octet-stream", site.trace.clone())
        }
        (Method::POST, "/order") => order(request).await,
        _ => text(StatusCode::NOT_FOUND, "there is nothing here"),
    }
}

/// Orders act where a program runs; this one has run.
async fn order(request: Request<Incoming>) -> Answer {
    match Limited::new(request.into_body(), MAX_ORDER).collect().await {
        Ok(_) => text(StatusCode::CONFLICT, "refused: this is the past"),
        Err(_) => text(StatusCode::PAYLOAD_TOO_LARGE, "an order has at most 64 KiB"),
    }
}

fn page(site: &Site) -> Answer {
    let mut answer = with(StatusCode::OK, "text/html; charset=utf-8", site.page.clone());
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, site.policy.clone());
    answer
}

fn text(status: StatusCode, text: &'static str) -> Answer {
    with(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn with(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}
