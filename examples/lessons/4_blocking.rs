// LESSON Why one blocking call stops all

//! Why one blocking call stops all.
//!
//! ```text
//! cargo run --example lesson_4_blocking
//! ```
//!
//! One task writes a letter, another waits for it at the other end of a pair of sockets. First it waits as
//! programs with threads do: it calls `read`, and the operating system puts the thread to sleep. But the
//! scheduler has one thread, and the one who should write is a task of the same scheduler. Then it waits by
//! a trap, and the letter comes.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

#[trapline::main(quantum = 1, clock = "virtual")]
async fn main() -> io::Result<()> {
    lesson().await
}

pub(crate) async fn lesson() -> io::Result<()> {
    let (here, there) = UnixStream::pair()?;
    here.set_read_timeout(Some(Duration::from_millis(500)))?;
    println!("by a blocking call:");
    correspond(here, there, false).await;

    let (here, there) = UnixStream::pair()?;
    println!("by a trap:");
    correspond(here, there, true).await;
    Ok(())
}

#[trapline::traced]
async fn correspond(here: UnixStream, there: UnixStream, by_a_trap: bool) {
    // LESSON step 3 panes source,ready,sentence
    // A reader and a writer, at the two ends of a pair of sockets. Both are ready; the reader is first.
    // ? What will the reader do in its turn?
    // = Read. Look at its line: it is about to call the operating system, not the kernel of this loop.
    let reader = trapline::spawn(read(here, by_a_trap)).name("reader").await;
    let writer = trapline::spawn(write(there)).name("writer").await;
    reader.await.expect("the reader returns").expect("reading does not fail");
    writer.await.expect("the writer returns");
}

async fn read(mut here: UnixStream, by_a_trap: bool) -> io::Result<()> {
    trapline::yield_now().await;
    let mut letter = [0; 32];
    println!("  reader: I wait for a letter");
    if by_a_trap {
        // LESSON first call read_wait panes source,ready,waiting,sentence
        // The same moment in the second story. This reader does not read: it asks to be told when there is
        // something to read. So it has left the queue, stands under its descriptor, and the thread is free.
        // ? Who runs next?
        // = The writer. That is all the difference, and it is enough.
        trapline::read_wait(&here).await?;
    }
    // LESSON step 4 panes source,loop,sentence,output
    // This one step took half a second. All that time the loop stood in *resume*: the task had called
    // `read`, and the whole thread slept. It only ended because the socket had been told to give up after
    // half a second. Without that, never: the writer cannot run before the reader has read.
    // ? Why did the scheduler not switch to the writer?
    // = It was not asked. It has the thread only between two traps, and `read` is none.
    //
    // LESSON step 17 panes source,sentence,output
    // The reader goes on, and calls the same `read` as in step 4. It returns at once.
    // ? Why is the blocking call harmless now?
    // = It was made when it cannot block. Ask first, then read: that is what a socket library hides.
    match here.read(&mut letter) {
        Ok(length) => println!("  reader: {}", String::from_utf8_lossy(&letter[..length])),
        // The half second is over; or a signal came, which ends the wait, too.
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            println!("  reader: nobody writes");
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

async fn write(mut there: UnixStream) {
    // LESSON first task writer panes source,ready,output
    // Only now does the writer get its pen. It was ready all the time, and nothing was wrong with it.
    // ? How many tasks would have stood still if there had been a thousand?
    // = A thousand. One task that blocks stops everybody; that is why it is the first rule not to.
    println!("  writer: I have a pen");
    trapline::yield_now().await;
    println!("  writer: I write");
    // LESSON step 15 panes ready,waiting,sentence,output
    // The letter is written, and the queue is empty. The reader still waits.
    // ? The bytes are there. Why is the reader not ready?
    // = The operating system has them, and the loop has not asked it yet. See the next step.
    if there.write_all(b"Dear reader").is_err() {
        println!("  writer: nobody is there any more");
    }
    // LESSON step 16 panes loop,ready,waiting,sentence
    // Nobody was ready, so the loop looked outside, and the operating system said: that descriptor can be
    // read. In this one place the thread may sleep, for here nobody else could run.
    // ? And what of things that have no descriptor: a computation, a name to look up?
    // = `trapline::unblock` hands them to another thread; its end is one more thing from outside.
}
