//! Addresses, given as numbers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// What names one socket address, or several to be tried in order.
///
/// A [`SocketAddr`], a pair of IP address and port, a string such as `"127.0.0.1:8080"` or
/// `"[::1]:8080"`, or a slice, array or `Vec` of socket addresses. `"localhost:8080"` stands for
/// 127.0.0.1, then ::1. Any other host name is an error of kind `InvalidInput`: to resolve it would
/// stop every task of the scheduler, so do that on another thread.
///
/// The trait is sealed.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use trapline::net::{TcpListener, ToAddrs};
///
/// fn listen(addr: impl ToAddrs) -> u16 {
///     TcpListener::bind(addr).unwrap().local_addr().unwrap().port()
/// }
///
/// assert_ne!(listen("127.0.0.1:0"), 0);
/// assert_ne!(listen(("127.0.0.1", 0)), 0);
/// # }).unwrap();
/// ```
///
/// # Kin
/// [`std::net::ToSocketAddrs`], which resolves names and blocks.
pub trait ToAddrs: Sealed {}

/// The part of [`ToAddrs`] that is not for callers.
pub trait Sealed {
    /// The addresses, in the order in which they are to be tried.
    #[doc(hidden)]
    fn addrs(&self) -> io::Result<Vec<SocketAddr>>;
}

/// The addresses named by `addrs`: at least one.
pub(crate) fn resolve(addrs: &(impl ToAddrs + ?Sized)) -> io::Result<Vec<SocketAddr>> {
    let addrs = addrs.addrs()?;
    if addrs.is_empty() {
        return Err(invalid("no address was given"));
    }
    Ok(addrs)
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

impl<T: ToAddrs + ?Sized> ToAddrs for &T {}
impl<T: Sealed + ?Sized> Sealed for &T {
    fn addrs(&self) -> io::Result<Vec<SocketAddr>> {
        (**self).addrs()
    }
}

macro_rules! one_address {
    ($($type:ty),*) => { $(
        impl ToAddrs for $type {}
        impl Sealed for $type {
            fn addrs(&self) -> io::Result<Vec<SocketAddr>> {
                Ok(vec![SocketAddr::from(*self)])
            }
        }
    )* };
}
one_address!(
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16)
);

impl ToAddrs for [SocketAddr] {}
impl Sealed for [SocketAddr] {
    fn addrs(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(self.to_vec())
    }
}

impl<const N: usize> ToAddrs for [SocketAddr; N] {}
impl<const N: usize> Sealed for [SocketAddr; N] {
    fn addrs(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(self.to_vec())
    }
}

impl ToAddrs for Vec<SocketAddr> {}
impl Sealed for Vec<SocketAddr> {
    fn addrs(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(self.clone())
    }
}

impl ToAddrs for str {}
impl Sealed for str {
    fn addrs(&self) -> io::Result<Vec<SocketAddr>> {
        if let Ok(addr) = self.parse() {
            return Ok(vec![addr]);
        }
        let Some((host, port)) = self.rsplit_once(':') else {
            return Err(invalid("an address is an IP address, a colon and a port"));
        };
        (host, port.parse().map_err(|_| invalid("a port is a number up to 65535"))?).addrs()
    }
}

impl ToAddrs for String {}
impl Sealed for String {
    fn addrs(&self) -> io::Result<Vec<SocketAddr>> {
        self.as_str().addrs()
    }
}

impl ToAddrs for (&str, u16) {}
impl Sealed for (&str, u16) {
    fn addrs(&self) -> io::Result<Vec<SocketAddr>> {
        let (host, port) = *self;
        if host.eq_ignore_ascii_case("localhost") {
            return Ok(vec![
                SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
                SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
            ]);
        }
        match host.parse::<IpAddr>() {
            Ok(ip) => Ok(vec![SocketAddr::from((ip, port))]),
            Err(_) => Err(invalid(
                "host names are not resolved here, since that would stop every task: \
                 give a numeric address, or resolve the name on another thread",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_addresses_are_taken_in_every_form() {
        let v4: SocketAddr = "127.0.0.1:80".parse().unwrap();
        assert_eq!(resolve("127.0.0.1:80").unwrap(), [v4]);
        assert_eq!(resolve(&String::from("127.0.0.1:80")).unwrap(), [v4]);
        assert_eq!(resolve(&("127.0.0.1", 80)).unwrap(), [v4]);
        assert_eq!(resolve(&(Ipv4Addr::LOCALHOST, 80)).unwrap(), [v4]);
        assert_eq!(resolve(&[v4, v4][..]).unwrap(), [v4, v4]);
        assert_eq!(resolve("[::1]:80").unwrap(), [SocketAddr::from((Ipv6Addr::LOCALHOST, 80))]);
    }

    #[test]
    fn localhost_is_both_loopbacks_and_other_names_are_refused() {
        let both = resolve("localhost:7").unwrap();
        assert_eq!(
            both.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["127.0.0.1:7", "[::1]:7"]
        );
        for wrong in ["example.org:80", "127.0.0.1", "127.0.0.1:65536", "", ":", "[::1:80"] {
            assert_eq!(resolve(wrong).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{wrong}");
        }
        assert_eq!(resolve(&Vec::new()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
