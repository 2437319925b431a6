//! A task for each connection.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::{Either, select};
use trapline_abi::{Syscall, Trap};

use crate::net::{TcpListener, TcpStream};
use crate::pattern::crew::{Crew, Start};
use crate::time::saturating_nanos;

/// Accepts connections, and starts a task for each: `handler` gives what it does.
///
/// At most `limit` connections are served at a time. One more waits in the operating system's queue
/// until another has ended. It goes on until [`until`](Serve::until) says otherwise; then it closes the
/// listener, so that newcomers are refused, and waits for those that are served to end. Dropped, it
/// closes the listener and kills them.
///
/// What a connection's future gives is dropped. One that panics ends that connection alone, and is
/// reported as the failure of a task nobody waits for. Where descriptors are short it pauses, as
/// [`TcpListener::accept`] does.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::new();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::net::{TcpListener, TcpStream};
/// use trapline::pattern::serve;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let client = TcpStream::connect(listener.local_addr()?);
/// let guest = async move {
///     let client = client.await.unwrap();
///     let mut word = [0; 7];
///     client.read_exact(&mut word).await.unwrap();
///     assert_eq!(&word, b"welcome");
/// };
/// let served = serve(listener, 100, async |stream: TcpStream, _peer| {
///     stream.write_all(b"welcome").await
/// })
/// .until(guest)
/// .await?;
/// assert_eq!(served.connections, 1);
/// # std::io::Result::Ok(()) }).unwrap().unwrap();
/// ```
///
/// # Errors
/// What `accept` says that it cannot survive. None of it is to be expected. The connections are
/// killed then.
///
/// # Panics
/// If `limit` is zero; if it is polled outside a task, or again after it was ready; where `handler`
/// itself does, before it gives its future.
///
/// # Cancel safety
/// Safe, in that no connection is lost that was not accepted; those that were are killed.
///
/// # Cost
/// One trap before the first connection. Three allocations a connection, beside those of its future.
///
/// # Kin
/// trio's `serve_tcp`; tokio's usual loop of `accept` and `spawn`.
#[track_caller]
pub fn serve<Handler, Fut>(listener: TcpListener, limit: usize, handler: Handler) -> Serve
where
    Handler: FnMut(TcpStream, SocketAddr) -> Fut + 'static,
    Fut: Future + 'static,
{
    assert!(limit > 0, "a server serves one connection at least");
    let site = Location::caller();
    let crew = Rc::new(Crew::new("a connection to end", site));
    let accepted = Rc::new(Cell::new(0));
    let door =
        Door { listener, limit, crew: Rc::clone(&crew), accepted: Rc::clone(&accepted), site };
    let phase = Phase::Serves(Box::pin(door.receive(handler)));
    Serve { site, crew, accepted, stop: None, grace: None, phase }
}

/// What came of [`serve`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServeReport {
    /// How many connections were accepted.
    pub connections: u64,
    /// How many of these were killed when the grace was over.
    pub killed: usize,
}

/// The future of [`serve`].
#[must_use = "nothing is served until it is awaited"]
pub struct Serve {
    site: &'static Location<'static>,
    crew: Rc<Crew>,
    accepted: Rc<Cell<u64>>,
    stop: Option<Pin<Box<dyn Future<Output = ()>>>>,
    grace: Option<Duration>,
    phase: Phase,
}

enum Phase {
    Serves(Pin<Box<dyn Future<Output = io::Error>>>),
    Drains(Pin<Box<dyn Future<Output = usize>>>),
    Done,
}

impl Serve {
    /// Stops accepting as soon as `stop` is ready.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use trapline::net::{TcpListener, TcpStream};
    /// use trapline::pattern::serve;
    ///
    /// let shutdown = trapline::Shutdown::new();
    /// shutdown.trigger("closing time");
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let server = serve(listener, 100, async |_stream: TcpStream, _peer| {});
    /// assert_eq!(server.until(shutdown.wait()).await?.connections, 0);
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    pub fn until(mut self, stop: impl Future + 'static) -> Serve {
        self.stop = Some(Box::pin(async move {
            let _output = stop.await;
        }));
        self
    }

    /// Once it stops, gives the connections no more than so long to end, and then kills them.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use std::time::Duration;
    /// use trapline::net::{TcpListener, TcpStream};
    /// use trapline::pattern::serve;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let addr = listener.local_addr()?;
    /// let accepted = std::rc::Rc::new(trapline::sync::Event::new());
    /// let stop = std::rc::Rc::clone(&accepted);
    /// let server = serve(listener, 100, move |_stream: TcpStream, _peer| {
    ///     accepted.set();
    ///     std::future::pending::<()>()
    /// });
    /// let server = server.until(async move { stop.wait().await }).grace(Duration::from_millis(1));
    /// let (served, _client) = trapline::join(server, TcpStream::connect(addr)).await;
    /// assert_eq!(served?.killed, 1);
    /// # std::io::Result::Ok(()) }).unwrap().unwrap();
    /// ```
    pub fn grace(mut self, grace: Duration) -> Serve {
        self.grace = Some(grace);
        self
    }
}

impl Future for Serve {
    type Output = io::Result<ServeReport>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(stop) = &mut this.stop
            && stop.as_mut().poll(cx).is_ready()
        {
            this.stop = None;
            // The listener goes with the old phase.
            let (crew, grace, site) = (Rc::clone(&this.crew), this.grace, this.site);
            this.phase = Phase::Drains(Box::pin(drain(crew, grace, site)));
        }
        let ended = match &mut this.phase {
            Phase::Serves(accepting) => Err(ready!(accepting.as_mut().poll(cx))),
            Phase::Drains(draining) => Ok(ready!(draining.as_mut().poll(cx))),
            Phase::Done => panic!("a server was polled after its end"),
        };
        this.stop = None;
        this.phase = Phase::Done;
        this.crew.kill();
        Poll::Ready(ended.map(|killed| ServeReport { connections: this.accepted.get(), killed }))
    }
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            Phase::Serves(_) => "serves",
            Phase::Drains(_) => "drains",
            Phase::Done => "done",
        };
        f.debug_struct("Serve")
            .field("phase", &phase)
            .field("accepted", &self.accepted.get())
            .field("open", &self.crew.len())
            .finish_non_exhaustive()
    }
}

/// Where connections come in.
struct Door {
    listener: TcpListener,
    limit: usize,
    crew: Rc<Crew>,
    accepted: Rc<Cell<u64>>,
    site: &'static Location<'static>,
}

impl Door {
    /// Starts a task for each that comes, until `accept` fails.
    async fn receive<Handler, Fut>(self, mut handler: Handler) -> io::Error
    where
        Handler: FnMut(TcpStream, SocketAddr) -> Fut,
        Fut: Future + 'static,
    {
        let Door { listener, limit, crew, accepted, site } = self;
        // The first wait of a scheduler takes descriptors of its own. It shall have them before the
        // first connections take the last.
        if let Err(error) = listener.acceptable_at(site).await {
            return error;
        }
        loop {
            crew.at_most(limit - 1, site).await;
            let (stream, peer) = match listener.accept_at(site).await {
                Ok(connection) => connection,
                Err(error) => return error,
            };
            accepted.set(accepted.get() + 1);
            let conversation = handler(stream, peer);
            let body = Box::pin(async move {
                let _output = conversation.await;
            });
            crew.start(Start { name: "connection".into(), site, body }, false);
        }
    }
}

/// Waits until nobody is left, but not for ever. Says how many were killed.
async fn drain(crew: Rc<Crew>, grace: Option<Duration>, site: &'static Location<'static>) -> usize {
    let Some(grace) = grace else {
        crew.at_most(0, site).await;
        return 0;
    };
    let nanos = saturating_nanos(grace);
    let time_is_up = Trap::new(Syscall::Sleep { nanos }, site);
    if let Either::Left(_) = select(pin!(crew.at_most(0, site)), time_is_up).await {
        return 0;
    }
    let killed = crew.len();
    crew.kill();
    crew.at_most(0, site).await;
    killed
}
