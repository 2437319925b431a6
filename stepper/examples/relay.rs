//! A relay race, as something to record: each runner sleeps, takes the lock of the track, and hands on a number;
//! the judge once keeps the loop for too long.
//!
//! ```text
//! cargo trapline record -p trapline-stepper --example relay -o relay.trace
//! cargo trapline stats relay.trace
//! ```
//!
//! An argument says how many milliseconds a lap takes; another, for how many the judge keeps the loop.

use std::rc::Rc;
use std::time::{Duration, Instant};

use trapline::channel::channel;
use trapline::sync::Mutex;

#[trapline::traced]
async fn run_lap(track: &Mutex<u32>, lap: Duration) -> u32 {
    let mut laps = track.lock().await;
    trapline::sleep(lap).await;
    *laps += 1;
    *laps
}

#[trapline::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let millis = |place, otherwise| {
        let argument = std::env::args().nth(place);
        argument.map_or(Ok(otherwise), |text| text.parse()).map(Duration::from_millis)
    };
    let (lap, kept) = (millis(1, 2)?, millis(2, 15)?);
    let track = Rc::new(Mutex::new(0).named("track"));
    let (sender, receiver) = channel(1);
    for runner in 1..=3 {
        let (track, sender) = (Rc::clone(&track), sender.clone());
        let body = async move {
            let laps = run_lap(&track, lap).await;
            // Whoever takes the number has gone only with the whole race.
            let _ = sender.send((runner, laps)).await;
        };
        trapline::spawn(body).name(format!("runner {runner}")).await.detach();
    }
    drop(sender);
    while let Some((runner, laps)) = receiver.recv().await {
        println!("runner {runner} is back, with lap {laps}");
        if runner == 1 {
            work(kept);
        }
    }
    Ok(())
}

/// What no task should do.
#[allow(clippy::disallowed_methods, reason = "the work is to take so long by anybody's clock")]
fn work(length: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < length {
        std::hint::spin_loop();
    }
}
