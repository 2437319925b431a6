//! `trapline view --dump`: what is to be seen after some keys.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use support::{Scratch, Script, a_short_run, printed, trapline};
use trapline_trace::{Cause, Ended, Move, Record, Remark, StepEnd};

/// The screen after some keys.
fn screen_of(trace: &Scratch, keys: &str, size: &str) -> String {
    printed(["view", trace.str(), "--keys", keys, "--dump", "--size", size])
}

fn screen(trace: &Scratch, keys: &str) -> String {
    screen_of(trace, keys, "100x30")
}

#[track_caller]
fn assert_shows(screen: &str, text: &str) {
    // A text may go on in the next line.
    let flowing = screen.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flowing.contains(text), "no {text:?} in\n{screen}");
}

#[track_caller]
fn assert_hides(screen: &str, text: &str) {
    assert!(!screen.contains(text), "{text:?} is in\n{screen}");
}

const KITCHEN: &str = "\
// LESSON Two cooks, two spoons
//! A deadlock.
fn main() {
    // LESSON end panes graph,sentence
    // Neither goes on.
    // ? How could it?
    // = If both took the spoons in one order.
    let spoons = 2;
    // LESSON step 1 panes source,waiting,sentence
    // The first cook takes a spoon,
    // and sleeps.
    spawn(cook(1));
    spawn(cook(2));
}

fn cook(n: u32) {
    taste();
    stir();

    first.lock();
    sleep();
    // LESSON first call park panes ready,tasks
    // Both have one spoon.

    work();
    work();
    work();
    work();
    work();
    second.lock();
}
";

/// Two cooks take a spoon each, sleep, and wait for one another.
fn two_cooks() -> Script {
    let mut script = Script::new();
    let file = script.string("src/kitchen.rs");
    let text = KITCHEN.to_owned();
    script.records.push(Record::Remark(Remark::Source { file, text, is_newer: false }));
    script.born(1, "anna", None);
    script.born(2, "bert", None);
    for (task, spoon) in [(1, "spoon a"), (2, "spoon b")] {
        script.taken(task, 0);
        script.mutex(task, spoon);
        script.held(task, task, 20);
        script.sleeps(task, task, 21, 5_000_000);
        script.ran();
    }
    script.wakes(1, 1, Cause::Timer);
    script.wakes(2, 2, Cause::Timer);
    script.outside(5_000_000);
    script.step(StepEnd::Outside);
    script.taken(1, 5_000_000);
    script.parks(3, 1, 30, 2);
    script.ran();
    script.taken(2, 5_000_000);
    script.parks(4, 2, 30, 1);
    script.records.push(Record::Remark(Remark::Cycle { tasks: vec![2, 1] }));
    script.ran();
    script.step(StepEnd::Deadlock);
    script
}

#[test]
fn recording_opened_then_source_ready_and_sentence_of_the_beginning() {
    let trace = a_short_run().file();
    let expected = "\
step 0 of 6 · clock 0.000 s
─ 1 source ─────────────────────────────────│─ 2 ready ─────────────────────────
No line of the program's has been asked from│running  ready: 1
yet, or the recording has no source text in │┌╌╌╌┐    ┌────┐
it.                                         │┆ - ┆    │ T1 │
                                            │└╌╌╌┘    └────┘
";
    let screen = screen_of(&trace, "", "80x24");
    assert!(screen.starts_with(expected), "{screen}");
    assert_shows(
        &screen,
        "Nothing has run yet. One task stands in the ready queue; T1 (cook) is at its head",
    );
    assert_eq!(screen.lines().count(), 24);
}

#[test]
fn lock_asked_for_then_the_sentence_says_who_holds_it_since_when() {
    let trace = two_cooks().file();
    let expected = "\
step 4 of 6 · clock 0.005 s
─ 1 source ─────────────────────────────────│─ 2 ready ─────────────────────────
src/kitchen.rs                              │running  ready: 1
   17      taste();                         │┌╌╌╌┐    ┌────┐
   18      stir();                          │┆ - ┆    │ T2 │
   19                                       │└╌╌╌┘    └────┘
   20      first.lock();                    │mutex `spoon a` held by T1: nobody
T2 21▶     sleep();                         │clock: nobody waits
   24                                       │mutex `spoon b` held by T2: T1
   25      work();                          │
   26      work();                          │
   27      work();                          │
   28      work();                          │
   29      work();                          │
T1 30 ■    second.lock();                   │
   31  }                                    │
─ 3 sentence ───────────────────────────────────────────────────────────────────
T1 (anna) is taken from the head of the ready queue (the clock woke it in step
3); T2 is left behind it.
T1 asks for mutex `spoon b`; T2 has held it since step 2; T1 joins its queue.




";
    let screen = screen_of(&trace, "nnnn", "80x24");
    assert_eq!(normal(&screen), normal(expected));
}

/// Without what depends on where the window of the source begins, which is told by its numbers.
fn normal(screen: &str) -> Vec<String> {
    let lines = screen.trim_end().lines().map(|line| line.trim_end().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

#[test]
fn steps_back_then_the_same_is_seen_as_forward_and_after_a_jump() {
    let trace = two_cooks().file();
    // The graph, which has opened by itself at the end, lies beneath these lines.
    let seen = |keys: &str| normal(&screen(&trace, keys))[..9].to_owned();
    for step in 0..=6 {
        let forward = seen(&"n".repeat(step));
        assert_eq!(seen(&format!("<end>{}", "p".repeat(6 - step))), forward, "back to step {step}");
        assert_eq!(seen(&format!("<end>g{step}<enter>")), forward, "a jump to step {step}");
    }
}

/// The line of the loop that is marked in a phase, as far as a narrow pane shows it.
fn marked(phase: &str) -> String {
    let text = include_str!("../../scheduler/src/scheduler.rs");
    let marker = format!("// phase: {phase}");
    let mut after = text.lines().skip_while(|line| line.trim() != marker).skip(1);
    let line: String = after.next().unwrap().trim().chars().take(25).collect();
    format!("▶ {line}")
}

#[test]
fn phases_played_then_each_shows_what_it_changes() {
    let trace = two_cooks().file();
    let at = |keys: &str| screen_of(&trace, &format!("4nnn{keys}"), "120x40");
    let pick = at("N");
    assert_shows(&pick, "step 4 of 6 · in pick");
    assert_shows(&pick, "║ T1 ║");
    assert_shows(&pick, "21▶? sleep();");
    assert_shows(&pick, &marked("pick"));
    let resume = at("NN");
    assert_shows(&resume, "in resume");
    assert_shows(&resume, &marked("resume"));
    let trap = at("NNN");
    assert_shows(&trap, "in trap");
    assert_shows(&trap, "T1 (anna) asks for");
    let serve = at("NNNN");
    assert_shows(&serve, &marked("serve"));
    assert_shows(&serve, "T2 has held it since step 2; T1 joins its queue.");
    let settle = at("NNNNN");
    assert_shows(&settle, "step 4 of 6 · clock");
    assert_shows(&settle, &marked("settle"));
    assert_hides(&settle, "║");
    assert_shows(&settle, "21▶ sleep();");
    assert_shows(&settle, "30 ■ second.lock();");
    assert_eq!(at("NNNNNPP"), trap);
    assert_eq!(at("NNn"), settle);
    // A look at the outside is one phase.
    assert_shows(&screen_of(&trace, "4nnN", "120x40"), &marked("outside"));
}

#[test]
fn cycle_closes_then_the_graph_opens_and_why_names_it() {
    let trace = two_cooks().file();
    assert_hides(&screen(&trace, "nnnn"), "9 graph");
    let closed = screen(&trace, "nnnnn");
    assert_shows(&closed, "9 graph");
    assert_shows(&closed, "a cycle:");
    assert_shows(&closed, "T1 ─ mutex `spoon b` → T2");
    assert_shows(&closed, "T2 ─ mutex `spoon a` → T1");
    assert_shows(&closed, "A cycle has closed: T2 waits for T1, T1 waits for T2.");
    let why = screen(&trace, "nnnnn<down>w");
    assert_shows(
        &why,
        "T1 (anna) waits for mutex `spoon b` (kitchen.rs:30), held by T2 since step 2 (kitchen.rs:20), \
         which waits for mutex `spoon a` (kitchen.rs:30), held by T1 since step 1 (kitchen.rs:20), \
         which is where we began: a cycle, which closed in step 5.",
    );
    assert_shows(&screen(&trace, "<end>"), "2 tasks can never run again. A deadlock.");
}

#[test]
fn why_asked_of_one_that_sleeps_and_of_one_that_is_ready_then_until_when_and_behind_whom() {
    let trace = two_cooks().file();
    assert_shows(&screen(&trace, "nn<down>w"), "T1 (anna) sleeps until 0.005 s (kitchen.rs:21).");
    assert_shows(
        &screen(&trace, "nnn<up>w"),
        "T2 (bert) is ready, and stands 2nd in the queue, behind T1; the clock woke it in step 3.",
    );
    assert_shows(&screen(&trace, "w"), "Choose a task first");
}

#[test]
fn breakpoints_set_then_going_on_and_back_stops_at_each() {
    let trace = two_cooks().file();
    let at = |point: &str, keys: &str| {
        let screen = screen(
            &trace,
            &format!("{keys}b{point}<enter>{}", if keys.is_empty() { "c" } else { "C" }),
        );
        screen.lines().next().unwrap().split(" of").next().unwrap().to_owned()
    };
    for (point, first, last) in [
        ("task 2", "step 2", "step 5"),
        ("call park", "step 4", "step 5"),
        ("object spoon a", "step 1", "step 5"),
        ("object 2", "step 2", "step 4"),
        ("line kitchen.rs:30", "step 4", "step 5"),
        ("outcome blocked", "step 1", "step 5"),
        ("outcome outside", "step 3", "step 3"),
        ("woken > 1", "step 3", "step 3"),
    ] {
        assert_eq!(at(point, ""), first, "{point}");
        assert_eq!(at(point, "<end>"), last, "back to {point}");
    }
    assert_shows(&screen(&trace, "bcall nothing<enter>c"), "nothing after this meets a breakpoint");
    assert_shows(&screen(&trace, "c"), "there is no breakpoint");
    assert_shows(&screen(&trace, "bsleep<enter>"), "is none of: task ID");
    assert_shows(
        &screen(&trace, "bline kitchen.rs:28<enter>"),
        "nobody asks from that line; the nearest one is kitchen.rs:30",
    );
}

#[test]
fn steps_of_the_selected_task_then_the_others_are_passed_over() {
    let trace = two_cooks().file();
    assert_shows(&screen(&trace, "<down><down>t"), "step 2 of 6");
    assert_shows(&screen(&trace, "<down><down>tt"), "step 5 of 6");
    assert_shows(&screen(&trace, "<down><down>ttT"), "step 2 of 6");
    assert_shows(&screen(&trace, "<down><down>ttt"), "T2 does not run after this");
}

#[test]
fn question_answered_then_first_answers_are_counted() {
    let trace = two_cooks().file();
    // Which of three is asked goes by the number of the step.
    let asked = screen(&trace, "x");
    assert_shows(&asked, "step 1 of 6 · in trap");
    assert_shows(&asked, "it asks to sleep. What becomes of this call?");
    assert_shows(&asked, "[1] it is answered at once [2] it has to wait [3] it is dropped");
    assert_shows(&screen(&trace, "x2"), "Right: it has to wait. 1 of 1 right so far.");
    assert_shows(&screen(&trace, "x1"), "No: it has to wait. 0 of 1 right so far.");
    assert_shows(&screen(&trace, "x1px2"), "Right: it has to wait. 0 of 1 right so far.");
    assert_shows(&screen(&trace, "x9"), "1 to 3 answers");
    assert_shows(&screen(&trace, "x<esc>n"), "step 1 of 6 · clock");
    let who = screen(&trace, "nnnx");
    assert_shows(&who, "step 3 of 6");
    assert_shows(&who, "Who runs next?");
    assert_shows(&who, "[1] T1 [2] T2 [3] nobody: the loop looks outside, or ends");
    assert_shows(&screen(&trace, "nnnx1"), "Right: T1. 1 of 1 right so far.");
    let woken = screen(&trace, "nnx");
    assert_shows(&woken, "the loop looks at the outside. Who is woken first?");
    assert_shows(&woken, "[1] T1 [2] T2 [3] nobody");
    assert_shows(&screen(&trace, "nnx1"), "step 3 of 6");
    assert_shows(&screen(&trace, "<end>x"), "nothing to predict");
}

#[test]
fn lesson_in_the_source_then_its_stops_in_the_order_of_their_steps() {
    let trace = two_cooks().file();
    assert_shows(&screen(&trace, ""), "lesson: Two cooks, two spoons");
    let first = screen(&trace, "l");
    assert_shows(&first, "step 1 of 6");
    assert_shows(&first, "1 of 3: Two cooks, two spoons");
    assert_shows(&first, "The first cook takes a spoon, and sleeps.");
    // What the lesson says stands beside the source, not in it.
    assert_hides(&first, "// LESSON");
    assert_hides(&first, "If both took");
    let second = screen(&trace, "ll");
    assert_shows(&second, "step 4 of 6");
    assert_shows(&second, "5 tasks");
    assert_hides(&second, "1 source");
    let third = screen(&trace, "lll");
    assert_shows(&third, "step 6 of 6");
    assert_shows(&third, "? How could it?");
    assert_shows(&third, "(Enter shows the answer)");
    assert_shows(&screen(&trace, "lll<enter>"), "= If both took the spoons in one order.");
    assert_shows(&screen(&trace, "llll"), "the lesson has no further stop");
    assert_shows(&screen(&trace, "lllL"), "step 4 of 6");
    assert_shows(&screen(&a_short_run().file(), "l"), "has no lesson in it");
}

#[test]
fn tasks_log_and_timeline_then_a_line_for_each() {
    let trace = two_cooks().file();
    let screen = screen_of(&trace, "nnnnn58", "140x40");
    assert_shows(&screen, "T1 (anna) b blocked mutex `spoon b` kitchen.rs:30 2 the clock, step 3");
    assert_shows(&screen, "T1 █─◆█─");
    assert_shows(&screen, "T2 ·█◆·█");
    let log = screen_of(&trace, "nnnnn6", "140x40");
    assert_shows(&log, "4 T1 park() … waits for mutex `spoon b` kitchen.rs:30");
    let filtered = screen_of(&trace, "nnnnn6fT2<enter>", "140x40");
    assert_shows(&filtered, "5 T2 park()");
    assert_hides(&filtered, "T1   park()");
}

#[test]
fn tasks_of_others_hidden_then_only_the_program_s_are_listed() {
    let mut script = two_cooks();
    let end = script.records.pop().unwrap();
    let site = script.site("/c/registry/src/index/pool-1.0.0/src/lib.rs", 3);
    script.moved(Move::TaskBorn {
        task: 9,
        parent: None,
        name: None,
        site,
        daemon: true,
        state: trapline_trace::TaskState::Ready,
        dispatches: 0,
    });
    script.records.push(end);
    let trace = script.file();
    assert_shows(&screen(&trace, "<end>5"), "T9 daemon");
    assert_hides(&screen(&trace, "<end>5h2"), "T9 daemon");
}

#[test]
fn pane_zoomed_and_windows_small_then_one_pane_fills_them() {
    let trace = two_cooks().file();
    let zoomed = screen(&trace, "5z");
    assert_shows(&zoomed, "5 tasks");
    assert_hides(&zoomed, "1 source");
    let small = screen_of(&trace, "n", "60x12");
    assert!(small.lines().nth(1).unwrap().starts_with("[1 source]  2 ready"), "{small}");
    assert_shows(&screen_of(&trace, "n<tab>", "60x12"), "[2 ready]");
    for size in ["1x1", "2x3", "10x5", "79x24", "80x23", "300x100"] {
        for keys in ["", "nn123456789", "x", "?", "nnnnn9z", "l"] {
            let (columns, rows) = size.split_once('x').unwrap();
            let screen = screen_of(&trace, keys, size);
            assert_eq!(screen.lines().count(), rows.parse::<usize>().unwrap(), "{size} {keys}");
            let columns = columns.parse::<usize>().unwrap();
            assert!(
                screen.lines().all(|line| line.chars().count() <= columns),
                "{size} {keys}\n{screen}"
            );
        }
    }
}

#[test]
fn names_with_escape_sequences_then_they_are_written_out() {
    let mut script = Script::new();
    script.born(1, "x\u{1b}[2Jy\u{202e}", None);
    script.taken(1, 0);
    script.mutex(1, "\u{9b}31m\n");
    script.begun(1, 1, "park\r", 3);
    script.moved(Move::CallWithdrawn { call: 1 });
    script.moved(Move::TaskEnded { task: 1, how: Ended::Returned });
    script.ran();
    let trace = script.file();
    for keys in ["", "n", "nw5", "123456789"] {
        let screen = screen(&trace, keys);
        let is_bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!screen.contains(is_bad), "{screen:?}");
    }
    assert_shows(&screen(&trace, ""), r"T1 (x\u{1b}[2Jy\u{202e})");
}

#[test]
fn key_or_size_that_is_none_then_it_is_said() {
    let trace = a_short_run().file();
    let failed = |arguments: &[&str]| {
        let output = trapline(arguments);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(failed(&["view", trace.str(), "--dump", "--keys", "<no>"]).contains("no key <no>"));
    assert!(failed(&["view", trace.str(), "--dump", "--size", "80"]).contains("80x24"));
    assert!(failed(&["view", "no such file", "--dump"]).contains("no such file"));
}

#[test]
fn random_recordings_then_every_pane_at_every_step_is_drawn() {
    use support::random::{Run, file};
    for seed in 0..2 {
        let mut run = Run::new(seed, 200);
        run.gap(10);
        (0..30).for_each(|_| run.step());
        let trace = Scratch::holding("random.trace", &file(&run.records, 300));
        for keys in [
            "",
            "2456789",
            "2345678",
            "<end>24569w",
            "<end>ppppN<up>tx1x1x2",
            "boutcome blocked<enter>cccCC",
        ] {
            for steps in [0, 7, 230] {
                let keys = format!("g{steps}<enter>{keys}NNNNNP");
                let screen = screen_of(&trace, &keys, "120x40");
                assert_eq!(screen.lines().count(), 40, "seed {seed}, {keys}");
            }
        }
    }
}

/// What an example of this package did.
fn things() -> Scratch {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples/things");
    let trace = Scratch::new("things.trace");
    let output = trapline(["record", program.to_str().unwrap(), "-o", trace.str()]);
    assert!(output.status.success());
    trace
}

/// The rows of the wait tables, in a pane of their own, without those of clock, ends and sources.
fn waits(trace: &Scratch, keys: &str) -> Vec<String> {
    let screen = screen_of(trace, &format!("{keys}012z"), "200x40");
    let rows = screen.lines().skip(2).map(str::trim_end).filter(|row| !row.is_empty());
    let of_things = rows.filter(|row| {
        !["clock: ", "ends of tasks: ", "fd "].iter().any(|head| row.starts_with(head))
    });
    let is_line = |c: char| c.is_ascii_digit();
    // The numbers of lines are the source's affair.
    of_things.map(|row| row.replace("things.rs:", "").trim_matches(is_line).to_owned()).collect()
}

#[test]
fn things_that_nobody_waits_for_then_how_they_stand_in_the_order_of_their_first_use() {
    let trace = things();
    let heads = |rows: &[String]| -> Vec<String> {
        let head = |row: &String| row.split(['`', ' ']).next().unwrap().to_owned();
        rows.iter().map(head).collect()
    };
    assert_eq!(waits(&trace, ""), Vec::<String>::new());
    let full = waits(&trace, "bcall park<enter>c");
    assert_eq!(heads(&full), ["mutex", "rwlock", "semaphore", "channel"], "{full:#?}");
    assert!(full[0].starts_with("mutex `desk` held by T2 since "), "{full:#?}");
    assert!(full[0].ends_with(": nobody waits"), "{full:#?}");
    assert!(full[2].starts_with("semaphore `seats` with 2 free, held by T2 since "), "{full:#?}");
    assert!(full[3].ends_with(" holds 2 of 2: T2 for room"), "{full:#?}");
    let shared = waits(&trace, "bobject book<enter>cc");
    assert!(shared[1].starts_with("rwlock `book` held by T3 and 1 other since "), "{shared:#?}");
    let end = waits(&trace, "<end>pp");
    let expected = [
        "mutex `desk` free: nobody waits",
        "rwlock `book` free: nobody waits",
        "semaphore `seats` with 3 free: nobody waits",
        "event `bell` set: nobody waits",
    ];
    assert_eq!(end, expected);
}

#[test]
fn timers_and_sources_then_by_deadline_and_by_who_reads_and_who_writes() {
    let mut script = Script::new();
    let (read, write) = (script.string("read"), script.string("write"));
    for task in 1..=6 {
        script.born(task, "reader", None);
    }
    for (task, role) in [(1, read), (2, write), (3, read)] {
        script.taken(task, task);
        script.begun(task, task, "wait", 30);
        let on = trapline_trace::On::Descriptor { fd: 7, role };
        script.moved(Move::CallBlocked { call: task, on });
        script.rested(task, false);
        script.ran();
    }
    for (task, until) in [(4, 3_000_000_000), (5, 2_000_000_000), (6, 3_000_000_000)] {
        script.taken(task, task);
        script.sleeps(task, task, 31, until);
        script.ran();
    }
    let screen = screen_of(&script.file(), "<end>2", "100x30");
    assert_hides(&screen, "fd 7:");
    let screen = screen_of(&script.file(), "<end>", "130x30");
    assert_shows(&screen, "fd 7: T1, T3 to read, T2 to write");
    assert_shows(&screen, "clock: T5 until 2.000 s, T4, T6 until 3.000 s");
}

#[test]
fn waiting_opened_then_it_has_the_tables_and_ready_only_the_boxes() {
    let trace = two_cooks().file();
    let both = screen(&trace, "nnnn0");
    assert_shows(&both, "0 waiting");
    assert_eq!(both.matches("mutex `spoon b` held by T2: T1").count(), 1, "{both}");
    assert_eq!(both.matches("┌╌╌╌┐").count(), 1, "{both}");
    let alone = screen(&trace, "nnnn0123");
    assert_shows(&alone, "mutex `spoon b` held by T2 since kitchen.rs:20: T1");
    assert_hides(&alone, "┌╌╌╌┐");
    // Where ready has the window to itself, it has both again.
    assert_shows(&screen(&trace, "nnnn02"), "0 waiting");
    assert_shows(&screen_of(&trace, "nnnn0<tab><tab>", "70x20"), "[2 ready]");
    assert_shows(&screen_of(&trace, "nnnn0<tab><tab>", "70x20"), "mutex `spoon b` held by T2");
}

#[test]
fn window_too_low_for_boxes_then_the_queue_is_a_line_and_who_waits_is_there() {
    let trace = things();
    let low = screen_of(&trace, "g14<enter><tab>", "50x10");
    assert_shows(&low, "running - ready: 1 [T2]");
    assert_shows(&low, "T3 for a value");
    assert_hides(&low, "┌");
}

#[test]
fn many_that_are_ready_then_as_many_boxes_as_there_is_room_and_how_many_more() {
    let mut script = Script::new();
    for task in 1..=200 {
        script.born(task, "one of many", None);
    }
    script.taken(1, 0);
    script.rested(1, true);
    script.ran();
    let trace = script.file();
    let screen = screen_of(&trace, "n<down><down>", "100x30");
    assert_shows(&screen, "ready: 200");
    assert_shows(&screen, "│ >T2 │");
    assert_shows(&screen, "+1");
    // On a line on which many stand, the gutter counts them.
    let mut script = Script::new();
    let file = script.string("src/kitchen.rs");
    let text = "fn main() {}\n".repeat(40);
    script.records.push(Record::Remark(Remark::Source { file, text, is_newer: false }));
    for task in 1..=12 {
        script.born(task, "cook", None);
    }
    for task in 1..=12 {
        script.taken(task, 0);
        script.sleeps(task, task, if task > 2 { 21 } else { 24 }, 5_000_000);
        script.ran();
    }
    let screen = screen_of(&script.file(), "<end>", "100x30");
    assert_shows(&screen, "10× 21 ■");
    assert_shows(&screen, "T1 T2 24");
}

#[test]
fn window_of_tabs_then_the_lesson_and_the_answers_are_above_the_pane() {
    let trace = two_cooks().file();
    let lesson = screen_of(&trace, "l", "60x16");
    assert_shows(&lesson, "[1 source]");
    assert_shows(&lesson, "1 of 3: Two cooks, two spoons");
    assert_shows(&lesson, "The first cook takes a spoon, and sleeps.");
    assert_shows(&lesson, "T1 21 ■");
    let why = screen_of(&trace, "nn<down>w", "60x16");
    assert_shows(&why, "[1 source]");
    assert_shows(&why, "T1 (anna) sleeps until 0.005 s");
    let question = screen_of(&trace, "nnnx", "60x16");
    assert_shows(&question, "Who runs next?");
    // Also where a pane fills a larger window.
    assert_shows(&screen(&trace, "nn5z<down>w"), "T1 (anna) sleeps until 0.005 s");
}

#[test]
fn lesson_longer_than_its_room_then_the_question_s_answer_is_seen_when_it_is_asked_for() {
    let mut script = a_short_run();
    let words = "word ".repeat(150);
    let text = format!(
        "// LESSON Long\n// LESSON step 2 panes source,ready\n// {words}\n// ? Which?\n// = This one.\n"
    );
    let file = script.string("src/kitchen.rs");
    let end = script.records.pop().unwrap();
    script.records.push(Record::Remark(Remark::Source { file, text, is_newer: false }));
    script.records.push(end);
    let trace = script.file();
    let before = screen_of(&trace, "l", "80x24");
    assert_shows(&before, "… (a larger window shows");
    assert_hides(&before, "This one.");
    assert_shows(&screen_of(&trace, "l<enter>", "80x24"), "? Which?");
    assert_shows(&screen_of(&trace, "l<enter>", "80x24"), "= This one.");
    assert_hides(&screen_of(&trace, "l", "160x50"), "a larger window");
    // From the stop one may look about.
    assert_shows(&screen_of(&trace, "ln", "160x50"), "(of step 2)");
    assert_hides(&screen_of(&trace, "l", "160x50"), "(of step 2)");
}

/// The lines of the example `things` at which something of this text stands.
fn line_of(text: &str) -> String {
    let source = include_str!("../examples/things.rs");
    let line = source.lines().position(|line| line.contains(text)).unwrap() + 1;
    format!("things.rs:{line}")
}

#[test]
fn why_asked_of_tasks_in_odd_places_then_each_is_told_for_what_it_is() {
    let trace = things();
    let downs = |task: usize| "<down>".repeat(task);
    let why = |place: &str, task: usize| screen(&trace, &format!("12{place}{}w", downs(task)));
    let channel = line_of("= channel(2)");
    // Under a `join!`, with three calls in flight.
    assert_shows(
        &why("bcall park<enter>ccc", 2),
        "T2 (early) waits for whichever comes first: event `bell`; or the clock, until 3601.000 s; or the \
         clock, until 5.000 s.",
    );
    assert_shows(
        &why("bcall park<enter>ccc", 3),
        "T3 (late) is first in the ready queue: it runs next; T2 woke it in step",
    );
    let receives = line_of("receiver.recv()");
    assert_shows(
        &why("bcall park<enter>cc", 3),
        &format!("T3 (late) waits for a value of a channel ({channel}) at {receives}."),
    );
    let exit = line_of("early.await");
    assert_shows(
        &why("bcall join<enter>c", 1),
        &format!(
            "T1 waits for the end of T2 ({exit}), which waits for room in a channel ({channel}) at"
        ),
    );
    assert_shows(&why("bcall join<enter>c", 3), "T3 (late) sleeps until 1.000 s (things.rs:");
    assert_shows(
        &why("bcall read_wait<enter>c", 5),
        "T5 (reader) waits for something to read from fd",
    );
    // Before its birth, at its end, and after it.
    let selected = |task: usize, to: &str| {
        screen(&trace, &format!("12bcall read_wait<enter>c{}{to}w", downs(task)))
    };
    assert_shows(
        &selected(5, "<home>nnn"),
        "T5 (reader) is not born yet; it runs for the first time",
    );
    assert_shows(&selected(5, "<end>p"), "T5 (reader) has just ended.");
    assert_shows(&selected(5, "<end>"), "T5 (reader) has ended; it ran for the last time in step");
    assert_shows(&selected(2, "<end>"), "T2 (early) has ended; it ran for the last time in step");
}

#[test]
fn lock_waited_for_with_a_timeout_then_why_says_who_holds_it() {
    let mut script = Script::new();
    script.born(1, "owner", None);
    script.born(2, "hurried", None);
    // Which question is asked goes by the number of the step.
    for _ in 0..2 {
        script.outside(0);
        script.step(StepEnd::Outside);
    }
    script.taken(1, 0);
    script.mutex(5, "stove");
    script.held(5, 1, 20);
    script.sleeps(1, 1, 21, 9_000_000);
    script.ran();
    script.taken(2, 0);
    script.begun(2, 2, "park", 30);
    script.begun(3, 2, "sleep", 30);
    let role = script.string("token");
    script.moved(Move::CallBlocked { call: 2, on: trapline_trace::On::Object { object: 5, role } });
    let on = trapline_trace::On::Deadline { at_nanos: 5_000_000 };
    script.moved(Move::CallBlocked { call: 3, on });
    script.rested(2, false);
    script.ran();
    // A task that nobody knows to wait for anything.
    script.born(3, "under a waker", None);
    script.taken(3, 0);
    script.rested(3, false);
    script.ran();
    let trace = script.file();
    assert_shows(
        &screen(&trace, "nnnn<down><down>w"),
        "T2 (hurried) waits for whichever comes first: mutex `stove`, held by T1 since step 3 (kitchen.rs:20); \
         or the clock, until 0.005 s.",
    );
    assert_shows(
        &screen(&trace, "<end><up>w"),
        "T3 (under a waker) waits until somebody calls its waker: it has no call of its own in flight.",
    );
    // Of two calls at once it is asked what becomes of the first.
    assert_shows(&screen(&trace, "nnnx"), "What becomes of the first of these calls?");
    assert_shows(&screen(&trace, "nnnx2"), "Right: it has to wait.");
}
