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

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use trapline::net::{TcpListener, TcpStream};

#[trapline::main(clock = "virtual")]
async fn main() -> io::Result<()> {
    lesson().await
}

pub(crate) async fn lesson() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    trapline::spawn(serve(listener)).name("server").daemon().await.detach();
    let ann = trapline::spawn(talk("ann", address, "hello")).name("ann").await;
    let bob = trapline::spawn(talk("bob", address, "good day")).name("bob").await;
    ann.await.expect("ann returns")?;
    bob.await.expect("bob returns")?;
    // Time for the server to notice that they are gone.
    trapline::sleep(Duration::from_secs(1)).await;

    // LESSON end panes tasks,ready,waiting,output
    // The program is over, and the server still waits for the next client. It is a *daemon*: nobody
    // waits for it, and it ends with the program.
    // ? We saw six tasks on one thread. What would five thousand clients change?
    // = The numbers. A waiting task costs some memory and no time: it stands in no queue that moves.
    Ok(())
}

async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        // LESSON step 5 panes source,ready,waiting,sentence
        // The server *tried* to accept; there was nobody, and so it trapped. The program says `accept`, the
        // trap is a `read_wait`: everything a socket does comes down to two questions, "is there something
        // to read?" and "is there room to write?".
        // ? Why is waiting for a client a `read_wait`?
        // = To the operating system, a listener with somebody at the door has something to read.
        //
        // LESSON step 8 panes loop,ready,waiting,sentence
        // All waited, so the loop asked the operating system once, about three sockets, and had three
        // answers. This is where a real server's thread spends its idle time.
        // ? In which order do the three stand in the queue?
        // = In that of the answers. From here on it is an ordinary queue: first come, first served.
        let (client, _address) = listener.accept().await?;

        // LESSON step 10 panes source,ready,log,sentence
        // Two clients accepted, two tasks spawned, in two steps of one turn. Where a client stands at the
        // door, `accept` takes it and does not trap; the log tells of it.
        // ? What if a thousand had stood there?
        // = The quantum. What succeeds without a trap counts, too, so that others have their turns.
        trapline::spawn(echo(client)).name("echo").daemon().await.detach();
    }
}

async fn echo(client: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        // LESSON step 14 panes source,log,ready,waiting,sentence
        // The heart of the server, in one step: read "hello", write "hello", and, with nothing left to read,
        // wait. Two calls of the operating system and one trap a message.
        // ? If the echo task read as soon as it was born, why was "hello" there already?
        // = Ann ran in between and wrote it. Look at steps 9 to 14.
        let length = client.read(&mut buffer).await?;
        if length == 0 {
            // LESSON step 22 panes source,tasks,sentence
            // Ann has hung up, and her echo task has read the end: nothing, where something was to be read.
            // It returns, and with it goes its socket.
            // ? Who told the task?
            // = The operating system, by way of the loop. The end of a stream can be read like what is in it.
            return Ok(());
        }
        client.write_all(&buffer[..length]).await?;
    }
}

async fn talk(name: &'static str, address: SocketAddr, word: &str) -> io::Result<()> {
    let server = TcpStream::connect(address).await?;
    // LESSON step 12 panes source,log,ready,waiting,sentence
    // Ann is connected. Her word went out without a trap, since there was room; the answer is not there,
    // and so she waits, in the line where she reads it.
    // ? When would `write_all` have trapped?
    // = With the buffers full, because the other side does not read. Then the writer waits, and nobody else.
    server.write_all(word.as_bytes()).await?;
    let mut answer = vec![0; word.len()];
    server.read_exact(&mut answer).await?;
    println!("{name}: {}", String::from_utf8_lossy(&answer));
    Ok(())
}
