//! `trapline chrome FILE -o OUT`: the JSON that Perfetto and chrome://tracing read.
//!
//! A track for each task, and one for the kernel; slices for running, being ready, and being blocked, by the
//! reason; an arrow from who woke to who was woken; a counter for the ready queue. Written event by event.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Map, Value, json};
use trapline_trace::{Cause, Ended, Mirror, Move, Record, Recording, StepEnd};

use crate::failure::Failure;
use crate::opened;
use crate::timeline::{self, Doing, Watcher, shown_cause, shown_stack, task_name};

/// The process of all tracks: there is one scheduler in a trace.
const PROCESS: u64 = 1;

/// The track of the kernel; that of a task has the task's number, and those begin with 1.
const KERNEL: u64 = 0;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The recording
    file: PathBuf,
    /// Where to write; `-` for standard output
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let recording = opened::open(&args.file)?;
    if args.output.as_os_str() == "-" {
        let mut output = crate::output::Output::new();
        let mut chrome = Chrome::new(output.writer(), Failure::Output, program(&recording));
        timeline::watch(&recording, &mut chrome)?;
        chrome.end()?;
        output.flush()?;
    } else {
        let failed = |error| Failure::Path { path: args.output.clone(), error };
        let mut file = BufWriter::new(File::create(&args.output).map_err(failed)?);
        let mut chrome = Chrome::new(&mut file, failed, program(&recording));
        timeline::watch(&recording, &mut chrome)?;
        chrome.end()?;
        file.flush().map_err(failed)?;
    }
    Ok(opened::conclude(&recording, &args.file))
}

/// What the process is called: the program, without where it lies.
fn program(recording: &Recording) -> String {
    let program = Path::new(recording.property("program").unwrap_or_default()).file_name();
    program.map_or_else(|| "trapline".to_owned(), |name| name.to_string_lossy().into_owned())
}

struct Chrome<W, F> {
    out: W,
    failed: F,
    program: String,
    has_events: bool,
    /// The tasks whose slice is open.
    open: BTreeMap<u64, Open>,
    is_looking: bool,
    running: Option<u64>,
    flows: u64,
    /// Who woke a task that begins to be ready, in words; and the arrow to it.
    woken: BTreeMap<u64, (Cause, Option<u64>)>,
    ready: Option<usize>,
}

/// What is said of a slice when it ends.
#[derive(Default)]
struct Open {
    args: Map<String, Value>,
}

/// One event, in the order in which its fields are read.
#[derive(Serialize)]
struct Event<'a> {
    ph: &'a str,
    pid: u64,
    tid: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    /// An arrow ends in the slice that is open, and not in the next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    bp: Option<&'a str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    args: Map<String, Value>,
}

impl<'a> Event<'a> {
    fn new(ph: &'a str, track: u64) -> Event<'a> {
        Event {
            ph,
            pid: PROCESS,
            tid: track,
            ts: None,
            name: None,
            cat: None,
            id: None,
            bp: None,
            args: Map::new(),
        }
    }

    fn at(self, nanos: u64) -> Event<'a> {
        Event { ts: Some(micros(nanos)), ..self }
    }

    fn name(self, name: &'a str) -> Event<'a> {
        Event { name: Some(name), ..self }
    }

    fn arg(mut self, key: &str, value: impl Into<Value>) -> Event<'a> {
        self.args.insert(key.to_owned(), value.into());
        self
    }

    fn args(self, args: Map<String, Value>) -> Event<'a> {
        Event { args, ..self }
    }
}

impl<W: Write, F: Fn(std::io::Error) -> Failure> Chrome<W, F> {
    fn new(out: W, failed: F, program: String) -> Chrome<W, F> {
        Chrome {
            out,
            failed,
            program,
            has_events: false,
            open: BTreeMap::new(),
            is_looking: false,
            running: None,
            flows: 0,
            woken: BTreeMap::new(),
            ready: None,
        }
    }

    fn event(&mut self, event: Event<'_>) -> Result<(), Failure> {
        if !self.has_events {
            self.has_events = true;
            self.write(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n")?;
            let program = std::mem::take(&mut self.program);
            self.put(&Event::new("M", KERNEL).name("process_name").arg("name", program))?;
            self.write(b",\n")?;
            self.put(&Event::new("M", KERNEL).name("thread_name").arg("name", "kernel"))?;
        }
        self.write(b",\n")?;
        self.put(&event)
    }

    fn put(&mut self, event: &Event<'_>) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.out, event).map_err(|error| (self.failed)(error.into()))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes).map_err(&self.failed)
    }

    /// Ends the JSON; of a recording without events, too.
    fn end(&mut self) -> Result<(), Failure> {
        if !self.has_events {
            self.write(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
        }
        self.write(b"\n]}\n")
    }

    /// Ends the slice of a task that is open.
    fn close(&mut self, task: u64, at: u64) -> Result<bool, Failure> {
        let Some(open) = self.open.remove(&task) else { return Ok(false) };
        if self.running == Some(task) {
            self.running = None;
        }
        self.event(Event::new("E", task).at(at).args(open.args))?;
        Ok(true)
    }

    /// Says of the slice of a task that is open what is known now.
    fn say(&mut self, task: u64, key: &str, value: impl Into<Value>) {
        if let Some(open) = self.open.get_mut(&task) {
            open.args.insert(key.to_owned(), value.into());
        }
    }

    fn name_track(&mut self, task: u64, mirror: &Mirror) -> Result<(), Failure> {
        let name = format!("T{task} {}", task_name(mirror, task));
        self.event(Event::new("M", task).name("thread_name").arg("name", name))?;
        self.event(Event::new("M", task).name("thread_sort_index").arg("sort_index", task))
    }
}

impl<W: Write, F: Fn(std::io::Error) -> Failure> Watcher for Chrome<W, F> {
    fn record(&mut self, record: &Record, _: u64, mirror: &Mirror) -> Result<(), Failure> {
        match *record {
            Record::Move(Move::TaskBorn { task, .. }) => self.name_track(task, mirror),
            Record::Move(Move::CallBegun { task, site, stack, .. }) => {
                // Of the calls of a dispatch, the last is the one at which it stops.
                self.say(task, "stopped at", shown_stack(mirror, site, stack));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn begins(
        &mut self,
        task: u64,
        doing: &Doing,
        at: u64,
        mirror: &Mirror,
    ) -> Result<(), Failure> {
        self.close(task, at)?;
        let name = match doing {
            Doing::Running => "run",
            Doing::Ready => "ready",
            Doing::Blocked(reason) => reason,
        };
        let step = mirror.step().saturating_add(1);
        self.event(Event::new("B", task).at(at).name(name).arg("step", step))?;
        self.open.insert(task, Open::default());
        if *doing == Doing::Running {
            self.running = Some(task);
        }
        if let Some((by, flow)) = self.woken.remove(&task) {
            self.say(task, "woken by", shown_cause(mirror, by));
            if let Some(flow) = flow {
                let end = Event::new("f", task).at(at).name("wakes");
                self.event(Event { id: Some(flow), cat: Some("wake"), bp: Some("e"), ..end })?;
            }
        }
        Ok(())
    }

    fn ends(&mut self, task: u64, how: Option<Ended>, at: u64) -> Result<(), Failure> {
        if let Some(how) = how {
            self.say(task, "ended", ended_word(how));
        }
        self.close(task, at)?;
        self.woken.remove(&task);
        Ok(())
    }

    fn woken(&mut self, task: u64, by: Cause, at: u64) -> Result<(), Failure> {
        // The arrow begins where a slice is open: that of whoever runs, or of the look at the outside.
        let from = if self.is_looking { Some(KERNEL) } else { self.running };
        let from = from.filter(|from| *from != task);
        if let Some(from) = from {
            self.flows += 1;
            let begin = Event::new("s", from).at(at).name("wakes");
            self.event(Event { id: Some(self.flows), cat: Some("wake"), ..begin })?;
        }
        self.woken.insert(task, (by, from.map(|_| self.flows)));
        Ok(())
    }

    fn look_begins(&mut self, at: u64) -> Result<(), Failure> {
        self.is_looking = true;
        self.event(Event::new("B", KERNEL).at(at).name("outside"))
    }

    fn look_ends(&mut self, answered: u64, at: u64) -> Result<(), Failure> {
        self.is_looking = false;
        self.event(Event::new("E", KERNEL).at(at).arg("answered", answered))
    }

    fn step_ends(&mut self, end: StepEnd, at: u64, mirror: &Mirror) -> Result<(), Failure> {
        let ready = mirror.ready_len();
        if self.ready != Some(ready) {
            self.ready = Some(ready);
            self.event(Event::new("C", KERNEL).at(at).name("ready queue").arg("tasks", ready))?;
        }
        let word = match end {
            StepEnd::Ran | StepEnd::Outside | StepEnd::Finished => return Ok(()),
            StepEnd::Deadlock => "deadlock",
            StepEnd::Stalled => "stalled",
            StepEnd::DriverFailed => "the driver failed",
        };
        let mut event = Event::new("i", KERNEL).at(at).name(word);
        event.args = Map::from_iter([("step".to_owned(), json!(mirror.step()))]);
        self.event(event)
    }
}

fn ended_word(how: Ended) -> &'static str {
    match how {
        Ended::Returned => "returned",
        Ended::Panicked => "panicked",
        Ended::Killed => "killed",
        Ended::Cancelled => "cancelled",
    }
}

/// Chrome's unit. A day in nanoseconds has 14 digits, of which none is lost.
fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}
