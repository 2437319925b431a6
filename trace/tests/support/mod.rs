//! What the tests of this crate share: runs that could have been, drawn at random.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(unreachable_pub, reason = "a module of several test programs")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, VecDeque};

use trapline_trace::format::{Encoder, FileWriter};
use trapline_trace::{
    About, Cause, Ended, Move, On, Record, Remark, SiteRef, StackRef, StepEnd, Str, TaskState,
    Value,
};

/// Random numbers that a seed replays.
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Draw {
        Draw(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 16) % end.max(1) as u64) as usize
    }

    pub fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        from.get(self.below(from.len())).copied()
    }
}

/// A scheduler that does anything a scheduler may do, and tells of it.
pub struct Run {
    pub records: Vec<Record>,
    draw: Draw,
    step: u64,
    now: u64,
    tasks: BTreeMap<u64, Task>,
    ready: VecDeque<u64>,
    running: Option<u64>,
    calls: BTreeMap<u64, (u64, Option<On>)>,
    objects: Vec<u64>,
    last_task: u64,
    last_call: u64,
    last_object: u64,
}

#[derive(Clone, Copy)]
struct Task {
    state: TaskState,
    dispatches: u64,
}

const WORDS: [&str; 12] = [
    "src/main.rs",
    "park",
    "sleep",
    "token",
    "read",
    "mutex",
    "holder",
    "holders",
    "worker-1",
    "warning",
    "späti",
    "count",
];

impl Run {
    /// `steps` steps, none of them missing.
    pub fn new(seed: u64, steps: usize) -> Run {
        let mut run = Run::begun(seed);
        (0..steps).for_each(|_| run.step());
        run
    }

    pub fn begun(seed: u64) -> Run {
        let mut run = Run {
            records: Vec::new(),
            draw: Draw::new(seed),
            step: 0,
            now: 1000,
            tasks: BTreeMap::new(),
            ready: VecDeque::new(),
            running: None,
            calls: BTreeMap::new(),
            objects: Vec::new(),
            last_task: 0,
            last_call: 0,
            last_object: 0,
        };
        run.reset(0);
        run.property("program", "a test");
        run.born(None);
        run
    }

    /// Steps of which nothing is told, and then the state as it is.
    pub fn gap(&mut self, steps: usize) {
        let told = self.records.len();
        (0..steps).for_each(|_| self.step());
        self.records.truncate(told);
        self.reset(steps as u64);
        let ready: Vec<u64> = self.ready.iter().copied().collect();
        let others: Vec<u64> =
            self.tasks.keys().copied().filter(|task| !ready.contains(task)).collect();
        for task in others.into_iter().chain(ready) {
            let Task { state, dispatches } = self.tasks[&task];
            self.tell_born(task, None, state, dispatches);
        }
        for object in self.objects.clone() {
            self.tell_object(object);
        }
        for (call, (task, on)) in self.calls.clone() {
            self.tell_begun(call, task);
            if let Some(on) = on {
                self.moved(Move::CallBlocked { call, on });
            }
        }
    }

    pub fn step(&mut self) {
        if self.running.is_none() && (self.ready.is_empty() || self.draw.one_in(6)) {
            self.outside();
            return self.end(StepEnd::Outside);
        }
        let task = match self.running {
            Some(task) => task,
            None => self.take(),
        };
        for _ in 0..self.draw.below(4) {
            self.something(task);
        }
        while self.calls.len() > 60 {
            let (call, _) = self.calls.pop_first().unwrap();
            self.moved(Move::CallWithdrawn { call });
        }
        match self.draw.below(8) {
            0 => self.leave(task),
            1..4 => {
                let call = self.begin(task);
                let on = self.on();
                self.calls.insert(call, (task, Some(on)));
                self.moved(Move::CallBlocked { call, on });
                self.rest(task, false);
            }
            4 | 5 => {
                let call = self.begin(task);
                self.calls.remove(&call);
                let reply = self.value();
                self.moved(Move::CallAnswered { call, by: Cause::Task(task), reply });
                self.rest(task, true);
            }
            6 => self.rest(task, true),
            _ => {}
        }
        self.end(StepEnd::Ran);
    }

    fn end(&mut self, end: StepEnd) {
        self.step += 1;
        self.records.push(Record::StepEnd(end));
    }

    fn take(&mut self) -> u64 {
        if self.ready.len() > 1 && self.draw.one_in(10) {
            let place = self.draw.below(self.ready.len());
            let task = self.ready.remove(place).unwrap();
            self.ready.push_front(task);
            self.moved(Move::PutFirst { task });
        }
        let task = self.ready.pop_front().unwrap();
        self.now += self.draw.next() % 20_000;
        let entry = self.tasks.get_mut(&task).unwrap();
        entry.state = TaskState::Running;
        entry.dispatches += 1;
        self.running = Some(task);
        self.moved(Move::Taken { task, at_nanos: self.now });
        task
    }

    fn something(&mut self, task: u64) {
        match self.draw.below(10) {
            0 | 1 if self.tasks.len() < 40 => self.born(Some(task)),
            2 => self.answer(Cause::Task(task)),
            3 => {
                if self.objects.len() > 30 {
                    self.end_object();
                }
                self.last_object += 1;
                self.objects.push(self.last_object);
                self.tell_object(self.last_object);
            }
            4 => {
                if let Some(object) = self.draw.pick(&self.objects.clone()) {
                    let value = match self.draw.one_in(2) {
                        true => Value::Held { task: Some(task), since: self.site() },
                        false => self.value(),
                    };
                    let field = Str([6, 7, 11][self.draw.below(3)]);
                    self.moved(Move::FieldSet { object, field, value });
                }
            }
            5 => {
                if let Some(object) = self.draw.pick(&self.objects.clone()) {
                    let (result, site) = (self.value(), self.site());
                    let stack = StackRef(self.draw.below(4) as u32);
                    let task = (!self.draw.one_in(9)).then_some(task);
                    self.remark(Remark::Done {
                        task,
                        object,
                        operation: Str(4),
                        result,
                        site,
                        stack,
                    });
                }
            }
            6 => {
                let by = Cause::Task(task);
                let redundant = self.draw.one_in(2);
                self.remark(Remark::Woken { task, by, redundant });
            }
            7 => {
                self.remark(Remark::Said { about: About::Task(task), topic: Str(9), text: Str(10) })
            }
            8 => {
                let calls: Vec<u64> = self.calls.keys().copied().collect();
                if let Some(call) = self.draw.pick(&calls) {
                    self.calls.get_mut(&call).unwrap().0 = task;
                    self.moved(Move::CallBooked { call, task: Some(task) });
                }
            }
            _ => {
                let word = format!("word {}", self.draw.next() % 1000);
                self.records.push(Record::DefineString(word));
            }
        }
    }

    /// Ends the oldest thing that nobody waits for.
    fn end_object(&mut self) {
        let is_free = |object: &u64| {
            let waits = |on| matches!(on, Some(On::Object { object: o, .. }) if o == *object);
            !self.calls.values().any(|(_, on)| waits(*on))
        };
        if let Some(place) = self.objects.iter().position(is_free) {
            let object = self.objects.remove(place);
            self.moved(Move::ObjectEnded { object });
        }
    }

    fn outside(&mut self) {
        let answered = self.draw.below(4);
        for _ in 0..answered {
            let by = match self.draw.below(5) {
                0 => Cause::Timer,
                1 => Cause::Source(self.draw.below(300) as i32),
                2 => Cause::Thread(Str(8)),
                3 => Cause::Outside,
                _ => Cause::Program,
            };
            self.answer(by);
        }
        self.now += self.draw.next() % 20_000;
        self.moved(Move::Outside { answered: answered as u64, at_nanos: self.now });
        let blocked = |task: &Task| task.state == TaskState::Blocked;
        let waiting: Vec<u64> =
            self.tasks.iter().filter(|(_, task)| blocked(task)).map(|(id, _)| *id).collect();
        match self.draw.pick(&waiting) {
            Some(task) => self.make_ready(task, Cause::Outside),
            None if self.ready.is_empty() => self.born(None),
            None => {}
        }
    }

    fn answer(&mut self, by: Cause) {
        let calls: Vec<u64> =
            self.calls.iter().filter(|(_, (_, on))| on.is_some()).map(|(id, _)| *id).collect();
        let Some(call) = self.draw.pick(&calls) else { return };
        let (task, _) = self.calls.remove(&call).unwrap();
        let reply = self.value();
        self.moved(Move::CallAnswered { call, by, reply });
        if self.tasks.get(&task).is_some_and(|task| task.state == TaskState::Blocked) {
            self.make_ready(task, by);
        }
    }

    fn make_ready(&mut self, task: u64, by: Cause) {
        self.tasks.get_mut(&task).unwrap().state = TaskState::Ready;
        self.ready.push_back(task);
        self.moved(Move::Ready { task, by });
    }

    fn rest(&mut self, task: u64, is_ready: bool) {
        let state = if is_ready { TaskState::Ready } else { TaskState::Blocked };
        self.tasks.get_mut(&task).unwrap().state = state;
        if is_ready {
            self.ready.push_back(task);
        }
        self.running = None;
        self.moved(Move::Rested { task, is_ready });
    }

    fn leave(&mut self, task: u64) {
        let calls: Vec<u64> =
            self.calls.iter().filter(|(_, (whose, _))| *whose == task).map(|(id, _)| *id).collect();
        for call in calls {
            self.calls.remove(&call);
            self.moved(Move::CallWithdrawn { call });
        }
        self.tasks.remove(&task);
        self.running = None;
        let how = [Ended::Returned, Ended::Panicked, Ended::Killed, Ended::Cancelled];
        let how = how[self.draw.below(4)];
        self.moved(Move::TaskEnded { task, how });
    }

    fn begin(&mut self, task: u64) -> u64 {
        self.last_call += 1;
        self.calls.insert(self.last_call, (task, None));
        self.tell_begun(self.last_call, task);
        self.last_call
    }

    fn on(&mut self) -> On {
        let role = Str([3, 4][self.draw.below(2)]);
        match self.draw.pick(&self.objects.clone()) {
            Some(object) if !self.draw.one_in(3) => On::Object { object, role },
            _ => match self.draw.below(3) {
                0 => On::Deadline { at_nanos: self.now + self.draw.next() % 1_000_000 },
                1 => On::Descriptor { fd: self.draw.below(200) as i32, role },
                _ => On::Somebody,
            },
        }
    }

    fn born(&mut self, parent: Option<u64>) {
        self.last_task += 1;
        let task = self.last_task;
        self.tasks.insert(task, Task { state: TaskState::Ready, dispatches: 0 });
        self.ready.push_back(task);
        self.tell_born(task, parent, TaskState::Ready, 0);
    }

    fn tell_born(&mut self, task: u64, parent: Option<u64>, state: TaskState, dispatches: u64) {
        let site = self.site();
        let daemon = self.draw.one_in(4);
        let name = self.draw.one_in(2).then_some(Str(8));
        self.moved(Move::TaskBorn { task, parent, name, site, daemon, state, dispatches });
    }

    fn tell_object(&mut self, object: u64) {
        let site = self.draw.one_in(2).then(|| self.site());
        let name = self.draw.one_in(2).then_some(Str(10));
        self.moved(Move::ObjectBorn { object, kind: Str(5), name, site });
    }

    fn tell_begun(&mut self, call: u64, task: u64) {
        let (argument, site) = (self.value(), self.site());
        let what = Str([1, 2, 4][self.draw.below(3)]);
        let stack = StackRef(self.draw.below(4) as u32);
        self.moved(Move::CallBegun { call, task, what, argument, site, stack });
    }

    fn reset(&mut self, missed_steps: u64) {
        self.records.push(Record::Reset { step: self.step, at_nanos: self.now, missed_steps });
        for word in WORDS {
            self.records.push(Record::DefineString(word.to_owned()));
        }
        for line in 1..20 {
            self.records.push(Record::DefineSite { file: Str(0), line, column: 5 });
        }
        for frame in 0..4 {
            self.records
                .push(Record::DefineStack { site: SiteRef(frame), around: StackRef(frame) });
        }
    }

    fn property(&mut self, key: &str, value: &str) {
        self.records.push(Record::DefineString(key.to_owned()));
        self.records.push(Record::DefineString(value.to_owned()));
        let key = Str(WORDS.len() as u32);
        self.remark(Remark::Property { key, value: Str(key.0 + 1) });
    }

    fn site(&mut self) -> SiteRef {
        SiteRef(self.draw.below(19) as u32)
    }

    fn value(&mut self) -> Value {
        let number = self.draw.next() >> (self.draw.next() % 64);
        match self.draw.below(11) {
            0 => Value::Count(number),
            1 => Value::Bytes(number),
            2 => Value::Nanos(number),
            3 => Value::Time(self.now + number % 1000),
            4 => Value::Task(number),
            5 => Value::Object(number),
            6 => Value::Descriptor(number as i32),
            7 => Value::Text(Str(9)),
            8 => Value::Os(number as i32),
            9 => Value::Payload(vec![7; self.draw.below(20)]),
            _ => Value::Nothing,
        }
    }

    fn moved(&mut self, change: Move) {
        self.records.push(Record::Move(change));
    }

    fn remark(&mut self, remark: Remark) {
        self.records.push(Record::Remark(remark));
    }
}

/// The records as a file, about `chunk` bytes of them in each chunk.
pub fn file(records: &[Record], chunk: usize) -> Vec<u8> {
    let mut writer = FileWriter::new(Vec::new()).unwrap();
    let mut encoder = Encoder::new();
    let mut bytes = Vec::new();
    let (mut step, mut first) = (0, 0);
    for record in records {
        if bytes.len() >= chunk {
            writer.chunk(first, &bytes).unwrap();
            bytes.clear();
            first = step;
        }
        encoder.encode(record, &mut bytes);
        match record {
            Record::Reset { step: over, .. } => step = *over,
            Record::StepEnd(_) => step += 1,
            _ => {}
        }
    }
    if !bytes.is_empty() {
        writer.chunk(first, &bytes).unwrap();
    }
    writer.into_inner()
}
