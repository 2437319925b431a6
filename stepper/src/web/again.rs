//! Edit and again: the program is built and started anew, taken to the same step, and compared with its last run.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use trapline_trace::Recording;

use super::orders::give;
use super::run::Run;
use super::site::Site;
use crate::live::{Doing, Live, compare, wait_for};

/// How often it is looked whether the program has come to the step.
const LOOK: Duration = Duration::from_millis(4);

/// A program that waits for the outside on its way to the step is shown where it is after this.
const PATIENCE: Duration = Duration::from_secs(3);

impl Site {
    /// Builds it, starts it, takes so many steps, and shows that run from now on. Where that fails, what was shown goes
    /// on being shown.
    pub(super) async fn again(&self, last: &Run, live: &Arc<Live>, step: u64) -> String {
        if !live.is_started() {
            return "refused: the program was not started here".to_owned();
        }
        let old = Arc::clone(live);
        let started = trapline::unblock(move || old.again()).await;
        let run = match started.and_then(|live| Run::of_live(last.number + 1, live)) {
            Ok(run) => Rc::new(run),
            Err(failure) => return format!("error: {failure}"),
        };
        let Some(new) = &run.live else { return "error: it is no program".to_owned() };
        wait_while(|| is_under_way(new)).await;
        if step > 0 {
            give(&run, new, &format!("step {step}")).await;
            wait_while(|| is_under_way(new)).await;
        }
        let (before, now) = (live.trace().to_owned(), new.trace().to_owned());
        let reached = new.status().step;
        let compared = trapline::unblock(move || difference(&before, &now, reached)).await;
        self.show(Rc::clone(&run));
        compared.map_or("done: again".to_owned(), |compared| format!("done: {compared}"))
    }
}

/// How the two differ, once the new one has this step.
fn difference(before: &Path, now: &Path, step: u64) -> Option<String> {
    // What the monitor tells of is in the file a moment later.
    let is_there = || Recording::open(now).is_ok_and(|now| now.last_step() >= Some(step));
    wait_for(PATIENCE, || step == 0 || is_there());
    let (before, now) = (Recording::open(before).ok()?, Recording::open(now).ok()?);
    Some(compare(&before, &now).to_string())
}

async fn wait_while(is_so: impl Fn() -> bool) {
    let begun = trapline::now().await;
    while is_so() && trapline::now().await - begun < PATIENCE {
        trapline::sleep(LOOK).await;
    }
}

fn is_under_way(live: &Live) -> bool {
    let status = live.status();
    let rests = matches!(status.doing, Doing::Held(_) | Doing::Over(_) | Doing::Gone);
    live.goes_on() && (status.undone > 0 || !rests)
}
