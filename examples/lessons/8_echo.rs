// LESSON The echo server

//! The echo server.
//!
//! ```text
//! cargo run --example lesson_8_echo
//! ```
//!
//! A server that sends back what it is sent, with a task for each client, and two clients. All are tasks of
//! one scheduler, but they talk by real sockets. Nowhere in the program is there a word of who runs when,
//! and no task ever blocks the thread.
//!
//! Of all the lessons only this one may go differently another time: the network is the operating system's,
//! and what has arrived by when is for it to say.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use trapline::WaitQueue;
use trapline::net::{TcpListener, TcpStream};

#[trapline::main(clock = "virtual")]
async fn main() -> io::Result<()> {
    lesson().await
}

pub(crate) async fn lesson() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let left = Rc::new(WaitQueue::labelled("a client's leave", 0));
    let server = serve(listener, Rc::clone(&left));
    trapline::spawn(server).name("server").daemon().await.detach();
    let ann = trapline::spawn(talk("ann", address, "hello")).name("ann").await;
    let bob = trapline::spawn(talk("bob", address, "good day")).name("bob").await;
    ann.await.expect("ann returns")?;
    bob.await.expect("bob returns")?;

    // LESSON first call park panes source,ready,waiting,sentence
    // Ann and Bob have their answers, and have hung up. Task 1 waits until the server has noticed: for two
    // tokens, one from each echo task.
    // ? What if an echo task ends before task 1 gets here?
    // = Then its token lies there already. A wake-up that comes early is not lost: we saw it in lesson 5.
    left.park_many(2).await;

    // LESSON end panes source,tasks,output,log
    // Both echo tasks read the end of what was sent, and returned; with them went their sockets. The server
    // still waits for the next client. It is a *daemon*: nobody waits for it, and it ends with the program.
    // ? We saw six tasks on one thread. What would five thousand clients change?
    // = The numbers. A waiting task costs some memory and no time: it stands in no queue that moves.
    Ok(())
}

async fn serve(listener: TcpListener, left: Rc<WaitQueue>) -> io::Result<()> {
    loop {
        // LESSON first call read_wait panes source,ready,waiting,sentence
        // The server *tried* to accept; there was nobody, and so it trapped. The program says `accept`, the
        // trap is a `read_wait`: everything a socket does comes down to two questions, "is there something
        // to read?" and "is there room to write?".
        // ? Why is waiting for a client a `read_wait`?
        // = To the operating system, a listener with somebody at the door has something to read.
        //
        // LESSON step 8 panes loop,ready,waiting,sentence
        // All were waiting, so the loop asked the operating system, once, about three sockets. This is the
        // one call in which a server's thread may sleep, and with nobody at the door it sleeps here for hours.
        // ? How many calls would it make if there were five thousand sockets?
        // = One. The answer names those that are ready, and nobody goes through the others.
        let (client, _address) = listener.accept().await?;
        let left = Rc::clone(&left);
        trapline::spawn(echo(client, left)).name("echo").daemon().await.detach();
    }
}

async fn echo(client: TcpStream, left: Rc<WaitQueue>) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        // LESSON first task echo panes source,log,sentence
        // The heart of the server, in one step. Read the log: "hello" was there, so `read` did not trap; there
        // was room, so `write_all` did not trap; then there was nothing left to read, and that is the trap.
        // ? How many calls of the operating system did this message cost?
        // = Two: one read, one write. What has just been read empty is not asked again.
        let length = client.read(&mut buffer).await?;
        if length == 0 {
            left.wake();
            return Ok(());
        }
        client.write_all(&buffer[..length]).await?;
    }
}

async fn talk(name: &'static str, address: SocketAddr, word: &str) -> io::Result<()> {
    // LESSON first task ann panes source,ready,waiting,sentence
    // Ann connects, which takes a moment: the other side must agree. To the operating system, a connection
    // that is being made is a socket without room to write.
    // ? Bob will do the same in the next step. How many threads wait then?
    // = None. Three tasks do, and the one thread is free to see what comes first.
    let server = TcpStream::connect(address).await?;
    server.write_all(word.as_bytes()).await?;
    let mut answer = vec![0; word.len()];
    server.read_exact(&mut answer).await?;
    println!("{name}: {}", String::from_utf8_lossy(&answer));
    Ok(())
}
