// LESSON Two tasks, taking turns

//! Two tasks, taking turns.
//!
//! ```text
//! cargo run --example lesson_1_turns
//! ```
//!
//! `ping` and `pong` have a word each, and say it three times. Neither knows of the other. After each word
//! the task gives way, and that is all it takes: whoever gives way goes to the back of the queue.

#[trapline::main(quantum = 1, clock = "virtual")]
async fn main() {
    lesson().await;
}

pub(crate) async fn lesson() {
    // LESSON step 1 panes source,ready,sentence
    // One step is over. The loop took task 1, ran it until it asked for something, and did what it
    // asked: there is a new task, `ping`. Look at the queue: `ping` is first, and task 1 behind it.
    // ? Has `ping` printed anything yet?
    // = No. To be spawned is to stand in the queue. A task runs when the loop takes it.
    let ping = trapline::spawn(say("ping")).name("ping").await;
    let pong = trapline::spawn(say("pong")).name("pong").await;

    // LESSON step 6 panes source,ready,waiting,sentence
    // Task 1 has nothing to do until `ping` has ended, and says so. It is in no box any more: who
    // waits costs the loop nothing.
    // ? Who will put it back into the queue?
    // = The end of `ping`. Go on to step 9 to see it.
    ping.await.expect("ping returns");
    pong.await.expect("pong returns");

    // LESSON end panes source,output,timeline
    // Thirteen steps. `ping` took four, `pong` four, task 1 the other five. Count them in the timeline.
    // ? And if each had four words to say?
    // = Fifteen: one more for each. Change the 3 to a 4, run it again, and look.
}

async fn say(word: &str) {
    for round in 1..=3 {
        // LESSON first task ping panes source,ready,sentence,output
        // `ping` ran for the first time: from the top of `say` to its first `.await`. There it stopped,
        // in the middle of a loop, and went to the back of the queue.
        // ? Where are `word` and `round` while it stands there?
        // = In the task. A task is a function that can stop half-way and keep what it has.
        println!("{word} {round}");

        // LESSON step 4 panes source,ready,sentence,output
        // Two pings and no pong! Look one step back with `p`, at the queue as it was.
        // ? Why was it not `pong`'s turn?
        // = It was born in step 3, and stood behind `ping`. First come, first served.
        //
        // LESSON step 8 panes source,ready,sentence,output
        // Only the two are left in the queue, and from here they take turns, one for one.
        // ? Which line of the program says that they alternate?
        // = None. Each says only "I give way". The queue makes turns of it.
        trapline::yield_now().await;
    }
    // LESSON step 9 panes source,ready,waiting,sentence
    // `ping` was resumed once more, found no round left, and returned. That was what task 1 waited
    // for, and so it stands in the queue again.
    // ? The step printed nothing. What was it for?
    // = To find out that there is nothing more to do, a task must run.
}
