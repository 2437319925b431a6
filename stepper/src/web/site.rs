//! What is there to be asked for.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::rc::Rc;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::body::{Content, End, Growing};
use super::guard::Guard;
use super::run::Run;
use crate::html::bundle::Page;

/// An order is a short text.
const MAX_ORDER: usize = 64 * 1024;

/// The header in which a page says which one it is.
const PAGE: HeaderName = HeaderName::from_static("x-trapline-page");

pub(super) struct Site {
    guard: Guard,
    page: Bytes,
    policy: HeaderValue,
    run: RefCell<Rc<Run>>,
    /// The number of the newest page.
    newest: Cell<u64>,
}

type Answer = Response<Content>;

impl Site {
    pub(super) fn new(guard: Guard, title: &str, run: Run) -> io::Result<Site> {
        let page = Page { title, trace: None, output: None };
        let policy = format!("{}; frame-ancestors 'none'", page.policy());
        Ok(Site {
            policy: HeaderValue::from_str(&policy).map_err(io::Error::other)?,
            page: page.html().into(),
            guard,
            run: RefCell::new(Rc::new(run)),
            newest: Cell::new(0),
        })
    }

    /// What is shown now.
    pub(super) fn run(&self) -> Rc<Run> {
        Rc::clone(&self.run.borrow())
    }

    pub(super) fn show(&self, run: Rc<Run>) {
        let last = self.run.replace(run);
        // Whoever reads it still sees it end.
        drop(last);
    }

    /// `is_asked` is set once nothing more of the request is to come.
    pub(super) async fn answer(&self, request: Request<Incoming>, is_asked: &Cell<bool>) -> Answer {
        if let Err(why) = self.guard.check_origin(request.headers()) {
            return text(StatusCode::FORBIDDEN, why);
        }
        // The page has nothing in it that not everybody may know; it asks for the recording with the token.
        if (request.method(), request.uri().path()) == (&Method::GET, "/") {
            return self.page();
        }
        if let Err(why) = self.guard.check_token(request.headers()) {
            return text(StatusCode::FORBIDDEN, why);
        }
        let path = (request.method().clone(), request.uri().path());
        if path != (Method::POST, "/order") {
            is_asked.set(true);
        }
        match path {
            (Method::POST, "/page") => self.new_page(),
            (Method::GET, "/status") => self.status(&request),
            (Method::GET, "/trace") => self.trace(&request),
            (Method::GET, "/output") => self.output(&request),
            (Method::POST, "/order") => self.order(request, is_asked).await,
            _ => text(StatusCode::NOT_FOUND, "there is nothing here"),
        }
    }

    /// The newest page gives the orders, and knows itself by its number.
    fn new_page(&self) -> Answer {
        self.newest.set(self.newest.get() + 1);
        text(StatusCode::OK, self.newest.get().to_string())
    }

    fn is_newest(&self, request: &Request<Incoming>) -> bool {
        let page = request.headers().get(PAGE).and_then(|page| page.to_str().ok()?.parse().ok());
        page == Some(self.newest.get())
    }

    fn status(&self, request: &Request<Incoming>) -> Answer {
        let mut status = self.run().status();
        if !self.is_newest(request) {
            status["others"] = "another page gives the orders".into();
        }
        with(StatusCode::OK, "application/json", Content::text(status.to_string()))
    }

    /// The run that is asked for, if it is still the one that is shown.
    fn run_of(&self, request: &Request<Incoming>) -> Option<Rc<Run>> {
        let run = self.run();
        let number = number(request, "run").unwrap_or(u64::from(run.number));
        (number == u64::from(run.number)).then_some(run)
    }

    fn trace(&self, request: &Request<Incoming>) -> Answer {
        let Some(run) = self.run_of(request) else { return gone() };
        let end = match &run.live {
            Some(live) => {
                let growth = live.growth();
                End::While(Box::new(move || growth.goes_on()))
            }
            None => End::At(u64::MAX),
        };
        bytes_of(&run.trace, number(request, "from"), end)
    }

    fn output(&self, request: &Request<Incoming>) -> Answer {
        let Some(run) = self.run_of(request) else { return gone() };
        let Some(output) = &run.output else {
            return text(StatusCode::NOT_FOUND, "nobody knows what the program has written");
        };
        let end = End::At(number(request, "to").unwrap_or(u64::MAX));
        bytes_of(output, number(request, "from"), end)
    }

    async fn order(&self, request: Request<Incoming>, is_asked: &Cell<bool>) -> Answer {
        let is_newest = self.is_newest(&request);
        let order = match Limited::new(request.into_body(), MAX_ORDER).collect().await {
            Ok(order) => order.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return text(StatusCode::PAYLOAD_TOO_LARGE, "error: an order has at most 64 KiB");
            }
            Err(_) => return text(StatusCode::BAD_REQUEST, "error: the order does not end"),
        };
        is_asked.set(true);
        let Ok(order) = str::from_utf8(&order) else {
            return text(StatusCode::BAD_REQUEST, "error: an order is UTF-8");
        };
        if !is_newest && self.run().live.is_some() {
            return text(StatusCode::CONFLICT, "refused: another page gives the orders");
        }
        let answer = self.obey(order).await;
        let status = match answer.split_once(": ") {
            Some(("done" | "queued", _)) => StatusCode::OK,
            Some(("refused", _)) => StatusCode::CONFLICT,
            _ => StatusCode::BAD_REQUEST,
        };
        text(status, answer)
    }

    fn page(&self) -> Answer {
        let content = Content::text(self.page.clone());
        let mut answer = with(StatusCode::OK, "text/html; charset=utf-8", content);
        answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        answer
    }
}

fn gone() -> Answer {
    text(StatusCode::GONE, "another run is shown by now")
}

/// A number that stands behind the question mark: `?from=118`.
fn number(request: &Request<Incoming>, name: &str) -> Option<u64> {
    let words = request.uri().query()?.split('&');
    let mut numbers = words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    numbers.next()?.parse().ok()
}

fn bytes_of(file: &Rc<File>, from: Option<u64>, end: End) -> Answer {
    match Growing::new(file, from.unwrap_or(0), end) {
        Ok(growing) => with(StatusCode::OK, "application/octet-stream", Content::Growing(growing)),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("error: {error}")),
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    with(status, "text/plain; charset=utf-8", Content::text(text))
}

fn with(status: StatusCode, kind: &'static str, content: Content) -> Answer {
    let mut answer = Response::new(content);
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
