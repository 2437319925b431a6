//! The page on a program that runs: its orders, and that nothing a client does harms the program.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/server.rs"]
mod server;
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use server::Server;
use support::Scratch;

/// The example of this package. Where this file's tests are run alone, nobody has built it.
fn relay() -> PathBuf {
    let arguments = ["build", "--quiet", "-p", "trapline-stepper", "--example", "relay"];
    assert!(Command::new(env!("CARGO")).args(arguments).status().unwrap().success());
    let tests = std::env::current_exe().unwrap();
    tests.parent().unwrap().parent().unwrap().join("examples/relay")
}

/// A page, as the server sees it.
struct Page<'a> {
    server: &'a Server,
    number: String,
}

impl Page<'_> {
    fn new(server: &Server) -> Page<'_> {
        let mut page = Page { server, number: String::new() };
        let (status, number) = page.ask("POST /page", b"");
        assert_eq!(status, 200);
        page.number = number;
        page
    }

    fn ask(&self, line: &str, body: &[u8]) -> (u16, String) {
        let host = self.server.address.to_string();
        let token = ("X-Trapline-Token", &*self.server.token);
        let headers = [("Host", &*host), token, ("X-Trapline-Page", &*self.number)];
        let (status, answer) = self.server.ask(line, &headers, body);
        (status, String::from_utf8(answer).unwrap())
    }

    fn order(&self, order: &str) -> (u16, String) {
        self.ask("POST /order", order.as_bytes())
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.ask("GET /status", b"").1).unwrap()
    }

    /// Takes a step: so the program is held, and goes on stepping.
    fn step(&self) {
        let (status, said) = self.order("step");
        assert_eq!((status, said.starts_with("done: held\n")), (200, true), "{said}");
    }
}

fn wait_until(is_so: impl Fn() -> bool) {
    let is_so = (0..1000).any(|_| {
        wait(Duration::from_millis(10));
        is_so()
    });
    assert!(is_so);
}

#[allow(clippy::disallowed_methods, reason = "for what other processes do")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

/// How many processes have this among their arguments.
fn processes_with(argument: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines
        .filter(|line| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes()))
        .count()
}

#[test]
fn program_then_it_is_held_takes_orders_and_ends_with_the_viewer() {
    let relay = relay();
    let mut server = Server::with(&[relay.to_str().unwrap(), "--virtual", "--", "7001"]);
    let page = Page::new(&server);
    assert_eq!(processes_with("7001"), 2);
    let status = page.status();
    assert!(status["held"].is_number() && status["hasProgram"] == true, "{status}");
    for _ in 0..4 {
        page.step();
    }
    assert_eq!(page.order("kill 9"), (409, "refused: no task 9 lives".into()));
    assert_eq!(page.order("kill 4").0, 200);
    for (order, said) in [
        ("break task 1", "error: a page gives no such order"),
        ("trace", "error: a page gives no such order"),
        ("step\nkill 1", "error: a page gives no such order"),
        ("", "error: a page gives no such order"),
    ] {
        assert_eq!(page.order(order), (400, said.to_owned()));
    }
    assert_eq!(page.ask("POST /order", b"kill \xff"), (400, "error: an order is UTF-8".into()));
    let (status, said) = page.order("until\ntask 3");
    assert_eq!(status, 200, "{said}");
    wait_until(|| page.status()["held"].is_number());
    // Nobody is waited for any more who has been told of.
    let length = page.status()["length"].as_u64().unwrap();
    let part = page.ask("GET /output?from=0&to=10", b"");
    assert_eq!((part.0, length > 100), (200, true));
    server.end();
    assert_eq!(processes_with("7001"), 0);
}

#[test]
fn newest_page_then_it_orders_and_those_before_are_refused() {
    let relay = relay();
    let server = Server::with(&[relay.to_str().unwrap(), "--virtual"]);
    let first = Page::new(&server);
    first.step();
    let second = Page::new(&server);
    second.step();
    let refused = (409, "refused: another page gives the orders".to_owned());
    assert_eq!(first.order("step"), refused);
    assert_eq!(first.order("again 2"), refused);
    assert_eq!(first.status()["others"], "another page gives the orders");
    assert_eq!(second.status()["others"], Value::Null);
    // A number that nobody has been given, or none.
    let nobody = Page { server: &server, number: "3".to_owned() };
    assert_eq!(nobody.order("step"), refused);
    assert_eq!(Page { server: &server, number: String::new() }.order("step"), refused);
    second.step();
}

#[test]
fn hostile_clients_then_they_are_refused_or_dropped_and_the_program_goes_on_stepping() {
    let relay = relay();
    let server = Server::with(&[relay.to_str().unwrap(), "--patience", "2", "--", "7002"]);
    let page = Page::new(&server);
    page.step();
    let (host, token) = (server.address.to_string(), server.token.clone());
    let wrong = "0".repeat(token.len());
    for headers in [
        vec![("Host", &*host), ("X-Trapline-Page", "1")],
        vec![("Host", &*host), ("X-Trapline-Page", "1"), ("X-Trapline-Token", &*wrong)],
        vec![("Host", "evil.example"), ("X-Trapline-Page", "1"), ("X-Trapline-Token", &*token)],
        vec![
            ("Host", &*host),
            ("Origin", "http://evil.example"),
            ("X-Trapline-Page", "1"),
            ("X-Trapline-Token", &*token),
        ],
    ] {
        for line in ["POST /order", "POST /page", "GET /status", "GET /trace", "GET /output"] {
            let (status, said) = server.ask(line, &headers, b"step");
            assert_eq!((status, said.starts_with(b"refused: ")), (403, true), "{headers:?}");
        }
    }
    assert_eq!(page.ask("POST /order", &vec![b'x'; 64 * 1024 + 1]).0, 413);
    assert_eq!(page.ask("POST /order", &vec![b'x'; 64 * 1024]).0, 400);
    page.step();

    // One that does not read, one that does not send, and more than there is room for.
    let mut stalled = server.begin("GET /trace");
    stalled.write_all(b"\r\n").unwrap();
    let mut upload = server.begin("POST /order");
    upload.write_all(b"Content-Length: 4\r\n\r\nst").unwrap();
    page.step();
    let idle: Vec<TcpStream> =
        (0..100).filter_map(|_| TcpStream::connect(server.address).ok()).collect();
    let mut dropped = Vec::new();
    // Nobody has asked for anything: each is dropped, at once or after the two seconds.
    for stream in &idle {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        dropped.push(matches!((&mut &*stream).read(&mut [0]), Ok(0) | Err(_)));
    }
    assert!(dropped.iter().all(|is_dropped| *is_dropped));
    let mut rest = Vec::new();
    let _ = upload.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&rest));
    page.step();
    // It has been idle for longer than anybody may stall, and there was nothing for it.
    stalled.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut head = [0; 12];
    stalled.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    assert_eq!(processes_with("7002"), 2);
}

#[test]
fn attached_then_the_program_goes_on_when_the_viewer_has_left() {
    let (relay, socket) = (relay(), Scratch::new("socket"));
    let mut program = Command::new(&relay)
        .env("TRAPLINE", format!("monitor:hold:{},virtual", socket.str()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until(|| socket.path().exists());
    let mut server = Server::with(&["--attach", socket.str()]);
    let page = Page::new(&server);
    page.step();
    page.step();
    let (status, said) = page.order("again 2");
    assert_eq!(status, 409, "{said}");
    assert_eq!(page.ask("GET /output", b"").0, 404);
    server.end();
    let mut said = String::new();
    program.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(program.wait().unwrap().success());
    assert!(said.contains("runner 3 is back, with lap 3"), "{said}");
}

#[test]
fn program_with_a_loop_of_its_own_then_it_is_told_so() {
    let output = support::trapline(["web", "/bin/sleep", "--", "5"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("has begun no run of Trapline's within 2 s"), "{said}");
    assert!(said.contains("course_on_trapline"), "{said}");
}

#[test]
fn live_page_in_chromium_then_it_steps_orders_watches_and_starts_anew() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("page-tests");
    assert!(
        Path::new("/usr/bin/chromium").exists(),
        "Chromium is missing: apt-get install --yes chromium"
    );
    assert!(
        tests.join("node_modules/playwright-core").exists(),
        "playwright-core is missing: npm ci --prefix stepper/page-tests"
    );
    let output = Command::new("node")
        .arg("--test")
        .arg(tests.join("live.test.mjs"))
        .env("TRAPLINE_BIN", env!("CARGO_BIN_EXE_trapline"))
        .env("RELAY", relay())
        .env("SCRATCH", env!("CARGO_TARGET_TMPDIR"))
        .env_remove("TRAPLINE")
        .output()
        .expect("node is there: apt-get install --yes nodejs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
