// LESSON Spawn and wait

//! Spawn and wait.
//!
//! ```text
//! cargo run --example lesson_3_wait
//! ```
//!
//! A guest orders three dishes, each made by a task of its own, and waits for them in the order in which
//! they were ordered. One is not ready when it is asked for, one has been ready for long, and one will
//! never come.

use std::time::Duration;

#[trapline::main(quantum = 1, clock = "virtual")]
async fn main() {
    lesson().await;
}

pub(crate) async fn lesson() {
    // LESSON step 2 panes source,ready,waiting,sentence
    // The soup is on the stove, and the guest has not got beyond this line: a child stands in the queue
    // before its parent.
    // ? Who runs next, and from where?
    // = Task 1, the guest, from the reply to `spawn`: a handle, by which to ask for the soup later.
    let soup = trapline::spawn(cook("soup", 3)).name("soup").await;
    let bread = trapline::spawn(cook("bread", 1)).name("bread").await;
    let roast = trapline::spawn(cook("roast", 60)).name("roast").await;

    // LESSON step 7 panes source,ready,tasks,sentence
    // Four tasks live, and none can run. Three wait for the clock, one for an exit.
    // ? In which order will they go on?
    // = Bread after a minute, soup after three, and then at once the guest. The roast takes an hour.
    //
    // LESSON step 11 panes timeline,source,ready,sentence
    // The soup's end woke the guest: follow the arrow. What `cook` returned goes to whoever joins.
    // ? What if two tasks had waited for the soup's end?
    // = Both are told, in the order in which they came. (The dish itself goes to the handle alone.)
    let dish = soup.await.expect("soup is served");
    println!("guest: {dish}");

    // LESSON step 12 panes source,ready,sentence
    // The same call as in step 7, and this time it was answered at once.
    // ? What is different?
    // = The bread ended long ago. Whether a call blocks depends on the moment, not on the call.
    let dish = bread.await.expect("bread is served");
    println!("guest: {dish}");

    // LESSON step 13 panes source,tasks,output,sentence
    // The guest has lost patience, and in the same step asked what became of the roast. Its cook is gone:
    // the task was dropped where it stood.
    // ? Which lines of `cook` did the roast get to?
    // = Those up to the `sleep`. The ones below never ran, and yet the stove is off: see `Drop`.
    roast.kill();
    match roast.await {
        Ok(dish) => println!("guest: {dish}"),
        // LESSON end panes output,tasks,sentence
        // How a task ended is an answer like any other: a value, or an error that says why there is
        // none. The guest was not harmed.
        // ? What time is it?
        // = Three minutes past. With the roast its timer went, and nobody waited for the hour.
        Err(error) => println!("guest: no roast: {error}"),
    }
}

async fn cook(dish: &'static str, minutes: u64) -> &'static str {
    let _stove = Stove(dish);
    trapline::sleep(Duration::from_secs(60 * minutes)).await;

    // LESSON step 9 panes tasks,ready,output,sentence
    // The bread is ready, its cook has ended and left the table, and nobody was woken: nobody waits for
    // it yet.
    // ? Then where is the bread?
    // = The kernel keeps it, for as long as somebody has the handle by which to ask for it.
    println!("{dish} is ready");
    dish
}

/// Turned off when its cook is done with it, however that comes about.
struct Stove(&'static str);

impl Drop for Stove {
    fn drop(&mut self) {
        println!("the stove under the {} is off", self.0);
    }
}
