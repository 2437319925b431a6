//! Has cargo build a program, and say where it is.

use std::env;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use serde_json::Value;

use super::Program;
use crate::failure::Failure;
use crate::plain::Plain;

/// What is to be started.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) executable: PathBuf,
    /// Below this lie the sources of the program itself.
    pub(crate) workspace: Option<PathBuf>,
}

impl Target {
    /// A program that is there. Its sources lie, if anywhere, where one is.
    pub(super) fn of_program(program: &Path) -> Target {
        let is_path = program.components().count() > 1;
        let executable = if is_path { program.to_owned() } else { in_path_or_here(program) };
        Target { executable, workspace: workspace().ok() }
    }
}

/// Builds it; if that fails, gives cargo's own status, when it has said what is wrong.
pub(super) fn build(args: &Program) -> Result<Result<Target, ExitCode>, Failure> {
    let mut command = command(args);
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut programs = Vec::new();
    if let Some(messages) = child.stdout.take() {
        for line in BufReader::new(messages).lines() {
            programs.extend(Built::of_message(&line.map_err(failed)?));
        }
    }
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        return Ok(Err(ExitCode::from(super::code_of(status))));
    }
    target(programs).map(Ok)
}

/// The same without a word; what cargo says is wrong is the failure.
pub(super) fn rebuild(args: &Program) -> Result<Target, Failure> {
    let output = command(args).output().map_err(failed)?;
    if !output.status.success() {
        return Err(Failure::said(complaint(&output.stderr, output.status)));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    target(messages.lines().filter_map(Built::of_message).collect())
}

/// What cargo says is wrong, without what it tells of its progress.
fn complaint(said: &[u8], status: ExitStatus) -> String {
    let said = String::from_utf8_lossy(said);
    let is_progress = |line: &&str| {
        let word = line.trim_start().split(' ').next().unwrap_or_default();
        line.starts_with("   ")
            && matches!(word, "Compiling" | "Building" | "Checking" | "Finished" | "Blocking")
    };
    let lines: Vec<String> = said
        .lines()
        .filter(|line| !is_progress(line))
        .map(|line| Plain(line).to_string())
        .collect();
    match lines.join("\n").trim() {
        "" => format!("cargo build: {status}"),
        lines => lines.to_owned(),
    }
}

fn failed(error: std::io::Error) -> Failure {
    Failure::said(format!("cargo build: {error}"))
}

fn command(args: &Program) -> Command {
    let mut command = Command::new(cargo());
    command.args(["build", "--message-format=json-render-diagnostics"]);
    if args.release {
        command.arg("--release");
    }
    if let Some(package) = &args.package {
        command.args(["--package", package]);
    }
    match (&args.example, &args.bin) {
        (Some(example), _) => command.args(["--example", example]),
        (None, Some(bin)) => command.args(["--bin", bin]),
        (None, None) => command.arg("--bins"),
    };
    command.stdin(Stdio::null());
    command
}

/// The one program among what was built.
fn target(programs: Vec<Built>) -> Result<Target, Failure> {
    let program = the_one(programs)?;
    if let Some(step) = program.step_of_the_course() {
        // These two are stepped by hand in both.
        let argument = if matches!(step, "pyos1" | "pyos2") { "pyos3" } else { step };
        return Err(Failure::said(format!(
            "{step} is a kernel of its own, which records nothing; what runs the tasks of the course on Trapline's is \
             `--example course_on_trapline -- {argument}`"
        )));
    }
    Ok(Target { executable: program.executable, workspace: workspace().ok() })
}

/// The names of the examples of the package here, or of the one that is named.
pub(crate) fn examples(package: Option<&str>) -> Result<Vec<String>, Failure> {
    let failed = |text: &str| Failure::said(format!("cargo metadata: {text}"));
    let output = Command::new(cargo())
        .args(["metadata", "--no-deps", "--format-version=1"])
        .output()
        .map_err(|error| failed(&error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim_end()));
    }
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| failed(&error.to_string()))?;
    let array = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let is_it = |found: &Value| match package {
        Some(package) => found["name"] == package,
        // The one whose directory this is.
        None => found["manifest_path"].as_str().is_some_and(|manifest| {
            Path::new(manifest).parent() == env::current_dir().ok().as_deref()
        }),
    };
    let packages = array(&metadata, "packages").into_iter().filter(is_it);
    let targets = packages.flat_map(|package| array(&package, "targets"));
    let examples = targets.filter(|target| target["kind"][0] == "example");
    Ok(examples.filter_map(|example| Some(example["name"].as_str()?.to_owned())).collect())
}

/// What cargo has built.
#[derive(Debug, PartialEq)]
struct Built {
    executable: PathBuf,
    source: PathBuf,
}

impl Built {
    /// The program that a message of cargo's tells of.
    fn of_message(message: &str) -> Option<Built> {
        let message: Value = serde_json::from_str(message).ok()?;
        if message.get("reason")? != "compiler-artifact" {
            return None;
        }
        let executable = message.get("executable")?.as_str()?.into();
        let source = message.get("target")?.get("src_path")?.as_str()?.into();
        Some(Built { executable, source })
    }

    /// `pyos1` to `pyos8` have kernels of their own, and a twin beside them that runs on Trapline's. A program of
    /// somebody else's may have such a name, but not this neighbour.
    fn step_of_the_course(&self) -> Option<&str> {
        let name = self.source.file_stem()?.to_str()?;
        let is_step = name.strip_prefix("pyos")?.parse::<u32>().is_ok();
        let twin = self.source.with_file_name("course_on_trapline.rs");
        (is_step && twin.is_file()).then_some(name)
    }
}

fn the_one(mut programs: Vec<Built>) -> Result<Built, Failure> {
    match (programs.pop(), programs.len()) {
        (Some(program), 0) => Ok(program),
        (None, _) => Err(Failure::said("cargo has built no program")),
        (Some(program), _) => {
            programs.push(program);
            let names = programs.iter().filter_map(|program| program.executable.file_name());
            let names: Vec<_> =
                names.map(|name| Plain(&name.to_string_lossy()).to_string()).collect();
            Err(Failure::said(format!(
                "there are several programs, of which `--bin` names one: {}",
                names.join(", ")
            )))
        }
    }
}

/// The root of the workspace in which one is.
fn workspace() -> Result<PathBuf, Failure> {
    let failed = |text: &str| Failure::said(format!("cargo locate-project: {text}"));
    let output = Command::new(cargo())
        .args(["locate-project", "--workspace", "--message-format=plain"])
        .stderr(Stdio::null())
        .output()
        .map_err(|error| failed(&error.to_string()))?;
    let manifest = String::from_utf8(output.stdout).map_err(|_| failed("not UTF-8"))?;
    match (output.status.success(), Path::new(manifest.trim_end()).parent()) {
        (true, Some(workspace)) if workspace.is_absolute() => Ok(workspace.to_owned()),
        _ => Err(failed("no workspace")),
    }
}

/// The cargo that runs us, if one does.
fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// What has no slash in its name is a program of this directory, before it is one of the path.
fn in_path_or_here(program: &Path) -> PathBuf {
    let here = Path::new(".").join(program);
    if here.is_file() { here } else { program.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(executable: &str, source: &str) -> Built {
        Built { executable: executable.into(), source: source.into() }
    }

    #[test]
    fn messages_of_cargo_then_the_program_among_them() {
        let library = r#"{"reason":"compiler-artifact","executable":null}"#;
        let chat = r#"{"reason":"compiler-artifact","executable":"/t/chat","target":{"src_path":"/e/chat.rs"}}"#;
        let other = r#"{"reason":"build-finished","success":true}"#;
        assert_eq!(Built::of_message(library), None);
        assert_eq!(Built::of_message(other), None);
        assert_eq!(Built::of_message("no json"), None);
        assert_eq!(Built::of_message(chat), Some(program("/t/chat", "/e/chat.rs")));
    }

    #[test]
    fn several_programs_then_their_names_are_told() {
        let (a, b) = (program("/t/a", "/e/a.rs"), program("/t/b", "/e/b.rs"));
        assert!(the_one(vec![program("/t/a", "/e/a.rs")]).is_ok());
        let error = the_one(vec![a, b]).map_err(|error| error.to_string());
        assert_eq!(
            error,
            Err("there are several programs, of which `--bin` names one: a, b".to_owned())
        );
        assert!(the_one(vec![]).is_err());
    }

    #[test]
    fn steps_of_the_course_then_they_are_known_and_a_namesake_is_not_one() {
        let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
        let step =
            |source: String| program("/t/p", &source).step_of_the_course().map(str::to_owned);
        assert_eq!(step(format!("{examples}/pyos3.rs")), Some("pyos3".to_owned()));
        assert_eq!(step(format!("{examples}/philosophers.rs")), None);
        assert_eq!(step("/elsewhere/pyos3.rs".to_owned()), None);
    }
}
