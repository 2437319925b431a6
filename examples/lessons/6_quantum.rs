// LESSON Starvation and quantum

//! Starvation and quantum.
//!
//! ```text
//! cargo run --example lesson_6_quantum
//! ```
//!
//! Three tasks have eight pieces of work each. `asker` asks the kernel for something after each piece, and
//! is answered at once; `giver` gives way after each; `hog` does neither. The quantum, four here, is how
//! often a task may go on at once before it goes to the back. Change it, and run again.

#[trapline::main(quantum = 4, clock = "virtual")]
async fn main() {
    lesson().await;
}

pub(crate) async fn lesson() {
    // LESSON step 3 panes source,ready,sentence
    // Three steps, and all three were task 1's: its calls were answered at once, so it went on at once.
    // Up to four times, for the quantum is 4; the position line counts what is left.
    // ? At quantum 1, as in the lessons before, who would have run in step 2?
    // = `asker`. There every trap is a change of turns.
    let asker = trapline::spawn(ask()).name("asker").await;
    let giver = trapline::spawn(give_way()).name("giver").await;
    let hog = trapline::spawn(hog()).name("hog").await;

    // LESSON step 4 panes source,ready,waiting,sentence
    // A turn can end in four ways. This is the first: the task waits for something. It leaves the queue.
    // ? What are the other three?
    // = Its quantum is spent, it gives way, or it is over for good. You will see all of them next.
    asker.await.expect("the asker returns");
    giver.await.expect("the giver returns");
    hog.await.expect("the hog returns");

    // LESSON end panes timeline,output,source
    // The lanes of the timeline have three characters: four steps at a time, one at a time, and one for all.
    // Change the quantum in the line above `main`, first to 1, then to 32, and press `R`: it runs again.
    // ? What will change for `asker`, for `giver`, for `hog`?
    // = At 1 `asker` and `giver` take turns, piece by piece. At 32 `asker` is done in one turn.
    // = For `hog` nothing changes: it never stops.
}

async fn ask() {
    for piece in 1..=8 {
        println!("asker {piece}");
        // LESSON step 8 panes source,ready,sentence,output
        // The fourth piece, and the quantum is spent: `asker` has its answer, and goes to the back.
        // ? Who decided that?
        // = The loop, by counting. The task did not ask for it, and cannot refuse.
        trapline::get_tid().await;
    }
}

async fn give_way() {
    for piece in 1..=8 {
        println!("        giver {piece}");
        // LESSON first task giver panes source,ready,sentence,output
        // `giver` gave way after one piece. Who yields goes to the back, whatever is left of the quantum.
        // ? Four pieces for the asker, one for the giver. Is this fair?
        // = In turns, yes; in work, no. Courtesy costs. Nobody *starves*, though: every turn ends.
        //
        // LESSON step 20 panes source,ready,sentence
        // `giver` is alone, and gives way to nobody: the back of an empty queue is its head.
        // ? What did this yield cost?
        // = One step: some two hundred instructions in a release build. Cheap enough to be polite.
        trapline::yield_now().await;
    }
}

async fn hog() {
    // LESSON first task hog panes source,ready,sentence,output
    // Eight pieces in one step, and the quantum did not help: it counts how often a task is resumed, and
    // `hog` was resumed once. While it ran, nobody else did. With eight million pieces, they would starve.
    // ? How does the loop stop such a task?
    // = It cannot. The task must stop by itself: `yield_now` now and then, or `unblock` for a thread.
    for piece in 1..=8 {
        println!("                hog {piece}");
    }
}
