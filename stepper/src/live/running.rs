//! A program that has been started.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::growth::Growth;
use super::waiting::{pause, wait_for};
use crate::failure::Failure;

/// So long a program has to end when it is asked to.
const GRACE: Duration = Duration::from_millis(500);

/// A program that has been started. It is ended when nobody looks at it any more.
#[derive(Debug)]
pub(super) struct Running {
    child: Arc<Mutex<Child>>,
    goes_on: Arc<AtomicBool>,
}

impl Running {
    /// Starts it. What it writes goes into one file that grows: so what belongs to which step can be told.
    pub(super) fn start(
        mut command: Command,
        program: &Path,
        output: &Path,
    ) -> Result<Running, Failure> {
        let open = || OpenOptions::new().append(true).create(true).mode(0o600).open(output);
        let (out, err) =
            (open().map_err(Failure::at(output))?, open().map_err(Failure::at(output))?);
        // Not of our group: where we are stopped, it goes on.
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        let child = command.spawn().map_err(Failure::at(program))?;
        let (child, goes_on) = (Arc::new(Mutex::new(child)), Arc::new(AtomicBool::new(true)));
        let running = Running { child: Arc::clone(&child), goes_on: Arc::clone(&goes_on) };
        let watch = move || {
            while lock(&child).try_wait().is_ok_and(|status| status.is_none()) {
                pause();
            }
            goes_on.store(false, Ordering::Release);
        };
        let watcher = thread::Builder::new().name("watcher".to_owned()).spawn(watch);
        watcher.map_err(|error| Failure::said(format!("cannot start a thread: {error}")))?;
        Ok(running)
    }

    pub(super) fn growth(&self) -> Growth {
        Growth(Arc::clone(&self.goes_on))
    }

    /// How it ended, if it has.
    pub(super) fn status(&self) -> Option<ExitStatus> {
        lock(&self.child).try_wait().ok().flatten()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = i32::try_from(lock(&self.child).id()).ok().and_then(Pid::from_raw);
        if self.status().is_some() {
            return;
        }
        if let Some(pid) = pid {
            // If it has just ended, there is nobody to tell.
            let _ = kill_process(pid, Signal::TERM);
        }
        if !wait_for(GRACE, || self.status().is_some()) {
            let mut child = lock(&self.child);
            // If that fails, it has just ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}
