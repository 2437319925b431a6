//! A program in a pseudo-terminal, and the screen that it paints.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(unreachable_pub, reason = "a module of several test programs")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// Long enough for anything that is to happen on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(10);

/// So long is nothing written where a picture is finished.
const REST: Duration = Duration::from_millis(200);

pub struct Terminal {
    master: File,
    /// Kept open, so that its modes can be asked for when the program has ended.
    slave: OwnedFd,
    bytes: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    /// All that was ever written.
    written: Vec<u8>,
    pub child: Child,
}

impl Terminal {
    /// Starts a program in a terminal of this size, of which it is the session's leader.
    pub fn start(program: &str, arguments: &[&str], columns: u16, rows: u16) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
        tcsetwinsize(&slave, size(columns, rows)).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = Command::new("setsid")
            .args(["--ctty", program])
            .args(arguments)
            .env_remove("NO_COLOR")
            .env_remove("TRAPLINE")
            .env("TERM", "xterm-256color")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let master = File::from(master);
        let bytes = read_on(master.try_clone().unwrap());
        let screen = vt100::Parser::new(nonzero(rows), nonzero(columns), 0);
        Terminal { master, slave, bytes, screen, written: Vec::new(), child }
    }

    pub fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.screen.screen_mut().set_size(nonzero(rows), nonzero(columns));
        tcsetwinsize(&self.slave, size(columns, rows)).unwrap();
    }

    /// Waits until a text is on the screen.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        self.wait_until(text, |screen| screen.contains(text))
    }

    /// Waits until the screen is as wanted, and gives it.
    #[track_caller]
    #[allow(clippy::disallowed_methods, reason = "a clock that is painted is no end of it")]
    pub fn wait_until(&mut self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let begin = Instant::now();
        loop {
            let screen = self.contents();
            if is_there(&screen) {
                return screen;
            }
            let left = PATIENCE.saturating_sub(begin.elapsed());
            match self.bytes.recv_timeout(left) {
                Ok(bytes) if !left.is_zero() => self.process(&bytes),
                _ => panic!("no {what:?} on the screen:\n{screen}"),
            }
        }
    }

    /// The screen once nothing more is painted.
    pub fn settled(&mut self) -> String {
        loop {
            match self.bytes.recv_timeout(REST) {
                Ok(bytes) => self.process(&bytes),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return self.contents();
                }
            }
        }
    }

    fn process(&mut self, bytes: &[u8]) {
        self.screen.process(bytes);
        self.written.extend_from_slice(bytes);
    }

    /// Whether this has ever been on the screen, in one piece.
    pub fn has_written(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.written).contains(text)
    }

    pub fn contents(&self) -> String {
        self.screen.screen().contents()
    }

    pub fn screen(&self) -> &vt100::Screen {
        self.screen.screen()
    }

    /// Whether the terminal is as a shell wants it: echoing, in lines, with signals by keys.
    pub fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.slave).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    /// Waits for the end of the program.
    pub fn end(&mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        self.settled();
        status
    }

    /// That nothing of ours is left behind on the terminal.
    #[track_caller]
    pub fn assert_given_back(&self) {
        assert!(self.is_cooked(), "the terminal is still raw");
        assert!(!self.screen().alternate_screen(), "the screen is still ours");
        assert!(!self.screen().hide_cursor(), "the cursor is still hidden");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn nonzero(size: u16) -> NonZero<u16> {
    NonZero::new(size).unwrap()
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }
}

fn read_on(mut master: File) -> Receiver<Vec<u8>> {
    let (sender, bytes) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = master.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    bytes
}
