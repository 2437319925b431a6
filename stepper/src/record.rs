//! `trapline record`: builds a program, starts it so that it records itself, and passes on how it ended.

mod build;

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::thread;
use std::time::SystemTime;

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use trapline_trace::Recording;
use trapline_trace::words::{RECORD_VARIABLE, VARIABLE};

use crate::failure::Failure;
use crate::plain::Plain;
pub(crate) use build::{Target, examples};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: that of the program; 128 and its number if a signal ended it; that of \
                        `cargo build` if that failed; 1 if no recording was made although the program ended well."
)]
pub(crate) struct Args {
    #[command(flatten)]
    program: Program,
    /// Where to record
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Records so many of the first bytes of what is read and written, too
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    payload: usize,
}

/// What is to be run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Program {
    /// An example of the package, which is built first
    #[arg(long, value_name = "NAME", conflicts_with_all = ["bin", "program"])]
    example: Option<String>,
    /// A program of the package, which is built first
    #[arg(long, value_name = "NAME", conflicts_with = "program")]
    bin: Option<String>,
    /// A program that is there; if neither this nor another is named, the only one of the package
    #[arg(conflicts_with_all = ["package", "release"])]
    program: Option<PathBuf>,
    /// Of this package
    #[arg(short, long, value_name = "NAME")]
    package: Option<String>,
    /// Builds it with optimisations
    #[arg(long)]
    release: bool,
    /// The program's own arguments
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

impl Program {
    /// A program, or whatever it is, that is there already.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.program.as_deref()
    }

    /// An example of the package.
    pub(crate) fn of_example(package: Option<String>, example: String) -> Program {
        let arguments = Vec::new();
        Program {
            example: Some(example),
            bin: None,
            program: None,
            package,
            release: false,
            arguments,
        }
    }

    /// Builds it, where that is to be done. If that fails, gives cargo's own status; it has said what is wrong.
    pub(crate) fn target(&self) -> Result<Result<Target, ExitCode>, Failure> {
        match &self.program {
            Some(program) => Ok(Ok(Target::of_program(program))),
            None => build::build(self),
        }
    }

    /// The same, once more, while the screen or the page is not to be written over: what cargo says is wrong is the
    /// failure.
    pub(crate) fn target_again(&self) -> Result<Target, Failure> {
        match &self.program {
            Some(program) => Ok(Target::of_program(program)),
            None => build::rebuild(self),
        }
    }

    /// A command that starts it so that it records itself.
    pub(crate) fn recording(
        &self,
        target: &Target,
        output: &Path,
        more_options: &str,
    ) -> Result<Command, Failure> {
        // The program may go elsewhere before it opens it.
        let output = std::path::absolute(output).map_err(Failure::at(output))?;
        check_name(&output)?;
        let mut word = OsString::from("record:");
        word.push(output);
        let mut options = OsString::from("lossless");
        options.push(more_options);
        if let Some(workspace) = target.workspace.as_ref().filter(|path| check_name(path).is_ok()) {
            options.push(",sources=");
            options.push(workspace);
        }
        let mut command = Command::new(&target.executable);
        command.args(&self.arguments).env(VARIABLE, word).env(RECORD_VARIABLE, options);
        Ok(command)
    }
}

impl Program {
    /// The same, held before its first step until somebody orders it to go on, over this socket.
    pub(crate) fn held(
        &self,
        target: &Target,
        trace: &Path,
        socket: &Path,
        is_virtual: bool,
    ) -> Result<Command, Failure> {
        check_name(socket)?;
        let mut command = self.recording(target, trace, ",output")?;
        let mut words = OsString::from("record:");
        words.push(trace);
        words.push(",monitor:hold:");
        words.push(socket);
        if is_virtual {
            words.push(",virtual");
        }
        command.env(VARIABLE, words);
        Ok(command)
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    check_name(&args.output)?;
    let target = match args.program.target()? {
        Ok(target) => target,
        Err(code) => return Ok(code),
    };
    let before = written(&args.output);
    // Before the program starts: it may be interrupted at once. It inherits none of this.
    let signals = Signals::new([SIGINT, SIGQUIT, SIGTERM, SIGHUP])
        .map_err(|error| Failure::said(format!("signals: {error}")))?;
    let status = wait(start(args, &target)?, signals)?;
    let is_recorded = conclude(&args.output, &before);
    match (code_of(status), is_recorded) {
        (0, false) => Ok(ExitCode::FAILURE),
        (code, _) => Ok(ExitCode::from(code)),
    }
}

/// The variable that names the file has commas between its words.
fn check_name(file: &Path) -> Result<(), Failure> {
    if file.as_os_str().as_bytes().contains(&b',') {
        let file = file.display().to_string();
        return Err(Failure::said(format!(
            "{}: a recording's name may have no comma in it",
            Plain(&file)
        )));
    }
    Ok(())
}

fn start(args: &Args, target: &Target) -> Result<Child, Failure> {
    let payload = match args.payload {
        0 => String::new(),
        bytes => format!(",payload={bytes}"),
    };
    let mut command = args.program.recording(target, &args.output, &payload)?;
    command.spawn().map_err(Failure::at(&target.executable))
}

/// Waits for the program. What would end us is for it to decide on.
fn wait(mut child: Child, mut signals: Signals) -> Result<ExitStatus, Failure> {
    let handle = signals.handle();
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let forward = thread::spawn(move || {
        for signal in signals.forever() {
            // Ctrl-C and Ctrl-\ at the terminal go to both of us; the others to whom they are sent.
            let signal = match signal {
                SIGTERM => Signal::TERM,
                SIGHUP => Signal::HUP,
                _ => continue,
            };
            if let Some(pid) = pid {
                // If it has just ended, there is nobody to tell.
                let _ = kill_process(pid, signal);
            }
        }
    });
    let status = child.wait();
    handle.close();
    // It does nothing that can panic.
    let _ = forward.join();
    status.map_err(|error| Failure::said(format!("the program: {error}")))
}

fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// Of so many runs of a process it is told what was recorded.
const MOST_RUNS: usize = 100;

/// Says what has become of the recordings: a program that makes several runs has one of each. Whether there is one.
fn conclude(file: &Path, before: &[Option<SystemTime>]) -> bool {
    // What was there before is none of this run.
    let is_new =
        |(before, now): (&Option<SystemTime>, &Option<SystemTime>)| now.is_some() && now != before;
    let after = written(file);
    let runs: Vec<bool> = before.iter().zip(&after).map(is_new).collect();
    if !runs.contains(&true) {
        let shown = file.display().to_string();
        let shown = Plain(&shown);
        eprintln!(
            "trapline: the program has recorded nothing: it is not one of Trapline's that obey `{VARIABLE}` (by \
             `trapline::run`, `block_on`, `main` or `trace::run`), has started no run, or could not write {shown}"
        );
    }
    let mut are_recorded = runs.contains(&true);
    for run in (1..).zip(runs).filter_map(|(run, is_new)| is_new.then_some(run)) {
        are_recorded &= tell(&name_of_run(file, run));
    }
    are_recorded
}

/// Says what is in a recording. Whether it can be read.
fn tell(file: &Path) -> bool {
    let shown = file.display().to_string();
    let shown = Plain(&shown);
    match Recording::open(file) {
        Ok(recording) => {
            let (steps, sources) = (recording.steps(), recording.sources().len());
            let plural = if sources == 1 { "" } else { "s" };
            eprintln!(
                "trapline: {shown} has {steps} steps, and the text of {sources} source file{plural}"
            );
            for source in recording.sources().iter().filter(|source| source.is_newer) {
                eprintln!("trapline: {} is newer than the program", Plain(&source.file));
            }
            if let Some(damage) = recording.damage() {
                eprintln!("trapline: {shown}: {damage}");
            }
            true
        }
        Err(error) => {
            eprintln!("trapline: {shown}: {error}");
            false
        }
    }
}

/// The file of the n-th run of a process.
fn name_of_run(file: &Path, run: usize) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    if run > 1 {
        name.push(format!(".{run}"));
    }
    name.into()
}

/// When the recordings of a process, of its first run and of the others, were written to.
fn written(file: &Path) -> Vec<Option<SystemTime>> {
    let modified = |file| fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
    (1..=MOST_RUNS).map(|run| modified(name_of_run(file, run))).collect()
}
