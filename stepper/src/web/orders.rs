//! What pages order: it is handed on to the program, but for what concerns two runs, or takes several orders.

use std::time::Duration;

use super::run::Run;
use super::site::Site;
use crate::live::{Doing, Live};

/// How often it is looked whether there is an answer.
const LOOK: Duration = Duration::from_millis(4);

/// So long after an order what the program was doing before it may still be told of.
const STALE: Duration = Duration::from_millis(200);

/// What a page may order of the program itself.
const ORDERS: [&str; 7] = ["step", "go", "hold", "kill", "cancel", "next", "orders"];

impl Site {
    /// Gives what has come of an order: it begins with `done: `, `queued: `, `refused: ` or `error: `.
    pub(super) async fn obey(&self, order: &str) -> String {
        let run = self.run();
        let Some(live) = &run.live else {
            return "refused: this is a recording".to_owned();
        };
        let mut lines = order.lines();
        let first = lines.next().unwrap_or_default();
        let word = first.split(' ').next().unwrap_or_default();
        if word == "again" {
            let step = first.split(' ').nth(1).and_then(|step| step.parse().ok());
            return self.again(&run, live, step.unwrap_or(0)).await;
        }
        if !live.goes_on() {
            return "refused: the program has ended".to_owned();
        }
        if word == "until" {
            return self.until(&run, live, lines.collect()).await;
        }
        let is_one = lines.next().is_none() && !first.contains(char::is_control);
        if !is_one || !ORDERS.contains(&word) {
            return "error: a page gives no such order".to_owned();
        }
        give(&run, live, first).await
    }

    /// Lets the program go on until a step meets one of the conditions, or it is held for another reason.
    async fn until(&self, run: &Run, live: &Live, conditions: Vec<&str>) -> String {
        // Those of a page that has left meanwhile.
        give(run, live, "unbreak all").await;
        for condition in conditions {
            let answer = give(run, live, &format!("break {condition}")).await;
            if !answer.starts_with("done: ") {
                give(run, live, "unbreak all").await;
                return answer;
            }
        }
        let answer = give(run, live, "go").await;
        let begun = trapline::now().await;
        while live.goes_on() && self.run().number == run.number && answer.starts_with("done: ") {
            trapline::sleep(LOOK).await;
            let gone_on = trapline::now().await - begun;
            match live.status().doing {
                Doing::Held(held) if gone_on > STALE && held < gone_on => break,
                Doing::Over(_) | Doing::Gone if gone_on > STALE => break,
                _ => {}
            }
        }
        give(run, live, "unbreak all").await;
        answer
    }
}

pub(super) async fn give(run: &Run, live: &Live, order: &str) -> String {
    let ticket = live.order(order);
    loop {
        if let Some(answer) = run.take_answer(live, ticket) {
            return answer;
        }
        trapline::sleep(LOOK).await;
    }
}
