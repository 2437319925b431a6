//! The state as text, one way only: the kernel's own snapshot prints the same.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::{CallMirror, Mirror, ObjectMirror, TaskMirror};
use crate::record::{On, StackRef, TaskState, Value};

impl Mirror {
    /// The whole state, a line for each task, each call that waits, and each thing whose token is waited for.
    ///
    /// ```text
    /// step 118
    /// running 3
    /// ready 4 7 1
    /// task 1 "main" parent - at src/x.rs:12:5: running, dispatches 4
    /// task 2 - parent 1 daemon at src/x.rs:14:9: blocked, dispatches 1
    ///   call 17 park at src/x.rs:31:9 < src/y.rs:3:1: object 2 token
    /// call 19 of nobody park at src/x.rs:33:9: object 2 token
    /// object 2 mutex "log" held by 4 since src/x.rs:10:5, holders 1: waiting 17 19
    /// ```
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a `String` never fails.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "step {}", self.step())?;
        match self.running() {
            Some(task) => writeln!(out, "running {task}")?,
            None => writeln!(out, "running -")?,
        }
        out.push_str("ready");
        if self.ready_len() == 0 {
            out.push_str(" -");
        }
        self.ready().try_for_each(|task| write!(out, " {task}"))?;
        out.push('\n');
        let calls = self.calls_by_task();
        for task in self.tasks() {
            self.write_task(task, out)?;
            for call in calls.get(&Some(task.id)).into_iter().flatten() {
                write!(out, "  call {}", call.id)?;
                self.write_call(call, out)?;
            }
        }
        for call in calls.get(&None).into_iter().flatten() {
            write!(out, "call {} of nobody", call.id)?;
            self.write_call(call, out)?;
        }
        for (object, waiting) in self.calls_by_object() {
            if let Some(object) = self.object(object) {
                self.write_object(object, &waiting, out)?;
            }
        }
        Ok(())
    }

    /// The calls that wait, under their tasks; a call whose task does not live is nobody's.
    fn calls_by_task(&self) -> BTreeMap<Option<u64>, Vec<&CallMirror>> {
        let mut by_task = BTreeMap::<_, Vec<_>>::new();
        for call in self.calls().filter(|call| call.on.is_some()) {
            let task = call.task.filter(|task| self.task(*task).is_some());
            by_task.entry(task).or_default().push(call);
        }
        by_task
    }

    /// The calls that wait for a token, under the thing whose it is, in their order.
    fn calls_by_object(&self) -> BTreeMap<u64, Vec<&CallMirror>> {
        let mut by_object = BTreeMap::<_, Vec<_>>::new();
        for call in self.calls() {
            if let Some(On::Object { object, role }) = call.on
                && self.tables().str(role) == "token"
            {
                by_object.entry(object).or_default().push(call);
            }
        }
        by_object.values_mut().for_each(|waiting| waiting.sort_by_key(|call| call.order));
        by_object
    }

    fn write_task(&self, task: &TaskMirror, out: &mut String) -> fmt::Result {
        write!(out, "task {} {} parent ", task.id, Named(self, task.name))?;
        match task.parent {
            Some(parent) => write!(out, "{parent}")?,
            None => out.push('-'),
        }
        if task.daemon {
            out.push_str(" daemon");
        }
        let state = match task.state {
            TaskState::Ready => "ready",
            TaskState::Running => "running",
            TaskState::Blocked => "blocked",
        };
        let site = self.tables().site(task.site);
        writeln!(out, " at {site}: {state}, dispatches {}", task.dispatches)
    }

    fn write_call(&self, call: &CallMirror, out: &mut String) -> fmt::Result {
        let tables = self.tables();
        write!(out, " {} at {}", tables.str(call.what), tables.site(call.site))?;
        self.write_stack(call.stack, out)?;
        out.push_str(": ");
        match call.on {
            Some(On::Deadline { at_nanos }) => write!(out, "deadline {at_nanos}")?,
            Some(On::Exit { task }) => write!(out, "exit of {task}")?,
            Some(On::Object { object, role }) => {
                write!(out, "object {object} {}", tables.str(role))?;
            }
            Some(On::Descriptor { fd, role }) => write!(out, "fd {fd} {}", tables.str(role))?,
            Some(On::Somebody) | None => out.push_str("somebody"),
        }
        out.push('\n');
        Ok(())
    }

    fn write_stack(&self, stack: StackRef, out: &mut String) -> fmt::Result {
        self.tables().stack(stack).try_for_each(|site| write!(out, " < {site}"))
    }

    fn write_object(
        &self,
        object: &ObjectMirror,
        waiting: &[&CallMirror],
        out: &mut String,
    ) -> fmt::Result {
        let tables = self.tables();
        let kind = tables.str(object.kind);
        write!(out, "object {} {kind} {}", object.id, Named(self, object.name))?;
        let mut before = " ";
        if let Some(Value::Held { task, since }) = object.field("holder", tables) {
            match task {
                Some(task) => write!(out, " held by {task}")?,
                None => out.push_str(" held by -"),
            }
            write!(out, " since {}", tables.site(*since))?;
            before = ", ";
        }
        if let Some(Value::Count(holders)) = object.field("holders", tables) {
            write!(out, "{before}holders {holders}")?;
        }
        out.push_str(": waiting");
        waiting.iter().try_for_each(|call| write!(out, " {}", call.id))?;
        out.push('\n');
        Ok(())
    }
}

/// A name in quotes, or a dash.
struct Named<'a>(&'a Mirror, Option<crate::record::Str>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(name) => write!(f, "{:?}", self.0.tables().str(name)),
            None => f.write_str("-"),
        }
    }
}
