//! Calls: what is asked, and what becomes of it.

use trapline_trace::{Cause, Move, On, Record, Value};

use super::{Teller, capital};
use crate::step::names;

impl Teller<'_> {
    /// A task asks. What becomes of it at once is told in the same breath.
    pub(super) fn asks(&mut self, change: &Move, rest: &[Record]) {
        let Move::CallBegun { call, task, what, ref argument, .. } = *change else { return };
        let who = match self.task == Some(task) {
            true => self.who(),
            false => names::short(task),
        };
        let what = self.mirror.tables().str(what).to_owned();
        let is_at_once = rest.iter().any(|record| {
            matches!(record, Record::Move(Move::CallAnswered { call: answered, .. }) if *answered == call)
        });
        let argument_text = names::value(argument, &self.mirror);
        let argument_text = match argument_text.is_empty() {
            true => self.waited_for_in(call, rest).unwrap_or_default(),
            false => argument_text,
        };
        let sentence = match what.as_str() {
            "yield_now" => format!("{who} traps: it offers the others a turn (yield_now)."),
            "sleep" if argument_text.is_empty() => format!("{who} traps: it asks to sleep."),
            "sleep" => format!("{who} traps: it asks to sleep for {argument_text}."),
            "sleep_until" => format!("{who} traps: it asks to sleep until {argument_text}."),
            "wait" | "join" => format!("{who} traps: it asks how {argument_text} ends ({what})."),
            "spawn" => format!("{who} traps: it asks for a new task (spawn)."),
            "kill" => format!("{who} traps: it asks that {argument_text} be killed."),
            "cancel" => {
                format!("{who} traps: it asks that {argument_text} be told to stop (cancel).")
            }
            "now" => format!("{who} traps: it asks what the clock says (now)."),
            "get_tid" => format!("{who} traps: it asks for its own number (get_tid)."),
            // What it wants of it is told with its having to wait.
            "read_wait" => format!(
                "{who} traps: it asks to be told when {argument_text} has something to read."
            ),
            "write_wait" => {
                format!("{who} traps: it asks to be told when {argument_text} has room to write.")
            }
            "park" if !is_at_once => format!("{who} asks for {argument_text}."),
            "park" => format!("{who} asks for {argument_text}, and need not wait."),
            own if argument_text.is_empty() => format!("{who} traps: it asks {own}."),
            own => format!("{who} traps: it asks {own}({argument_text})."),
        };
        self.say(sentence);
        self.last_call = Some(what);
        let births = std::mem::take(&mut self.births);
        births.into_iter().for_each(|birth| self.say(birth));
    }

    /// The thing for which a call is going to wait, where its argument does not say.
    fn waited_for_in(&self, call: u64, rest: &[Record]) -> Option<String> {
        rest.iter().find_map(|record| match record {
            Record::Move(Move::CallBlocked { call: blocked, on: On::Object { object, .. } })
                if *blocked == call =>
            {
                Some(names::thing(*object, &self.mirror))
            }
            _ => None,
        })
    }

    pub(super) fn has_to_wait(&mut self, call: u64, on: On) {
        let Some(call) = self.mirror.call(call) else { return };
        let who = call.task.map_or_else(|| "nobody".to_owned(), names::short);
        let sentence = match on {
            On::Deadline { at_nanos } => {
                let at = names::clock(at_nanos);
                match self.others_asleep() {
                    0 => format!("{who} waits for the clock, which has to come to {at}."),
                    1 => format!(
                        "{who} waits for the clock, which has to come to {at}; one other sleeps, too."
                    ),
                    others => {
                        format!(
                            "{who} waits for the clock, which has to come to {at}; {others} others sleep, too."
                        )
                    }
                }
            }
            On::Exit { task } => match self.mirror.task(task) {
                Some(_) => format!("{} lives, so {who} waits for its end.", names::short(task)),
                None => format!("{who} waits for the end of {}.", names::short(task)),
            },
            On::Object { object, role } => self.waits_for_thing(&who, object, role),
            On::Descriptor { fd, .. } => {
                format!("That is not so yet, so {who} waits for fd {fd}.")
            }
            On::Somebody => format!("{who} waits until somebody in the program answers."),
        };
        self.join_last(sentence);
    }

    /// Who asks for a thing and has to wait is told in one sentence.
    fn join_last(&mut self, sentence: String) {
        match self.sentences.last_mut() {
            Some(last)
                if last.contains(" asks for ")
                    && !last.contains("traps")
                    && last.ends_with('.') =>
            {
                last.pop();
                last.push_str("; ");
                last.push_str(&sentence);
            }
            _ => self.say(capital(&sentence)),
        }
    }

    fn others_asleep(&self) -> usize {
        self.mirror.calls().filter(|call| matches!(call.on, Some(On::Deadline { .. }))).count()
    }

    /// "T2 has held it since step 17; T3 joins its queue."
    fn waits_for_thing(&self, who: &str, object: u64, role: trapline_trace::Str) -> String {
        let role = self.mirror.tables().str(role);
        if role == "read" {
            return format!("that is not so yet, so {who} waits.");
        }
        if role == "write" {
            return format!("that is not so yet, so {who} waits.");
        }
        let queue: Vec<u64> =
            self.mirror.waiting(object).into_iter().filter_map(|call| call.task).collect();
        let joins = match queue.is_empty() {
            true => format!("{who} joins its queue."),
            false => format!("{who} joins its queue, behind {}.", names::several(&queue)),
        };
        match self.mirror.field(object, "holder") {
            Some(Value::Held { task: Some(holder), since }) => {
                let step = self.atlas.history.held_since(object, *holder, self.step);
                let since = match step {
                    Some(step) => format!("step {step}"),
                    None => names::site(*since, &self.mirror),
                };
                let holder = match who == names::short(*holder) {
                    true => "it itself".to_owned(),
                    false => names::short(*holder),
                };
                format!("{holder} has held it since {since}; {joins}")
            }
            _ => match self.mirror.field(object, "count") {
                Some(Value::Count(0)) => format!("nothing is in it; {joins}"),
                Some(Value::Count(count)) => format!("{count} are in it; {joins}"),
                _ => format!("it has to wait, and {joins}"),
            },
        }
    }

    pub(super) fn answered(&mut self, call: u64, by: Cause, reply: &Value) {
        let Some(asked) = self.mirror.call(call) else { return };
        let (task, what) = (asked.task, self.mirror.tables().str(asked.what).to_owned());
        let (since, on) = (asked.since_nanos, asked.on);
        let reply_text = names::value(reply, &self.mirror);
        if on.is_none() {
            self.answered_at_once(&what, reply, &reply_text);
            return;
        }
        let Some(task) = task else {
            return self.say(format!("A call {what} of nobody is answered."));
        };
        self.answered = Some(task);
        let (who, place, took) = (self.name(task), self.place_in_queue(), self.waited(since));
        let joins = match self.mirror.task(task).map(|task| task.state) {
            Some(trapline_trace::TaskState::Blocked) => format!("it joins the ready queue{place}"),
            Some(trapline_trace::TaskState::Ready) => "it is ready already".to_owned(),
            _ => "it runs already".to_owned(),
        };
        let sentence = match (by, on) {
            (Cause::Timer, _) => {
                format!("The time until which {who} waited has come: {joins}.")
            }
            (Cause::Exit(ended), _) => {
                format!("{who} has waited{took} for the end of T{ended}, and is told: {joins}.")
            }
            (Cause::Source(fd), _) => {
                format!("fd {fd} is ready; {who} has waited{took} for that: {joins}.")
            }
            (_, Some(On::Object { object, .. })) => {
                let (by, thing) =
                    (names::cause(by, &self.mirror), names::thing(object, &self.mirror));
                let by = if Some(&by) == self.task.map(names::short).as_ref() {
                    "This".to_owned()
                } else {
                    capital(&by)
                };
                format!("{by} answers {who}, which has waited{took} for {thing}: {joins}.")
            }
            _ => {
                let by = capital(&names::cause(by, &self.mirror));
                format!("{by} answers {who}, which has waited{took} for its {what}: {joins}.")
            }
        };
        self.say(sentence);
    }

    fn answered_at_once(&mut self, what: &str, reply: &Value, text: &str) {
        let sentence = match (what, reply) {
            // The queue is told of when it rests.
            ("yield_now" | "park", _) => return,
            ("get_tid", _) => format!("The answer is there at once: {text}."),
            ("now", _) => format!("The answer is there at once: {text}."),
            ("spawn", Value::Task(child)) => {
                format!("The answer is its number, {child}.")
            }
            ("wait" | "join", _) => {
                "It has ended before, so the answer is there at once.".to_owned()
            }
            (_, Value::Os(_)) => format!("The answer is an error: {text}."),
            (_, Value::Nothing) => "It is done at once.".to_owned(),
            _ => format!("The answer is there at once: {text}."),
        };
        self.say(sentence);
    }

    pub(super) fn withdrawn(&mut self, call: u64) {
        let Some(asked) = self.mirror.call(call) else { return };
        let what = self.mirror.tables().str(asked.what).to_owned();
        let whose = asked.task.map_or_else(|| "nobody".to_owned(), names::short);
        let on = asked.on.map(|on| names::on(on, &self.mirror));
        self.say(match on {
            Some(on) => format!("A call of {whose} is dropped before it is answered: {what}, for {on}. It leaves the queue."),
            None => format!("A call of {whose} is dropped before it is served: {what}."),
        });
    }

    pub(super) fn booked(&mut self, call: u64, task: Option<u64>) {
        let Some(asked) = self.mirror.call(call).filter(|asked| asked.task != task) else { return };
        let what = self.mirror.tables().str(asked.what).to_owned();
        let to = task.map_or_else(|| "nobody".to_owned(), names::short);
        self.say(format!("A pending call changes hands: {what} is {to}'s now."));
    }
}
