//! `trapline web`, started, and asked over bare sockets.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(unreachable_pub, reason = "a module of several test programs")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::support::{Scratch, command};

/// A server, which ends with this.
pub struct Server {
    pub child: Child,
    pub link: String,
    pub address: SocketAddr,
    pub token: String,
}

impl Server {
    pub fn new(trace: &Scratch) -> Server {
        Server::with(&[trace.str()])
    }

    pub fn with(arguments: &[&str]) -> Server {
        let mut child =
            command([&["web"], arguments].concat()).stdout(Stdio::piped()).spawn().unwrap();
        let mut link = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut link).unwrap();
        let link = link.trim_end().to_owned();
        let (address, token) =
            link.strip_prefix("http://").unwrap().split_once("/?token=").unwrap();
        let (address, token) = (address.parse().unwrap(), token.to_owned());
        Server { child, link, address, token }
    }

    /// Sends a request with these headers, and gives what comes back, to the end.
    pub fn ask(&self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let mut request = format!("{line} HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        // It may have been refused before all of it was there.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer");
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer[end + 4..].to_vec())
    }

    /// A connection on which a request has been sent, or its beginning.
    pub fn begin(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let own = format!("Host: {}\r\nX-Trapline-Token: {}\r\n", self.address, self.token);
        stream.write_all(format!("{request} HTTP/1.1\r\n{own}").as_bytes()).unwrap();
        stream
    }

    pub fn trace(&self, headers: &[(&str, &str)]) -> (u16, Vec<u8>) {
        self.ask("GET /trace", headers, b"")
    }
}

impl Server {
    /// As by Ctrl-C.
    pub fn end(&mut self) {
        let pid = Pid::from_raw(self.child.id() as i32).unwrap();
        let _ = kill_process(pid, Signal::INT);
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
