//! Who may ask: pages of this server, with the token that it has printed.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;

use hyper::HeaderMap;
use hyper::header::{HOST, HeaderName, ORIGIN};

/// The header in which a page presents the token.
const TOKEN: HeaderName = HeaderName::from_static("x-trapline-token");

pub(super) struct Guard {
    address: SocketAddr,
    token: String,
}

impl Guard {
    pub(super) fn new(address: SocketAddr) -> io::Result<Guard> {
        let mut random = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let token = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Guard { address, token })
    }

    /// What is to be opened in a browser.
    pub(super) fn link(&self) -> String {
        format!("http://{}/?token={}", self.address, self.token)
    }

    /// A name that leads here by somebody else's doing, or a page of somebody else's, is refused.
    pub(super) fn check_origin(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let names = [self.address.to_string(), format!("localhost:{}", self.address.port())];
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let Some(host) = host.filter(|host| names.iter().any(|name| name == host)) else {
            return Err("refused: this server has another name");
        };
        let mut origins = headers.get_all(ORIGIN).iter();
        match origins.all(|origin| origin.as_bytes() == format!("http://{host}").as_bytes()) {
            true => Ok(()),
            false => Err("refused: this page is somebody else's"),
        }
    }

    pub(super) fn check_token(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let given = headers.get(TOKEN).map_or(&[][..], |token| token.as_bytes());
        let token = self.token.as_bytes();
        // As long for a wrong one, wherever it is wrong.
        let differs = given.iter().zip(token).fold(0, |differs, (a, b)| differs | (a ^ b));
        match given.len() == token.len() && differs == 0 {
            true => Ok(()),
            false => Err("refused: the token is wrong"),
        }
    }
}
