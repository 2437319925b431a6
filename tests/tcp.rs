//! TCP: streams, halves, listeners, and how each may end. Peers are the standard library's, in
//! threads.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures::future::LocalBoxFuture;
use futures::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use futures::{FutureExt, StreamExt, join, pin_mut, poll};
use socket2::{Domain, SockRef, Socket, Type};
use trapline::net::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};
use trapline::{Event, Scheduler, Syscall, TaskState, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// A test that hangs ends the test program, by name.
struct Watch(Option<Sender<()>>);

fn watch() -> Watch {
    let (alive, ended) = channel::<()>();
    let name = thread::current().name().unwrap_or("a test").to_owned();
    thread::spawn(move || {
        if ended.recv_timeout(60 * SECOND) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{name} hangs");
            std::process::abort();
        }
    });
    Watch(Some(alive))
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.take();
    }
}

#[track_caller]
fn assert_clean(scheduler: &Scheduler) {
    scheduler.check_invariants();
    assert_eq!(scheduler.table_sizes(), [0; 6]);
}

#[track_caller]
fn run_on<T>(mut scheduler: Scheduler, future: impl Future<Output = T>) -> T {
    let _watch = watch();
    let output = scheduler.block_on(future).unwrap();
    assert_eq!(scheduler.run().unwrap().failures, 0);
    assert_clean(&scheduler);
    output
}

/// Under the default quantum.
#[track_caller]
fn block_on<T>(future: impl Future<Output = T>) -> T {
    run_on(Scheduler::new(), future)
}

/// Under the default quantum, and under the course's.
#[track_caller]
fn under_each_quantum<F: Future<Output = ()>>(test: impl Fn() -> F) {
    for quantum in [1, 2, 32] {
        run_on(Scheduler::builder().quantum(quantum).build(), test());
    }
}

/// Lets everybody run, and the outside be looked at, many times over.
async fn settle() {
    for _ in 0..2_000 {
        trapline::yield_now().await;
    }
}

fn pair() -> (TcpStream, StdStream) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let theirs = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    (TcpStream::from_std(listener.accept().unwrap().0).unwrap(), theirs)
}

fn both_ours() -> (TcpStream, TcpStream) {
    let (ours, theirs) = pair();
    (ours, TcpStream::from_std(theirs).unwrap())
}

/// A peer in a thread of its own, for a connection that it accepts.
fn peer<T: Send + 'static>(
    act: impl FnOnce(StdStream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (addr, thread::spawn(move || act(listener.accept().unwrap().0)))
}

/// Closes with a reset.
fn reset(stream: StdStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Reproducible numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(256) as u8).collect()
    }
}

// What is sent arrives.

async fn send_in_pieces(stream: Rc<TcpStream>, payload: Vec<u8>, mut dice: Dice) {
    let mut rest = &payload[..];
    while !rest.is_empty() {
        let piece = &rest[..rest.len().min(1 + dice.below(9_000))];
        let sent = match dice.below(4) {
            0 => stream.write(piece).await.unwrap(),
            1 => match stream.try_write(piece) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    stream.writable().await.unwrap();
                    0
                }
                written => written.unwrap(),
            },
            _ => {
                stream.write_all(piece).await.unwrap();
                piece.len()
            }
        };
        rest = &rest[sent..];
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

async fn take_in_pieces(stream: Rc<TcpStream>, length: usize, mut dice: Dice) -> Vec<u8> {
    let mut got = Vec::new();
    let mut buf = vec![0; 9_000];
    while got.len() < length {
        let most = (length - got.len()).min(1 + dice.below(9_000));
        let read = match dice.below(5) {
            0 => stream.read(&mut buf[..most]).await.unwrap(),
            1 => {
                stream.readable().await.unwrap();
                match stream.try_read(&mut buf[..most]) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                    read => read.unwrap(),
                }
            }
            2 => {
                let peeked = stream.peek(&mut buf[..most]).await.unwrap();
                let seen = buf[..peeked].to_vec();
                stream.read_exact(&mut buf[..peeked]).await.unwrap();
                assert_eq!(seen, buf[..peeked]);
                peeked
            }
            _ => {
                stream.read_exact(&mut buf[..most]).await.unwrap();
                most
            }
        };
        got.extend_from_slice(&buf[..read]);
    }
    assert_eq!(stream.read(&mut buf).await.unwrap(), 0);
    got
}

#[test]
fn random_splits_on_both_sides_then_every_byte_arrives_in_order() {
    let _watch = watch();
    for seed in 0..24 {
        let mut dice = Dice(seed);
        let payload = dice.bytes(200_000);
        let (addr, echo) = peer(move |mut stream| {
            let mut dice = Dice(seed + 1_000);
            let mut buf = vec![0; 20_000];
            loop {
                let most = 1 + dice.below(20_000);
                match stream.read(&mut buf[..most]).unwrap() {
                    0 => break,
                    read => stream.write_all(&buf[..read]).unwrap(),
                }
            }
        });
        let quantum = [1, 3, 32][seed as usize % 3];
        run_on(Scheduler::builder().quantum(quantum).build(), async {
            let stream = Rc::new(TcpStream::connect(addr).await.unwrap());
            let sender = send_in_pieces(Rc::clone(&stream), payload.clone(), Dice(seed + 1));
            let sender = trapline::spawn(sender).await;
            let got = take_in_pieces(stream, payload.len(), Dice(seed + 2)).await;
            assert!(got == payload, "seed {seed}");
            sender.await.unwrap();
        });
        echo.join().unwrap();
    }
}

#[test]
fn thousand_connections_then_each_gets_its_own_answer() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    const MANY: u32 = 1_000;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let clients = thread::spawn(move || {
        let mut all: Vec<_> = (0..MANY).map(|_| StdStream::connect(addr).unwrap()).collect();
        for (index, stream) in all.iter_mut().enumerate() {
            stream.write_all(&(index as u32).to_be_bytes()).unwrap();
        }
        for (index, stream) in all.iter_mut().enumerate().rev() {
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(u32::from_be_bytes(answer), index as u32 + 1);
        }
    });
    block_on(async {
        let mut tasks = Vec::new();
        for _ in 0..MANY {
            let (stream, _) = listener.accept().await.unwrap();
            let serve = async move {
                let mut number = [0; 4];
                stream.read_exact(&mut number).await.unwrap();
                let answer = u32::from_be_bytes(number) + 1;
                stream.write_all(&answer.to_be_bytes()).await.unwrap();
                assert_eq!(stream.read(&mut number).await.unwrap(), 0);
            };
            tasks.push(trapline::spawn(serve).await);
        }
        drop(listener);
        for task in tasks {
            task.await.unwrap();
        }
    });
    clients.join().unwrap();
}

#[test]
fn slow_reader_with_full_buffers_then_only_its_writer_waits() {
    under_each_quantum(|| async {
        let payload = Dice(7).bytes(4_000_000);
        let (go, wait_for_go) = channel();
        let (addr, reader) = peer(move |mut stream| {
            wait_for_go.recv().unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).unwrap();
            got
        });
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_send_buffer_size(10_000).unwrap();
        let sent = payload.clone();
        let done = Rc::new(Cell::new(false));
        let flag = Rc::clone(&done);
        let writer = trapline::spawn(async move {
            stream.write_all(&sent).await.unwrap();
            flag.set(true);
        })
        .await;
        settle().await;
        assert!(!done.get());
        go.send(()).unwrap();
        writer.await.unwrap();
        assert!(reader.join().unwrap() == payload);
    });
}

#[test]
fn echoed_message_then_one_trap_each() {
    const MESSAGES: usize = 50;
    let waits = Rc::new(Cell::new(0));
    let count = Rc::clone(&waits);
    let probe = move |event: &Event<'_>| {
        if let Event::Trapped { request: Syscall::ReadWait(_) | Syscall::WriteWait(_), .. } = event
        {
            count.set(count.get() + 1);
        }
    };
    let (ours, mut theirs) = pair();
    let client = thread::spawn(move || {
        for _ in 0..MESSAGES {
            theirs.write_all(&[1; 100]).unwrap();
            theirs.read_exact(&mut [0; 100]).unwrap();
        }
    });
    run_on(Scheduler::builder().probe(probe).build(), async move {
        let mut buf = [0; 1024];
        loop {
            match ours.read(&mut buf).await.unwrap() {
                0 => break,
                read => ours.write_all(&buf[..read]).await.unwrap(),
            }
        }
    });
    client.join().unwrap();
    // One for each message and one for the end; fewer where the peer was faster.
    assert!(waits.get() <= MESSAGES + 1, "{} waits", waits.get());
}

// How a stream ends.

#[test]
fn half_closed_by_the_peer_then_writing_still_works() {
    under_each_quantum(|| async {
        let (addr, peer) = peer(|mut stream| {
            stream.write_all(b"last words").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut got = String::new();
            stream.read_to_string(&mut got).unwrap();
            got
        });
        let stream = TcpStream::connect(addr).await.unwrap();
        let mut buf = [0; 64];
        stream.read_exact(&mut buf[..10]).await.unwrap();
        for _ in 0..3 {
            assert_eq!(stream.read(&mut buf).await.unwrap(), 0);
            assert_eq!(stream.peek(&mut buf).await.unwrap(), 0);
            stream.readable().await.unwrap();
            assert_eq!(stream.try_read(&mut buf).unwrap(), 0);
        }
        stream.write_all(b"still here").await.unwrap();
        stream.close();
        assert_eq!(peer.join().unwrap(), "still here");
    });
}

#[test]
fn reset_by_the_peer_then_who_reads_is_told() {
    under_each_quantum(|| async {
        let (ours, theirs) = pair();
        let ours = Rc::new(ours);
        let reader = Rc::clone(&ours);
        let reader = trapline::spawn(async move { reader.read(&mut [0; 8]).await }).await;
        settle().await;
        reset(theirs);
        let error = reader.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let error = ours.write_all(b"x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        ours.readable().await.unwrap();
        ours.writable().await.unwrap();
    });
}

#[test]
fn reset_by_the_peer_then_a_blocked_writer_is_told() {
    under_each_quantum(|| async {
        let (ours, theirs) = pair();
        let writer =
            trapline::spawn(async move { ours.write_all(&vec![0; 50_000_000]).await }).await;
        settle().await;
        reset(theirs);
        let error = writer.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn end_of_stream_inside_read_exact_then_unexpected_eof() {
    under_each_quantum(|| async {
        let (ours, mut theirs) = pair();
        theirs.write_all(b"abc").unwrap();
        drop(theirs);
        let mut buf = [0; 8];
        let error = ours.read_exact(&mut buf).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(&buf[..4], b"abc\0");
        ours.read_exact(&mut []).await.unwrap();
    });
}

#[test]
fn reset_inside_read_exact_then_connection_reset() {
    block_on(async {
        let (ours, mut theirs) = pair();
        theirs.write_all(b"abc").unwrap();
        let mut buf = [0; 8];
        {
            let whole = ours.read_exact(&mut buf);
            pin_mut!(whole);
            assert!(poll!(&mut whole).is_pending());
            reset(theirs);
            assert_eq!(whole.await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
        assert_eq!(&buf[..4], b"abc\0");
    });
}

#[test]
fn shut_down_by_another_task_then_the_reader_sees_the_end() {
    block_on(async {
        let (ours, _theirs) = pair();
        let ours = Rc::new(ours);
        let reader = Rc::clone(&ours);
        let reader = trapline::spawn(async move { reader.read(&mut [0; 8]).await }).await;
        settle().await;
        ours.shutdown(Shutdown::Both).unwrap();
        assert_eq!(reader.await.unwrap().unwrap(), 0);
    });
}

#[test]
fn empty_buffers_then_zero_at_once() {
    block_on(async {
        let (ours, _theirs) = pair();
        assert_eq!(ours.read(&mut []).await.unwrap(), 0);
        assert_eq!(ours.peek(&mut []).await.unwrap(), 0);
        assert_eq!(ours.write(&[]).await.unwrap(), 0);
        ours.write_all(&[]).await.unwrap();
    });
}

#[test]
fn peeked_then_the_bytes_are_still_there() {
    under_each_quantum(|| async {
        let (ours, mut theirs) = pair();
        theirs.write_all(b"hello").unwrap();
        let mut buf = [0; 16];
        for _ in 0..3 {
            assert_eq!(ours.peek(&mut buf).await.unwrap(), 5);
        }
        assert_eq!(ours.read(&mut buf).await.unwrap(), 5);
        assert_eq!(&buf[..5], b"hello");
        let peeking = timeout(Duration::from_millis(1), ours.peek(&mut buf));
        assert!(peeking.await.is_err());
    });
}

#[test]
fn options_set_then_read_back() {
    let (ours, _theirs) = pair();
    assert!(!ours.nodelay().unwrap());
    ours.set_nodelay(true).unwrap();
    assert!(ours.nodelay().unwrap());
    ours.set_ttl(17).unwrap();
    assert_eq!(ours.ttl().unwrap(), 17);
    assert_eq!(ours.linger().unwrap(), None);
    ours.set_linger(Some(Duration::ZERO)).unwrap();
    assert_eq!(ours.linger().unwrap(), Some(Duration::ZERO));
    ours.set_send_buffer_size(20_000).unwrap();
    ours.set_recv_buffer_size(20_000).unwrap();
    assert!(ours.send_buffer_size().unwrap() >= 20_000);
    assert!(ours.recv_buffer_size().unwrap() >= 20_000);
    ours.set_keepalive(Some(60 * SECOND)).unwrap();
    ours.set_keepalive(None).unwrap();
    assert!(ours.take_error().unwrap().is_none());
}

// Halves, and the traits of `futures`.

#[test]
fn split_in_one_task_then_reading_and_writing_go_on_together() {
    under_each_quantum(|| async {
        let (a, b) = both_ours();
        let payload = Dice(1).bytes(1_000_000);
        let echo = trapline::spawn(async move {
            let (reader, mut writer) = TcpStream::split(&b);
            futures::io::copy(reader, &mut writer).await.unwrap()
        })
        .await;
        let (reader, writer) = TcpStream::split(&a);
        let mut got = vec![0; payload.len()];
        let (sent, read) = join!(writer.write_all(&payload), reader.read_exact(&mut got));
        sent.unwrap();
        read.unwrap();
        assert!(got == payload);
        writer.shutdown().unwrap();
        assert_eq!(echo.await.unwrap(), 1_000_000);
    });
}

#[test]
fn owned_halves_in_two_tasks_then_dropping_the_writer_ends_the_stream() {
    under_each_quantum(|| async {
        let (ours, theirs) = both_ours();
        let (reader, writer) = ours.into_split();
        let sending = trapline::spawn(async move { writer.write_all(b"bye").await }).await;
        let mut buf = [0; 8];
        theirs.read_exact(&mut buf[..3]).await.unwrap();
        assert_eq!(theirs.read(&mut buf).await.unwrap(), 0);
        sending.await.unwrap().unwrap();
        theirs.write_all(b"hi").await.unwrap();
        reader.read_exact(&mut buf[..2]).await.unwrap();
        drop(reader);
    });
}

#[test]
fn owned_halves_reunited_then_the_stream_is_whole() {
    block_on(async {
        let (ours, theirs) = both_ours();
        let (reader, writer) = ours.into_split();
        let (other_reader, other_writer) = theirs.into_split();
        let error = reader.reunite(other_writer).unwrap_err();
        let (reader, other_writer): (OwnedReadHalf, OwnedWriteHalf) = (error.0, error.1);
        let ours = reader.reunite(writer).unwrap();
        let theirs = other_reader.reunite(other_writer).unwrap();
        ours.write_all(b"x").await.unwrap();
        theirs.read_exact(&mut [0]).await.unwrap();
        let (reader, writer) = theirs.into_split();
        writer.forget();
        assert!(timeout(Duration::from_millis(1), ours.read(&mut [0])).await.is_err());
        drop(reader);
        assert_eq!(ours.read(&mut [0]).await.unwrap(), 0);
    });
}

#[test]
fn traits_of_futures_then_lines_and_vectors_pass() {
    under_each_quantum(|| async {
        let (a, mut b) = both_ours();
        let lines = trapline::spawn(async move {
            let (reader, mut writer) = a.into_split();
            let mut lines = BufReader::new(reader).lines();
            while let Some(line) = lines.next().await {
                let line = line.unwrap().to_uppercase();
                let line = [IoSlice::new(line.as_bytes())];
                assert_eq!(writer.write_vectored(&line).await.unwrap(), line[0].len());
                AsyncWriteExt::write_all(&mut writer, b"\n").await.unwrap();
            }
            writer.close().await.unwrap();
        })
        .await;
        let parts = [IoSlice::new(b"one\ntw"), IoSlice::new(b"o\n")];
        assert_eq!(b.write_vectored(&parts).await.unwrap(), 8);
        AsyncWriteExt::close(&mut b).await.unwrap();
        let mut answer = String::new();
        b.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "ONE\nTWO\n");
        lines.await.unwrap();
    });
}

#[test]
fn trait_copy_of_megabytes_then_every_byte_arrives() {
    under_each_quantum(|| async {
        let payload = Dice(3).bytes(2_000_000);
        let (ours, theirs) = both_ours();
        let (middle, far) = both_ours();
        let relay = trapline::spawn(async move {
            futures::io::copy(&theirs, &mut &middle).await.unwrap();
            middle.shutdown(Shutdown::Write).unwrap();
        })
        .await;
        let sent = payload.clone();
        let sender = trapline::spawn(async move {
            let mut ours = ours;
            AsyncWriteExt::write_all(&mut ours, &sent).await.unwrap();
        })
        .await;
        let mut got = Vec::new();
        (&far).read_to_end(&mut got).await.unwrap();
        assert!(got == payload);
        sender.await.unwrap();
        relay.await.unwrap();
    });
}

#[test]
fn trait_read_given_up_then_the_next_one_goes_on_with_it() {
    block_on(async {
        let (mut ours, mut theirs) = pair();
        for _ in 0..3 {
            let mut buf = [0; 8];
            let reading = AsyncReadExt::read(&mut ours, &mut buf);
            assert!(timeout(Duration::from_millis(1), reading).await.is_err());
        }
        theirs.write_all(b"x").unwrap();
        let mut buf = [0; 8];
        assert_eq!(AsyncReadExt::read(&mut ours, &mut buf).await.unwrap(), 1);
    });
}

// Connecting.

/// An address that refuses: bound, so that nobody else gets it, and not listening.
fn refusing() -> (SocketAddr, Socket) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    (socket.local_addr().unwrap().as_socket().unwrap(), socket)
}

#[test]
fn refused_then_the_error_says_so() {
    block_on(async {
        let (addr, _socket) = refusing();
        let error = TcpStream::connect(addr).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let error = TcpStream::connect([addr, addr]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn several_addresses_then_the_first_that_accepts_is_taken() {
    under_each_quantum(|| async {
        let (dead, _socket) = refusing();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let stream = TcpStream::connect(vec![dead, addr, dead]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addr);
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(stream.local_addr().unwrap(), peer);
        TcpStream::connect(format!("localhost:{}", addr.port())).await.unwrap();
        TcpStream::connect(("127.0.0.1", addr.port())).await.unwrap();
    });
}

#[test]
fn host_name_or_nothing_then_invalid_input() {
    block_on(async {
        let none: &[SocketAddr] = &[];
        assert_eq!(TcpStream::connect(none).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        let error = TcpStream::connect("example.org:80").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("not resolved"), "{error}");
        assert_eq!(TcpListener::bind("nowhere").unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn address_in_use_then_bind_says_so() {
    let first = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = TcpListener::bind(first.local_addr().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

/// A listener whose queue is full: who connects waits. With all that fills it.
fn unresponsive() -> (SocketAddr, Socket, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap().as_socket().unwrap();
    let filler = |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&addr.into());
        socket
    };
    (addr, listener, (0..4).map(filler).collect())
}

#[test]
fn nobody_answers_then_connect_times_out() {
    let (addr, _listener, _fillers) = unresponsive();
    for quantum in [1, 32] {
        let scheduler = Scheduler::builder().quantum(quantum).virtual_clock().build();
        run_on(scheduler, async {
            let before = trapline::now().await;
            let error = TcpStream::connect_timeout(addr, 20 * SECOND).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(trapline::now().await - before >= 20 * SECOND);
            let error = TcpStream::connect_timeout([addr, addr], Duration::ZERO).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);
        });
    }
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        TcpStream::connect_timeout(listener.local_addr().unwrap(), 60 * SECOND).await.unwrap();
    });
}

// Leaving: each await, dropped, timed out, killed.

/// Where operations block.
struct Ground {
    idle: TcpStream,
    full: TcpStream,
    listener: TcpListener,
    unresponsive: SocketAddr,
    _theirs: (StdStream, StdStream, Socket, Vec<Socket>),
}

fn ground() -> Rc<Ground> {
    let (idle, idle_peer) = pair();
    let (full, full_peer) = pair();
    let (unresponsive, socket, fillers) = unresponsive();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let _theirs = (idle_peer, full_peer, socket, fillers);
    Rc::new(Ground { idle, full, listener, unresponsive, _theirs })
}

type Blocking = fn(Rc<Ground>) -> LocalBoxFuture<'static, ()>;

/// One future each that blocks for good.
fn blocking() -> Vec<(&'static str, Blocking)> {
    vec![
        ("read", |g| async move { drop(g.idle.read(&mut [0; 8]).await) }.boxed_local()),
        ("read_exact", |g| async move { drop(g.idle.read_exact(&mut [0; 8]).await) }.boxed_local()),
        ("peek", |g| async move { drop(g.idle.peek(&mut [0; 8]).await) }.boxed_local()),
        ("readable", |g| async move { drop(g.idle.readable().await) }.boxed_local()),
        // What the peer's system takes meanwhile makes room once more: these go on until they block.
        ("write", |g| {
            async move { while g.full.write(&[0; 65_536]).await.is_ok() {} }.boxed_local()
        }),
        ("write_all", |g| {
            async move { while g.full.write_all(&[0; 65_536]).await.is_ok() {} }.boxed_local()
        }),
        ("writable", |g| {
            let fill = async move {
                while g.full.writable().await.is_ok() {
                    while g.full.try_write(&[0; 65_536]).is_ok() {}
                }
            };
            fill.boxed_local()
        }),
        ("accept", |g| async move { drop(g.listener.accept().await) }.boxed_local()),
        ("incoming", |g| async move { drop(g.listener.incoming().next().await) }.boxed_local()),
        ("connect", |g| {
            async move { drop(TcpStream::connect(g.unresponsive).await) }.boxed_local()
        }),
        ("connect_timeout", |g| {
            let patient = TcpStream::connect_timeout(g.unresponsive, 1_000 * SECOND);
            async move { drop(patient.await) }.boxed_local()
        }),
        ("AsyncRead", |g| {
            async move { drop(AsyncReadExt::read(&mut &g.idle, &mut [0; 8]).await) }.boxed_local()
        }),
        ("AsyncWrite", |g| {
            let fill = async move {
                while AsyncWriteExt::write(&mut &g.full, &[0; 65_536]).await.is_ok() {}
            };
            fill.boxed_local()
        }),
    ]
}

#[test]
fn any_operation_given_up_then_nothing_is_left() {
    for quantum in [1, 32] {
        for (name, block) in blocking() {
            println!("{name}");
            run_on(Scheduler::builder().quantum(quantum).build(), async move {
                let ground = ground();
                drop(block(Rc::clone(&ground)));
                // Dropped in the turn of its trap, and after it.
                assert!(poll!(block(Rc::clone(&ground))).is_pending());
                assert!(timeout(Duration::ZERO, block(Rc::clone(&ground))).await.is_err());
                let blocked = timeout(Duration::from_millis(1), block(Rc::clone(&ground)));
                assert!(blocked.await.is_err());
            });
        }
    }
}

#[test]
fn any_operation_killed_then_nothing_is_left() {
    for quantum in [1, 32] {
        for (name, block) in blocking() {
            println!("{name}");
            run_on(Scheduler::builder().quantum(quantum).build(), async move {
                let ground = ground();
                let early = trapline::spawn(block(Rc::clone(&ground))).await;
                trapline::kill(early.id()).await.unwrap();
                let late = trapline::spawn(block(Rc::clone(&ground))).await;
                let witness = trapline::spawn(block(Rc::clone(&ground))).await;
                settle().await;
                trapline::kill(late.id()).await.unwrap();
                settle().await;
                trapline::kill(witness.id()).await.unwrap();
                assert!(late.await.unwrap_err().is_killed());
                assert_eq!(Rc::strong_count(&ground), 1);
            });
        }
    }
}

#[test]
fn operation_given_up_then_the_next_one_succeeds() {
    under_each_quantum(|| async {
        let (ours, mut theirs) = pair();
        let mut buf = [0; 8];
        for byte in 0..20 {
            assert!(timeout(Duration::ZERO, ours.read(&mut buf)).await.is_err());
            theirs.write_all(&[byte]).unwrap();
            assert_eq!(ours.read(&mut buf).await.unwrap(), 1);
            assert_eq!(buf[0], byte);
        }
    });
}

#[test]
fn readers_of_one_stream_then_each_byte_goes_to_the_next_in_order() {
    under_each_quantum(|| async {
        let (ours, mut theirs) = pair();
        let (ours, order) = (Rc::new(ours), Rc::new(RefCell::new(Vec::new())));
        for reader in 0..5 {
            let (ours, order) = (Rc::clone(&ours), Rc::clone(&order));
            trapline::spawn_detached(async move {
                let mut byte = [0];
                ours.read_exact(&mut byte).await.unwrap();
                order.borrow_mut().push((reader, byte[0]));
            });
        }
        settle().await;
        theirs.write_all(&[0, 1, 2]).unwrap();
        while order.borrow().len() < 3 {
            trapline::yield_now().await;
        }
        theirs.write_all(&[3, 4]).unwrap();
        while order.borrow().len() < 5 {
            trapline::yield_now().await;
        }
        assert_eq!(*order.borrow(), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]);
    });
}

// Fairness.

#[test]
fn two_tasks_yield_for_ever_then_a_ping_pong_goes_ahead() {
    under_each_quantum(|| async {
        let busy = [
            trapline::spawn(async {
                while {
                    trapline::yield_now().await;
                    true
                } {}
            })
            .await,
            trapline::spawn(async {
                while {
                    trapline::yield_now().await;
                    true
                } {}
            })
            .await,
        ];
        let (a, b) = both_ours();
        let pong = trapline::spawn(async move {
            let mut byte = [0];
            while b.read(&mut byte).await.unwrap() > 0 {
                b.write_all(&byte).await.unwrap();
            }
        })
        .await;
        for ball in 0..100 {
            a.write_all(&[ball]).await.unwrap();
            let mut back = [0];
            a.read_exact(&mut back).await.unwrap();
            assert_eq!(back[0], ball);
        }
        drop(a);
        pong.await.unwrap();
        for task in busy {
            trapline::kill(task.id()).await.unwrap();
        }
    });
}

#[test]
fn reads_that_never_block_then_the_others_have_their_turns() {
    for (quantum, least_turns) in [(1, 1_000), (10, 100), (32, 31)] {
        let turns = run_on(Scheduler::builder().quantum(quantum).build(), async {
            let (ours, mut theirs) = pair();
            theirs.write_all(&[0; 1_000]).unwrap();
            ours.readable().await.unwrap();
            let turns = Rc::new(Cell::new(0));
            let count = Rc::clone(&turns);
            let other = trapline::spawn(async move {
                loop {
                    count.set(count.get() + 1);
                    trapline::yield_now().await;
                }
            })
            .await;
            for _ in 0..1_000 {
                assert_eq!(ours.read(&mut [0]).await.unwrap(), 1);
            }
            trapline::kill(other.id()).await.unwrap();
            turns.get()
        });
        assert!(turns >= least_turns, "{turns} turns at quantum {quantum}");
        assert!(turns <= 2 * least_turns + 2, "{turns} turns at quantum {quantum}");
    }
}

#[test]
fn try_read_polled_between_yields_then_data_is_seen() {
    block_on(async {
        let (ours, mut theirs) = pair();
        assert!(timeout(Duration::ZERO, ours.readable()).await.is_err());
        theirs.write_all(b"ab").unwrap();
        let mut buf = [0; 8];
        ours.read_exact(&mut buf[..2]).await.unwrap();
        assert_eq!(ours.try_read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        theirs.write_all(b"c").unwrap();
        let mut yields = 0;
        while ours.try_read(&mut buf).is_err() {
            trapline::yield_now().await;
            yields += 1;
            assert!(yields < 100_000, "the outside is never looked at");
        }
    });
}

// Schedulers.

#[test]
fn two_schedulers_one_after_the_other_then_both_may_use_the_stream() {
    let _watch = watch();
    let (ours, mut theirs) = pair();
    for round in 0..4_u8 {
        let mut scheduler = Scheduler::new();
        let feeder = theirs.try_clone().unwrap();
        scheduler
            .block_on(async {
                let mut buf = [0; 8];
                assert!(timeout(Duration::from_millis(1), ours.read(&mut buf)).await.is_err());
                let mut stream = &ours;
                let trait_read = AsyncReadExt::read(&mut stream, &mut buf);
                pin_mut!(trait_read);
                assert!(poll!(&mut trait_read).is_pending());
                (&feeder).write_all(&[round]).unwrap();
                assert_eq!(trait_read.await.unwrap(), 1);
                assert_eq!(buf[0], round);
                // Left in flight, for the next scheduler to find.
                assert!(poll!(AsyncReadExt::read(&mut &ours, &mut buf)).is_pending());
                trapline::yield_now().await;
            })
            .unwrap();
    }
    drop(ours);
    assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
}

#[test]
fn two_schedulers_in_turn_then_the_stream_goes_from_one_to_the_other() {
    let _watch = watch();
    let (ours, mut theirs) = pair();
    let mut schedulers = [Scheduler::new(), Scheduler::new()];
    for round in 0..10_u8 {
        let scheduler = &mut schedulers[usize::from(round % 2)];
        scheduler
            .block_on(async {
                let mut buf = [0; 8];
                assert!(timeout(Duration::from_millis(1), ours.read(&mut buf)).await.is_err());
                theirs.write_all(&[round]).unwrap();
                assert_eq!(ours.read(&mut buf).await.unwrap(), 1);
                assert_eq!(buf[0], round);
            })
            .unwrap();
    }
    drop(ours);
    for scheduler in &mut schedulers {
        scheduler.block_on(async {}).unwrap();
        assert_clean(scheduler);
    }
}

#[test]
fn given_back_to_the_standard_library_then_it_blocks_and_nothing_is_left() {
    let (ours, mut theirs) = pair();
    let mut ours = block_on(async {
        assert!(timeout(Duration::ZERO, ours.readable()).await.is_err());
        ours.into_std().unwrap()
    });
    let writer = thread::spawn(move || theirs.write_all(b"x").map(|()| theirs));
    ours.read_exact(&mut [0]).unwrap();
    let mut theirs = writer.join().unwrap().unwrap();
    block_on(async {
        let ours = TcpStream::from_std(ours).unwrap();
        assert!(timeout(Duration::ZERO, ours.readable()).await.is_err());
        theirs.write_all(b"y").unwrap();
        ours.read_exact(&mut [0]).await.unwrap();
    });
}

#[test]
fn blocked_operations_then_the_table_shows_the_lines_of_their_callers() {
    let _watch = watch();
    let mut scheduler = Scheduler::new();
    let ground = ground();
    let first = line!() + 2;
    let g = Rc::clone(&ground);
    scheduler.spawn(async move { g.idle.read(&mut [0; 8]).await }).detach();
    let g = Rc::clone(&ground);
    scheduler.spawn(async move { g.full.write_all(&vec![0; 50_000_000]).await }).detach();
    let g = Rc::clone(&ground);
    scheduler.spawn(async move { g.listener.accept().await.map(drop) }).detach();
    let g = Rc::clone(&ground);
    scheduler.spawn(async move { TcpStream::split(&g.idle).0.readable().await }).detach();
    scheduler.block_on(settle()).unwrap();
    let lines: Vec<u32> = scheduler
        .snapshot()
        .tasks
        .iter()
        .flat_map(|task| match &task.state {
            TaskState::Blocked(calls) => calls.iter().map(|call| call.site.line()).collect(),
            _ => Vec::new(),
        })
        .collect();
    assert_eq!(lines, [first, first + 2, first + 4, first + 6]);
}

// Want of descriptors.

/// Set in the process of its own in which descriptors run out.
const IN_CHILD: &str = "TRAPLINE_TEST_FEW_DESCRIPTORS";

#[test]
fn accept_without_descriptors_then_it_says_so_once_pauses_and_goes_on() {
    if std::env::var_os(IN_CHILD).is_some() {
        return accept_without_descriptors();
    }
    let name = "accept_without_descriptors_then_it_says_so_once_pauses_and_goes_on";
    let child = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(IN_CHILD, "1")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
}

fn accept_without_descriptors() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let warnings = Rc::new(Cell::new(0));
    let pauses = Rc::new(RefCell::new(Vec::new()));
    let (warned, paused) = (Rc::clone(&warnings), Rc::clone(&pauses));
    let probe = move |event: &Event<'_>| match event {
        Event::Warning { text, .. } => {
            assert!(text.contains("EMFILE"), "{text}");
            warned.set(warned.get() + 1);
        }
        Event::Trapped { request: Syscall::Sleep { nanos: nanos @ 1.. }, .. } => {
            paused.borrow_mut().push(nanos / 1_000_000);
        }
        _ => {}
    };
    let warned_of = Rc::clone(&warnings);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: Some(64) }).unwrap();
    run_on(Scheduler::builder().virtual_clock().probe(probe).build(), async move {
        let listener = Rc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let addr = listener.local_addr().unwrap();
        // The kernel needs descriptors of its own, and takes them at its first wait.
        assert!(timeout(Duration::ZERO, listener.accept()).await.is_err());
        // One connection after the other in the same want is one spell. It ends when nobody is left
        // in the queue and a descriptor is.
        for (said, drained) in [(1, false), (1, true), (2, true)] {
            let hoard = all_descriptors_but_one();
            let client = StdStream::connect(addr).unwrap();
            let accepting = Rc::clone(&listener);
            let server = trapline::spawn(async move { accepting.accept().await }).await;
            let start = trapline::now().await;
            trapline::sleep_until(start + 4 * SECOND).await;
            assert_eq!(warned_of.get(), said);
            drop(hoard);
            let (_stream, peer) = server.await.unwrap().unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            if drained {
                assert!(timeout(Duration::ZERO, listener.accept()).await.is_err());
            }
        }
    });
    assert_eq!(warnings.get(), 2);
    let pauses = pauses.borrow();
    let expected = [10, 20, 40, 80, 160, 320, 640, 1_000, 1_000, 1_000];
    assert_eq!(pauses[..expected.len()], expected);
    assert!(pauses.len() < 60, "it spins: {pauses:?}");
}

fn all_descriptors_but_one() -> Vec<OwnedFd> {
    let mut hoard = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(OwnedFd::from(file));
    }
    hoard.pop();
    hoard
}
