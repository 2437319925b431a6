//! The scribe: what the kernel tells, as records of a trace.

mod key_frame;
mod names;
mod serials;

use std::panic::Location;
use std::rc::Rc;

use trapline_abi::{
    CallId, ExitStatus, Holder, Instant, Note, NoteValue, Object, ObjectId, On as BlockedOn, Reply,
    StackId, Syscall, Target, TaskId,
};
use trapline_scheduler::{Cause as By, Event, Fate, Step, StepEvent};

use crate::record::{
    About, Cause, Ended, Move, On, Record, Remark, SiteRef, StackRef, StepEnd, Str, TaskState,
    Value,
};
use crate::strace::shown_duration;
use names::{Names, Numbers};
use serials::Serials;

pub(crate) use key_frame::holders;

/// What a scribe writes on.
pub trait Paper {
    /// Puts a record behind the others.
    fn push(&mut self, record: Record);
}

impl Paper for Vec<Record> {
    fn push(&mut self, record: Record) {
        Vec::push(self, record);
    }
}

/// Turns events into records, with definitions of its own: each outlet has one.
///
/// Nothing is allocated for an event whose words and lines have been seen before.
#[derive(Debug, Default)]
pub struct Scribe {
    names: Names,
    threads: Vec<Option<Box<str>>>,
    /// Which things have been told of since the last reset, and which of them last.
    objects: Numbers,
    last_object: u32,
    /// Of which of them it has been told who holds them.
    holders: Numbers,
    /// The calls that are blocked, by their serials.
    blocked: Serials,
    running: Option<u64>,
    is_ordered: bool,
    /// Of which object bytes were moved, and which: by the operation that is told of next, on whose line they are.
    moved_bytes: Option<(ObjectId, Rc<[u8]>)>,
}

impl Scribe {
    /// One that has defined nothing.
    #[must_use]
    pub fn new() -> Scribe {
        Scribe::default()
    }

    /// Whether the definitions have grown so much that they are to begin anew, with a key frame.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.names.is_full()
    }

    /// The number of a text.
    pub fn text(&mut self, text: &str, out: &mut impl Paper) -> Str {
        self.names.text(text, out)
    }

    /// The task whose dispatch is not over.
    #[inline]
    pub(crate) fn running(&self) -> Option<u64> {
        self.running
    }

    /// Something about the run.
    pub fn property(&mut self, key: &'static str, value: &str, out: &mut impl Paper) {
        let (key, value) = (self.names.word(key, out), self.names.text(value, out));
        out.push(Record::Remark(Remark::Property { key, value }));
    }

    /// What the program around the scheduler does is done by an order, from here on or no longer.
    pub fn set_ordered(&mut self, is_ordered: bool) {
        self.is_ordered = is_ordered;
    }

    /// A sentence.
    pub fn say(&mut self, about: About, topic: &'static str, text: &str, out: &mut impl Paper) {
        let (topic, text) = (self.names.word(topic, out), self.names.text(text, out));
        out.push(Record::Remark(Remark::Said { about, topic, text }));
    }

    /// Hears of what is told only once: to be called with each event that is not written.
    pub fn miss(&mut self, event: &Event<'_>) {
        match event {
            Event::Frame { stack, site, around } => self.names.learn_frame(*stack, site, *around),
            Event::Thread { thread, name } => self.learn_thread(*thread, name),
            Event::Taken { task, .. } => self.running = Some(task.sequence()),
            Event::Rested { .. } => self.running = None,
            Event::Ended { task, .. } if self.running == Some(task.sequence()) => {
                self.running = None;
            }
            _ => {}
        }
    }

    /// A step is over.
    #[inline(always)]
    pub fn step_end(&mut self, step: &Step, out: &mut impl Paper) {
        out.push(Record::StepEnd(match step.event() {
            StepEvent::Trapped { .. } | StepEvent::Waits | StepEvent::Ended(_) => StepEnd::Ran,
            StepEvent::Outside { .. } => StepEnd::Outside,
            StepEvent::DriverFailed => StepEnd::DriverFailed,
            StepEvent::Deadlock => StepEnd::Deadlock,
            StepEvent::Stalled => StepEnd::Stalled,
            StepEvent::Finished => StepEnd::Finished,
        }));
    }

    /// Writes what the kernel tells.
    #[inline(always)]
    pub fn event(&mut self, event: &Event<'_>, out: &mut impl Paper) {
        match *event {
            Event::Taken { task, at } => {
                self.running = Some(task.sequence());
                out.push(moved(Move::Taken { task: task.sequence(), at_nanos: at.as_nanos() }));
            }
            Event::Rested { task, is_ready } => {
                self.running = None;
                out.push(moved(Move::Rested { task: task.sequence(), is_ready }));
            }
            Event::Ready { task, by } => {
                let by = self.cause(by, out);
                out.push(moved(Move::Ready { task: task.sequence(), by }));
            }
            Event::Trapped { .. } => self.trapped(event, out),
            Event::Answered { call, reply, by, .. } => {
                if !self.blocked.remove(call.serial()) {
                    return;
                }
                let by = self.cause(by, out);
                self.answered(call, by, reply, out);
            }
            Event::Withdrawn { task, call, request, site } => {
                self.withdrawn(call, task, (request, site), out);
            }
            Event::Noted { note } => self.noted(note, out),
            // Two of them in a step: when the look began, and when it was over.
            Event::LooksOutside { at } => {
                out.push(moved(Move::Outside { answered: 0, at_nanos: at.as_nanos() }));
            }
            Event::Outside { answered, at } => {
                let (answered, at_nanos) = (answered as u64, at.as_nanos());
                out.push(moved(Move::Outside { answered, at_nanos }));
            }
            Event::PutFirst { task } => out.push(moved(Move::PutFirst { task: task.sequence() })),
            Event::WokenRunning { task, by } => self.woken(task, by, false, out),
            Event::WokenReady { task, by } => self.woken(task, by, true, out),
            Event::Born { .. } => self.born(event, out),
            Event::Ended { task, status } => self.ended(task, status, out),
            Event::Frame { .. } | Event::Thread { .. } => self.miss(event),
            _ => self.word_beside(event, out),
        }
    }

    #[inline(never)]
    fn born(&mut self, event: &Event<'_>, out: &mut impl Paper) {
        let Event::Born { task, parent, name, daemon, site } = *event else { return };
        let name = name.map(|name| self.names.text(name, out));
        let site = self.names.site(site, out);
        out.push(moved(Move::TaskBorn {
            task: task.sequence(),
            parent: parent.map(TaskId::sequence),
            name,
            site,
            daemon,
            state: TaskState::Ready,
            dispatches: 0,
        }));
    }

    #[inline(never)]
    fn ended(&mut self, task: TaskId, status: &ExitStatus, out: &mut impl Paper) {
        let number = task.sequence();
        if let ExitStatus::Panicked(text) = status {
            self.say(About::Task(number), "panic", text, out);
        }
        if self.running == Some(number) {
            self.running = None;
        }
        let how = match status {
            ExitStatus::Panicked(_) => Ended::Panicked,
            ExitStatus::Killed => Ended::Killed,
            ExitStatus::Cancelled(_) => Ended::Cancelled,
            _ => Ended::Returned,
        };
        out.push(moved(Move::TaskEnded { task: number, how }));
    }

    #[inline(always)]
    fn trapped(&mut self, event: &Event<'_>, out: &mut impl Paper) {
        let Event::Trapped {
            task,
            call,
            request,
            site,
            stack,
            label,
            object,
            ref holder,
            deadline,
            fate,
            ..
        } = *event
        else {
            return;
        };
        let asked = Asked { request, label, object, deadline };
        if matches!(fate, Fate::Gone) {
            // It has ended its own caller, and both are gone already.
            let (word, _) = word_of(request, label);
            self.say(About::Task(task.sequence()), "last call", word, out);
            return;
        }
        if let (Some(object), Some(holder)) = (object, holder) {
            self.held(object, holder, out);
        }
        if self.running != Some(task.sequence()) {
            // It ended in the same turn, and the call is served nevertheless: somebody else may have it.
            if let Fate::Block(on) = fate {
                self.begun(call, 0, &asked, (site, stack), out);
                self.blocked(call, on, &asked, out);
            }
            return;
        }
        self.begun(call, task.sequence(), &asked, (site, stack), out);
        match fate {
            Fate::Block(on) => self.blocked(call, on, &asked, out),
            Fate::Answer(reply) | Fate::Yield(reply) => {
                self.answered(call, Cause::Task(task.sequence()), reply, out);
            }
            Fate::Gone => {}
        }
    }

    #[inline(always)]
    fn begun(
        &mut self,
        call: CallId,
        task: u64,
        asked: &Asked<'_>,
        (site, stack): (&'static Location<'static>, StackId),
        out: &mut impl Paper,
    ) {
        if let Some(object) = asked.object {
            self.object(object, out);
        }
        let (word, argument) = word_of(asked.request, asked.label);
        let argument = match argument {
            Argument::Plain(value) => value,
            Argument::Word(word) => Value::Text(self.names.word(word, out)),
            Argument::Thing(other) => {
                asked.object.map_or(other, |object| Value::Object(u64::from(object.id.number())))
            }
        };
        let what = self.names.word(word, out);
        let (site, stack) = (self.names.site(site, out), self.names.stack(stack, out));
        let call = call.serial();
        out.push(moved(Move::CallBegun { call, task, what, argument, site, stack }));
    }

    #[inline(always)]
    fn blocked(&mut self, call: CallId, on: BlockedOn, asked: &Asked<'_>, out: &mut impl Paper) {
        let call = call.serial();
        self.blocked.insert(call);
        let on = self.blocked_on(on, asked, out);
        out.push(moved(Move::CallBlocked { call, on }));
    }

    #[inline(always)]
    fn blocked_on(&mut self, on: BlockedOn, asked: &Asked<'_>, out: &mut impl Paper) -> On {
        let role = match on {
            BlockedOn::Timer(_) => {
                let at_nanos = asked.deadline.map_or(0, Instant::as_nanos);
                return On::Deadline { at_nanos };
            }
            BlockedOn::Exit(task) => return On::Exit { task: task.sequence() },
            BlockedOn::Own => return On::Somebody,
            BlockedOn::Readable(_) => "read",
            BlockedOn::Writable(_) => "write",
            BlockedOn::Queue(_) => "token",
        };
        match (asked.object, asked.request) {
            (Some(object), _) => {
                self.object(object, out);
                let object = u64::from(object.id.number());
                On::Object { object, role: self.names.word(role, out) }
            }
            (None, Syscall::ReadWait(target) | Syscall::WriteWait(target)) => match target.source()
            {
                Err(fd) => On::Descriptor { fd, role: self.names.word(role, out) },
                Ok(_) => On::Somebody,
            },
            (None, _) => On::Somebody,
        }
    }

    #[inline(always)]
    fn answered(&mut self, call: CallId, by: Cause, reply: Reply, out: &mut impl Paper) {
        let reply = match reply {
            Reply::Done | Reply::Outcome(_) | Reply::Beside => Value::Nothing,
            Reply::Task(task) => Value::Task(task.sequence()),
            Reply::Time(time) => Value::Time(time.as_nanos()),
            Reply::Os(errno) => Value::Os(errno.to_error().raw_os_error().unwrap_or_default()),
            Reply::Token => Value::Text(self.names.word("a token", out)),
            Reply::Exited(ended) => Value::Text(self.names.word(ended_word(ended), out)),
            Reply::AlreadyEnded => Value::Text(self.names.word("already ended", out)),
            Reply::AlreadyCancelled => Value::Text(self.names.word("already cancelled", out)),
            Reply::NoSuchTask => Value::Text(self.names.word("no such task", out)),
            Reply::TooManyTasks => Value::Text(self.names.word("too many tasks", out)),
            Reply::SourceClosed => Value::Text(self.names.word("closed", out)),
        };
        out.push(moved(Move::CallAnswered { call: call.serial(), by, reply }));
    }

    /// A call is dropped. One that had not been served yet was not heard of before: the task that runs made
    /// it, and thought better of it in the same step.
    fn withdrawn(
        &mut self,
        call: CallId,
        task: Option<TaskId>,
        (request, site): (Syscall, &'static Location<'static>),
        out: &mut impl Paper,
    ) {
        if !self.blocked.remove(call.serial()) {
            let Some(task) = task.filter(|task| self.running == Some(task.sequence())) else {
                return;
            };
            let asked = Asked { request, label: None, object: None, deadline: None };
            self.begun(call, task.sequence(), &asked, (site, StackId::EMPTY), out);
        }
        out.push(moved(Move::CallWithdrawn { call: call.serial() }));
    }

    #[inline(never)]
    fn woken(&mut self, task: TaskId, by: By, redundant: bool, out: &mut impl Paper) {
        let by = self.cause(by, out);
        out.push(Record::Remark(Remark::Woken { task: task.sequence(), by, redundant }));
    }

    #[inline(always)]
    fn noted(&mut self, note: &Note, out: &mut impl Paper) {
        match *note {
            Note::Set { ref object, field, ref value } => {
                self.object(object, out);
                if matches!(value, NoteValue::Held { .. } | NoteValue::Nothing) {
                    self.holders.insert(object.id.number());
                }
                let field = self.names.word(field, out);
                let value = self.note_value(value, out);
                let object = u64::from(object.id.number());
                out.push(moved(Move::FieldSet { object, field, value }));
            }
            Note::Done { ref object, operation, result, site, stack } => {
                self.object(object, out);
                let is_bytes = matches!(operation, "read" | "write" | "recv" | "send_to");
                let result = match result {
                    Ok(bytes) if is_bytes => Value::Bytes(bytes),
                    Ok(count) => Value::Count(count),
                    Err(errno) => Value::Os(errno),
                };
                let operation = self.names.word(operation, out);
                let place = (self.names.site(site, out), self.names.stack(stack, out));
                self.done(object.id.number(), operation, result, place, out);
                if let Some((_, bytes)) = self.moved_bytes.take().filter(|(of, _)| *of == object.id)
                {
                    let operation = self.names.word("bytes", out);
                    let bytes = Value::Payload(bytes.to_vec());
                    self.done(object.id.number(), operation, bytes, place, out);
                }
            }
            Note::Bytes { object, ref bytes } => {
                self.moved_bytes = Some((object, Rc::clone(bytes)))
            }
            Note::Gone { object } if self.objects.remove(object.number()) => {
                self.last_object = 0;
                let object = u64::from(object.number());
                out.push(moved(Move::ObjectEnded { object }));
            }
            Note::Withdrawn { call, task, request, site } => {
                self.withdrawn(call, task, (request, site), out);
            }
            Note::Booked { call, task } => {
                let (call, task) = (call.serial(), task.map(TaskId::sequence));
                if self.blocked.contains(call) {
                    out.push(moved(Move::CallBooked { call, task }));
                }
            }
            _ => {}
        }
    }

    #[inline(always)]
    fn done(
        &mut self,
        object: u32,
        operation: Str,
        result: Value,
        (site, stack): (SiteRef, StackRef),
        out: &mut impl Paper,
    ) {
        let (task, object) = (self.running, u64::from(object));
        out.push(Record::Remark(Remark::Done { task, object, operation, result, site, stack }));
    }

    fn note_value(&mut self, value: &NoteValue, out: &mut impl Paper) -> Value {
        match *value {
            NoteValue::Count(count) => Value::Count(count),
            NoteValue::Text(text) => Value::Text(self.names.word(text, out)),
            NoteValue::Held { task, since } => {
                Value::Held { task: task.map(TaskId::sequence), since: self.names.site(since, out) }
            }
            _ => Value::Nothing,
        }
    }

    /// Tells who holds a thing, where that has not been done: of what is held on through a gap, the library
    /// told within it.
    fn held(&mut self, object: &Object, holder: &Holder, out: &mut impl Paper) {
        if self.holders.insert(object.id.number()) {
            self.object(object, out);
            self.write_holder(u64::from(object.id.number()), holder, out);
        }
    }

    /// Tells of a thing, where that has not been done.
    #[inline(always)]
    fn object(&mut self, object: &Object, out: &mut impl Paper) {
        // Numbers begin at 1.
        if object.id.number() != self.last_object {
            self.other_object(object, out);
        }
    }

    #[inline(never)]
    fn other_object(&mut self, object: &Object, out: &mut impl Paper) {
        self.last_object = object.id.number();
        if self.objects.insert(object.id.number()) {
            self.new_object(object, out);
        }
    }

    #[cold]
    fn new_object(&mut self, object: &Object, out: &mut impl Paper) {
        let kind = self.names.word(object.kind, out);
        let name = object.name.as_deref().map(|name| self.names.text(name, out));
        let site = object.site.map(|site| self.names.site(site, out));
        let object = u64::from(object.id.number());
        out.push(moved(Move::ObjectBorn { object, kind, name, site }));
    }

    #[inline(always)]
    fn cause(&mut self, by: By, out: &mut impl Paper) -> Cause {
        match by {
            By::Task(task) => Cause::Task(task.sequence()),
            By::Exit(task) => Cause::Exit(task.sequence()),
            By::Timer => Cause::Timer,
            By::Source(fd) => Cause::Source(fd),
            By::Thread(thread) => {
                let name = self.threads.get(thread as usize).and_then(Option::as_deref);
                Cause::Thread(self.names.text(name.unwrap_or("?"), out))
            }
            By::Program if self.is_ordered => Cause::Order,
            By::Program => Cause::Program,
            _ => Cause::Outside,
        }
    }

    fn learn_thread(&mut self, thread: u32, name: &str) {
        let index = thread as usize;
        self.threads.resize(self.threads.len().max(index + 1), None);
        self.threads[index] = Some(name.into());
    }

    /// What is only shown.
    #[cold]
    #[inline(never)]
    fn word_beside(&mut self, event: &Event<'_>, out: &mut impl Paper) {
        let (about, topic, text) = match event {
            Event::Cancelled { task, why } => {
                (About::Task(task.sequence()), "cancelled", why.to_string())
            }
            Event::Failed { task, text } => {
                (About::Task(task.sequence()), "failure", (*text).to_owned())
            }
            Event::Stalled { report } => (About::Run, "stalled", report.to_string()),
            Event::LockCycle { report } => {
                let tasks = report.cycle.iter().map(|task| task.sequence()).collect();
                out.push(Record::Remark(Remark::Cycle { tasks }));
                return;
            }
            Event::SlowStep { task, took, from, to } => {
                let to = to.map_or_else(String::new, |to| format!(" to {to}"));
                let took = shown_duration(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
                let text = format!("kept the loop for {took}, from {from}{to}");
                (About::Task(task.sequence()), "slow", text)
            }
            Event::Warning { text, site } => (About::Run, "warning", format!("{text} at {site}")),
            _ => return,
        };
        self.say(about, topic, &text, out);
    }
}

/// What a call asks, beside its request.
struct Asked<'a> {
    request: Syscall,
    label: Option<&'static str>,
    object: Option<&'a Object>,
    deadline: Option<Instant>,
}

/// The argument of a call.
pub(crate) enum Argument {
    Plain(Value),
    Word(&'static str),
    /// The thing that it is about; this, where that is not known.
    Thing(Value),
}

/// What is asked, in a word, and with what argument. The word is that of the request's `Display`.
pub(crate) fn word_of(request: Syscall, label: Option<&'static str>) -> (&'static str, Argument) {
    let plain = |value| Argument::Plain(value);
    let descriptor = |target: Target| {
        Argument::Thing(match target.source() {
            Err(fd) => Value::Descriptor(fd),
            Ok(_) => Value::Nothing,
        })
    };
    match request {
        Syscall::GetTid => ("get_tid", plain(Value::Nothing)),
        Syscall::Yield => ("yield_now", plain(Value::Nothing)),
        Syscall::Spawn => ("spawn", plain(Value::Nothing)),
        Syscall::SpawnDaemon => ("spawn", Argument::Word("daemon")),
        Syscall::Wait(task) => ("wait", plain(Value::Task(task.sequence()))),
        Syscall::Join(task) => ("join", plain(Value::Task(task.sequence()))),
        Syscall::Kill(task) => ("kill", plain(Value::Task(task.sequence()))),
        Syscall::Cancel(task) => ("cancel", plain(Value::Task(task.sequence()))),
        Syscall::Now => ("now", plain(Value::Nothing)),
        Syscall::Sleep { nanos } => ("sleep", plain(Value::Nanos(nanos))),
        Syscall::SleepUntil(deadline) => ("sleep_until", plain(Value::Time(deadline.as_nanos()))),
        Syscall::ReadWait(target) => ("read_wait", descriptor(target)),
        Syscall::WriteWait(target) => ("write_wait", descriptor(target)),
        Syscall::Park(_) => ("park", Argument::Thing(Value::Nothing)),
        Syscall::Own => (label.unwrap_or("own_call"), plain(Value::Nothing)),
    }
}

fn ended_word(ended: trapline_abi::Ended) -> &'static str {
    use trapline_abi::Ended;
    match ended {
        Ended::Returned => "returned",
        Ended::Panicked => "panicked",
        Ended::Killed => "killed",
        Ended::Cancelled => "cancelled",
        Ended::Forgotten => "ended",
    }
}

fn moved(change: Move) -> Record {
    Record::Move(change)
}
