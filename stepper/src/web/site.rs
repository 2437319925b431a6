//! What is there to be asked for.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::rc::Rc;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::body::{Content, End, Growing};
use super::guard::Guard;
use crate::html::bundle::Page;

/// An order is a short text.
const MAX_ORDER: usize = 64 * 1024;

/// What is shown.
pub(super) struct Shown {
    pub(super) title: String,
    /// Open: whoever removes it takes nothing from us.
    pub(super) trace: Rc<File>,
    /// What the program has written.
    pub(super) output: Option<Rc<File>>,
}

pub(super) struct Site {
    guard: Guard,
    page: Bytes,
    policy: HeaderValue,
    shown: Shown,
}

type Answer = Response<Content>;

impl Site {
    pub(super) fn new(guard: Guard, shown: Shown) -> io::Result<Site> {
        let page = Page { title: &shown.title, trace: None, output: None };
        let policy = format!("{}; frame-ancestors 'none'", page.policy());
        Ok(Site {
            policy: HeaderValue::from_str(&policy).map_err(io::Error::other)?,
            page: page.html().into(),
            guard,
            shown,
        })
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
        match (request.method().clone(), request.uri().path()) {
            (Method::GET, "/trace") => {
                is_asked.set(true);
                bytes_of(&self.shown.trace, number(&request, "from"), End::At(u64::MAX))
            }
            (Method::GET, "/output") => {
                is_asked.set(true);
                self.output(&request)
            }
            (Method::POST, "/page") => text(StatusCode::OK, "1"),
            (Method::GET, "/status") => {
                let length = self.shown.trace.metadata().map_or(0, |metadata| metadata.len());
                with(
                    StatusCode::OK,
                    "application/json",
                    Content::text(format!(
                        "{{\"run\":1,\"isLive\":false,\"length\":{length},\"output\":null}}"
                    )),
                )
            }
            (Method::POST, "/order") => self.order(request, is_asked).await,
            _ => text(StatusCode::NOT_FOUND, "there is nothing here"),
        }
    }

    fn output(&self, request: &Request<Incoming>) -> Answer {
        let Some(output) = &self.shown.output else {
            return text(StatusCode::NOT_FOUND, "nobody knows what the program has written");
        };
        let end = End::At(number(request, "to").unwrap_or(u64::MAX));
        bytes_of(output, number(request, "from"), end)
    }

    /// Orders act where a program runs; this one has run.
    async fn order(&self, request: Request<Incoming>, is_asked: &Cell<bool>) -> Answer {
        match Limited::new(request.into_body(), MAX_ORDER).collect().await {
            Ok(_) => {
                is_asked.set(true);
                text(StatusCode::CONFLICT, "refused: this is a recording")
            }
            Err(_) => text(StatusCode::PAYLOAD_TOO_LARGE, "an order has at most 64 KiB"),
        }
    }

    fn page(&self) -> Answer {
        let content = Content::text(self.page.clone());
        let mut answer = with(StatusCode::OK, "text/html; charset=utf-8", content);
        answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        answer
    }
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
