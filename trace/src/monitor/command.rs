//! What a client may say.

use std::fmt;

/// A line from a client, understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// The tasks.
    Ps,
    /// The tasks as a tree.
    Tree,
    /// One task.
    Where(u64),
    /// Who waits for whom.
    Waits,
    /// What the loop does.
    Status,
    /// What the loop does, for tools.
    Facts,
    /// The whole state.
    State,
    /// The commands.
    Help,
    /// Until the program is held, but at most for so many seconds.
    Wait(u64),
    /// The right to order.
    Orders,
    /// A recording from here on.
    Trace,
    /// The client leaves.
    Quit,
    /// Something that the loop is to do.
    Order(Order),
}

/// Something that the loop is to do between two steps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// Ends a task.
    Kill(u64),
    /// Asks a task to end, for this reason.
    Cancel(u64, String),
    /// Puts a ready task first.
    Next(u64),
    /// Stops.
    Hold,
    /// Takes so many steps, and stops.
    Step(u64),
    /// Goes on.
    Go,
    /// Stops where this is met.
    Break(Condition),
    /// Lists the conditions.
    Breaks,
    /// Removes one condition, or all.
    Unbreak(Option<u32>),
    /// Whoever gave the orders has left: goes on, without conditions.
    Release,
}

/// When to stop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// This task was resumed.
    Task(u64),
    /// Such a call was served.
    Call(String),
    /// Something happened to the thing of this name, kind or number.
    Object(String),
    /// A call of this line was served.
    Line {
        /// The end of the file's path.
        file: String,
        /// The line.
        line: u32,
    },
    /// The step came to this.
    Outcome(&'static str),
    /// The step woke more tasks than this.
    Woken(usize),
}

/// What a step can come to.
const OUTCOMES: [&str; 11] = [
    "returned",
    "panicked",
    "killed",
    "cancelled",
    "blocked",
    "answered",
    "yielded",
    "outside",
    "deadlock",
    "stalled",
    "finished",
];

/// How long `wait` waits, in seconds, where nothing else is said, and at most.
const WAIT_SECONDS: u64 = 10;
const MAX_WAIT_SECONDS: u64 = 600;

impl Command {
    /// Understands a line.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(line: &str) -> Result<Command, String> {
        let (word, rest) = split(line);
        let alone = |command| match rest {
            "" => Ok(command),
            _ => Err(format!("`{word}` takes nothing after it")),
        };
        match word {
            "ps" => alone(Command::Ps),
            "tree" => alone(Command::Tree),
            "where" => Ok(Command::Where(id(word, rest)?)),
            "waits" => alone(Command::Waits),
            "status" => alone(Command::Status),
            "facts" => alone(Command::Facts),
            "state" => alone(Command::State),
            "help" | "?" => alone(Command::Help),
            "wait" => Ok(Command::Wait(number(rest, WAIT_SECONDS)?.min(MAX_WAIT_SECONDS))),
            "orders" => alone(Command::Orders),
            "trace" => alone(Command::Trace),
            "quit" | "exit" => alone(Command::Quit),
            "hold" => alone(Command::Order(Order::Hold)),
            "go" => alone(Command::Order(Order::Go)),
            "breaks" => alone(Command::Order(Order::Breaks)),
            "" => Err("there is no command; `help` lists them".to_owned()),
            _ => order(word, rest).map(Command::Order),
        }
    }
}

fn order(word: &str, rest: &str) -> Result<Order, String> {
    match word {
        "kill" => Ok(Order::Kill(id(word, rest)?)),
        "next" => Ok(Order::Next(id(word, rest)?)),
        "cancel" => {
            let (task, reason) = split(rest);
            let reason = if reason.is_empty() { "by order" } else { reason };
            Ok(Order::Cancel(id(word, task)?, reason.to_owned()))
        }
        "step" => match number(rest, 1)? {
            0 => Err("`step` takes a number from 1 on".to_owned()),
            steps => Ok(Order::Step(steps)),
        },
        "break" => Ok(Order::Break(Condition::parse(rest)?)),
        "unbreak" if rest == "all" => Ok(Order::Unbreak(None)),
        "unbreak" => {
            let number = rest.parse().map_err(|_| "`unbreak` takes a number, or `all`")?;
            Ok(Order::Unbreak(Some(number)))
        }
        _ => Err(format!("no command `{}`; `help` lists them", super::answers::escaped(word))),
    }
}

impl Condition {
    fn parse(text: &str) -> Result<Condition, String> {
        let (word, rest) = split(text);
        match word {
            "task" => Ok(Condition::Task(id("break task", rest)?)),
            "call" if !rest.is_empty() => Ok(Condition::Call(rest.to_owned())),
            "object" if !rest.is_empty() => Ok(Condition::Object(rest.to_owned())),
            "line" => {
                let parts = rest.rsplit_once(':');
                let parts = parts.and_then(|(file, line)| Some((file, line.parse().ok()?)));
                match parts {
                    Some((file, line)) if !file.is_empty() => {
                        Ok(Condition::Line { file: file.to_owned(), line })
                    }
                    _ => Err("`break line` takes FILE:LINE".to_owned()),
                }
            }
            "outcome" => match OUTCOMES.iter().find(|known| **known == rest) {
                Some(outcome) => Ok(Condition::Outcome(outcome)),
                None => Err(format!("`break outcome` takes one of {}", OUTCOMES.join(", "))),
            },
            "woken" => {
                let count = rest.strip_prefix('>').map(str::trim);
                let count = count.and_then(|count| count.parse().ok());
                count.map(Condition::Woken).ok_or("`break woken` takes `> N`".to_owned())
            }
            _ => Err("`break` takes `task ID`, `call WORD`, `object NAME`, `line FILE:LINE`, \
                      `outcome WORD` or `woken > N`"
                .to_owned()),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::Task(task) => write!(f, "task {task}"),
            Condition::Call(word) => write!(f, "call {word}"),
            Condition::Object(name) => write!(f, "object {name}"),
            Condition::Line { file, line } => write!(f, "line {file}:{line}"),
            Condition::Outcome(outcome) => write!(f, "outcome {outcome}"),
            Condition::Woken(count) => write!(f, "woken > {count}"),
        }
    }
}

/// The first word of a line, and what comes after it.
fn split(line: &str) -> (&str, &str) {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (word, rest.trim())
}

/// The number of a task, also as it is shown: `T3`.
fn id(command: &str, text: &str) -> Result<u64, String> {
    let number = text.strip_prefix('T').unwrap_or(text).parse();
    number.map_err(|_| format!("`{command}` takes the number of a task"))
}

fn number(text: &str, otherwise: u64) -> Result<u64, String> {
    match text {
        "" => Ok(otherwise),
        _ => text.parse().map_err(|_| "that is no number".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_then_as_they_read() {
        let read = |line| Command::parse(line).unwrap();
        let order = |line| match read(line) {
            Command::Order(order) => order,
            other => panic!("{other:?}"),
        };
        assert_eq!(read("  ps\r"), Command::Ps);
        assert_eq!(read("where T3"), Command::Where(3));
        assert_eq!(read("wait 100000"), Command::Wait(MAX_WAIT_SECONDS));
        assert_eq!(order("cancel 3 closing  time"), Order::Cancel(3, "closing  time".into()));
        assert_eq!(order("step"), Order::Step(1));
        assert_eq!(order("unbreak all"), Order::Unbreak(None));
        let line = Condition::Line { file: "a:b.rs".into(), line: 7 };
        assert_eq!(order("break line a:b.rs:7"), Order::Break(line));
        assert_eq!(order("break woken > 2"), Order::Break(Condition::Woken(2)));
        assert_eq!(order("break woken >2"), Order::Break(Condition::Woken(2)));
        assert_eq!(order("break outcome killed"), Order::Break(Condition::Outcome("killed")));
    }

    #[test]
    fn conditions_then_they_display_as_they_are_read() {
        for text in
            ["task 3", "call sleep", "object log", "line x.rs:3", "outcome deadlock", "woken > 4"]
        {
            assert_eq!(Condition::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn nonsense_then_a_sentence() {
        for line in [
            "",
            "pss",
            "ps x",
            "where",
            "where x",
            "kill -1",
            "step 0",
            "step x",
            "break",
            "break x",
            "break line 3",
            "break line :3",
            "break outcome x",
            "break woken 3",
            "unbreak x",
            "break call",
            "break object",
            "\u{1b}[2J",
        ] {
            let error = Command::parse(line).unwrap_err();
            assert!(!error.is_empty() && !error.contains('\u{1b}'), "{line}: {error}");
        }
    }
}
