//! System calls of a program's own: `count_tasks`, and a mailbox with `send` and `receive`.
//!
//! A pyos student adds a system call by a subclass of `SystemCall` with a `handle`. Here it is a
//! type with a `serve`, in the program's own file; no crate is touched. `receive` blocks, and the
//! handler of another task's `send` answers it.
//!
//! Run it with `cargo run --example own_calls`.

use std::collections::{BTreeMap, VecDeque};

use trapline::{CallId, KernelFace, OwnCall, OwnTrap, Served, TaskId, own_call};

/// Asks how many tasks live.
#[track_caller]
pub(crate) fn count_tasks() -> OwnTrap<CountTasks> {
    own_call(CountTasks)
}

/// The call of [`count_tasks`]: the simplest there is.
pub(crate) struct CountTasks;

impl OwnCall for CountTasks {
    type Reply = usize;

    fn name(&self) -> &'static str {
        "count_tasks"
    }

    fn serve(&mut self, kernel: &mut dyn KernelFace, _call: CallId) -> Served<usize> {
        Served::Answer(kernel.task_count())
    }
}

/// What one task writes to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Letter {
    pub(crate) from: TaskId,
    pub(crate) text: String,
}

/// Sends a letter to a task, which reads it with [`receive`]. Gives the text back where no such
/// task lives.
#[track_caller]
pub(crate) fn send(to: TaskId, text: impl Into<String>) -> OwnTrap<Send> {
    own_call(Send { to, text: text.into() })
}

/// Waits for the next letter to the calling task.
///
/// Dropped while it waits, it takes no letter away.
#[track_caller]
pub(crate) fn receive() -> OwnTrap<Receive> {
    own_call(Receive)
}

/// Of each task that was written to, or asked: letters that nobody asked for yet, and calls that
/// no letter came for yet. The scheduler keeps it for the handlers.
#[derive(Default)]
struct Mailboxes(BTreeMap<TaskId, Mailbox>);

#[derive(Default)]
struct Mailbox {
    letters: VecDeque<Letter>,
    waiting: VecDeque<CallId>,
}

/// The call of [`send`].
pub(crate) struct Send {
    to: TaskId,
    text: String,
}

impl OwnCall for Send {
    type Reply = Result<(), String>;

    fn name(&self) -> &'static str {
        "send"
    }

    fn serve(&mut self, kernel: &mut dyn KernelFace, _call: CallId) -> Served<Self::Reply> {
        let text = std::mem::take(&mut self.text);
        if !lives(kernel, self.to) {
            kernel.state::<Mailboxes>().0.remove(&self.to);
            return Served::Answer(Err(text));
        }
        let mut letter = Letter { from: kernel.caller(), text };
        while let Some(call) = mailbox(kernel, self.to).waiting.pop_front() {
            // A call that is gone, since its future was dropped, gives the letter back.
            match kernel.answer(call, Box::new(letter)) {
                Ok(()) => return Served::Answer(Ok(())),
                Err(back) => letter = *back.downcast().expect("what was given comes back"),
            }
        }
        mailbox(kernel, self.to).letters.push_back(letter);
        Served::Answer(Ok(()))
    }
}

/// The call of [`receive`].
pub(crate) struct Receive;

impl OwnCall for Receive {
    type Reply = Letter;

    fn name(&self) -> &'static str {
        "receive"
    }

    fn serve(&mut self, kernel: &mut dyn KernelFace, call: CallId) -> Served<Letter> {
        let me = kernel.caller();
        let mailbox = mailbox(kernel, me);
        match mailbox.letters.pop_front() {
            Some(letter) => Served::Answer(letter),
            None => {
                mailbox.waiting.push_back(call);
                Served::Block
            }
        }
    }
}

fn mailbox(kernel: &mut dyn KernelFace, task: TaskId) -> &mut Mailbox {
    kernel.state::<Mailboxes>().0.entry(task).or_default()
}

fn lives(kernel: &dyn KernelFace, id: TaskId) -> bool {
    use trapline::TaskState;

    let ended = |state: &TaskState| matches!(state, TaskState::Ended(_));
    kernel.tasks().iter().any(|task| task.id == id && !ended(&task.state))
}

fn main() -> Result<(), trapline::RunError> {
    trapline::block_on(async {
        println!("{} task", count_tasks().await);
        let echo = trapline::spawn(async {
            loop {
                let letter = receive().await;
                println!("the echo got {:?} from task {}", letter.text, letter.from);
                let answer = format!("{}, {}!", letter.text, letter.text);
                if letter.text == "stop" || send(letter.from, answer).await.is_err() {
                    break;
                }
            }
        })
        .await;
        println!("{} tasks", count_tasks().await);
        for word in ["hello", "traps"] {
            send(echo.id(), word).await.expect("the echo lives");
            let letter = receive().await;
            println!("task {} answers {:?}", letter.from, letter.text);
        }
        send(echo.id(), "stop").await.expect("the echo lives");
        let id = echo.id();
        echo.await.expect("the echo returns");
        println!("after that: {:?}", send(id, "anyone?").await);
        println!("{} task", count_tasks().await);
    })
}
