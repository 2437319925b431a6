//! Times, texts and file names, as they are shown.

use std::fmt::Write;

/// An instant, in seconds with three decimals.
pub(crate) fn shown_time(nanos: u64) -> String {
    let millis = nanos / 1_000_000;
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// A length of time, with three digits or so.
///
/// ```
/// use trapline_trace::strace::shown_duration;
///
/// assert_eq!(shown_duration(16_100_000), "16.1 ms");
/// assert_eq!(shown_duration(0), "0 ns");
/// assert_eq!(shown_duration(3_600_000_000_000), "3600 s");
/// ```
#[must_use]
pub fn shown_duration(nanos: u64) -> String {
    let (whole, unit, name) = match nanos {
        0..1_000 => return format!("{nanos} ns"),
        1_000..1_000_000 => (nanos / 1_000, 1_000, "µs"),
        1_000_000..1_000_000_000 => (nanos / 1_000_000, 1_000_000, "ms"),
        _ => (nanos / 1_000_000_000, 1_000_000_000, "s"),
    };
    let hundredths = nanos % unit * 100 / unit;
    match whole {
        0..10 => format!("{whole}.{hundredths:02} {name}"),
        10..100 => format!("{whole}.{} {name}", hundredths / 10),
        _ => format!("{whole} {name}"),
    }
}

/// The name of a source file, as short as one still knows which is meant: of a dependency also the crate and
/// its version, of a `mod.rs`, `lib.rs` or `main.rs` what it belongs to.
///
/// ```
/// use trapline_trace::strace::shown_file;
///
/// assert_eq!(shown_file("examples/echo_server.rs"), "echo_server.rs");
/// assert_eq!(shown_file("syscalls/src/net/mod.rs"), "net/mod.rs");
/// assert_eq!(shown_file("shop/src/main.rs"), "shop/src/main.rs");
/// assert_eq!(shown_file("/c/registry/src/some-index/futures-util-0.3.31/src/lib.rs"), "futures-util 0.3.31: lib.rs");
/// assert_eq!(shown_file("/c/git/checkouts/mio-71b0/4f9a2c1/src/poll.rs"), "mio 4f9a2c1: poll.rs");
/// assert_eq!(shown_file("/rustc/0123abcd/library/core/src/future/poll_fn.rs"), "core: poll_fn.rs");
/// ```
#[must_use]
pub fn shown_file(file: &str) -> String {
    if let Some(shown) = shown_dependency(file) {
        return shown;
    }
    let parts: Vec<&str> = file.split(['/', '\\']).collect();
    let base = parts.last().copied().unwrap_or(file);
    let kept = match base {
        "mod.rs" => 2,
        "lib.rs" | "main.rs" => 3,
        _ => 1,
    };
    parts[parts.len().saturating_sub(kept)..].join("/")
}

/// `crate version: file` of a file that is a dependency's; `None` of the program's own.
pub(crate) fn shown_dependency(file: &str) -> Option<String> {
    let parts: Vec<&str> = file.split(['/', '\\']).collect();
    let after = |pair: &[&str]| parts.windows(pair.len()).position(|window| window == pair);
    let base = parts.last().copied().unwrap_or(file);
    if let Some(at) = after(&["registry", "src"])
        && let Some(package) = parts.get(at + 3)
        && let Some((name, version)) = split_version(package)
    {
        return Some(format!("{name} {version}: {base}"));
    }
    if let Some(at) = after(&["git", "checkouts"])
        && let [repository, commit, _, ..] = parts[at + 2..]
        && let Some((name, _)) = repository.rsplit_once('-')
    {
        return Some(format!("{name} {commit}: {base}"));
    }
    if parts.contains(&"rustc")
        && let Some(at) = after(&["library"])
        && let Some(library) = parts.get(at + 1)
    {
        return Some(format!("{library}: {base}"));
    }
    None
}

/// `futures-util-0.3.31` is `futures-util` and `0.3.31`.
fn split_version(package: &str) -> Option<(&str, &str)> {
    let is_version = |at: &usize| package[at + 1..].starts_with(|c: char| c.is_ascii_digit());
    let at = package.match_indices('-').map(|(at, _)| at).find(is_version)?;
    Some((&package[..at], &package[at + 1..]))
}

/// A text of the trace, which may be anybody's: what would move the cursor or change colours is written out.
pub(crate) fn shown_text(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\n        "),
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// Bytes as a text in quotes, as in a byte string.
pub(crate) fn shown_bytes(bytes: &[u8]) -> String {
    let mut shown = String::from("\"");
    for byte in bytes {
        let _ = write!(shown, "{}", std::ascii::escape_default(*byte));
    }
    shown.push('"');
    shown
}
