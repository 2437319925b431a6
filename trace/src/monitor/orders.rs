//! The loop's side of the orders: carries them out between two steps, holds, and knows when to.

use std::cell::RefCell;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use trapline_abi::{CancelReason, Instant, TaskId, TaskState};
use trapline_scheduler::{Scheduler, Step};

use super::Shared;
use super::answers::escaped;
use super::command::Order;
use super::watch::Watch;
use crate::agent::{Between, Heard};
use crate::record::About;

/// `step N` tells of so many of its last steps.
const TOLD_STEPS: usize = 100;

/// Carries out what is ordered.
#[derive(Debug)]
pub struct Orders {
    shared: Arc<Shared>,
    watch: Rc<RefCell<Watch>>,
    is_held: bool,
    stepping: Option<Stepping>,
    /// Answers, which go once others can see what was done.
    due: Vec<(SyncSender<String>, String)>,
}

/// An order to take some steps, under way.
#[derive(Debug)]
struct Stepping {
    left: u64,
    told: Vec<String>,
    answer: SyncSender<String>,
}

impl Between for Orders {
    fn before(&mut self, scheduler: &mut Scheduler, heard: &Heard) {
        if self.is_held {
            self.hold(scheduler, heard);
            self.answer(scheduler, heard);
        }
    }

    #[inline]
    fn between(&mut self, scheduler: &mut Scheduler, step: &Step, heard: &Heard) {
        let is_met = !self.watch.borrow().is_empty();
        if is_met || self.stepping.is_some() || self.is_held || self.shared.desk.is_busy() {
            self.look(scheduler, step, heard);
        }
    }
}

impl Orders {
    /// One that holds the run from before its first step on, or not.
    pub(super) fn new(shared: Arc<Shared>, watch: Rc<RefCell<Watch>>, is_held: bool) -> Orders {
        Orders { shared, watch, is_held, stepping: None, due: Vec::new() }
    }

    #[cold]
    fn look(&mut self, scheduler: &mut Scheduler, step: &Step, heard: &Heard) {
        let met = self.watch.borrow_mut().step_end(step, scheduler.woken().len());
        for condition in &met {
            heard.say(About::Run, "order", &format!("held: {condition}"));
        }
        self.count_step(scheduler, step, &met);
        self.is_held |= !met.is_empty();
        self.carry_out_all(scheduler, heard);
        if self.is_held && self.stepping.is_none() {
            self.hold(scheduler, heard);
        }
        self.answer(scheduler, heard);
    }

    fn answer(&mut self, scheduler: &mut Scheduler, heard: &Heard) {
        if !self.due.is_empty() {
            heard.catch_up(scheduler);
        }
        for (to, answer) in self.due.drain(..) {
            // The client may have stopped waiting for it.
            let _ = to.try_send(answer);
        }
    }

    /// Tells of a step that was ordered; after the last of them the program is held.
    fn count_step(&mut self, scheduler: &Scheduler, step: &Step, met: &[String]) {
        let Some(stepping) = &mut self.stepping else { return };
        stepping.left -= 1;
        self.shared.desk.set_steps_left(stepping.left);
        if stepping.told.len() == TOLD_STEPS {
            stepping.told.remove(0);
        }
        stepping.told.push(escaped(&scheduler.show(step).to_string()));
        let is_over = stepping.left == 0 || !met.is_empty() || step.is_last();
        if let Some(done) = self.stepping.take_if(|_| is_over) {
            self.is_held = true;
            self.shared.desk.set_steps_left(0);
            let mut lines = format!("done: held\n{}", done.told.join("\n"));
            met.iter().for_each(|condition| lines += &format!("\nbecause of: {condition}"));
            self.due.push((done.answer, lines));
        }
    }

    /// Holds until something else is ordered. The clock stands still meanwhile.
    fn hold(&mut self, scheduler: &mut Scheduler, heard: &Heard) {
        let before = scheduler.now();
        self.tell_held(true, scheduler, heard);
        while self.is_held && self.stepping.is_none() {
            self.shared.desk.wait();
            set_back(scheduler, before);
            self.carry_out_all(scheduler, heard);
            if self.is_held && self.stepping.is_none() {
                self.answer(scheduler, heard);
            }
        }
        set_back(scheduler, before);
        self.tell_held(false, scheduler, heard);
    }

    fn tell_held(&mut self, is_held: bool, scheduler: &mut Scheduler, heard: &Heard) {
        heard.catch_up(scheduler);
        self.shared.set_held(is_held, scheduler.now().as_nanos());
        self.answer(scheduler, heard);
    }

    fn carry_out_all(&mut self, scheduler: &mut Scheduler, heard: &Heard) {
        while let Some(laid) = self.shared.desk.take() {
            if let Some(answer) = self.carry_out(laid.order, &laid.answer, scheduler, heard) {
                self.due.push((laid.answer, answer));
            }
        }
    }

    /// Carries out an order. Gives the answer; `None` where that comes later.
    fn carry_out(
        &mut self,
        order: Order,
        answer: &SyncSender<String>,
        scheduler: &mut Scheduler,
        heard: &Heard,
    ) -> Option<String> {
        Some(match order {
            Order::Kill(id) => on_task(scheduler, heard, id, "kill", "had ended", Scheduler::kill),
            Order::Next(id) => {
                on_task(scheduler, heard, id, "next", "is not ready", Scheduler::put_first)
            }
            Order::Cancel(id, reason) => {
                let what = format!("cancel, {reason}");
                on_task(scheduler, heard, id, &what, "had been asked to end", |scheduler, task| {
                    scheduler.cancel(task, CancelReason::new(reason))
                })
            }
            Order::Hold => {
                self.is_held = true;
                self.end_stepping();
                heard.say(About::Run, "order", "hold");
                "done: held".to_owned()
            }
            Order::Go => {
                self.is_held = false;
                self.end_stepping();
                heard.say(About::Run, "order", "go");
                "done: it goes on".to_owned()
            }
            Order::Release => {
                self.is_held = false;
                self.end_stepping();
                self.watch.borrow_mut().remove(None);
                "done: it goes on".to_owned()
            }
            Order::Step(_) if !self.is_held => {
                "refused: it is not held; `hold` comes first".to_owned()
            }
            Order::Step(left) => {
                self.end_stepping();
                self.shared.desk.set_steps_left(left);
                self.stepping = Some(Stepping { left, told: Vec::new(), answer: answer.clone() });
                return None;
            }
            Order::Break(condition) => {
                let text = format!("break {condition}");
                heard.say(About::Run, "order", &text);
                match self.watch.borrow_mut().add(condition) {
                    Some(number) => format!("done: {number}: {}", escaped(&text)),
                    None => "refused: there are too many conditions".to_owned(),
                }
            }
            Order::Breaks => format!("done: {}", self.watch.borrow().list()),
            Order::Unbreak(number) => match self.watch.borrow_mut().remove(number) {
                0 => "refused: there is no such condition".to_owned(),
                removed => format!("done: {removed} removed"),
            },
        })
    }

    /// The steps that were ordered are not taken to the end.
    fn end_stepping(&mut self) {
        if let Some(stepping) = mem::take(&mut self.stepping) {
            self.shared.desk.set_steps_left(0);
            self.due.push((stepping.answer, "done: another order came before the end".to_owned()));
        }
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        self.shared.desk.close();
    }
}

/// Sets the clock back to where it was when the program was held.
fn set_back(scheduler: &mut Scheduler, before: Instant) {
    let held = scheduler.now() - before;
    scheduler.stood_still(held);
}

/// Does something to a task, as an order, and puts into words what came of it.
fn on_task(
    scheduler: &mut Scheduler,
    heard: &Heard,
    id: u64,
    what: &str,
    otherwise: &str,
    act: impl FnOnce(&mut Scheduler, TaskId) -> bool,
) -> String {
    let lives = |state: &TaskState| !matches!(state, TaskState::Ended(_));
    let tasks = scheduler.snapshot().tasks;
    let found = tasks.iter().find(|task| task.id.sequence() == id && lives(&task.state));
    let Some(task) = found else { return format!("refused: no task {id} lives") };
    heard.say(About::Task(id), "order", what);
    let done = heard.as_order(|| act(scheduler, task.id));
    if done {
        format!("done: {}", escaped(&format!("{what} T{id}")))
    } else {
        format!("refused: T{id} {otherwise}")
    }
}
