//! What a mirror makes of a trace is what the kernel has: after each step of programs that use one family of the
//! library each.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/mirrored.rs"]
mod mirrored;
mod support;

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io::{Read, Write};
use std::net::TcpStream as StdStream;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use mirrored::{Mirrored, block_on_mirrored, run_mirrored};
use support::{Slot, builder, give_way, poll_once, scheduler};
use trapline::net::{TcpListener, TcpStream};
use trapline::sync::{Barrier, Condvar, Event, Mutex, OnceCell, RLock, RwLock, Semaphore};
use trapline::trace::format::Decoder;
use trapline::trace::strace::Printer;
use trapline::{
    CallId, KernelFace, OwnCall, Scheduler, Served, Step, TaskOptions, WaitQueue, cancel,
    cancellable, channel, get_tid, group_scope, interval, join_all, kill, now, own_call, pattern,
    post_cancel, post_kill, race, read_wait, scope, shield, sleep, sleep_until, spawn,
    spawn_detached, timeout, unblock, wait, yield_now,
};

const MILLI: Duration = Duration::from_millis(1);

/// Every quantum gives another order of events.
fn each_quantum(program: impl AsyncFn()) {
    for quantum in [1, 2, 3, 32] {
        for batch in [1, 256] {
            let mut scheduler = builder().quantum(quantum).batch(batch).build();
            block_on_mirrored(&mut scheduler, program());
            let _ = run_mirrored(&mut scheduler);
        }
    }
}

#[test]
fn tasks_then_the_mirror_shows_what_the_kernel_has() {
    each_quantum(async || {
        let me = get_tid().await;
        let child = spawn(async { yield_now().await }).name("child").await;
        let daemon = spawn(pending::<()>()).daemon().await;
        let waiter = spawn(wait(child.id())).await;
        child.await.unwrap();
        waiter.await.unwrap().unwrap();
        kill(daemon.id()).await.unwrap();
        kill(daemon.id()).await.unwrap();
        spawn_detached(async move {
            yield_now().await;
            kill(get_tid().await).await.unwrap();
        });
        let victim = spawn(async {
            sleep(MILLI).await;
        })
        .await;
        post_kill(victim.id());
        victim.await.unwrap_err();
        let panics = spawn(async { panic!("on purpose") }).await;
        panics.await.unwrap_err();
        spawn_detached(async { panic!("unseen") });
        wait(me).now_or_never_in_a_task().await;
        yield_now().await;
    });
}

/// Polls a future once, and drops it.
trait Once: Future + Unpin + Sized {
    async fn now_or_never_in_a_task(mut self) {
        let _ = poll_once(&mut self).await;
    }
}

impl<F: Future + Unpin> Once for F {}

#[test]
fn times_then_the_mirror_shows_what_the_kernel_has() {
    each_quantum(async || {
        let start = now().await;
        sleep(Duration::ZERO).await;
        sleep_until(start + 3 * MILLI).await;
        timeout(MILLI, sleep(5 * MILLI)).await.unwrap_err();
        timeout(5 * MILLI, sleep(MILLI)).await.unwrap();
        let mut ticks = interval(MILLI);
        ticks.tick().await;
        ticks.tick().await;
        race(sleep(MILLI), sleep(2 * MILLI)).await;
        join_all([sleep(2 * MILLI), sleep(MILLI)]).await;
        trapline::join!(sleep(MILLI), yield_now(), sleep(MILLI));
        let mut unordered: FuturesUnordered<_> = (0..4).map(|n| sleep(MILLI * n)).collect();
        while unordered.next().await.is_some() {}
    });
}

#[test]
fn calls_that_are_given_up_or_handed_on_then_the_mirror_shows_what_the_kernel_has() {
    each_quantum(async || {
        let left = Slot::new();
        let queue = Rc::new(WaitQueue::new(0));
        // Polled once, and dropped while it waits, in the same step and in a later one.
        sleep(MILLI).now_or_never_in_a_task().await;
        queue.park().now_or_never_in_a_task().await;
        let mut parked = Box::pin(queue.park());
        let _ = poll_once(&mut parked).await;
        yield_now().await;
        drop(parked);
        // Left for another task, which answers to it.
        let mut slept = Box::pin(sleep(3 * MILLI));
        let _ = poll_once(&mut slept).await;
        yield_now().await;
        left.put(slept);
        let heir = {
            let left = left.clone();
            spawn(async move { left.take().unwrap().await }).await
        };
        heir.await.unwrap();
        // Left where nobody waits for it, by one that ends.
        let orphan = Slot::new();
        let dies = {
            let (orphan, queue) = (orphan.clone(), Rc::clone(&queue));
            spawn(async move {
                let mut parked = Box::pin(async move { queue.park().await });
                let _ = poll_once(&mut parked).await;
                orphan.put(parked);
                yield_now().await;
            })
            .await
        };
        dies.await.unwrap();
        yield_now().await;
        queue.wake();
        yield_now().await;
        drop(orphan.take());
        yield_now().await;
    });
}

#[test]
fn wait_queues_then_the_mirror_shows_what_the_kernel_has() {
    each_quantum(async || {
        let queue = Rc::new(WaitQueue::new(1));
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let queue = Rc::clone(&queue);
                spawn(async move {
                    queue.park().await;
                    give_way().await;
                })
            })
            .collect();
        let mut handles = Vec::new();
        for task in tasks {
            handles.push(task.await);
        }
        yield_now().await;
        queue.wake();
        handles.pop().unwrap().kill();
        queue.wake_all();
        for handle in handles {
            handle.await.unwrap();
        }
    });
}

#[test]
fn locks_then_the_mirror_shows_what_the_kernel_has() {
    each_quantum(async || {
        let mutex = Rc::new(Mutex::new(0).named("log"));
        let rwlock = Rc::new(RwLock::new(0));
        let semaphore = Rc::new(Semaphore::new(2));
        let rlock = Rc::new(RLock::new(0));
        let barrier = Rc::new(Barrier::new(3));
        let event = Rc::new(Event::new());
        let cell = Rc::new(OnceCell::new());
        let condvar = Rc::new(Condvar::new());
        let mut handles = Vec::new();
        for number in 0..3 {
            let (mutex, rwlock, semaphore) = (mutex.clone(), rwlock.clone(), semaphore.clone());
            let (rlock, barrier, event) = (rlock.clone(), barrier.clone(), event.clone());
            let (cell, condvar) = (cell.clone(), condvar.clone());
            handles.push(
                spawn(async move {
                    for _ in 0..2 {
                        let mut guard = mutex.lock().await;
                        *guard += 1;
                        yield_now().await;
                        drop(guard);
                        if number == 0 {
                            *rwlock.write().await += 1;
                        } else {
                            let read = rwlock.read().await;
                            yield_now().await;
                            drop(read);
                        }
                        let permit = semaphore.acquire_many(1 + number % 2).await.unwrap();
                        sleep(MILLI).await;
                        drop(permit);
                        let outer = rlock.lock().await;
                        let inner = rlock.lock().await;
                        yield_now().await;
                        drop((inner, outer));
                    }
                    barrier.wait().await;
                    if number == 2 {
                        event.set();
                    }
                    event.wait().await;
                    cell.get_or_init(async || {
                        yield_now().await;
                        7
                    })
                    .await;
                    if number == 0 {
                        yield_now().await;
                        *mutex.lock().await = 100;
                        condvar.notify_all();
                    }
                    let guard = mutex.lock().await;
                    drop(condvar.wait_while(guard, |value| *value < 100).await);
                })
                .await,
            );
        }
        for handle in handles {
            handle.await.unwrap();
        }
    });
}

#[test]
fn lock_given_up_and_holders_killed_then_the_mirror_shows_what_the_kernel_has() {
    each_quantum(async || {
        let mutex = Rc::new(Mutex::new(()));
        let before = mutex.lock().await;
        let mut handles = Vec::new();
        for _ in 0..4 {
            let mutex = Rc::clone(&mutex);
            handles.push(
                spawn(async move {
                    let _guard = timeout(3 * MILLI, mutex.lock()).await?;
                    sleep(MILLI).await;
                    Ok::<_, trapline::Elapsed>(())
                })
                .await,
            );
        }
        yield_now().await;
        drop(before);
        yield_now().await;
        handles.remove(0).kill();
        for handle in handles {
            let _ = handle.await.unwrap();
        }
    });
}

#[test]
fn channels_then_the_mirror_shows_what_the_kernel_has() {
    each_quantum(async || {
        for capacity in [0, 1, 3] {
            let (sender, receiver) = channel::channel(capacity);
            let mut handles = Vec::new();
            for number in 0..3 {
                let sender = sender.clone();
                handles.push(
                    spawn(async move {
                        for value in 0..3 {
                            sender.send(number * 10 + value).await.unwrap();
                        }
                    })
                    .await,
                );
            }
            drop(sender);
            let other = receiver.clone();
            handles.push(
                spawn(async move {
                    while other.recv().await.is_some() {
                        yield_now().await;
                    }
                })
                .await,
            );
            while receiver.recv().await.is_some() {}
            for handle in handles {
                handle.await.unwrap();
            }
        }
        let (give, mut take) = channel::oneshot();
        let taker = spawn(async move { take.recv().await }).await;
        yield_now().await;
        give.send(7).unwrap();
        taker.await.unwrap().unwrap();
        let (change, mut see) = channel::watch(0);
        let seer = spawn(async move { see.changed().await }).await;
        yield_now().await;
        change.send(1).unwrap();
        seer.await.unwrap().unwrap();
        let parent = get_tid().await;
        spawn_detached(async move { trapline::send(parent, 7_u32).await.unwrap() });
        trapline::receive::<u32>().await;
    });
}

#[test]
fn groups_scopes_and_cancels_then_the_mirror_shows_what_the_kernel_has() {
    each_quantum(async || {
        group_scope(async |group| {
            for millis in 0..3 {
                group
                    .spawn(async move {
                        sleep(MILLI * millis).await;
                        Ok::<_, String>(())
                    })
                    .await;
            }
            yield_now().await;
            Ok(())
        })
        .await
        .unwrap();
        let word = String::from("borrowed");
        scope(async |scope| {
            scope.spawn(async {
                yield_now().await;
                word.len()
            });
            sleep(MILLI).await;
        })
        .await;
        let polite = spawn(async {
            let _ = cancellable(sleep(5 * MILLI)).await;
            shield(sleep(MILLI)).await;
            yield_now().await;
        })
        .await;
        yield_now().await;
        cancel(polite.id(), "enough").await.unwrap();
        polite.await.unwrap();
        let curt = spawn(sleep(5 * MILLI)).await;
        yield_now().await;
        post_cancel(curt.id(), "enough");
        curt.await.unwrap_err();
    });
}

#[test]
fn futures_of_others_then_the_mirror_shows_what_the_kernel_has() {
    each_quantum(async || {
        let wakers = Rc::new(RefCell::new(Vec::new()));
        let sleeper = {
            let wakers = Rc::clone(&wakers);
            let mut left = 3;
            spawn(std::future::poll_fn(move |cx| {
                wakers.borrow_mut().push(cx.waker().clone());
                left -= 1;
                if left == 0 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            }))
            .await
        };
        for _ in 0..4 {
            yield_now().await;
            // Twice: the second changes nothing.
            for waker in wakers.take() {
                waker.wake_by_ref();
                waker.wake();
            }
        }
        sleeper.await.unwrap();
        give_way().await;
    });
}

#[test]
fn threads_then_the_mirror_shows_what_the_kernel_has() {
    each_quantum(async || {
        assert_eq!(unblock(|| 6 * 7).await, 42);
        let handle = trapline::handle();
        let thread = thread::Builder::new().name("outside".to_owned());
        let thread = thread.spawn(move || {
            handle.spawn(async || yield_now().await).join().unwrap();
        });
        unblock(move || thread.unwrap().join().unwrap()).await;
    });
}

#[test]
fn sockets_then_the_mirror_shows_what_the_kernel_has() {
    for quantum in [1, 2, 32] {
        let mut scheduler = Scheduler::builder().quantum(quantum).build();
        block_on_mirrored(&mut scheduler, async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = spawn(async move {
                let mut handles = Vec::new();
                for _ in 0..3 {
                    let (stream, _) = listener.accept().await.unwrap();
                    let echo = async move {
                        let mut buffer = [0; 1000];
                        loop {
                            let length = stream.read(&mut buffer).await.unwrap();
                            if length == 0 {
                                break;
                            }
                            stream.write_all(&buffer[..length]).await.unwrap();
                        }
                    };
                    handles.push(spawn(echo).await);
                }
                for handle in handles {
                    handle.await.unwrap();
                }
            })
            .await;
            let client = async || {
                let stream = TcpStream::connect(address).await.unwrap();
                let mut buffer = [0; 5];
                for _ in 0..3 {
                    stream.write_all(b"hello").await.unwrap();
                    stream.read_exact(&mut buffer).await.unwrap();
                }
            };
            trapline::join!(client(), client());
            let other = unblock(move || {
                let mut stream = StdStream::connect(address).unwrap();
                stream.write_all(b"hello").unwrap();
                stream.read_exact(&mut [0; 5]).unwrap();
            });
            other.await;
            server.await.unwrap();
            // Somebody else's descriptor.
            let (reader, mut writer) = std::os::unix::net::UnixStream::pair().unwrap();
            let late = spawn(async move {
                sleep(MILLI).await;
                writer.write_all(b"x").unwrap();
            })
            .await;
            read_wait(&reader).await.unwrap();
            late.await.unwrap();
            timeout(MILLI, read_wait(&pending_socket())).await.unwrap_err();
        });
        drop(run_mirrored(&mut scheduler).unwrap());
    }
}

fn pending_socket() -> std::net::TcpListener {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn patterns_then_the_mirror_shows_what_the_kernel_has() {
    each_quantum(async || {
        let numbers = futures::stream::iter(0..5_u32);
        let work = async |n| {
            sleep(MILLI * n).await;
        };
        pattern::for_each_concurrent(numbers, 2, work).await;
    });
}

/// A primitive that nobody of the library knows: who asks waits until somebody answers.
struct AskOracle;

impl OwnCall for AskOracle {
    type Reply = u32;

    fn name(&self) -> &'static str {
        "ask_oracle"
    }

    fn serve(&mut self, _kernel: &mut dyn KernelFace, call: CallId) -> Served<u32> {
        ASKED.set(Some(call));
        Served::Block
    }
}

struct AnswerOracle(u32);

impl OwnCall for AnswerOracle {
    type Reply = bool;

    fn name(&self) -> &'static str {
        "answer_oracle"
    }

    fn serve(&mut self, kernel: &mut dyn KernelFace, _call: CallId) -> Served<bool> {
        let asked = ASKED.take();
        Served::Answer(asked.is_some_and(|call| kernel.answer(call, Box::new(self.0)).is_ok()))
    }
}

thread_local! {
    static ASKED: Cell<Option<CallId>> = const { Cell::new(None) };
}

#[test]
fn call_of_the_programs_own_then_the_mirror_has_it_and_the_lines_name_it() {
    let program = async || {
        let asks = spawn(async { own_call(AskOracle).await }).await;
        yield_now().await;
        assert!(own_call(AnswerOracle(42)).await);
        assert_eq!(asks.await.unwrap(), 42);
        assert!(!own_call(AnswerOracle(43)).await);
        // Given up.
        let _ = timeout(MILLI, own_call(AskOracle)).await;
    };
    each_quantum(program);
    let mut scheduler = scheduler();
    let mut mirrored = Mirrored::attach(&mut scheduler);
    let check = |scheduler: &mut Scheduler, step: &Step| mirrored.check(scheduler, step);
    scheduler.block_on_with(program(), check).unwrap();
    let (mut printer, mut lines) = (Printer::new(), String::new());
    let bytes = mirrored.bytes();
    let (mut rest, mut decoder) = (bytes.as_slice(), Decoder::new());
    while let Some(record) = decoder.decode(&mut rest).unwrap() {
        printer.record(&record, &mut lines);
    }
    mirrored.detach(&mut scheduler);
    for part in [
        "T2 ask_oracle() …  mirrored.rs:",
        "T1 answer_oracle()",
        "T2 … ask_oracle() (",
        "woken by T1",
    ] {
        assert!(lines.contains(part), "no {part} in\n{lines}");
    }
}

#[test]
fn deadlock_then_the_mirror_shows_what_the_kernel_has() {
    let mut scheduler = scheduler();
    let (left, right) = (Rc::new(Mutex::new(())), Rc::new(Mutex::new(())));
    for (first, second) in [(left.clone(), right.clone()), (right, left)] {
        let task = async move {
            let _first = first.lock().await;
            yield_now().await;
            let _second = second.lock().await;
        };
        scheduler.spawn(task).detach();
    }
    assert!(run_mirrored(&mut scheduler).is_err());
}

#[test]
fn looked_at_from_the_midst_on_then_the_mirror_shows_what_the_kernel_has() {
    let program = || async {
        let mutex = Rc::new(Mutex::new(()).named("log"));
        let queue = Rc::new(WaitQueue::new(0));
        let mut handles = Vec::new();
        for number in 0..4 {
            let (mutex, queue) = (Rc::clone(&mutex), Rc::clone(&queue));
            handles.push(
                spawn(async move {
                    let _guard = mutex.lock().await;
                    trapline::join!(sleep(MILLI * number), yield_now());
                    let _ = timeout(MILLI, queue.park()).await;
                })
                .await,
            );
        }
        for handle in handles {
            handle.await.unwrap();
        }
    };
    for steps in 0..60 {
        let mut scheduler = builder().quantum(2).build();
        let options = TaskOptions::new().name("first");
        scheduler.spawn_with(options, program()).detach();
        let mut is_over = false;
        for _ in 0..steps {
            is_over |= scheduler.step().is_last();
        }
        if !is_over {
            drop(run_mirrored(&mut scheduler).unwrap());
        }
    }
}

#[test]
fn orders_from_outside_then_the_mirror_shows_what_the_kernel_has() {
    let mut scheduler = scheduler();
    let tasks: Vec<_> = (0..4).map(|_| scheduler.spawn(sleep(MILLI))).collect();
    let mut mirrored = Mirrored::attach(&mut scheduler);
    assert!(scheduler.put_first(tasks[2].id()));
    let step = scheduler.step();
    assert_eq!(step.task(), Some(tasks[2].id()));
    mirrored.check(&mut scheduler, &step);
    assert!(scheduler.kill(tasks[0].id()));
    assert!(scheduler.cancel(tasks[2].id(), "an order"));
    let late = scheduler.spawn(async {});
    while !{
        let step = scheduler.step();
        mirrored.check(&mut scheduler, &step);
        step.is_last()
    } {}
    mirrored.detach(&mut scheduler);
    drop(late);
}

#[test]
fn trace_so_long_that_jumps_begin_in_its_midst_then_the_mirror_shows_what_the_kernel_has() {
    let mut scheduler = builder().quantum(2).build();
    let queue = Rc::new(WaitQueue::signal("bell"));
    let mutex = Rc::new(Mutex::new(()).named("log"));
    for number in 0..6 {
        let (queue, mutex) = (Rc::clone(&queue), Rc::clone(&mutex));
        let task = async move {
            for round in 0..200_u32 {
                let guard = mutex.lock().await;
                yield_now().await;
                drop(guard);
                let _ = timeout(MILLI * (1 + round % 3), queue.park()).await;
                queue.wake();
                spawn(async { yield_now().await }).await.await.unwrap();
                sleep(MILLI * (number % 4)).await;
            }
        };
        scheduler.spawn(task).detach();
    }
    drop(run_mirrored(&mut scheduler).unwrap());
}
