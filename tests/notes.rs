//! Notes: what the library tells of that does not trap, where somebody listens.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::RefCell;
use std::fmt::Write;
use std::pin::pin;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, SinkExt, StreamExt};
use support::{Slot, assert_empty, builder, poll_idly, poll_once, step_while_ready};
use trapline::channel::{Queue, broadcast, channel, oneshot, rendezvous, unbounded, watch};
use trapline::net::{TcpListener, TcpStream};
use trapline::sync::{Barrier, Condvar, Event as Flag, Mutex, OnceCell, RLock, RwLock, Semaphore};
use trapline::{
    Event, Scheduler, TaskGroup, TaskState, WaitQueue, frame, sleep, spawn, traced, yield_now,
};
use trapline_abi::{KernelRing, Note, NoteValue, Object, Reply, Syscall, TaskId};

const SECOND: Duration = Duration::from_secs(1);

/// What a probe was told by the library, a line each; and the things that were in it.
#[derive(Clone, Default)]
struct Heard(Rc<RefCell<(Vec<String>, Vec<Object>)>>);

impl Heard {
    fn hear(&self, event: &Event<'_>) {
        let (lines, things) = &mut *self.0.borrow_mut();
        let note = match event {
            Event::Noted { note } => note,
            // Told as what they are, whether the kernel heard of it by a note or otherwise.
            Event::Withdrawn { task: Some(task), request: request @ Syscall::Park(_), .. } => {
                assert!(request.to_string().starts_with("park"));
                lines.push(format!("task {task} withdraws its park"));
                return;
            }
            Event::Answered { task: Some(task), reply: Reply::Token, .. } => {
                lines.push(format!("task {task} gets a token"));
                return;
            }
            _ => return,
        };
        if let Note::Set { object, .. } | Note::Done { object, .. } = note {
            things.push(object.clone());
        }
        lines.push(line_of(note));
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut().0)
    }

    /// The last that was told of a thing of this kind.
    fn thing(&self, kind: &str) -> Object {
        let things = &self.0.borrow().1;
        things.iter().rfind(|object| object.kind == kind).unwrap().clone()
    }

    #[track_caller]
    fn assert_lines(&self, expected: &[&str]) {
        assert_eq!(self.take(), expected);
    }
}

fn line_of(note: &Note) -> String {
    let name = |object: &Object| {
        let mut shown = object.kind.to_owned();
        if let Some(name) = &object.name
            && !name.starts_with("fd ")
        {
            write!(shown, " {name}").unwrap();
        }
        shown
    };
    match note {
        Note::Set { object, field, value } => {
            let value = match value {
                NoteValue::Nothing => "nobody".to_owned(),
                NoteValue::Count(count) => count.to_string(),
                NoteValue::Held { task: Some(task), since } => {
                    assert_eq!(since.file(), file!());
                    format!("task {task}")
                }
                NoteValue::Held { task: None, .. } => "somebody".to_owned(),
                other => format!("{other:?}"),
            };
            format!("{}: {field} {value}", name(object))
        }
        Note::Done { object, operation, result, site, .. } => {
            assert_eq!(site.file(), file!());
            match result {
                Ok(amount) => format!("{}: {operation} = {amount}", name(object)),
                Err(error) => format!("{}: {operation} fails by {error}", name(object)),
            }
        }
        Note::Bytes { bytes, .. } => format!("bytes {:?}", String::from_utf8_lossy(bytes)),
        Note::Gone { .. } => "gone".to_owned(),
        Note::Booked { task, .. } => format!("booked to task {}", task.unwrap()),
        other => format!("{other:?}"),
    }
}

fn listened_to() -> (Scheduler, Heard) {
    let heard = Heard::default();
    let ears = heard.clone();
    let builder = builder().quantum(1000).probe(move |event: &Event<'_>| ears.hear(event));
    (builder.build(), heard)
}

/// What is noted while `work` runs as the first task.
fn notes_of(work: impl Future<Output = ()>) -> Heard {
    let (mut scheduler, heard) = listened_to();
    scheduler.block_on(work).unwrap();
    heard
}

// Locks.

#[test]
fn mutex_then_who_has_it_and_that_it_is_free_again() {
    let heard = notes_of(async {
        let log = Mutex::new(0).named("log");
        let guard = log.lock().await;
        drop(guard);
        drop(log.try_lock());
    });
    heard.assert_lines(&[
        "mutex log: holder task 1",
        "mutex log: holders 1",
        "mutex log: holder nobody",
        "mutex log: holders 0",
        "mutex log: holder task 1",
        "mutex log: holders 1",
        "mutex log: holder nobody",
        "mutex log: holders 0",
        "gone",
    ]);
}

#[test]
fn mutex_that_is_waited_for_then_the_next_one_has_it_as_it_is_handed_over() {
    let heard = notes_of(async {
        let log = Rc::new(Mutex::new(0));
        let guard = log.lock().await;
        let theirs = Rc::clone(&log);
        let child = spawn(async move { drop(theirs.lock().await) }).await;
        yield_now().await;
        drop(guard);
        child.await.unwrap();
    });
    let holders: Vec<_> =
        heard.take().into_iter().filter(|line| line.starts_with("mutex: holder ")).collect();
    assert_eq!(
        holders,
        [
            "mutex: holder task 1",
            "mutex: holder nobody",
            "mutex: holder task 2",
            "mutex: holder nobody"
        ]
    );
}

#[test]
fn reentrant_lock_then_only_the_outermost_is_told_of() {
    let heard = notes_of(async {
        let lock = RLock::new(0);
        let outer = lock.lock().await;
        drop(lock.lock().await);
        drop(outer);
    });
    heard.assert_lines(&[
        "reentrant lock: holder task 1",
        "reentrant lock: holders 1",
        "reentrant lock: holder nobody",
        "reentrant lock: holders 0",
        "gone",
    ]);
}

#[test]
fn rwlock_then_the_last_who_came_and_how_many() {
    let heard = notes_of(async {
        let lock = RwLock::new(0);
        let one = lock.read().await;
        let two = lock.read().await;
        drop(two);
        drop(one);
        drop(lock.write().await);
    });
    let holders: Vec<_> =
        heard.take().into_iter().filter(|line| line.contains("holders")).collect();
    let counts: Vec<_> = holders.iter().map(|line| line.as_str()).collect();
    assert_eq!(
        counts,
        [
            "rwlock: holders 1",
            "rwlock: holders 2",
            "rwlock: holders 1",
            "rwlock: holders 0",
            "rwlock: holders 1",
            "rwlock: holders 0"
        ]
    );
}

#[test]
fn semaphore_then_how_many_permits_are_free() {
    let heard = notes_of(async {
        let seats = Semaphore::new(3).named("seats");
        let two = seats.acquire_many(2).await.unwrap();
        drop(two);
        seats.add_permits(1);
        seats.close();
    });
    let told: Vec<_> = heard.take().into_iter().filter(|line| !line.contains("hold")).collect();
    assert_eq!(
        told,
        [
            "semaphore seats: free 1",
            "semaphore seats: free 3",
            "semaphore seats: free 4",
            "semaphore seats: closed 1",
            "gone"
        ]
    );
}

#[test]
fn event_then_whether_it_is_set() {
    let heard = notes_of(async {
        let event = Flag::new().named("door");
        event.set();
        event.wait().await;
        event.clear();
    });
    heard.assert_lines(&["event door: set 1", "event door: set 0", "gone"]);
}

#[test]
fn once_cell_then_who_makes_its_value() {
    let heard = notes_of(async {
        let cell = OnceCell::new();
        cell.get_or_init(async || 7).await;
        cell.get_or_init(async || 8).await;
    });
    assert_eq!(heard.take().first().unwrap(), "once cell: holder task 1");
}

#[test]
fn what_only_waits_then_it_is_known_as_it_is_waited_for() {
    let (mut scheduler, heard) = listened_to();
    let barrier = Rc::new(Barrier::new(2).named("gate"));
    let (condvar, mutex) = (Rc::new(Condvar::new()), Rc::new(Mutex::new(())));
    let gate = Rc::clone(&barrier);
    scheduler.spawn(async move { drop(gate.wait().await) }).detach();
    let (rings, lock) = (Rc::clone(&condvar), Rc::clone(&mutex));
    scheduler.spawn(async move { drop(rings.wait(lock.lock().await).await) }).detach();
    step_while_ready(&mut scheduler);
    let kinds: Vec<_> = blocked_on(&scheduler).into_iter().map(|object| object.kind).collect();
    assert_eq!(kinds, ["barrier", "condition"]);
    assert_eq!(blocked_on(&scheduler)[0].name.as_deref(), Some("gate"));
    drop(heard);
}

/// What the blocked tasks wait for, in the order of the tasks.
fn blocked_on(scheduler: &Scheduler) -> Vec<Object> {
    let mut things = Vec::new();
    for task in &scheduler.snapshot().tasks {
        if let TaskState::Blocked(calls) = &task.state {
            things.extend(calls.iter().filter_map(|call| call.object.clone()));
        }
    }
    things
}

// Where things were made.

#[test]
fn every_constructor_then_the_thing_is_shown_where_it_was_said() {
    let line = line!();
    let heard = notes_of(async {
        let mutex = Mutex::new(0);
        let by_default = Mutex::<u8>::default();
        let from = Mutex::from(7);
        let semaphore = Semaphore::new(2);
        let (sender, _receiver) = channel(2);
        let (many, _receivers) = broadcast(2);
        let (show, _screen) = watch(0);
        let (once, _waits) = oneshot();
        let queue = Queue::fifo(2);
        let bare = WaitQueue::new(0);
        let group = TaskGroup::<(), ()>::new();
        drop((mutex.try_lock(), by_default.try_lock(), from.try_lock()));
        drop(semaphore.try_acquire());
        sender.try_send(1).unwrap();
        many.try_send(1).unwrap();
        show.send(1).unwrap();
        once.send(1).unwrap();
        queue.try_put(1).unwrap();
        bare.wake();
        group.post(async { Ok(()) });
        group.join_all().await.unwrap();
    });
    let made_at = |kind| {
        let site = heard.thing(kind).site.unwrap();
        assert_eq!(site.file(), file!(), "{kind}");
        site.line() - line
    };
    let mutexes: Vec<_> = heard.0.borrow().1.iter().map(|object| object.clone()).collect();
    let mutexes = mutexes.iter().filter(|object| object.kind == "mutex");
    let mut lines: Vec<_> = mutexes.map(|object| object.site.unwrap().line() - line).collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines, [2, 3, 4]);
    assert_eq!(made_at("semaphore"), 5);
    assert_eq!(made_at("channel"), 6);
    assert_eq!(made_at("broadcast"), 7);
    assert_eq!(made_at("watch"), 8);
    assert_eq!(made_at("the value of a oneshot"), 9);
    assert_eq!(made_at("queue"), 10);
    assert_eq!(made_at("wait queue"), 11);
    assert_eq!(made_at("group"), 12);
}

#[test]
fn made_in_const_context_then_its_line_too() {
    thread_local! { static LOG: Mutex<u8> = const { Mutex::new(0) } }
    let heard = notes_of(async { LOG.with(|log| drop(log.try_lock())) });
    assert_eq!(heard.thing("mutex").site.unwrap().line(), line!() - 2);
}

#[test]
fn things_then_they_are_numbered_as_they_are_first_told_of() {
    let heard = notes_of(async {
        let (one, two) = (Mutex::new(1), Mutex::new(2));
        drop(two.try_lock());
        drop(one.try_lock());
        drop(two.try_lock());
    });
    let things = heard.0.borrow().1.clone();
    let mut numbers: Vec<_> = things.iter().map(|object| object.id.number()).collect();
    numbers.dedup();
    assert_eq!(numbers, [1, 2, 1]);
}

#[test]
fn used_under_one_scheduler_and_then_another_then_a_number_in_each() {
    let lock = Mutex::new(0);
    for before in 0..3 {
        let heard = notes_of(async {
            let others: Vec<_> = (0..before).map(|_| Mutex::new(0)).collect();
            others.iter().for_each(|other| drop(other.try_lock()));
            drop(lock.try_lock());
        });
        assert_eq!(heard.thing("mutex").id.number(), before + 1);
    }
}

// Channels and their kin.

#[test]
fn channel_then_how_much_is_in_it_and_its_end() {
    let heard = notes_of(async {
        let (sender, receiver) = channel(2);
        sender.send(1).await.unwrap();
        sender.try_send(2).unwrap();
        assert_eq!(receiver.recv().await, Some(1));
        drop(sender);
        assert_eq!(receiver.recv().await, Some(2));
        assert_eq!(receiver.recv().await, None);
    });
    heard.assert_lines(&[
        "channel: capacity 2",
        "channel: count 1",
        "channel: count 2",
        "channel: count 1",
        "channel: closed 1",
        "channel: count 0",
        "gone",
    ]);
}

#[test]
fn unbounded_channel_then_no_capacity_and_of_a_rendezvous_none() {
    let heard = notes_of(async {
        let (sender, receiver) = unbounded();
        sender.try_send(1).unwrap();
        drop(receiver);
    });
    heard.assert_lines(&["channel: count 1", "channel: closed 1", "channel: count 0", "gone"]);
    let heard = notes_of(async {
        let (sender, receiver) = rendezvous();
        trapline::join!(async { sender.send(1).await.unwrap() }, receiver.recv());
    });
    assert_eq!(heard.take()[..2], ["channel: capacity 0", "channel: count 1"]);
}

#[test]
fn waits_for_a_channel_then_for_which_side_of_it_and_where_it_was_made() {
    let (mut scheduler, _heard) = listened_to();
    let line = line!() + 1;
    let (sender, receiver) = channel(1);
    sender.try_send(1).unwrap();
    scheduler.spawn(async move { drop(sender.send(2).await) }).detach();
    step_while_ready(&mut scheduler);
    let things = blocked_on(&scheduler);
    assert_eq!((things[0].kind, things[0].site.unwrap().line()), ("room in a channel", line));
    drop(receiver);
    scheduler.run().unwrap();
}

#[test]
fn broadcast_then_how_much_is_kept() {
    let heard = notes_of(async {
        let (sender, mut receiver) = broadcast(2);
        sender.send(1).await.unwrap();
        receiver.recv().await.unwrap();
        drop(sender);
    });
    heard.assert_lines(&[
        "broadcast: capacity 2",
        "broadcast: count 1",
        "broadcast: count 0",
        "broadcast: closed 1",
        "gone",
    ]);
}

#[test]
fn watch_then_the_number_of_its_version() {
    let heard = notes_of(async {
        let (sender, receiver) = watch('a');
        sender.send('b').unwrap();
        sender.update(|_| 'c');
        drop(sender);
        drop(receiver);
    });
    heard.assert_lines(&["watch: version 1", "watch: version 2", "watch: closed 1", "gone"]);
}

#[test]
fn oneshot_then_whether_its_value_is_there_and_the_next_one_is_another_thing() {
    let heard = notes_of(async {
        for n in 0..2 {
            let (sender, receiver) = oneshot();
            sender.send(n).unwrap();
            assert_eq!(receiver.await, Ok(n));
        }
    });
    let of_one = [
        "the value of a oneshot: count 1",
        "the value of a oneshot: count 0",
        "the value of a oneshot: closed 1",
        "gone",
    ];
    heard.assert_lines(&[of_one, of_one].concat());
    assert_eq!(heard.thing("the value of a oneshot").id.number(), 2);
}

#[test]
fn queue_then_how_much_is_in_it() {
    let heard = notes_of(async {
        let queue = Queue::priority(4);
        queue.put(1).await;
        queue.put(2).await;
        queue.get().await;
    });
    heard.assert_lines(&[
        "queue: capacity 4",
        "queue: count 1",
        "queue: count 2",
        "queue: count 1",
        "gone",
    ]);
}

#[test]
fn mailbox_then_how_many_messages_lie_there() {
    let heard = notes_of(async {
        let me = trapline::get_tid().await;
        trapline::send(me, "one").await.unwrap();
        trapline::send(me, "two").await.unwrap();
        assert_eq!(trapline::receive::<&str>().await, "one");
    });
    let kind = "a message to this task";
    let counts = [1, 2, 1].map(|count| format!("{kind}: count {count}"));
    assert_eq!(heard.take()[..3], counts);
    assert_eq!(heard.thing(kind).site.unwrap().file(), file!());
}

#[test]
fn group_then_how_many_children_live() {
    let heard = notes_of(async {
        let group = TaskGroup::<u8, ()>::new();
        group.post(async { Ok(1) });
        group.post(async { Ok(2) });
        group.join_all().await.unwrap();
    });
    let counts: Vec<_> =
        heard.take().into_iter().filter(|line| line.starts_with("group: count")).collect();
    assert_eq!(counts.first().unwrap(), "group: count 1");
    assert_eq!(counts.last().unwrap(), "group: count 0");
    assert!(counts.contains(&"group: count 2".to_owned()), "{counts:?}");
}

// What a program builds itself.

#[test]
fn wait_queue_of_the_programs_own_then_it_is_told_of_like_any_other() {
    let heard = notes_of(async {
        let bell = WaitQueue::of("bell", 0);
        bell.set_name("front door");
        bell.wake();
        bell.park().await;
        let turnstile = WaitQueue::lock("turnstile", 1);
        turnstile.park().await;
        let silent = WaitQueue::signal("silent");
        silent.wake();
    });
    heard.assert_lines(&[
        "bell front door: free 1",
        "bell front door: free 0",
        "turnstile: holder task 1",
        "turnstile: holders 1",
        "gone",
        "gone",
    ]);
}

// Calls of which the kernel would not hear.

#[test]
fn waiter_dropped_then_its_call_is_withdrawn() {
    let heard = notes_of(async {
        let queue = WaitQueue::new(0);
        trapline::timeout(SECOND, queue.park()).await.unwrap_err();
    });
    heard.assert_lines(&["task 1 withdraws its park", "gone"]);
}

#[test]
fn waiter_dropped_before_it_was_served_then_nobody_hears_of_it() {
    let heard = notes_of(async {
        let queue = WaitQueue::new(0);
        assert!(poll_once(&mut Box::pin(queue.park())).await.is_pending());
    });
    heard.assert_lines(&[]);
}

#[test]
fn token_taken_in_the_turn_in_which_it_was_given_then_the_answer_is_told() {
    let heard = notes_of(async {
        let queue = WaitQueue::of("bell", 0);
        let mut parked = pin!(queue.park());
        assert!(poll_once(&mut parked).await.is_pending());
        yield_now().await;
        queue.wake();
        assert!(poll_once(&mut parked).await.is_ready());
    });
    let lines = heard.take();
    assert_eq!(lines.iter().filter(|line| *line == "task 1 gets a token").count(), 1, "{lines:?}");
}

#[test]
fn token_given_back_in_the_turn_in_which_it_was_given_then_the_call_is_withdrawn() {
    let heard = notes_of(async {
        let queue = WaitQueue::of("bell", 0);
        let mut parked = Box::pin(queue.park());
        assert!(poll_once(&mut parked).await.is_pending());
        yield_now().await;
        queue.wake();
        drop(parked);
    });
    heard.assert_lines(&["task 1 withdraws its park", "bell: free 1", "gone"]);
}

#[test]
fn pending_call_polled_by_another_task_then_it_is_booked_there() {
    let (mut scheduler, heard) = listened_to();
    let (slot, queue) = (Slot::new(), Rc::new(WaitQueue::new(0)));
    let (there, waits) = (slot.clone(), Rc::clone(&queue));
    scheduler
        .spawn(async move {
            let mut parked = Box::pin(async move { waits.park().await });
            assert!(poll_once(&mut parked).await.is_pending());
            there.put(parked);
        })
        .detach();
    step_while_ready(&mut scheduler);
    scheduler.spawn(slot.take().unwrap()).detach();
    step_while_ready(&mut scheduler);
    queue.wake();
    scheduler.run().unwrap();
    heard.assert_lines(&["booked to task 2", "task 2 gets a token"]);
    assert_empty(&scheduler);
}

// Sockets.

#[test]
fn sockets_then_each_operation_that_did_not_trap_and_the_end() {
    let heard = notes_of(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = trapline::join!(TcpStream::connect(address), listener.accept());
        let (client, server) = (client.unwrap(), accepted.unwrap().0);
        client.write_all(b"hello").await.unwrap();
        server.readable().await.unwrap();
        let mut buf = [0; 8];
        assert_eq!(server.read(&mut buf).await.unwrap(), 5);
        assert!(server.try_read(&mut buf).is_err());
        drop(client);
        server.readable().await.unwrap();
        assert_eq!(server.read(&mut buf).await.unwrap(), 0);
        server.close();
        drop(listener);
    });
    let lines = heard.take();
    let of_streams: Vec<_> = lines.iter().filter(|line| line.starts_with("tcp stream")).collect();
    assert!(of_streams.contains(&&"tcp stream: write = 5".to_owned()), "{lines:#?}");
    assert!(of_streams.contains(&&"tcp stream: read = 5".to_owned()), "{lines:#?}");
    assert!(of_streams.contains(&&"tcp stream: read fails by 11".to_owned()), "{lines:#?}");
    assert!(of_streams.contains(&&"tcp stream: read = 0".to_owned()), "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| *line == "gone").count(), 3, "{lines:#?}");
    let stream = heard.thing("tcp stream");
    assert!(stream.name.unwrap().starts_with("fd "));
    assert_eq!(stream.site.unwrap().file(), file!());
}

#[test]
fn waits_for_a_socket_then_for_which() {
    let (mut scheduler, _heard) = listened_to();
    let line = line!() + 1;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = {
        use std::os::fd::AsRawFd;
        format!("fd {}", listener.as_raw_fd())
    };
    scheduler.spawn(async move { drop(listener.accept().await) }).detach();
    scheduler.step();
    let [thing] = &blocked_on(&scheduler)[..] else { panic!("{}", scheduler.snapshot()) };
    assert_eq!((thing.kind, thing.name.as_deref()), ("tcp listener", Some(&*name)));
    assert_eq!(thing.site.unwrap().line(), line);
}

#[test]
fn error_of_a_socket_then_its_number() {
    let heard = notes_of(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (client, _) = trapline::join!(TcpStream::connect(address), listener.accept());
        let client = client.unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        client.write(b"x").await.unwrap_err();
    });
    let broken_pipe = "tcp stream: write fails by 32".to_owned();
    assert!(heard.take().contains(&broken_pipe));
}

// Operations that are polled through a trait.

#[traced]
async fn through_the_traits(stream: &mut TcpStream) {
    let mut buf = [0; 5];
    stream.write_all(b"hello").await.unwrap();
    stream.read_exact(&mut buf).await.unwrap();
}

/// The lines of all calls, and of all operations that did not trap, that `work` makes.
fn lines_of(work: impl Future<Output = ()>) -> Vec<(String, u32)> {
    let lines: Rc<RefCell<Vec<(String, u32)>>> = Rc::default();
    let seen = Rc::clone(&lines);
    let probe = move |event: &Event<'_>| {
        let (what, site) = match event {
            Event::Trapped { request, site, .. } => (request.to_string(), *site),
            Event::Noted { note: Note::Done { operation, site, .. } } => {
                ((*operation).to_owned(), *site)
            }
            _ => return,
        };
        assert_eq!(site.file(), file!(), "{what}");
        let word = what.split('(').next().unwrap().to_owned();
        seen.borrow_mut().push((word, site.line()));
    };
    builder().quantum(1000).probe(probe).build().block_on(work).unwrap();
    lines.take()
}

#[test]
fn sockets_through_the_traits_then_the_line_of_the_innermost_frame() {
    let line = line!();
    let lines = lines_of(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = trapline::join!(TcpStream::connect(address), listener.accept());
        let (mut client, mut server) = (client.unwrap(), accepted.unwrap().0);
        let echo = async {
            let mut buf = [0; 5];
            let stream = &mut server;
            stream.read_exact(&mut buf).await.unwrap();
            stream.write_all(&buf).await.unwrap();
        };
        trapline::join!(through_the_traits(&mut client), frame(echo));
    });
    let of_traits: Vec<_> = lines.iter().filter(|(_, at)| *at > line + 5).collect();
    assert!(!of_traits.is_empty());
    assert!(of_traits.iter().all(|(_, at)| *at == line + 12), "{lines:?}");
    assert!(of_traits.iter().any(|(what, _)| what == "read_wait"), "{lines:?}");
    assert!(of_traits.iter().any(|(what, _)| what == "write"), "{lines:?}");
}

#[test]
fn streams_and_sinks_of_channels_then_the_line_of_the_innermost_frame() {
    let line = line!();
    let lines = lines_of(async {
        let (mut sender, mut receiver) = channel(1);
        let sends = async {
            for n in 0..3 {
                SinkExt::send(&mut sender, n).await.unwrap();
            }
            SinkExt::<i32>::close(&mut sender).await.unwrap();
        };
        let receives = async {
            assert_eq!(StreamExt::next(&mut receiver).await, Some(0));
            sleep(SECOND).await;
            while StreamExt::next(&mut receiver).await.is_some() {}
        };
        trapline::join!(frame(receives), frame(sends));
        let (many, mut all) = broadcast(1);
        let late = async {
            sleep(SECOND).await;
            many.try_send(1).unwrap();
        };
        trapline::join!(frame(StreamExt::next(&mut all)), late);
        let (show, mut screen) = watch(0);
        let late = async {
            sleep(SECOND).await;
            show.send(1).unwrap();
        };
        trapline::join!(frame(StreamExt::next(&mut screen)), late);
        let mut group = TaskGroup::<u8, ()>::new();
        group.post(async { Ok(1) });
        frame(StreamExt::next(&mut group)).await;
    });
    let parks: Vec<_> =
        lines.iter().filter(|(what, _)| what == "park").map(|(_, at)| at - line).collect();
    assert!(parks.contains(&14), "of receiver and sender: {parks:?}");
    assert!(parks.iter().all(|at| [14, 20, 26, 29].contains(at)), "{parks:?}");
    assert!(parks.contains(&20) && parks.contains(&26) && parks.contains(&29), "{parks:?}");
}

#[test]
fn streams_without_a_frame_then_the_line_where_the_channel_was_made() {
    let line = line!();
    let lines = lines_of(async {
        let (sender, mut receiver) = channel::<u8>(1);
        trapline::join!(StreamExt::next(&mut receiver), async {
            yield_now().await;
            drop(sender);
        });
    });
    assert_eq!(lines[0], ("park".to_owned(), line + 2));
}

// What a kernel asks for.

#[test]
fn payload_asked_for_then_the_first_bytes_of_what_is_moved() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let kernel = KernelRing::claim(0);
    kernel.listen(true);
    kernel.listen_payload(3);
    let entered = kernel.enter();
    kernel.set_budget(9);
    kernel.begin(TaskId::new(1, 0), Waker::noop());
    let client = TcpStream::from_std(client).unwrap();
    assert!(poll_idly(&mut client.write_all(b"hello")).is_ready());
    std::io::Write::write_all(&mut server, b"hi").unwrap();
    let mut buf = [0; 8];
    assert!(poll_idly(&mut client.read(&mut buf)).is_ready());
    drop(client);
    kernel.finish();
    drop(entered);
    let lines: Vec<_> = kernel.take_notes().iter().map(line_of).collect();
    let expected =
        ["bytes \"hel\"", "tcp stream: write = 5", "bytes \"hi\"", "tcp stream: read = 2", "gone"];
    assert_eq!(lines, expected);
    assert!(!kernel.has_notes());
}

#[test]
fn nobody_listens_then_nothing_is_noted() {
    let kernel = KernelRing::claim(0);
    let entered = kernel.enter();
    let lock = Mutex::new(0);
    drop(lock.try_lock());
    kernel.listen(true);
    drop(lock.try_lock());
    assert_eq!(kernel.take_notes().len(), 4);
    kernel.listen(false);
    drop(lock.try_lock());
    drop(lock);
    assert!(!kernel.has_notes());
    drop(entered);
}
