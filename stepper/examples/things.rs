//! Locks, a channel, a group, sockets and clocks, as something to look at: each is used where nobody has to wait for
//! it, and where somebody does.
//!
//! ```text
//! cargo step -p trapline-stepper --example things
//! ```

use std::rc::Rc;
use std::time::Duration;

use trapline::channel::{Receiver, Sender, channel};
use trapline::net::{TcpListener, TcpStream};
use trapline::sync::{Event, Mutex, RwLock, Semaphore};

struct Things {
    desk: Mutex<u32>,
    book: RwLock<u32>,
    seats: Semaphore,
    bell: Event,
}

#[trapline::main(clock = "virtual")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let things = Rc::new(Things {
        desk: Mutex::new(0).named("desk"),
        book: RwLock::new(0).named("book"),
        seats: Semaphore::new(3).named("seats"),
        bell: Event::new().named("bell"),
    });
    let (sender, receiver) = channel(2);
    let early = trapline::spawn(come_early(Rc::clone(&things), sender)).name("early").await;
    let late = trapline::spawn(come_late(Rc::clone(&things), receiver)).name("late").await;
    trapline::spawn(hear(Rc::clone(&things))).name("daemon").daemon().await.detach();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let there = TcpStream::connect(listener.local_addr()?).await?;
    let (here, _) = listener.accept().await?;
    let reader = trapline::spawn(read(here)).name("reader").await;
    early.await??;
    late.await?;
    drop(there);
    reader.await??;
    Ok(())
}

/// Takes what is free, and waits for what none but the other can give.
async fn come_early(things: Rc<Things>, sender: Sender<u32>) -> Result<(), String> {
    let _desk = things.desk.lock().await;
    let _page = things.book.read().await;
    let _seat = things.seats.acquire().await.map_err(|error| error.to_string())?;
    for number in 1..=3 {
        sender.send(number).await.map_err(|error| error.to_string())?;
    }
    // Whichever comes first, of three.
    let hour = trapline::sleep(Duration::from_secs(3600));
    let _ = trapline::join!(things.bell.wait(), trapline::timeout(Duration::from_secs(4), hour));
    trapline::sleep(Duration::from_secs(1)).await;
    Ok(())
}

async fn come_late(things: Rc<Things>, receiver: Receiver<u32>) {
    trapline::sleep(Duration::from_secs(1)).await;
    let _page = things.book.read().await;
    while let Some(number) = receiver.recv().await {
        println!("{number}");
        if number == 3 {
            things.bell.set();
        }
    }
    let _desk = things.desk.lock().await;
}

async fn hear(things: Rc<Things>) {
    loop {
        trapline::sleep(Duration::from_secs(2)).await;
        things.bell.wait().await;
    }
}

async fn read(here: TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; 8];
    here.read(&mut buffer).await?;
    Ok(())
}
