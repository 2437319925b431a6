//! Who is there, in which room, and how they are told something.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use trapline::TaskId;
use trapline::channel::{Receiver, Sender, channel};

/// How many lines may wait for a reader. One more, and the reader is too slow.
const WAITING: usize = 64;

/// The room where everybody begins.
const LOBBY: &str = "lobby";

/// A line on its way to many.
pub(crate) type Message = Rc<str>;

/// All who are there.
#[derive(Default)]
pub(crate) struct Hall {
    guests: RefCell<BTreeMap<u64, Guest>>,
    next: Cell<u64>,
    lines: Cell<u64>,
}

struct Guest {
    nick: String,
    room: String,
    outbox: Sender<Message>,
    task: TaskId,
}

/// Somebody's place in the hall. They have left when it is dropped, whatever the reason.
pub(crate) struct Seat {
    hall: Rc<Hall>,
    number: u64,
}

impl Hall {
    /// Takes somebody in, and says where what they are told can be read.
    pub(crate) fn enter(self: &Rc<Hall>, task: TaskId) -> (Seat, Receiver<Message>) {
        let number = self.next.get() + 1;
        self.next.set(number);
        let (outbox, inbox) = channel(WAITING);
        let mut nick = format!("guest{number}");
        while self.find(&nick).is_some() {
            nick.push('_');
        }
        let guest = Guest { nick, room: LOBBY.to_owned(), outbox, task };
        self.guests.borrow_mut().insert(number, guest);
        let seat = Seat { hall: Rc::clone(self), number };
        self.tell_room(LOBBY, number, &format!("* {} is here", seat.nick()));
        (seat, inbox)
    }

    /// How many lines were passed on.
    pub(crate) fn lines(&self) -> u64 {
        self.lines.get()
    }

    /// Tells everybody.
    pub(crate) fn tell_all(&self, line: &str) {
        self.tell(line, |_, _| true);
    }

    /// Tells all in a room but one.
    fn tell_room(&self, room: &str, but: u64, line: &str) {
        self.tell(line, |number, guest| number != but && guest.room == room);
    }

    fn find(&self, nick: &str) -> Option<u64> {
        let guests = self.guests.borrow();
        guests.iter().find(|(_, guest)| guest.nick == nick).map(|(number, _)| *number)
    }

    /// Tells those that are meant, without waiting for any of them. Who has no room for one more line is
    /// put out: the task that serves them is killed, which gives up their seat.
    fn tell(&self, line: &str, is_meant: impl Fn(u64, &Guest) -> bool) {
        let message: Message = line.into();
        for (number, guest) in &*self.guests.borrow() {
            if is_meant(*number, guest) && guest.outbox.try_send(Rc::clone(&message)).is_err() {
                trapline::post_kill(guest.task);
            }
        }
    }
}

impl Seat {
    pub(crate) fn nick(&self) -> String {
        self.hall.guests.borrow().get(&self.number).map_or_else(String::new, |me| me.nick.clone())
    }

    fn room(&self) -> String {
        self.hall.guests.borrow().get(&self.number).map_or_else(String::new, |me| me.room.clone())
    }

    /// Tells the one who sits here.
    pub(crate) fn hear(&self, line: &str) {
        self.hall.tell(line, |number, _| number == self.number);
    }

    /// Says something to the others in the room.
    pub(crate) fn say(&self, text: &str) {
        self.hall.lines.set(self.hall.lines.get() + 1);
        self.hall.tell_room(&self.room(), self.number, &format!("<{}> {text}", self.nick()));
    }

    /// Says something to one person.
    pub(crate) fn whisper(&self, to: &str, text: &str) {
        let Some(to) = self.hall.find(to) else {
            return self.hear(&format!("? nobody is called {to}"));
        };
        self.hall.lines.set(self.hall.lines.get() + 1);
        let line = format!("({}) {text}", self.nick());
        self.hall.tell(&line, |number, _| number == to);
    }

    /// Takes another name.
    pub(crate) fn rename(&self, nick: &str) {
        if self.hall.find(nick).is_some() {
            return self.hear(&format!("? somebody is called {nick} already"));
        }
        let before = self.nick();
        if let Some(me) = self.hall.guests.borrow_mut().get_mut(&self.number) {
            nick.clone_into(&mut me.nick);
        }
        let room = self.room();
        let line = format!("* {before} is now called {nick}");
        self.hall.tell(&line, |_, guest| guest.room == room);
    }

    /// Goes to another room.
    pub(crate) fn join(&self, room: &str) {
        let (nick, before) = (self.nick(), self.room());
        if before == room {
            return self.hear(&format!("? this is {room}"));
        }
        self.hall.tell_room(&before, self.number, &format!("* {nick} has gone to {room}"));
        if let Some(me) = self.hall.guests.borrow_mut().get_mut(&self.number) {
            room.clone_into(&mut me.room);
        }
        self.hear(&format!("* this is {room}"));
        self.hall.tell_room(room, self.number, &format!("* {nick} is here"));
    }

    /// Who is in the room, in the order in which they came to the hall.
    pub(crate) fn who(&self) {
        let room = self.room();
        let guests = self.hall.guests.borrow();
        let here = guests.values().filter(|guest| guest.room == room);
        let names: Vec<_> = here.map(|guest| guest.nick.as_str()).collect();
        let line = format!("* in {room}: {}", names.join(", "));
        drop(guests);
        self.hear(&line);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(me) = self.hall.guests.borrow_mut().remove(&self.number) else { return };
        self.hall.tell_room(&me.room, self.number, &format!("* {} has left", me.nick));
    }
}
