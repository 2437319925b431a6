//! The environment variable `TRAPLINE`: who is to listen to a program that was not changed for it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{PathBuf, absolute};
use std::process::exit;
use std::sync::OnceLock;

use trapline_scheduler::__private::complain;

/// The variable that says who listens.
pub const VARIABLE: &str = "TRAPLINE";

/// The variable that says how what is recorded is recorded.
pub const RECORD_VARIABLE: &str = "TRAPLINE_RECORD";

/// Who listens to a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Word {
    /// `strace`: lines on standard error.
    Strace,
    /// `record:FILE`: a recording.
    Record(PathBuf),
    /// `monitor`, or `monitor:ro` and `monitor:hold`; each with `:SOCKET`, or without.
    Monitor {
        /// The socket; `None` for the default one.
        socket: Option<PathBuf>,
        /// Who may order, and whether the run waits for that.
        manner: Manner,
    },
    /// `virtual`: the run is made on the clock that jumps.
    Virtual,
}

/// How a monitor treats orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Manner {
    /// It obeys them.
    #[default]
    Free,
    /// `ro`: it refuses them.
    ReadOnly,
    /// `hold`: the first run of the process is held before its first step, until it is ordered to go on.
    Held,
}

/// How a recording is made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RecordOptions {
    /// `lossless`: where the writer is behind, the loop waits.
    pub lossless: bool,
    /// `payload=N`: so many of the first bytes of what is read and written go into the trace.
    pub payload_bytes: usize,
    /// `sources=DIRECTORY`: the text of the source files below it goes into the trace.
    pub sources: Option<PathBuf>,
    /// `output`: standard output goes to a file, whose length is told after each step.
    pub tells_output: bool,
}

/// Words that were not understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownWord {
    variable: &'static str,
    word: OsString,
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = if self.variable == VARIABLE {
            "`strace`, `record:FILE`, `monitor`, `monitor:ro` and `monitor:hold` (and each of these three with \
             `:SOCKET`) and `virtual`"
        } else {
            "`lossless`, `output`, `payload=BYTES` and `sources=DIRECTORY`"
        };
        let word = self.word.to_string_lossy();
        write!(f, "{} knows no `{word}`; it knows {known}, separated by commas", self.variable)
    }
}

impl std::error::Error for UnknownWord {}

/// The words of a text like `strace,record:run.trace`.
///
/// # Errors
/// The first word that is none.
pub fn parse(text: &OsStr) -> Result<Vec<Word>, UnknownWord> {
    parts(text).map(parse_word).collect()
}

/// The options of a text like `lossless,payload=16`.
///
/// # Errors
/// The first option that is none.
pub fn parse_record_options(text: &OsStr) -> Result<RecordOptions, UnknownWord> {
    let mut options = RecordOptions::default();
    for part in parts(text) {
        let unknown = || UnknownWord { variable: RECORD_VARIABLE, word: part.to_owned() };
        match halves(part, b'=') {
            (b"lossless", None) => options.lossless = true,
            (b"output", None) => options.tells_output = true,
            (b"payload", Some(bytes)) => {
                let bytes = bytes.to_str().and_then(|bytes| bytes.parse().ok());
                options.payload_bytes = bytes.ok_or_else(unknown)?;
            }
            (b"sources", Some(directory)) if !directory.is_empty() => {
                options.sources = Some(directory.into());
            }
            _ => return Err(unknown()),
        }
    }
    Ok(options)
}

fn parse_word(part: &OsStr) -> Result<Word, UnknownWord> {
    match halves(part, b':') {
        (b"strace", None) => Ok(Word::Strace),
        (b"record", Some(file)) if !file.is_empty() => Ok(Word::Record(file.into())),
        (b"monitor", None) => Ok(Word::Monitor { socket: None, manner: Manner::Free }),
        (b"monitor", Some(rest)) => monitor(rest),
        (b"virtual", None) => Ok(Word::Virtual),
        _ => Err(UnknownWord { variable: VARIABLE, word: part.to_owned() }),
    }
}

fn monitor(rest: &OsStr) -> Result<Word, UnknownWord> {
    let (manner, socket) = match halves(rest, b':') {
        (b"ro", socket) => (Manner::ReadOnly, socket),
        (b"hold", socket) => (Manner::Held, socket),
        _ => (Manner::Free, Some(rest)),
    };
    match socket {
        Some(socket) if socket.is_empty() => {
            let mut word = OsString::from("monitor:");
            word.push(rest);
            Err(UnknownWord { variable: VARIABLE, word })
        }
        socket => Ok(Word::Monitor { socket: socket.map(PathBuf::from), manner }),
    }
}

impl Word {
    /// The same, whatever the current directory will be.
    fn fixed(self) -> Word {
        let fixed = |path: PathBuf| absolute(&path).unwrap_or(path);
        match self {
            Word::Strace => Word::Strace,
            Word::Record(file) => Word::Record(fixed(file)),
            Word::Monitor { socket, manner } => Word::Monitor { socket: socket.map(fixed), manner },
            Word::Virtual => Word::Virtual,
        }
    }
}

/// What stands between the commas, but for nothing at all.
fn parts(text: &OsStr) -> impl Iterator<Item = &OsStr> {
    text.as_bytes()
        .split(|byte| *byte == b',')
        .filter(|part| !part.is_empty())
        .map(OsStr::from_bytes)
}

/// What stands before the first mark, and after it, if there is one.
fn halves(part: &OsStr, mark: u8) -> (&[u8], Option<&OsStr>) {
    let bytes = part.as_bytes();
    match bytes.iter().position(|byte| *byte == mark) {
        Some(at) => (&bytes[..at], Some(OsStr::from_bytes(&bytes[at + 1..]))),
        None => (bytes, None),
    }
}

/// What the environment says. A word that is none ends the process with status 2, after a line that lists
/// those that are.
///
/// It is read once: a program that goes into another directory between two runs has them recorded side by side.
pub(crate) fn of_environment() -> (Vec<Word>, RecordOptions) {
    static READ: OnceLock<(Vec<Word>, RecordOptions)> = OnceLock::new();
    READ.get_or_init(|| {
        read_environment().unwrap_or_else(|unknown| {
            complain(format_args!("{unknown}"));
            exit(2)
        })
    })
    .clone()
}

fn read_environment() -> Result<(Vec<Word>, RecordOptions), UnknownWord> {
    let Some(text) = env::var_os(VARIABLE) else { return Ok(Default::default()) };
    let options = env::var_os(RECORD_VARIABLE).unwrap_or_default();
    let words = parse(&text)?.into_iter().map(Word::fixed).collect();
    Ok((words, parse_record_options(&options)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Vec<Word>, String> {
        parse(OsStr::new(text)).map_err(|unknown| unknown.to_string())
    }

    #[test]
    fn words_then_each_in_turn_and_only_the_first_colon_ends_one() {
        let monitor = |socket: Option<&str>, manner| Word::Monitor {
            socket: socket.map(PathBuf::from),
            manner,
        };
        assert_eq!(words(""), Ok(vec![]));
        assert_eq!(words("strace"), Ok(vec![Word::Strace]));
        assert_eq!(
            words("record:a:b.trace,strace"),
            Ok(vec![Word::Record("a:b.trace".into()), Word::Strace])
        );
        assert_eq!(
            words("monitor,monitor:/s:1,monitor:ro,monitor:ro:/s"),
            Ok(vec![
                monitor(None, Manner::Free),
                monitor(Some("/s:1"), Manner::Free),
                monitor(None, Manner::ReadOnly),
                monitor(Some("/s"), Manner::ReadOnly)
            ])
        );
        assert_eq!(
            words("monitor:hold,monitor:hold:/s:1,virtual"),
            Ok(vec![
                monitor(None, Manner::Held),
                monitor(Some("/s:1"), Manner::Held),
                Word::Virtual
            ])
        );
    }

    #[test]
    fn unknown_word_then_one_line_that_lists_the_known_ones() {
        for text in [
            "straces",
            "strace:x",
            "record",
            "record:",
            "monitor:",
            "monitor:ro:",
            "monitor:hold:",
            "virtual:",
            "x",
        ] {
            let line = words(text).unwrap_err();
            assert!(line.starts_with(&format!("TRAPLINE knows no `{text}`; ")), "{line}");
            for known in ["strace", "record:FILE", "monitor:hold", ":SOCKET", "virtual"] {
                assert!(line.contains(known), "{line}");
            }
            assert!(!line.contains('\n'));
        }
        assert!(words("strace,nonsense").unwrap_err().contains("`nonsense`"));
    }

    #[test]
    fn options_of_a_recording_then_as_they_say() {
        let options = |text: &str| parse_record_options(OsStr::new(text));
        assert_eq!(options(""), Ok(RecordOptions::default()));
        let all = RecordOptions {
            lossless: true,
            payload_bytes: 16,
            sources: Some("/a=b".into()),
            tells_output: true,
        };
        assert_eq!(options("lossless,payload=16,sources=/a=b,output"), Ok(all));
        for unknown in
            ["lossy", "lossless=1", "output=1", "payload", "payload=x", "payload=-1", "sources="]
        {
            let line = options(unknown).unwrap_err().to_string();
            assert!(line.starts_with(&format!("TRAPLINE_RECORD knows no `{unknown}`; ")), "{line}");
        }
    }
}
