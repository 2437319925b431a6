//! The page served: who is refused, and that the server goes on whatever a client does.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/server.rs"]
mod server;
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use server::Server;
use support::{Scratch, a_short_run, trapline};

#[test]
fn recording_asked_for_with_the_token_then_its_own_bytes() {
    let trace = a_short_run().file();
    let server = Server::new(&trace);
    let host = server.address.to_string();
    let (status, bytes) = server.trace(&[("Host", &host), ("X-Trapline-Token", &server.token)]);
    assert_eq!((status, bytes), (200, std::fs::read(trace.path()).unwrap()));
    let origin = format!("http://{host}");
    let own = [("Host", &*host), ("Origin", &*origin), ("X-Trapline-Token", &*server.token)];
    assert_eq!(server.trace(&own).0, 200);
    assert_eq!(server.ask("GET /nothing", &own, b"").0, 404);
    let (status, page) = server.ask("GET /", &[("Host", &host)], b"");
    assert_eq!(status, 200);
    // Not in the page, which needs no token.
    assert!(!String::from_utf8(page).unwrap().contains(&server.token));
}

#[test]
fn wrong_token_host_or_origin_then_refused() {
    let server = Server::new(&a_short_run().file());
    let host = server.address.to_string();
    let port = server.address.port();
    let token = server.token.as_str();
    let wrong = format!("{}0", &token[..token.len() - 1]);
    let wrong = if wrong == token { format!("{}1", &token[..token.len() - 1]) } else { wrong };
    let elsewhere = format!("evil.example:{port}");
    let other_port = format!("http://127.0.0.1:{}", port ^ 1);
    for headers in [
        vec![("Host", &*host)],
        vec![("Host", &*host), ("X-Trapline-Token", "")],
        vec![("Host", &*host), ("X-Trapline-Token", &*wrong)],
        vec![("Host", &*host), ("X-Trapline-Token", &token[1..])],
        vec![("Host", &*elsewhere), ("X-Trapline-Token", token)],
        vec![("Host", "127.0.0.1"), ("X-Trapline-Token", token)],
        vec![("X-Trapline-Token", token)],
        vec![("Host", &*host), ("Origin", "http://evil.example"), ("X-Trapline-Token", token)],
        vec![("Host", &*host), ("Origin", "null"), ("X-Trapline-Token", token)],
        vec![("Host", &*host), ("Origin", &*other_port), ("X-Trapline-Token", token)],
    ] {
        let (status, said) = server.trace(&headers);
        assert_eq!(status, 403, "{headers:?}");
        assert!(said.starts_with(b"refused: "), "{headers:?}");
    }
    // A page of somebody else's does not even get ours.
    assert_eq!(server.ask("GET /", &[("Host", &elsewhere)], b"").0, 403);
}

#[test]
fn order_to_a_recording_then_it_is_refused_and_a_long_one_is_not_read() {
    let server = Server::new(&a_short_run().file());
    let host = server.address.to_string();
    let own = [("Host", &*host), ("X-Trapline-Token", &*server.token)];
    let (status, said) = server.ask("POST /order", &own, b"kill 1");
    assert_eq!((status, &*said), (409, &b"refused: this is a recording"[..]));
    assert_eq!(server.ask("POST /order", &own, &vec![b'x'; 64 * 1024]).0, 409);
    assert_eq!(server.ask("POST /order", &own, &vec![b'x'; 64 * 1024 + 1]).0, 413);
    assert_eq!(server.ask("POST /order", &[("Host", &host)], b"kill 1").0, 403);
}

#[test]
fn hundred_connections_and_one_that_stops_reading_then_others_are_served() {
    let trace = large();
    let server = Server::new(&trace);
    let host = server.address.to_string();
    let request = format!(
        "GET /trace HTTP/1.1\r\nHost: {host}\r\nX-Trapline-Token: {}\r\n\r\n",
        server.token
    );
    let mut stalled = TcpStream::connect(server.address).unwrap();
    stalled.write_all(request.as_bytes()).unwrap();
    let idle: Vec<TcpStream> =
        (0..100).filter_map(|_| TcpStream::connect(server.address).ok()).collect();
    // What is too many is closed at once.
    let is_closed = |stream: &TcpStream| {
        stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        matches!((&*stream).read(&mut [0]), Ok(0) | Err(_))
    };
    assert!(is_closed(idle.last().unwrap()));
    drop(idle);
    let own = [("Host", &*host), ("X-Trapline-Token", &*server.token)];
    // Those that are gone are noticed one by one.
    let answered = (0..200).find_map(|_| {
        let mut stream = TcpStream::connect(server.address).ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        answer.starts_with(b"HTTP/1.1 403").then_some(())
    });
    assert!(answered.is_some());
    assert_eq!(server.trace(&own).1, std::fs::read(trace.path()).unwrap());
    drop(stalled);
}

/// More than fits into the buffers of a connection. The server does not care what it is, as long as it begins well.
fn large() -> Scratch {
    let mut bytes = std::fs::read(a_short_run().file().path()).unwrap();
    bytes.resize(16 << 20, 7);
    Scratch::holding("large.trace", &bytes)
}

#[test]
fn client_that_takes_nothing_then_it_is_dropped_and_one_that_is_slow_is_not() {
    let trace = large();
    let bytes = std::fs::read(trace.path()).unwrap();
    let server = Server::with(&[trace.str(), "--patience", "0.5"]);
    let read = |pause: Duration, portion: usize| {
        let mut stream = server.begin("GET /trace");
        stream.write_all(b"\r\n").unwrap();
        let mut all = Vec::new();
        loop {
            wait(pause);
            let mut part = vec![0; portion];
            match stream.read(&mut part) {
                Ok(0) | Err(_) => return all,
                Ok(count) => all.extend_from_slice(&part[..count]),
            }
        }
    };
    // A second for the first portion alone: the rest has been given up meanwhile.
    assert!(read(Duration::from_secs(2), usize::MAX >> 40).len() < bytes.len());
    // As long as that, as a whole.
    let slow = read(Duration::from_millis(100), bytes.len() / 15);
    assert!(slow.ends_with(&bytes), "{} of {}", slow.len(), bytes.len());
}

#[allow(clippy::disallowed_methods, reason = "how long it takes by anybody's clock is promised")]
#[test]
fn request_that_does_not_end_then_it_is_dropped() {
    let server = Server::with(&[a_short_run().file().str(), "--patience", "0.5"]);
    for (request, rest) in [
        ("GET /trace", "X-A: "),
        ("POST /order", "Content-Length: 100\r\n\r\nkill"),
        ("POST /order", "Transfer-Encoding: chunked\r\n\r\n5\r\nki"),
    ] {
        let mut stalled = server.begin(request);
        stalled.write_all(rest.as_bytes()).unwrap();
        let begun = Instant::now();
        let mut answer = Vec::new();
        // It is closed, and not the test that has waited for too long.
        let _ = stalled.read_to_end(&mut answer);
        assert!(begun.elapsed() < Duration::from_secs(9), "{request} {rest}");
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{request} {rest}");
    }
    // A byte now and then is no request either.
    let mut dripping = server.begin("GET /trace");
    let is_dropped = (0..60).any(|_| {
        wait(Duration::from_millis(50));
        dripping.write_all(b"X").is_err()
    });
    assert!(is_dropped);
}

#[test]
fn output_beside_a_recording_then_its_parts_are_there() {
    let trace = a_short_run().file();
    let output = Scratch::holding("output", b"one\ntwo\n");
    let server = Server::with(&[trace.str(), "--output", output.str()]);
    let host = server.address.to_string();
    let own = [("Host", &*host), ("X-Trapline-Token", &*server.token)];
    let ask = |path: &str| server.ask(&format!("GET {path}"), &own, b"");
    assert_eq!(ask("/output"), (200, b"one\ntwo\n".to_vec()));
    assert_eq!(ask("/output?from=2&to=5"), (200, b"e\nt".to_vec()));
    assert_eq!(ask("/output?from=4&to=99"), (200, b"two\n".to_vec()));
    assert_eq!(ask("/output?from=99"), (200, vec![]));
    assert_eq!(server.ask("GET /output", &[("Host", &host)], b"").0, 403);
    let (_, whole) = ask("/trace");
    assert_eq!(ask("/trace?from=30"), (200, whole[30..].to_vec()));
}

#[allow(clippy::disallowed_methods, reason = "a client that is slow")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

#[test]
fn no_recording_then_it_is_said_and_nothing_is_served() {
    let text = Scratch::holding("text", b"hello, this is a text");
    let output = trapline(["web", text.str()]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).ends_with(": this is not a trace\n"));
}

#[test]
fn link_opened_in_chromium_then_the_recording_is_shown_and_the_token_hidden() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("page-tests");
    assert!(
        Path::new("/usr/bin/chromium").exists(),
        "Chromium is missing: apt-get install --yes chromium"
    );
    assert!(
        tests.join("node_modules/playwright-core").exists(),
        "playwright-core is missing: npm ci --prefix stepper/page-tests"
    );
    let server = Server::new(&a_short_run().file());
    let output = Command::new("node")
        .arg("--test")
        .arg(tests.join("served.test.mjs"))
        .env("LINK", &server.link)
        .output()
        .expect("node is there: apt-get install --yes nodejs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
