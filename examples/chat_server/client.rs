//! One client, from beginning to end.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{Either, select};
use trapline::channel::Receiver;
use trapline::net::TcpStream;

use crate::hall::{Hall, Message, Seat};
use crate::lines::{LONGEST, Line, Lines};

/// How long a client that leaves has to read what it was told.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a name may be, of a person or a room.
const LONGEST_NAME: usize = 16;

/// Serves a client. Reading and writing go on side by side, in one task, so that to kill it is to be rid
/// of both.
#[trapline::traced]
pub(crate) async fn converse(hall: Rc<Hall>, stream: TcpStream, _peer: SocketAddr, idle: Duration) {
    let _a_matter_of_speed = stream.set_nodelay(true);
    let me = trapline::get_tid().await;
    let (seat, inbox) = hall.enter(me);
    seat.hear(&format!("* welcome, {}; this is lobby", seat.nick()));
    let writing = pin!(write_all(&stream, &inbox));
    // Boxed, so that it is gone, with what it borrows, when it has ended.
    let reading = obey(&seat, Lines::new(&stream), idle).boxed_local();
    let Either::Left((goodbye, writing)) = select(reading, writing).await else { return };
    if let Ok(goodbye) = goodbye {
        seat.hear(goodbye);
    }
    // With the seat goes the sender, so that the writing comes to an end.
    drop(seat);
    let _gone_or_deaf = trapline::timeout(LAST_WORDS, writing).await;
}

/// Does what the client writes. Gives the last word to it.
#[trapline::traced]
async fn obey(seat: &Seat, mut lines: Lines<'_>, idle: Duration) -> io::Result<&'static str> {
    loop {
        let Ok(line) = trapline::timeout(idle, lines.next()).await else {
            return Ok("* you have said nothing for too long; goodbye");
        };
        match line? {
            Line::End => return Ok("* goodbye"),
            Line::TooLong => seat.hear(&format!("? a line has at most {LONGEST} bytes")),
            Line::Text(text) if text.is_empty() => {}
            Line::Text(text) => match text.strip_prefix('/') {
                None => seat.say(&text),
                Some("quit") => return Ok("* goodbye"),
                Some(command) => do_command(seat, command),
            },
        }
        // Those who were told shall have read it before there is more: of many lines that came at once,
        // nobody is to be called slow.
        trapline::yield_now().await;
    }
}

fn do_command(seat: &Seat, command: &str) {
    let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
    let rest = rest.trim();
    match name {
        "nick" if is_name(rest) => seat.rename(rest),
        "join" if is_name(rest) => seat.join(rest),
        "nick" | "join" => {
            seat.hear(&format!("? a name is 1 to {LONGEST_NAME} letters, digits, - and _"));
        }
        "who" => seat.who(),
        "msg" => match rest.split_once(' ') {
            Some((to, text)) => seat.whisper(to, text.trim_start()),
            None => seat.hear("? /msg NAME TEXT"),
        },
        _ => seat.hear(&format!("? there is no /{name}: /nick, /join, /who, /msg, /quit")),
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(allowed)
}

/// Writes what comes, until nothing does any more, or the peer is gone.
#[trapline::traced]
async fn write_all(stream: &TcpStream, inbox: &Receiver<Message>) -> io::Result<()> {
    while let Some(message) = inbox.recv().await {
        stream.write_all(message.as_bytes()).await?;
        stream.write_all(b"\n").await?;
    }
    Ok(())
}
