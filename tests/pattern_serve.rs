//! `serve`: a task for each connection, a limit that lets newcomers wait, and an end that drains.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures::{FutureExt, join, select_biased};
use support::{OnDrop, run_clean};
use trapline::channel::channel;
use trapline::net::{TcpListener, TcpStream};
use trapline::pattern::{Serve, serve};
use trapline::{Scheduler, TaskState, kill, spawn, yield_now};

/// On the real clock, for the sockets are real; nothing depends on how long it takes.
#[track_caller]
fn under_each_quantum<F: Future<Output = ()>>(test: impl Fn() -> F) {
    for quantum in [1, 2, 32] {
        let mut scheduler = Scheduler::builder().quantum(quantum).build();
        scheduler.block_on(test()).unwrap();
        run_clean(&mut scheduler);
    }
}

/// Lets everybody run, and the outside be looked at, many times over.
async fn settle() {
    for _ in 0..2_000 {
        yield_now().await;
    }
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// A future that is ready when the sender is dropped.
fn stop() -> (trapline::channel::Sender<()>, impl Future<Output = ()>) {
    let (sender, receiver) = channel::<()>(1);
    (sender, async move {
        let _end = receiver.recv().await;
    })
}

/// An echo server that counts its connections in `open`.
fn echo_server(listener: TcpListener, limit: usize, open: &Rc<Cell<usize>>) -> Serve {
    let open = Rc::clone(open);
    serve(listener, limit, move |stream: TcpStream, _peer| {
        let left = Rc::clone(&open);
        open.set(open.get() + 1);
        let leave = OnDrop(move || left.set(left.get() - 1));
        async move {
            let _leave = leave;
            let mut byte = [0];
            while let Ok(1) = stream.read(&mut byte).await {
                assert_ne!(&byte, b"!", "a panic was asked for");
                stream.write_all(&byte).await.unwrap();
            }
        }
    })
}

async fn assert_echoes(stream: &TcpStream) {
    stream.write_all(b"x").await.unwrap();
    stream.read_exact(&mut [0]).await.unwrap();
}

#[test]
fn one_connection_too_many_then_it_waits_and_is_served_when_another_has_ended() {
    under_each_quantum(|| async {
        let (listener, address) = listen();
        let open = Rc::new(Cell::new(0));
        let (stop, stopped) = stop();
        let server = spawn(echo_server(listener, 2, &open).until(stopped)).await;
        let (first, second) = (connect(address).await, connect(address).await);
        join!(assert_echoes(&first), assert_echoes(&second));
        let third = connect(address).await;
        third.write_all(b"x").await.unwrap();
        settle().await;
        assert_eq!(open.get(), 2);
        drop(first);
        third.read_exact(&mut [0]).await.unwrap();
        assert_echoes(&second).await;
        assert_eq!(open.get(), 2);
        drop((stop, second, third));
        let served = server.await.unwrap().unwrap();
        assert_eq!((served.connections, served.killed, open.get()), (3, 0, 0));
    });
}

#[test]
fn told_to_stop_then_newcomers_are_refused_and_those_served_are_waited_for() {
    under_each_quantum(|| async {
        let (listener, address) = listen();
        let open = Rc::new(Cell::new(0));
        let (stop, stopped) = stop();
        let mut server = spawn(echo_server(listener, 9, &open).until(stopped)).await;
        let client = connect(address).await;
        assert_echoes(&client).await;
        drop(stop);
        settle().await;
        assert!(TcpStream::connect(address).await.is_err());
        assert_echoes(&client).await;
        select_biased! {
            _ = (&mut server).fuse() => panic!("it does not wait for its client"),
            () = settle().fuse() => {}
        }
        drop(client);
        assert_eq!(server.await.unwrap().unwrap().connections, 1);
    });
}

#[test]
fn grace_is_over_then_those_left_are_killed_and_counted() {
    under_each_quantum(|| async {
        let (listener, address) = listen();
        let open = Rc::new(Cell::new(0));
        let (stop, stopped) = stop();
        let serving =
            echo_server(listener, 9, &open).until(stopped).grace(Duration::from_millis(5));
        let server = spawn(serving).await;
        let (one, two) = (connect(address).await, connect(address).await);
        join!(assert_echoes(&one), assert_echoes(&two));
        drop(stop);
        let served = server.await.unwrap().unwrap();
        assert_eq!((served.connections, served.killed, open.get()), (2, 2, 0));
        assert_eq!(one.read(&mut [0]).await.unwrap(), 0);
    });
}

#[test]
fn server_dropped_or_killed_then_its_connections_end_with_it() {
    for way in ["drop", "kill"] {
        under_each_quantum(|| async move {
            let (listener, address) = listen();
            let open = Rc::new(Cell::new(0));
            let mut server = Box::pin(echo_server(listener, 9, &open));
            let client = connect(address).await;
            if way == "drop" {
                select_biased! {
                    _ = (&mut server).fuse() => panic!("it does not end by itself"),
                    () = assert_echoes(&client).fuse() => {}
                }
                drop(server);
            } else {
                let task = spawn(server).await;
                assert_echoes(&client).await;
                kill(task.id()).await.unwrap();
            }
            yield_now().await;
            assert_eq!(open.get(), 0);
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
            assert!(TcpStream::connect(address).await.is_err());
        });
    }
}

#[test]
fn server_dropped_before_its_first_poll_then_the_listener_is_closed() {
    under_each_quantum(|| async {
        let (listener, address) = listen();
        drop(echo_server(listener, 9, &Rc::default()));
        assert!(TcpStream::connect(address).await.is_err());
    });
}

#[test]
fn connection_panics_then_it_alone_ends_and_the_failure_is_counted() {
    let mut scheduler = Scheduler::new();
    scheduler
        .block_on(async {
            let (listener, address) = listen();
            let open = Rc::new(Cell::new(0));
            let (stop, stopped) = stop();
            let server = spawn(echo_server(listener, 1, &open).until(stopped)).await;
            let bad = connect(address).await;
            bad.write_all(b"!").await.unwrap();
            assert_eq!(bad.read(&mut [0]).await.unwrap_or(0), 0);
            // Its place is free again.
            let good = connect(address).await;
            assert_echoes(&good).await;
            drop((stop, good));
            assert_eq!(server.await.unwrap().unwrap().connections, 2);
        })
        .unwrap();
    assert_eq!(scheduler.run().unwrap().failures, 1);
    support::assert_empty(&scheduler);
}

#[test]
fn server_waits_then_its_calls_carry_the_line_of_serve() {
    let mut scheduler = Scheduler::new();
    let (listener, _address) = listen();
    let line = line!() + 1;
    let serving = serve(listener, 1, async |_stream, _peer| {});
    let task = scheduler.spawn(serving);
    let _blocked = scheduler.step();
    let TaskState::Blocked(calls) = &scheduler.snapshot().tasks[0].state else {
        panic!("it waits")
    };
    assert_eq!((calls[0].site.file(), calls[0].site.line()), (file!(), line));
    task.kill();
    drop(task);
    let _killed_on_purpose = scheduler.run().unwrap();
    support::assert_empty(&scheduler);
}

#[test]
#[should_panic(expected = "one connection at least")]
fn limit_of_none_then_a_panic() {
    let (listener, _address) = listen();
    drop(serve(listener, 0, async |_stream, _peer| {}));
}
