//! A crowd, as something large to record: a thousand visitors of a museum share ten lockers, wait in line for the
//! guide, and rest in between; it closes after so many steps of the loop as one likes.
//!
//! ```text
//! cargo trapline record --release -p trapline-stepper --example crowd -o crowd.trace -- 1000000
//! ```

use std::rc::Rc;
use std::time::Duration;

use trapline::channel::{Sender, channel};
use trapline::sync::Mutex;

const VISITORS: usize = 1000;
const LOCKERS: usize = 10;

/// Steps of a visitor's round at least, with the share of the guide in it.
const STEPS_A_ROUND: usize = 3;

#[trapline::traced]
async fn leave_bag(locker: &Mutex<u32>) {
    let mut bags = locker.lock().await;
    *bags += 1;
    // Others come meanwhile, and wait.
    trapline::yield_now().await;
}

#[trapline::traced]
async fn visit(number: usize, rounds: usize, locker: Rc<Mutex<u32>>, guide: Sender<usize>) {
    for round in 0..rounds {
        leave_bag(&locker).await;
        // Whoever takes the questions goes only with the last visitor.
        let _ = guide.send(number).await;
        let rest = (number * 7 + round * 3) % 40;
        trapline::sleep(Duration::from_micros(rest as u64 * 100)).await;
    }
}

#[trapline::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let steps = std::env::args().nth(1).map_or(Ok(1_000_000), |steps| steps.parse::<usize>())?;
    let rounds = steps.div_ceil(VISITORS * STEPS_A_ROUND);
    let lockers: Vec<_> =
        (0..LOCKERS).map(|at| Rc::new(Mutex::new(0).named(format!("locker {at}")))).collect();
    let (guide, questions) = channel(16);
    for number in 0..VISITORS {
        let visit = visit(number, rounds, Rc::clone(&lockers[number % LOCKERS]), guide.clone());
        trapline::spawn(visit).name(format!("visitor {number}")).await.detach();
    }
    drop(guide);
    let mut asked = 0;
    while questions.recv().await.is_some() {
        asked += 1;
    }
    println!("{asked} questions");
    Ok(())
}
