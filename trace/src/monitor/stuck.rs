//! What the loop's thread is doing, as the operating system tells.

use std::fs;

/// The loop's thread.
#[derive(Clone, Copy, Debug)]
pub struct LoopThread {
    id: Option<u32>,
}

/// What a thread is doing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Doing {
    /// It uses the processor, or waits for its turn there.
    Computing,
    /// It waits in the operating system: where, if that is known.
    Sleeping(Option<String>),
    /// A debugger or a signal has stopped it.
    Stopped,
    /// The operating system does not tell.
    Unknown,
}

impl LoopThread {
    /// The thread that asks.
    #[must_use]
    pub fn current() -> LoopThread {
        let link = fs::read_link("/proc/thread-self").ok();
        let id = link.as_ref().and_then(|link| link.file_name()?.to_str()?.parse().ok());
        LoopThread { id }
    }

    /// What it is doing now.
    #[must_use]
    pub fn doing(self) -> Doing {
        let Some(id) = self.id else { return Doing::Unknown };
        let read = |file| fs::read_to_string(format!("/proc/self/task/{id}/{file}")).ok();
        let Some(stat) = read("stat") else { return Doing::Unknown };
        match state_of(&stat) {
            Some('R') => Doing::Computing,
            Some('S' | 'D' | 'I') => {
                let channel = read("wchan").as_deref().and_then(channel_of);
                let call = || read("syscall").as_deref().and_then(call_of);
                Doing::Sleeping(channel.or_else(call))
            }
            Some('T' | 't') => Doing::Stopped,
            _ => Doing::Unknown,
        }
    }
}

impl Doing {
    /// As the end of a sentence.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Doing::Computing => "the thread is computing".to_owned(),
            Doing::Sleeping(Some(place)) => format!("the thread sleeps in the OS ({place})"),
            Doing::Sleeping(None) => "the thread sleeps in the OS".to_owned(),
            Doing::Stopped => "the thread is stopped".to_owned(),
            Doing::Unknown => "the OS does not tell what the thread does".to_owned(),
        }
    }
}

/// The state in a line of `/proc/PID/stat`. It stands behind the program's name, which may hold anything.
fn state_of(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Where in the kernel, as `wchan` says it; it says 0 to who may not know, and to who does not wait.
fn channel_of(wchan: &str) -> Option<String> {
    let name = wchan.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    (name != "0" && !name.is_empty() && name.chars().all(is_name)).then(|| name.to_owned())
}

/// In which system call, as `syscall` says it, which begins with its number.
fn call_of(syscall: &str) -> Option<String> {
    let number: u32 = syscall.split_whitespace().next()?.parse().ok()?;
    let known = if cfg!(target_arch = "x86_64") { NAMES_X86_64 } else { &[] };
    let name = known.iter().find(|(known, _)| *known == number);
    Some(name.map_or_else(|| format!("system call {number}"), |(_, name)| (*name).to_owned()))
}

/// The system calls in which programs mostly wait.
const NAMES_X86_64: &[(u32, &str)] = &[
    (0, "read"),
    (1, "write"),
    (7, "poll"),
    (23, "select"),
    (35, "nanosleep"),
    (42, "connect"),
    (43, "accept"),
    (44, "sendto"),
    (45, "recvfrom"),
    (46, "sendmsg"),
    (47, "recvmsg"),
    (61, "wait4"),
    (72, "fcntl"),
    (73, "flock"),
    (74, "fsync"),
    (202, "futex"),
    (230, "clock_nanosleep"),
    (232, "epoll_wait"),
    (247, "waitid"),
    (270, "pselect6"),
    (271, "ppoll"),
    (281, "epoll_pwait"),
    (288, "accept4"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_with_parentheses_then_the_state_is_behind_the_last_one() {
        assert_eq!(state_of("12 (a) R (b) S 1 2"), Some('S'));
        assert_eq!(state_of("12 (loop) R 1"), Some('R'));
        assert_eq!(state_of(""), None);
    }

    #[test]
    fn channel_that_is_not_told_then_the_call_stands_for_it() {
        assert_eq!(channel_of("hrtimer_nanosleep"), Some("hrtimer_nanosleep".into()));
        for untold in ["0", "", "\n", "a b"] {
            assert_eq!(channel_of(untold), None);
        }
        assert_eq!(call_of("running"), None);
        assert_eq!(call_of("9999 0x0"), Some("system call 9999".into()));
        if cfg!(target_arch = "x86_64") {
            assert_eq!(call_of("230 0x0 0x0\n"), Some("clock_nanosleep".into()));
        }
    }

    #[test]
    fn own_thread_then_it_computes() {
        assert_eq!(LoopThread::current().doing(), Doing::Computing);
    }
}
