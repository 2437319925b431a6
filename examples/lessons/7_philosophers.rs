// LESSON Philosophers: a deadlock and its cure

//! Philosophers: a deadlock and its cure.
//!
//! ```text
//! cargo run --example lesson_7_philosophers
//! ```
//!
//! Three philosophers sit at a round table with a fork between any two, and each needs both of hers to eat.
//! At the first dinner each takes the fork on her left first, and they sit there until the host loses
//! patience. At the second each takes the fork with the lower number first. One of them reaches out in the
//! other direction than before, and that is the whole cure.

use std::rc::Rc;
use std::time::Duration;

use trapline::TaskGroup;
use trapline::sync::Mutex;

const SECOND: Duration = Duration::from_secs(1);

#[trapline::main(clock = "virtual")]
async fn main() {
    lesson().await;
}

pub(crate) async fn lesson() {
    println!("the left fork first:");
    dinner(|left, right| (left, right)).await;

    // LESSON step 13 panes log,tasks,output,sentence
    // The host gave up, and in the same step began to lay the table anew. Read the log: dropping the group
    // killed all three, and each kill took back what its task had asked for.
    // ? Who put the forks back on the table?
    // = Their destructors. A killed task runs no more of its own lines, but all it owned is dropped.
    println!("the lower fork first:");
    dinner(|left, right| (left.min(right), left.max(right))).await;

    // LESSON end panes source,output,timeline
    // All have eaten, one after the other. Nothing was locked that was not locked before; only the order
    // is another.
    // ? Which other cures are there?
    // = A waiter, who lets only two of three reach for forks (`philosophers -- --rule waiter`); taking both
    // = forks or none; giving up after a while, as our host did.
}

type Forks = Rc<[Mutex<()>; 3]>;

/// Gives in which order to take the fork on the left and the one on the right.
type Rule = fn(usize, usize) -> (usize, usize);

#[trapline::traced]
async fn dinner(rule: Rule) {
    let forks: Forks = Rc::new([0, 1, 2].map(|n| Mutex::new(()).named(format!("fork{n}"))));
    let table = TaskGroup::<()>::new();
    for (seat, name) in ["Plato", "Kant", "Arendt"].into_iter().enumerate() {
        table.spawn_value(dine(name, seat, rule, Rc::clone(&forks))).name(name).await;
    }

    // LESSON step 4 panes source,ready,waiting,sentence
    // The guests stand in the queue, and the host waits: for the last of them to leave, or for a minute to
    // be over.
    // ? Who takes which fork first? (Look at `dine`, and draw the table.)
    // = Plato 0, Kant 1, Arendt 2: each the one on the left.
    //
    // LESSON step 12 panes ready,waiting,graph,sentence,output
    // The clock jumped to the end of the host's minute, since nothing else could happen any more.
    // ? And without the host?
    // = The run ends there and then: a deadlock, with the three, their forks, and the lines.

    // Whoever still sits here when the time is up is dropped with the group, and the forks with them.
    match trapline::timeout(60 * SECOND, table.join_all()).await {
        Ok(_all) => println!("  host: good night"),
        Err(_) => println!("  host: you sit here and starve; out with you"),
    }
}

async fn dine(name: &'static str, seat: usize, rule: Rule, forks: Forks) {
    let (first, second) = rule(seat, (seat + 1) % 3);

    // LESSON step 19 panes source,ready,waiting,graph,sentence
    // The second dinner. Arendt sits between forks 2 and 0, and now asks for 0 first. Plato has it, so she
    // waits, with empty hands. That is the cure.
    // ? Why can no circle close now?
    // = Who holds a fork waits only for one with a higher number. Around a circle numbers cannot rise for ever.
    let _first = forks[first].lock().await;

    // LESSON step 7 panes source,waiting,log,sentence
    // Each has the fork on the left and thinks for a second. Taking a free fork was no trap: the log tells
    // of it, and each step's call is the `sleep`.
    // ? How many forks are left on the table?
    // = None. Nothing is wrong yet; but can you find a way out?
    trapline::sleep(SECOND).await;

    // LESSON step 9 panes source,ready,waiting,graph,sentence
    // Plato asks for `fork1`, which Kant holds, and waits in the fork's queue. Select Plato and press `w`:
    // why is it not running?
    // ? Is this a deadlock?
    // = No: one arrow. Kant may eat, and give the fork back. Waiting is no mistake.
    //
    // LESSON step 11 panes graph,sentence,source
    // Arendt's arrow closes the circle: Plato waits for Kant, Kant for Arendt, Arendt for Plato. The
    // kernel saw it in the very step in which it closed.
    // ? Which of the three made the mistake?
    // = None of them. Each line is right, and was right before. The mistake is the order of all.
    //
    // LESSON step 24 panes source,ready,waiting,graph,sentence
    // Kant has eaten and left. By that `fork1` went to Plato, who is ready, and holds it already.
    // ? Could somebody have snatched the fork before Plato ran?
    // = No: it was handed over in Kant's step. When Plato runs, it has been Plato's for long.
    let _second = forks[second].lock().await;
    println!("  {name} eats");
    trapline::sleep(SECOND).await;
}
