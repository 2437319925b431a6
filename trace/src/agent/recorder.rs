//! The outlet that records: a file, and the thread that writes it.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use thiserror::Error;
use trapline_scheduler::__private::complain;
use trapline_scheduler::{Event, Scheduler, Step};

use super::Outlet;
use super::feed::{Behind, Feed, Intake, feed};
use crate::format::FileWriter;
use crate::record::About;
use crate::words::RecordOptions;

/// What lies between the loop and the file: at a million steps a second, what half a second leaves.
const RING_BYTES: usize = 4 << 20;

/// A recording ends with this.
const LIMIT_BYTES: u64 = 1 << 30;

/// How often the file is written to. What was published before a crash is in it, but for so much.
const PAUSE: Duration = Duration::from_millis(20);

/// A chunk is written when it has so many bytes, and at each pause.
const CHUNK_BYTES: usize = 64 << 10;

/// So many times the loop looks, with a nap between, whether the file has what it is to have.
const LOOKS: u32 = 1000;
const NAP: Duration = Duration::from_millis(1);

/// The longest source file whose text goes into a trace.
const SOURCE_BYTES: u64 = 1 << 20;

/// How a recording is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecorderOptions {
    /// Whether the loop waits where the file's thread is behind.
    pub lossless: bool,
    /// So many of the first bytes of what is read and written are written down.
    pub payload_bytes: usize,
    /// The text of the source files below this goes in.
    pub sources: Option<PathBuf>,
    /// Whether the length of the file to which standard output goes is written down after each step.
    pub tells_output: bool,
    /// The recording ends where the file would be longer.
    pub limit_bytes: u64,
}

impl RecorderOptions {
    /// As the environment asks.
    #[must_use]
    pub fn new(options: &RecordOptions) -> RecorderOptions {
        RecorderOptions {
            lossless: options.lossless,
            payload_bytes: options.payload_bytes,
            sources: options.sources.clone(),
            tells_output: options.tells_output,
            limit_bytes: LIMIT_BYTES,
        }
    }
}

/// Why there is no recording.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another program, which lives, writes to it.
    #[error("{} is being written by another program", .0.display())]
    Locked(PathBuf),
    /// It is a directory, a device, ….
    #[error("{} is no regular file", .0.display())]
    NoFile(PathBuf),
    /// The operating system refused.
    #[error("cannot record into {}: {}", path.display(), error)]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        error: io::Error,
    },
}

/// Records a run into a file.
#[derive(Debug)]
pub struct Recorder {
    feed: Feed,
    writer: Option<JoinHandle<()>>,
    wanted: Arc<Wanted>,
}

/// How often all was to be in the file at once, and how many of these times it has been.
#[derive(Debug, Default)]
struct Wanted {
    asked: AtomicU64,
    done: AtomicU64,
}

impl Recorder {
    /// Begins a recording: into the file named, if this is the first run of the process that is recorded there;
    /// the second goes into `FILE.2`, and so on. Its mode is 0600.
    ///
    /// # Errors
    /// If the file cannot be written, or another program is writing it.
    pub fn open(file: &Path, options: &RecorderOptions) -> Result<Recorder, OpenError> {
        let path = next_name(file);
        let io = |error| OpenError::Io { path: path.clone(), error };
        let writer = FileWriter::new(open_locked(&path)?).map_err(io)?;
        let behind = if options.lossless { Behind::Wait } else { Behind::Skip };
        let (mut feed, intake) = feed(RING_BYTES, behind);
        feed.set_payload(options.payload_bytes);
        if let Some(directory) = &options.sources {
            feed.set_sources(directory);
        }
        if options.tells_output {
            feed.tell_output();
        }
        let (limit_bytes, wanted) = (options.limit_bytes, Arc::new(Wanted::default()));
        let work = {
            let (path, wanted) = (path.clone(), Arc::clone(&wanted));
            move || write(intake, writer, &path, limit_bytes, &wanted)
        };
        let thread = thread::Builder::new().name("trapline-record".to_owned());
        let writer = thread.spawn(work).map_err(io)?;
        feed.set_reader(writer.thread().clone());
        Ok(Recorder { feed, writer: Some(writer), wanted })
    }

    /// Waits until the file has what was published; not for long.
    fn wait_until_written(&self) {
        let Some(writer) = self.writer.as_ref().filter(|_| !self.feed.is_forked()) else { return };
        let asked = self.wanted.asked.fetch_add(1, Ordering::AcqRel) + 1;
        for _ in 0..LOOKS {
            writer.thread().unpark();
            if self.wanted.done.load(Ordering::Acquire) >= asked || writer.is_finished() {
                return;
            }
            thread::park_timeout(NAP);
        }
    }
}

impl Outlet for Recorder {
    fn begin(&mut self, scheduler: &mut Scheduler) {
        self.feed.set_properties(properties(scheduler));
        self.feed.begin(scheduler);
    }

    #[inline]
    fn event(&mut self, event: &Event<'_>) {
        self.feed.event(event);
    }

    fn step_end(&mut self, scheduler: &mut Scheduler, step: &Step) {
        self.feed.step_end(scheduler, step);
    }

    fn publish(&mut self) {
        self.feed.publish();
    }

    fn catch_up(&mut self, scheduler: &mut Scheduler) {
        self.feed.publish();
        self.wait_until_written();
        if self.feed.is_behind() {
            // There is room now.
            self.feed.catch_up(scheduler);
            self.wait_until_written();
        }
    }

    fn say(&mut self, about: About, topic: &'static str, text: &str) {
        self.feed.say(about, topic, text);
    }

    fn set_ordered(&mut self, is_ordered: bool) {
        self.feed.set_ordered(is_ordered);
    }

    fn end(&mut self) {
        self.feed.end();
        if let Some(writer) = self.writer.take() {
            // What it has to say of a failure, it has said.
            let _ = writer.join();
        }
    }
}

/// What is said of a run at its beginning.
fn properties(scheduler: &Scheduler) -> Vec<(&'static str, String)> {
    let text = |text: OsString| text.to_string_lossy().into_owned();
    let mut arguments = env::args_os().map(text);
    let program = arguments.next().unwrap_or_default();
    let (seed, quantum, batch) = scheduler.settings();
    vec![
        ("program", program),
        ("arguments", arguments.collect::<Vec<_>>().join(" ")),
        ("pid", process::id().to_string()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("seed", seed.to_string()),
        ("quantum", quantum.to_string()),
        ("batch", batch.to_string()),
    ]
}

/// The name for the next run that is recorded under this one.
fn next_name(file: &Path) -> PathBuf {
    static RUNS: Mutex<BTreeMap<PathBuf, u32>> = Mutex::new(BTreeMap::new());
    let mut runs = RUNS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let run = runs.entry(file.to_owned()).or_insert(0);
    *run += 1;
    if *run == 1 {
        return file.to_owned();
    }
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{run}"));
    name.into()
}

/// Opens the file, empty and for us alone.
fn open_locked(path: &Path) -> Result<File, OpenError> {
    let io = |error: io::Error| OpenError::Io { path: path.to_owned(), error };
    let mut options = OpenOptions::new();
    // Emptied only once it is ours.
    options.write(true).create(true).truncate(false).mode(0o600);
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(OpenError::NoFile(path.to_owned()));
    }
    let file = options.open(path).map_err(io)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(OpenError::Locked(path.to_owned())),
        Err(errno) => return Err(io(errno.into())),
    }
    file.set_permissions(Permissions::from_mode(0o600)).map_err(io)?;
    file.set_len(0).map_err(io)?;
    Ok(file)
}

/// The work of the file's thread.
fn write(
    mut intake: Intake,
    mut file: FileWriter<File>,
    path: &Path,
    limit_bytes: u64,
    wanted: &Wanted,
) {
    let (mut bytes, mut written) = (Vec::new(), 0);
    let started = now();
    loop {
        // Asked before what is there is taken: so nothing is left behind.
        let is_over = intake.is_over();
        let asked = wanted.asked.load(Ordering::Acquire);
        match take_all(&mut intake, &mut file, &mut bytes, limit_bytes.saturating_sub(written)) {
            Ok(Some(taken)) => written += taken,
            Ok(None) => {
                let (path, mib) = (path.display(), limit_bytes >> 20);
                complain(format_args!(
                    "{path} would be longer than {mib} MiB: the recording ends here"
                ));
                return intake.close();
            }
            Err(error) => {
                complain(format_args!(
                    "cannot write {}: {error}; the recording ends here",
                    path.display()
                ));
                return intake.close();
            }
        }
        wanted.done.store(asked, Ordering::Release);
        if is_over {
            return;
        }
        let seconds = now().duration_since(started).as_secs();
        intake.set_seconds(u32::try_from(seconds).unwrap_or(u32::MAX));
        thread::park_timeout(PAUSE);
    }
}

/// Writes all that is there; gives how much that was, or nothing where it would be too much.
fn take_all(
    intake: &mut Intake,
    file: &mut FileWriter<File>,
    bytes: &mut Vec<u8>,
    most: u64,
) -> io::Result<Option<u64>> {
    let mut written = 0;
    loop {
        bytes.clear();
        let Some(first_step) = intake.take(bytes) else { return Ok(Some(written)) };
        while bytes.len() < CHUNK_BYTES && intake.take(bytes).is_some() {}
        written += FileWriter::<File>::chunk_length(bytes.len());
        if written > most {
            return Ok(None);
        }
        file.chunk(first_step, bytes)?;
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the file's thread has a clock of its own, and decides nothing in the loop"
)]
fn now() -> Instant {
    Instant::now()
}

/// The text of a source file below `directory`, and whether it is newer than this program. Those of dependencies stay
/// out, also where cargo keeps them below it.
pub(super) fn source_of(directory: &Path, name: &str) -> Option<(String, bool)> {
    if ["registry/src/", "git/checkouts/"].iter().any(|kept| name.contains(kept)) {
        return None;
    }
    let name = Path::new(name);
    let goes_up = name.components().any(|part| part == Component::ParentDir);
    let path = directory.join(name);
    if goes_up || !path.starts_with(directory) {
        return None;
    }
    let metadata = fs::metadata(&path).ok()?;
    if !metadata.is_file() || metadata.len() > SOURCE_BYTES {
        return None;
    }
    let text = fs::read_to_string(&path).ok()?;
    let built = env::current_exe().and_then(fs::metadata).and_then(|program| program.modified());
    let is_newer =
        matches!((metadata.modified(), built), (Ok(source), Ok(built)) if source > built);
    Some((text, is_newer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_of_a_dependency_or_from_elsewhere_then_it_stays_out() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let kept = env::temp_dir().join(format!("trapline-sources-{}", process::id()));
        let dependency = "registry/src/index/left-pad-1.0.0/lib.rs";
        let path = kept.join(dependency);
        fs::create_dir_all(path.parent().unwrap_or(&kept)).expect("a directory of ours");
        fs::write(&path, "fn left_pad() {}").expect("a file of ours");
        let of_dependency = source_of(&kept, dependency);
        fs::remove_dir_all(&kept).expect("a directory of ours");
        assert_eq!(of_dependency, None);
        let absolute = directory.join("lib.rs");
        assert!(source_of(&directory, "lib.rs").is_some());
        assert!(source_of(&directory, &absolute.to_string_lossy()).is_some());
        assert_eq!(source_of(&directory, "../Cargo.toml"), None);
        assert_eq!(source_of(&directory, "agent"), None);
        assert_eq!(source_of(&directory.join("agent"), &absolute.to_string_lossy()), None);
    }
}
