//! A mirror of the kernel that knows nothing but the events it hears: if it agrees with the kernel's own
//! snapshot at every step, the events tell all there is to tell.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(unreachable_pub, reason = "a module of several test programs")]

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::rc::Rc;

use trapline::{
    CallId, CallInfo, CallState, Event, Fate, Holder, Note, NoteValue, ObjectId, On, Probe,
    Scheduler, Syscall, TaskId, TaskState,
};

/// So many events are shown beside a fault.
const MANY_LINES: usize = 60;

/// A mirror that the probe and the test share.
#[derive(Clone, Default)]
pub struct Mirror(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    tasks: BTreeMap<TaskId, Doing>,
    running: Option<TaskId>,
    ready: VecDeque<TaskId>,
    /// The blocked calls, by their serial numbers.
    calls: BTreeMap<u64, Call>,
    /// Who waits for a thing, in order.
    lines: BTreeMap<ObjectId, Vec<CallId>>,
    holders: BTreeMap<ObjectId, Held>,
    /// The frames and the threads that were told of.
    frames: u32,
    threads: u32,
    /// The latest events, for whoever looks for a fault.
    latest: VecDeque<String>,
    wrong: Vec<String>,
}

/// As the holder of a thing was last told.
type Held = Option<(Option<TaskId>, &'static std::panic::Location<'static>)>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doing {
    Running,
    Ready,
    Blocked,
}

struct Call {
    id: CallId,
    task: Option<TaskId>,
    object: Option<ObjectId>,
    /// All else that is known of it.
    words: String,
}

impl State {
    fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(what());
        }
    }

    /// Takes a task from one state into the next.
    fn go(&mut self, task: TaskId, from: Doing, to: Doing) {
        let was = self.tasks.insert(task, to);
        self.expect(was == Some(from), || format!("{task} was {was:?}, not {from:?}"));
    }

    fn take(&mut self, task: TaskId) {
        let first = self.ready.pop_front();
        self.expect(first == Some(task), || format!("{task} is taken, but {first:?} is first"));
        let running = self.running.replace(task);
        self.expect(running.is_none(), || format!("{task} is taken, but {running:?} runs"));
        self.go(task, Doing::Ready, Doing::Running);
    }

    fn rest(&mut self, task: TaskId, is_ready: bool) {
        let running = self.running.take();
        self.expect(running == Some(task), || format!("{task} rests, but {running:?} ran"));
        self.go(task, Doing::Running, if is_ready { Doing::Ready } else { Doing::Blocked });
        if is_ready {
            self.ready.push_back(task);
        }
    }

    fn end(&mut self, task: TaskId) {
        let was = self.tasks.remove(&task);
        self.expect(was.is_some(), || format!("{task} ends, which does not live"));
        self.running = self.running.filter(|running| *running != task);
        self.ready.retain(|ready| *ready != task);
    }

    fn forget(&mut self, id: CallId, why: &str) {
        let call = self.calls.remove(&id.serial());
        self.expect(call.is_some(), || format!("call {} is {why}, but not blocked", id.serial()));
        if let Some(object) = call.and_then(|call| call.object)
            && let Some(line) = self.lines.get_mut(&object)
        {
            line.retain(|other| *other != id);
        }
    }

    fn obey(&mut self, event: &Event<'_>) {
        if self.latest.len() == MANY_LINES {
            self.latest.pop_front();
        }
        self.latest.push_back(event.to_string());
        match *event {
            Event::Born { task, .. } => {
                let was = self.tasks.insert(task, Doing::Ready);
                self.expect(was.is_none(), || format!("{task} is born twice"));
                self.ready.push_back(task);
            }
            Event::Ready { task, .. } => {
                self.go(task, Doing::Blocked, Doing::Ready);
                self.ready.push_back(task);
            }
            Event::WokenRunning { task, .. } => self.go(task, Doing::Running, Doing::Running),
            Event::WokenReady { task, .. } => self.go(task, Doing::Ready, Doing::Ready),
            Event::PutFirst { task } => {
                self.go(task, Doing::Ready, Doing::Ready);
                self.ready.retain(|ready| *ready != task);
                self.ready.push_front(task);
            }
            Event::Taken { task, .. } => self.take(task),
            Event::Rested { task, is_ready } => self.rest(task, is_ready),
            Event::Ended { task, .. } => self.end(task),
            Event::Answered { call, .. } => self.forget(call, "answered"),
            Event::Withdrawn { call, .. } => self.forget(call, "withdrawn"),
            Event::Trapped { task, call, fate, .. } => {
                // One that ended its own caller is told of when that is over.
                let running = self.running.filter(|_| fate != Fate::Gone).unwrap_or(task);
                self.expect(running == task, || format!("{task} asks, and {running:?} runs"));
                if let Fate::Block(_) = fate {
                    self.block(task, call, event);
                }
            }
            Event::Noted { note } => self.note(note),
            Event::Frame { stack, around, .. } => {
                self.frames += 1;
                let known = stack.number() == self.frames && around < stack;
                self.expect(known, || format!("{event}"));
            }
            Event::Thread { thread, .. } => {
                self.threads += 1;
                let known = thread == self.threads;
                self.expect(known, || format!("{event}"));
            }
            _ => {}
        }
    }

    fn block(&mut self, by: TaskId, id: CallId, event: &Event<'_>) {
        let Event::Trapped { request, site, stack, label, object, deadline, fate, .. } = *event
        else {
            return;
        };
        let Fate::Block(on) = fate else { return };
        let object = object.map(|object| object.id);
        let known = stack.number() <= self.frames;
        self.expect(known, || format!("{event} in a frame that nobody was told of"));
        if let (On::Queue(_), Some(object)) = (on, object) {
            self.lines.entry(object).or_default().push(id);
        }
        let stack = stack.number();
        let words = words_of((request, on), site, stack, label, object, deadline);
        let call = Call { id, task: Some(by), object, words };
        let was = self.calls.insert(id.serial(), call);
        self.expect(was.is_none(), || format!("call {} is made twice", id.serial()));
    }

    fn note(&mut self, note: &Note) {
        match note {
            Note::Booked { call, task } => match self.calls.get_mut(&call.serial()) {
                Some(known) => known.task = *task,
                None => self.wrong.push(format!("{note:?}, which is not blocked")),
            },
            Note::Set { object, field: "holder", value } => {
                let held = match value {
                    NoteValue::Held { task, since } => Some((*task, *since)),
                    _ => None,
                };
                self.holders.insert(object.id, held);
            }
            Note::Withdrawn { .. } | Note::Answered { .. } => {
                self.wrong.push(format!("{note:?} is an event of its own"));
            }
            _ => {}
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "running {:?}\nready {:?}", self.running, self.ready);
        for (task, doing) in &self.tasks {
            let _ = writeln!(text, "task {task} {doing:?}");
            if *doing == Doing::Blocked {
                self.calls_of(Some(*task), &mut text);
            }
        }
        self.calls_of(None, &mut text);
        for (object, line) in self.lines.iter().filter(|(_, line)| !line.is_empty()) {
            let serials: Vec<u64> = line.iter().map(|call| call.serial()).collect();
            let held = self.holders.get(object).copied().flatten();
            let _ = writeln!(text, "object {object}: {serials:?}, held {held:?}");
        }
        text
    }

    fn calls_of(&self, task: Option<TaskId>, text: &mut String) {
        for call in self.calls.values().filter(|call| call.task == task) {
            let _ = writeln!(text, "  call {} {}", call.id.serial(), call.words);
        }
    }
}

fn words_of(
    (request, on): (Syscall, On),
    site: &std::panic::Location<'_>,
    stack: u32,
    label: Option<&str>,
    object: Option<ObjectId>,
    deadline: Option<trapline::Instant>,
) -> String {
    // What a queue is called, its object says.
    let label = label.filter(|_| matches!(request, Syscall::Own));
    format!("{request} on {on:?} at {site} in {stack} {label:?} {object:?} {deadline:?}")
}

fn words_of_info(call: &CallInfo) -> String {
    let CallState::Blocked(on) = call.state else { return format!("{:?}", call.state) };
    let object = call.object.as_ref().map(|object| object.id);
    let stack = call.stack.number();
    words_of((call.request, on), call.site, stack, call.label, object, call.deadline)
}

/// What the kernel says of itself, in the words of the mirror.
fn text_of(scheduler: &Scheduler) -> String {
    let snapshot = scheduler.snapshot();
    let mut text = String::new();
    let ready: VecDeque<TaskId> = snapshot.ready.iter().copied().collect();
    let _ = writeln!(text, "running {:?}\nready {ready:?}", snapshot.running);
    let mut tasks: Vec<_> = snapshot.tasks.iter().collect();
    tasks.sort_by_key(|task| task.id);
    for task in tasks {
        let (doing, calls) = match &task.state {
            TaskState::Running => (Doing::Running, &[][..]),
            TaskState::Ready => (Doing::Ready, &[][..]),
            TaskState::Blocked(calls) => (Doing::Blocked, &calls[..]),
            TaskState::Ended(_) => continue,
        };
        let _ = writeln!(text, "task {} {doing:?}", task.id);
        write_calls(calls, &mut text);
    }
    write_calls(&snapshot.unclaimed, &mut text);
    for state in &snapshot.objects {
        let serials: Vec<u64> = state.waiting.iter().map(|call| call.serial()).collect();
        let held = held_of(state.holder.as_ref());
        let _ = writeln!(text, "object {}: {serials:?}, held {held:?}", state.object.id);
    }
    text
}

fn held_of(holder: Option<&Holder>) -> Held {
    let holder = holder?;
    Some((holder.task, holder.since?))
}

fn write_calls(calls: &[CallInfo], text: &mut String) {
    let mut calls: Vec<&CallInfo> = calls.iter().collect();
    calls.sort_by_key(|call| call.id.serial());
    for call in calls {
        let _ = writeln!(text, "  call {} {}", call.id.serial(), words_of_info(call));
    }
}

impl Mirror {
    /// A probe that tells the mirror.
    pub fn probe(&self) -> impl Probe + use<> {
        let mirror = self.clone();
        move |event: &Event<'_>| mirror.hear(event)
    }

    pub fn hear(&self, event: &Event<'_>) {
        self.0.borrow_mut().obey(event);
    }

    /// Between two steps it is as the kernel is.
    #[track_caller]
    pub fn compare(&self, scheduler: &Scheduler) {
        let state = self.0.borrow();
        let (told, real) = (state.text(), text_of(scheduler));
        let latest = || Vec::from(state.latest.clone()).join("\n");
        assert!(state.wrong.is_empty(), "{}\n{}", state.wrong.join("\n"), latest());
        assert!(told == real, "told:\n{told}\nbut it is:\n{real}\nafter\n{}", latest());
    }
}
