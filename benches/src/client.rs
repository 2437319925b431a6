//! The echo client: raw `epoll`, one message under way on each connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use crate::harness::Result;

const MESSAGE: usize = 1024;

/// A server that has sent nothing for so long has lost something.
const PATIENCE: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };

pub(crate) struct Client {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    events: Vec<epoll::Event>,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr, connections: usize) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let connections = (0..connections)
            .map(|i| {
                let connection = Connection::new(TcpStream::connect(addr)?, i)?;
                let data = epoll::EventData::new_u64(i as u64);
                epoll::add(&epoll, &connection.stream, data, epoll::EventFlags::IN)?;
                Ok(connection)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { epoll, events: Vec::with_capacity(connections.len()), connections })
    }

    /// Sends so many messages over all connections together, and has each come back as it was.
    pub(crate) fn run(&mut self, requests: u64) -> Result<()> {
        let mut to_send = requests;
        let mut to_come = 0;
        for connection in &mut self.connections {
            if to_send > 0 {
                connection.send()?;
                to_send -= 1;
                to_come += 1;
            }
        }
        while to_come > 0 {
            self.events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&PATIENCE))?;
            if self.events.is_empty() {
                return Err(format!("no answer to {to_come} of {requests} messages").into());
            }
            for event in &self.events {
                let data = event.data;
                let connection = &mut self.connections[data.u64() as usize];
                if connection.receive()? {
                    to_come -= 1;
                    if to_send > 0 {
                        connection.send()?;
                        to_send -= 1;
                        to_come += 1;
                    }
                }
            }
        }
        Ok(())
    }
}

struct Connection {
    stream: TcpStream,
    sent: [u8; MESSAGE],
    received: [u8; MESSAGE],
    /// How much of `received` is there.
    filled: usize,
    serial: u64,
}

impl Connection {
    fn new(stream: TcpStream, number: usize) -> Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        // No two connections send the same: an answer to another one is noticed.
        let sent = std::array::from_fn(|i| (i.wrapping_mul(31) ^ number ^ (number >> 8)) as u8);
        Ok(Self { stream, sent, received: [0; MESSAGE], filled: 0, serial: (number as u64) << 32 })
    }

    fn send(&mut self) -> Result<()> {
        self.serial += 1;
        self.sent[..8].copy_from_slice(&self.serial.to_le_bytes());
        // The socket's buffer is empty: the message before has come back.
        match (&self.stream).write(&self.sent)? {
            MESSAGE => Ok(()),
            n => Err(format!("a socket took {n} bytes of {MESSAGE}").into()),
        }
    }

    /// True when the whole message is back.
    fn receive(&mut self) -> Result<bool> {
        match (&self.stream).read(&mut self.received[self.filled..]) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(n) => self.filled += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        if self.filled < MESSAGE {
            return Ok(false);
        }
        self.filled = 0;
        if self.received != self.sent {
            return Err(io::Error::other("a message came back changed").into());
        }
        Ok(true)
    }
}
