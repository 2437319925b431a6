// LESSON A lost wake-up, and why ours is not

//! A lost wake-up, and why ours is not.
//!
//! ```text
//! cargo run --example lesson_5_wakeup
//! ```
//!
//! A clerk waits for a parcel. The courier puts it on the desk and rings the bell, once. The clerk looks at
//! the desk first, and waits for the bell only if there is nothing on it; but between the look and the wait
//! there is something to write down, and just then the bell rings. The same story is told twice, with two
//! bells: one is forgotten when nobody hears it, the other leaves a token.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use trapline::WaitQueue;

#[trapline::main(quantum = 1, clock = "virtual")]
async fn main() {
    lesson().await;
}

pub(crate) async fn lesson() {
    println!("a bell that is heard or not:");
    deliver(WaitQueue::signal("bell")).await;
    println!("a bell that leaves a token:");
    deliver(WaitQueue::labelled("bell", 0)).await;

    // LESSON end panes source,output
    // One word of the program is different: `signal`, `labelled`. Compare: an hour and two seconds.
    // ? With threads one holds a lock from the look to the wait. Where is ours?
    // = We need none: between two `.await`s nobody else runs. There is a gap because we awaited in it, and
    // = the token makes even that safe.
}

struct Desk {
    bell: WaitQueue,
    parcel: Cell<bool>,
}

#[trapline::traced]
async fn deliver(bell: WaitQueue) {
    let desk = Rc::new(Desk { bell, parcel: Cell::new(false) });
    let clerk = trapline::spawn(collect(Rc::clone(&desk))).name("clerk").await;
    let courier = trapline::spawn(bring(desk)).name("courier").await;
    clerk.await.expect("the clerk returns");
    courier.await.expect("the courier returns");
}

async fn bring(desk: Rc<Desk>) {
    trapline::sleep(Duration::from_secs(1)).await;
    desk.parcel.set(true);
    // LESSON step 8 panes source,ready,waiting,sentence,output
    // A second has passed. The courier put the parcel on the desk, rang, and left. The sentence does
    // not say that this woke anybody.
    // ? Where is the ring now?
    // = Nowhere. This bell keeps nothing, as a shout in an empty room.
    //
    // LESSON step 22 panes source,ready,waiting,sentence
    // The other bell, the same moment. Again nobody waited, and again nobody was woken. But this bell
    // has kept the ring: among what is waited for, it has one token free.
    // ? And if the courier had rung three times?
    // = Three tokens. It counts, so none is lost and none is doubled.
    desk.bell.wake();
    println!("  courier: it is on the desk, and I rang");
}

async fn collect(desk: Rc<Desk>) {
    let start = trapline::now().await;
    while !desk.parcel.get() {
        // LESSON step 4 panes source,ready,waiting,sentence,output
        // The clerk has looked: no parcel. It will wait for the bell, but first it writes that down,
        // which takes two seconds. Look at what it waits for: a timer, and not the bell.
        // ? What if the bell rings just now?
        // = The clerk does not stand in the bell's queue. Nobody does.
        write_down("no parcel yet").await;

        // LESSON first call park panes source,ready,waiting,sentence
        // The clerk waits for the bell, at a desk with the parcel on it. It looked before; it does not
        // look again. Its wait ends after an hour: two calls, the bell's and the timer's.
        // ? And without the hour?
        // = Nobody could ever run again. Trapline says so at once: a deadlock, and for what who waits.
        //
        // LESSON step 11 panes source,ready,waiting,sentence
        // An hour later. It was the timer that woke the clerk.
        // ? Nothing crashed, and no table is wrong. How would you find this in a real server?
        // = It "hangs sometimes". By the state: who waits, for what, and who should have woken it.
        //
        // LESSON step 24 panes source,waiting,log,sentence
        // The clerk parks as before, and is answered in the same step: with the token that lay there.
        // The ring came before the wait, and was not lost.
        // ? What becomes of the token if the clerk is killed with it in hand?
        // = It goes to the next who waits, or back to the bell. A token has always one owner.
        let heard = trapline::timeout(Duration::from_secs(3600), desk.bell.park()).await;
        println!("  clerk: {}", if heard.is_ok() { "the bell" } else { "I give up on the bell" });
    }
    let took = trapline::now().await - start;
    println!("  clerk: I have it after {took:?}");
}

/// Takes two seconds, for the pen is slow.
#[trapline::traced]
async fn write_down(note: &str) {
    println!("  clerk: {note}");
    trapline::sleep(Duration::from_secs(2)).await;
}
