// LESSON A trap and its reply

//! A trap and its reply.
//!
//! ```text
//! cargo run --example lesson_2_trap
//! ```
//!
//! One task, alone with the kernel. Each time it asks for something it stops; the loop serves what it asked,
//! and the task goes on with the reply: at once, or when the time has come. One question it takes back.

use std::time::Duration;

#[trapline::main(quantum = 1, clock = "virtual")]
async fn main() {
    lesson().await;
}

pub(crate) async fn lesson() {
    // LESSON step 1 panes source,loop,sentence
    // The pane *loop* shows the scheduler itself, in its own words. Go through this step slowly, by
    // phases: `P` back, `N` on. *Pick*: the loop takes the task. *Resume*: the task runs. *Trap*: it has
    // stopped, with a request. *Serve*: the kernel answers it. *Settle*: the task is put where it belongs.
    // ? Why must a task ask for its own number?
    // = It sees neither the scheduler nor any table. The trap is its only door.
    let me = trapline::get_tid().await;

    // LESSON step 2 panes source,sentence,output
    // "I am task 1" was printed in this step, not in the one before.
    // ? In step 1 the answer was there already. Why did the task not print it then?
    // = It had stopped in the `.await`. A reply is taken when the task is resumed, and not before.
    println!("I am task {me}");
    let start = trapline::now().await;

    // LESSON first call sleep panes source,ready,waiting,sentence
    // The call was made in one line and asked in another: `sleep(..)` only makes a future, and asking
    // is what the `.await` does. Now it is asked, and not answered: the task waits for a timer.
    // ? The queue is empty. What can the loop do next?
    // = Only look at the outside: at the clock, at sockets, at other threads.
    let nap = trapline::sleep(Duration::from_secs(2));
    println!("a call is made, and nobody has been asked yet");

    // LESSON step 4 panes loop,ready,waiting,sentence
    // In this step no task ran. The loop looked outside. This clock is a virtual one: since nobody could
    // run, it jumped to the next deadline; the call was answered, and task 1 is ready.
    // ? Would it have jumped if another task had been ready?
    // = No. It stands still as long as anybody can run, and jumps only to where somebody must.
    let woken = nap.await;
    println!("I slept for {:?}", woken - start);

    // LESSON step 5 panes source,log,sentence
    // One step, two traps: `join!` lets both futures ask before the task stops. Both are served, in
    // the order in which they were made.
    // ? How often was the task resumed for two answers?
    // = Once. It is the task that is resumed, not the call.
    let (task, time) = trapline::join!(trapline::get_tid(), trapline::now());
    println!("two replies in one step: task {task}, {time}");

    // LESSON step 6 panes source,ready,waiting,sentence
    // One task, and it waits for two things: for an hour to pass, and for a second. Whichever comes
    // first will resume it.
    // ? Which of the two calls stands in the program as a `sleep`?
    // = The hour. The second belongs to `timeout`, which is library code: it sleeps beside what it is given.
    let hour = trapline::sleep(Duration::from_secs(3600));
    if trapline::timeout(Duration::from_secs(1), hour).await.is_err() {
        // LESSON end panes source,log,waiting,sentence,output
        // The second was over, and the hour was *withdrawn*: dropping a future takes its question back.
        // Look at the log: it was never answered, and nothing waits any more.
        // ? A thread has called the operating system's `sleep(3600)`. How do you take that back?
        // = You do not. That is one of the reasons for this course.
        println!("I waited for a second, and took the question back");
    }
}
