//! Descriptors: waiting for readiness, and what closing one does to those who wait.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::Location;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, pin_mut, poll};
use trapline::net::TcpStream;
use trapline::{Reply, Scheduler, Syscall, Target, TaskState, read_wait, timeout, write_wait};
use trapline_abi::{Errno, Trap};

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

fn pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    (ours, theirs)
}

fn tcp_pair() -> (TcpStream, StdStream) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let theirs = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    (TcpStream::from_std(listener.accept().unwrap().0).unwrap(), theirs)
}

/// Lets everybody run, and the outside be looked at, many times over.
async fn settle() {
    for _ in 0..2_000 {
        trapline::yield_now().await;
    }
}

/// Nothing is left in any table.
#[track_caller]
fn assert_clean(scheduler: &Scheduler) {
    scheduler.check_invariants();
    assert_eq!(scheduler.table_sizes(), [0; 6]);
}

#[track_caller]
fn block_on<F: Future>(future: F) -> F::Output {
    let _watch = watch();
    let mut scheduler = Scheduler::new();
    let output = scheduler.block_on(future).unwrap();
    assert_eq!(scheduler.run().unwrap().failures, 0);
    assert_clean(&scheduler);
    output
}

/// Fills the room there is to write.
fn fill(mut socket: &UnixStream) {
    while socket.write(&[0; 4096]).is_ok() {}
}

fn drain(mut socket: &UnixStream) {
    while socket.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {}
}

/// A wait for a bare number, as nobody can make it whose future borrows the descriptor.
#[track_caller]
fn raw_read_wait(fd: RawFd) -> Trap {
    Trap::new(Syscall::ReadWait(Target::borrowed(fd)), Location::caller())
}

#[test]
fn writable_empty_pair_then_write_wait_answers_and_read_wait_blocks_until_data() {
    block_on(async {
        let (ours, mut theirs) = pair();
        let ours = Rc::new(ours);
        let came = Rc::new(Cell::new(false));
        let (socket, flag) = (Rc::clone(&ours), Rc::clone(&came));
        let reader = trapline::spawn(async move {
            read_wait(&*socket).await.unwrap();
            flag.set(true);
        })
        .await;
        write_wait(&*ours).await.unwrap();
        settle().await;
        assert!(!came.get());
        theirs.write_all(b"x").unwrap();
        reader.await.unwrap();
        assert!(came.get());
    });
}

#[test]
fn something_left_to_read_then_read_wait_answers_again() {
    block_on(async {
        let (mut ours, mut theirs) = pair();
        theirs.write_all(b"abc").unwrap();
        for expected in *b"abc" {
            read_wait(&ours).await.unwrap();
            read_wait(&ours).await.unwrap();
            let mut byte = [0];
            ours.read_exact(&mut byte).unwrap();
            assert_eq!(byte[0], expected);
        }
        drop(theirs);
        for _ in 0..3 {
            read_wait(&ours).await.unwrap();
            assert_eq!(ours.read(&mut [0]).unwrap(), 0);
        }
    });
}

#[test]
fn regular_file_or_null_device_then_both_waits_answer_at_once() {
    block_on(async {
        let file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        for file in [file, null] {
            read_wait(&file).await.unwrap();
            write_wait(&file).await.unwrap();
            read_wait(&file).await.unwrap();
        }
    });
}

#[test]
fn pipe_then_its_ends_wait_for_each_other() {
    block_on(async {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let echoed = trapline::spawn(async move {
            let mut got = Vec::new();
            let mut buf = [0; 3];
            loop {
                read_wait(&reader).await.unwrap();
                match rustix::io::read(&reader, &mut buf).unwrap() {
                    0 => return got,
                    read => got.extend_from_slice(&buf[..read]),
                }
            }
        })
        .await;
        for part in [b"one ", b"two "] {
            write_wait(&writer).await.unwrap();
            rustix::io::write(&writer, part).unwrap();
            trapline::yield_now().await;
        }
        drop(writer);
        assert_eq!(echoed.await.unwrap(), b"one two ");
    });
}

/// What a reader and a writer of one full socket have been told.
async fn reader_and_writer(socket: &Rc<UnixStream>) -> Rc<RefCell<Vec<&'static str>>> {
    let told = Rc::new(RefCell::new(Vec::new()));
    let (a, said) = (Rc::clone(socket), Rc::clone(&told));
    trapline::spawn_detached(async move {
        read_wait(&*a).await.unwrap();
        said.borrow_mut().push("reader");
    });
    let (b, said) = (Rc::clone(socket), Rc::clone(&told));
    trapline::spawn_detached(async move {
        write_wait(&*b).await.unwrap();
        said.borrow_mut().push("writer");
    });
    settle().await;
    assert!(told.borrow().is_empty());
    told
}

#[test]
fn reader_and_writer_of_one_socket_then_each_is_woken_by_its_own_event() {
    block_on(async {
        let (ours, mut theirs) = pair();
        let ours = Rc::new(ours);
        fill(&ours);
        let told = reader_and_writer(&ours).await;
        theirs.write_all(b"x").unwrap();
        settle().await;
        assert_eq!(*told.borrow(), ["reader"]);
        drain(&theirs);
        settle().await;
        assert_eq!(*told.borrow(), ["reader", "writer"]);
    });
}

#[test]
fn reader_and_writer_of_one_socket_then_room_to_write_leaves_the_reader_blocked() {
    block_on(async {
        let (ours, mut theirs) = pair();
        let ours = Rc::new(ours);
        fill(&ours);
        let told = reader_and_writer(&ours).await;
        drain(&theirs);
        settle().await;
        assert_eq!(*told.borrow(), ["writer"]);
        theirs.write_all(b"x").unwrap();
        settle().await;
        assert_eq!(*told.borrow(), ["writer", "reader"]);
    });
}

/// Reads a byte by the borrowed descriptor of whatever it is.
async fn read_byte(fd: &impl AsFd) -> u8 {
    loop {
        read_wait(fd).await.unwrap();
        let mut byte = [0];
        match rustix::io::read(fd, &mut byte) {
            Ok(_) => return byte[0],
            Err(rustix::io::Errno::AGAIN) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn two_readers_of_one_descriptor_then_both_finish_in_order() {
    block_on(async {
        let (ours, mut theirs) = pair();
        let (ours, order) = (Rc::new(ours), Rc::new(RefCell::new(Vec::new())));
        for name in ["first", "second"] {
            let (socket, order) = (Rc::clone(&ours), Rc::clone(&order));
            trapline::spawn_detached(async move {
                let byte = read_byte(&*socket).await;
                order.borrow_mut().push((name, byte));
            });
        }
        settle().await;
        theirs.write_all(b"1").unwrap();
        settle().await;
        assert_eq!(*order.borrow(), [("first", b'1')]);
        theirs.write_all(b"2").unwrap();
        settle().await;
        assert_eq!(*order.borrow(), [("first", b'1'), ("second", b'2')]);
    });
}

fn one_by_the_socket_one_by_its_descriptor(socket_first: bool) {
    block_on(async move {
        let (ours, mut theirs) = tcp_pair();
        let (ours, order) = (Rc::new(ours), Rc::new(RefCell::new(Vec::new())));
        for by_socket in [socket_first, !socket_first] {
            let (socket, order) = (Rc::clone(&ours), Rc::clone(&order));
            trapline::spawn_detached(async move {
                let mut byte = [0];
                if by_socket {
                    socket.read_exact(&mut byte).await.unwrap();
                } else {
                    byte[0] = read_byte(&*socket).await;
                }
                order.borrow_mut().push((by_socket, byte[0]));
            });
        }
        settle().await;
        for byte in [b"1", b"2"] {
            theirs.write_all(byte).unwrap();
            while order.borrow().len() < usize::from(byte[0] - b'0') {
                trapline::yield_now().await;
            }
        }
        assert_eq!(*order.borrow(), [(socket_first, b'1'), (!socket_first, b'2')]);
    });
}

#[test]
fn reader_by_socket_before_one_by_its_descriptor_then_both_finish_in_order() {
    one_by_the_socket_one_by_its_descriptor(true);
}

#[test]
fn reader_by_descriptor_before_one_by_its_socket_then_both_finish_in_order() {
    one_by_the_socket_one_by_its_descriptor(false);
}

#[test]
fn many_readers_of_one_descriptor_under_one_task_then_all_finish() {
    block_on(async {
        let (ours, mut theirs) = pair();
        let mut readers: FuturesUnordered<_> =
            (0..20).map(|_| read_byte(&ours).boxed_local()).collect();
        assert!(poll!(readers.next()).is_pending());
        theirs.write_all(&[7; 20]).unwrap();
        let mut sum = 0;
        while let Some(byte) = readers.next().await {
            sum += u32::from(byte);
        }
        assert_eq!(sum, 140);
    });
}

// Closing.

/// Keeps a duplicate of a descriptor open in another process.
struct Holder(Child);

impl Holder {
    fn of(fd: impl AsFd) -> Holder {
        let dup: OwnedFd = fd.as_fd().try_clone_to_owned().unwrap();
        Holder(Command::new("sleep").arg("1000").stdin(Stdio::from(dup)).spawn().unwrap())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Moves `fd` to a number that no other test takes, so that closing it frees the number for us.
fn at_number(stream: StdStream, number: RawFd) -> StdStream {
    let moved = rustix::io::fcntl_dupfd_cloexec(&stream, number).unwrap();
    StdStream::from(moved)
}

#[test]
fn socket_closed_then_who_waits_on_its_number_gets_an_error() {
    block_on(async {
        let (ours, _theirs) = tcp_pair();
        let fd = ours.as_raw_fd();
        let waiter = trapline::spawn(raw_read_wait(fd)).await;
        // The socket is registered as ours, and the other waits on that registration.
        assert!(timeout(Duration::ZERO, ours.readable()).await.is_err());
        settle().await;
        ours.close();
        assert_eq!(waiter.await.unwrap(), Reply::SourceClosed);
    });
}

#[test]
fn number_reused_while_a_dup_lives_then_the_new_socket_inherits_nothing() {
    block_on(async {
        let (ours, mut theirs) = tcp_pair();
        let ours = TcpStream::from_std(at_number(ours.into_std().unwrap(), 500)).unwrap();
        let fd = ours.as_raw_fd();
        assert!(timeout(Duration::ZERO, ours.readable()).await.is_err());
        let _holder = Holder::of(&ours);
        ours.close();

        let (new, mut their_new) = tcp_pair();
        let new = TcpStream::from_std(at_number(new.into_std().unwrap(), fd)).unwrap();
        assert_eq!(new.as_raw_fd(), fd);
        theirs.write_all(b"for the old one").unwrap();
        let new = Rc::new(new);
        let socket = Rc::clone(&new);
        let reader = trapline::spawn(async move {
            let mut buf = [0; 64];
            let read = socket.read(&mut buf).await.unwrap();
            buf[..read].to_vec()
        })
        .await;
        settle().await;
        theirs.write_all(b"again").unwrap();
        settle().await;
        assert_eq!(Rc::strong_count(&new), 2, "the reader still waits");
        their_new.write_all(b"for the new one").unwrap();
        assert_eq!(reader.await.unwrap(), b"for the new one");
    });
}

#[test]
fn borrowed_number_reused_while_a_dup_lives_then_the_old_waiter_gets_an_error() {
    block_on(async {
        let (ours, mut theirs) = pair();
        let ours = rustix::io::fcntl_dupfd_cloexec(&ours, 600).unwrap();
        let fd = ours.as_raw_fd();
        let old = trapline::spawn(raw_read_wait(fd)).await;
        settle().await;
        let _holder = Holder::of(&ours);
        drop(ours);

        let (new, mut their_new) = pair();
        let new = rustix::io::fcntl_dupfd_cloexec(&new, fd).unwrap();
        assert_eq!(new.as_raw_fd(), fd);
        theirs.write_all(b"for the old one").unwrap();
        let new = Rc::new(new);
        let socket = Rc::clone(&new);
        let reader = trapline::spawn(async move { read_byte(&*socket).await }).await;
        settle().await;
        assert_eq!(old.await.unwrap(), Reply::SourceClosed);
        settle().await;
        assert_eq!(Rc::strong_count(&new), 2, "the reader still waits");
        their_new.write_all(b"n").unwrap();
        assert_eq!(reader.await.unwrap(), b'n');
    });
}

#[test]
fn socket_closed_and_its_waiter_dropped_in_one_turn_then_nothing_is_left() {
    block_on(async {
        let (ours, _theirs) = tcp_pair();
        let mut waiter = raw_read_wait(ours.as_raw_fd());
        assert!(poll!(&mut waiter).is_pending());
        assert!(timeout(Duration::ZERO, ours.readable()).await.is_err());
        trapline::yield_now().await;
        ours.close();
        drop(waiter);
        trapline::yield_now().await;
    });
}

#[test]
fn socket_closed_in_the_turn_of_its_first_wait_then_nothing_is_left() {
    block_on(async {
        let (ours, _theirs) = tcp_pair();
        {
            let wait = ours.readable();
            pin_mut!(wait);
            assert!(poll!(&mut wait).is_pending());
        }
        ours.close();
        trapline::yield_now().await;
    });
}

#[test]
fn number_reused_at_once_then_old_and_new_do_not_meet() {
    block_on(async {
        let (first, _peer) = tcp_pair();
        let mut stream = TcpStream::from_std(at_number(first.into_std().unwrap(), 700)).unwrap();
        let fd = stream.as_raw_fd();
        for round in 0..50_u8 {
            assert!(timeout(Duration::ZERO, stream.readable()).await.is_err());
            stream.close();
            let (next, mut theirs) = tcp_pair();
            stream = TcpStream::from_std(at_number(next.into_std().unwrap(), fd)).unwrap();
            assert_eq!(stream.as_raw_fd(), fd);
            theirs.write_all(&[round]).unwrap();
            let mut buf = [0; 8];
            stream.readable().await.unwrap();
            assert_eq!(stream.read(&mut buf).await.unwrap(), 1);
            assert_eq!(buf[0], round);
            std::mem::forget(theirs);
        }
    });
}

#[test]
fn closed_or_invalid_descriptor_then_an_error_in_its_task_alone() {
    block_on(async {
        let (ours, mut theirs) = pair();
        let reader = trapline::spawn(async move { read_byte(&ours).await }).await;
        let closed = {
            let gone = rustix::io::fcntl_dupfd_cloexec(&theirs, 800).unwrap();
            gone.as_raw_fd()
        };
        for bad in [-1, RawFd::MIN, closed, RawFd::MAX] {
            let ebadf = Reply::Os(Errno::BADF);
            assert_eq!(raw_read_wait(bad).await, ebadf, "{bad}");
            let request = Syscall::WriteWait(Target::borrowed(bad));
            assert_eq!(Trap::new(request, Location::caller()).await, ebadf, "{bad}");
        }
        theirs.write_all(b"x").unwrap();
        assert_eq!(reader.await.unwrap(), b'x');
    });
}

// Leaving.

#[test]
fn waiter_dropped_before_its_first_poll_then_nothing_happens() {
    block_on(async {
        let (ours, _theirs) = pair();
        drop(read_wait(&ours));
        trapline::yield_now().await;
    });
}

#[test]
fn waiter_timed_out_then_nothing_is_left() {
    block_on(async {
        let (ours, _theirs) = pair();
        assert!(timeout(Duration::from_millis(1), read_wait(&ours)).await.is_err());
        assert!(timeout(Duration::ZERO, read_wait(&ours)).await.is_err());
        fill(&ours);
        assert!(timeout(Duration::from_millis(1), write_wait(&ours)).await.is_err());
    });
}

#[test]
fn waiter_killed_then_nothing_is_left_and_the_other_one_goes_on() {
    block_on(async {
        let (ours, mut theirs) = pair();
        let ours = Rc::new(ours);
        let (a, b) = (Rc::clone(&ours), Rc::clone(&ours));
        let doomed = trapline::spawn(async move { read_byte(&*a).await }).await;
        let lucky = trapline::spawn(async move { read_byte(&*b).await }).await;
        settle().await;
        trapline::kill(doomed.id()).await.unwrap();
        theirs.write_all(b"x").unwrap();
        assert_eq!(lucky.await.unwrap(), b'x');
        assert!(doomed.await.unwrap_err().is_killed());
    });
}

#[test]
fn waiter_killed_after_the_wake_but_before_its_turn_then_nothing_is_left() {
    let _watch = watch();
    let mut scheduler = Scheduler::new();
    let (ours, mut theirs) = pair();
    let ours = Rc::new(ours);
    let victim = Rc::new(Cell::new(None));
    let (a, b, target) = (Rc::clone(&ours), Rc::clone(&ours), Rc::clone(&victim));
    let killer = scheduler.spawn(async move {
        read_wait(&*a).await.unwrap();
        trapline::kill(target.get().unwrap()).await.unwrap();
    });
    let doomed = scheduler.spawn(async move { read_byte(&*b).await });
    victim.set(Some(doomed.id()));
    let blocked = |scheduler: &Scheduler| {
        let tasks = scheduler.snapshot().tasks;
        tasks.iter().all(|task| matches!(task.state, TaskState::Blocked(_)))
    };
    while !blocked(&scheduler) {
        scheduler.step();
    }
    theirs.write_all(b"x").unwrap();
    assert_eq!(scheduler.run().unwrap().failures, 0);
    let killed = scheduler.block_on(async {
        killer.await.unwrap();
        doomed.await.unwrap_err().is_killed()
    });
    assert!(killed.unwrap());
    assert_eq!(scheduler.run().unwrap().failures, 0);
    assert_clean(&scheduler);
}

#[test]
fn lost_branches_of_join_and_select_then_nothing_is_left() {
    block_on(async {
        let (ours, mut theirs) = pair();
        theirs.write_all(b"x").unwrap();
        let (read, written) = futures::join!(read_wait(&ours), write_wait(&ours));
        read.unwrap();
        written.unwrap();
        read_byte(&ours).await;
        let mut read = read_wait(&ours).fuse();
        let mut write = write_wait(&ours).fuse();
        futures::select_biased! {
            _ = read => panic!("there is nothing to read"),
            written = write => written.unwrap(),
        }
    });
}

#[test]
fn scheduler_dropped_with_waiters_then_their_descriptors_are_closed() {
    let _watch = watch();
    let mut scheduler = Scheduler::new();
    let (ours, mut theirs) = pair();
    // A process that another test is starting may hold on to them for a moment.
    theirs.set_nonblocking(false).unwrap();
    let (stream, mut peer) = tcp_pair();
    scheduler.spawn(async move { read_byte(&ours).await }).detach();
    scheduler.spawn(async move { stream.read(&mut [0]).await }).detach();
    scheduler.block_on(settle()).unwrap();
    drop(scheduler);
    assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    assert_eq!(theirs.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}
