//! Edit and again: the program is built and started anew, and taken to the same step.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::orders::give;
use super::run::Run;
use super::site::Site;
use crate::live::{Doing, Live};
use crate::record::Program;

/// How often it is looked whether the program has come to the step.
const LOOK: Duration = Duration::from_millis(4);

/// A program that waits for the outside on its way to the step is shown where it is after this.
const PATIENCE: Duration = Duration::from_secs(3);

/// How to start what is shown once more.
pub(super) struct Again {
    program: Arc<Program>,
    is_virtual: bool,
}

impl Again {
    pub(super) fn new(program: Arc<Program>, is_virtual: bool) -> Again {
        Again { program, is_virtual }
    }
}

impl Site {
    /// Builds it, starts it, takes so many steps, and shows that run from now on. What was shown goes on being shown
    /// where that fails.
    pub(super) async fn again(&self, step: u64) -> String {
        let Some(again) = &self.again else {
            return "refused: only a program that the viewer has started can be started anew"
                .to_owned();
        };
        let (program, is_virtual) = (Arc::clone(&again.program), again.is_virtual);
        let live = match trapline::unblock(move || Live::start(&program, is_virtual)).await {
            Ok(Ok(live)) => live,
            Ok(Err(_)) => return "error: the build has failed; the terminal says why".to_owned(),
            Err(failure) => return format!("error: {failure}"),
        };
        let last = self.run();
        let run = match Run::of_live(last.number + 1, live) {
            Ok(run) => Rc::new(run),
            Err(failure) => return format!("error: {failure}"),
        };
        if let (Some(live), 1..) = (&run.live, step) {
            give(&run, live, &format!("step {step}")).await;
            let begun = trapline::now().await;
            while is_under_way(live) && trapline::now().await - begun < PATIENCE {
                trapline::sleep(LOOK).await;
            }
        }
        self.show(Rc::clone(&run));
        "done: started anew".to_owned()
    }
}

fn is_under_way(live: &Live) -> bool {
    let status = live.status();
    live.goes_on() && !matches!(status.doing, Doing::Held(_) | Doing::Over(_) | Doing::Gone)
}
