//! The examples of generators and coroutines do and print what they say.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/children.rs"]
mod children;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use children::example;

/// What only a broken program makes us wait for.
const PATIENCE: Duration = Duration::from_secs(30);

const COUNTDOWN: &str = "\
Counting down from 3
3
2
1
Looking for python
python generators rock!
Going away. Goodbye
";

/// Two buses go north on route 22, one of them with references in its text.
const BUSES: &str = "\
<?xml version=\"1.0\"?>
<!-- where they are -->
<buses>
  <bus>
    <id>7574</id><route>147</route><revision>true</revision><direction>North Bound</direction>
    <latitude>41.9</latitude><longitude>-87.6</longitude>
  </bus>
  <bus>
    <id>1485</id><route>22</route><revision>false</revision><direction>North Bound</direction>
    <latitude>41.88</latitude><longitude>-87.62</longitude>
    <finalStop><![CDATA[Clark & <Harrison>]]></finalStop><empty/>
  </bus>
  <bus><id>1</id><route>22</route><direction>South Bound</direction></bus>
  <bus>
    <id>A&amp;B&#33;</id><route>2<!-- twice -->2</route><direction>North Bound</direction>
    <latitude>42</latitude><longitude>-88</longitude>
  </bus>
</buses>
";

#[test]
fn countdown_then_the_first_slides() {
    assert_eq!(output_of("countdown", &["3"]), COUNTDOWN);
    let other = output_of("countdown", &["0", "tubes"]);
    let lines = ["Counting down from 0", "Looking for tubes", "A series of tubes"];
    assert_eq!(other.lines().collect::<Vec<_>>()[..3], lines);
}

#[test]
fn arguments_that_are_wrong_then_one_line_and_status_2() {
    let place = Place::new("wrong");
    let file = place.file("lines", "a\n");
    let directory = place.0.to_str().unwrap();
    assert_refuses("countdown", &["many"]);
    for program in ["follow", "bus_xml"] {
        assert_refuses(program, &[]);
        assert_refuses(program, &["/nowhere/at/all"]);
        assert_refuses(program, &[directory]);
    }
    assert_refuses("follow", &[&file, "--lines", "few"]);
    assert!(assert_refuses("grep_pipeline", &[&file]).contains("<PATTERN>"));
    assert_refuses("grep_pipeline", &["/nowhere/at/all", "a"]);
    assert_refuses("broadcast", &[&file]);
    assert_refuses("broadcast", &["/nowhere/at/all", "a"]);
    assert_refuses("make_buses", &["--count", "-1"]);
    assert_refuses("make_buses", &["--output", "/nowhere/at/all"]);
}

#[test]
fn follow_from_the_start_then_all_lines_and_those_added_later() {
    let place = Place::new("follow");
    let file = place.file("log", "one\ntwo\nthr");
    let follow = Follower::start("follow", &[&file, "--from-start", "--pause-ms", "1"]);
    assert_eq!([follow.next_line(), follow.next_line()], ["one", "two"]);
    append(&file, "ee\n\nfour\n");
    assert_eq!([follow.next_line(), follow.next_line(), follow.next_line()], ["three", "", "four"]);
}

#[test]
fn follow_then_only_what_is_added() {
    let place = Place::new("end");
    let file = place.file("log", "old\n");
    let follow = Follower::start("follow", &[&file, "--pause-ms", "1"]);
    // Nobody can tell when it has opened the file. So lines are added until one is heard.
    let heard = (0..).find_map(|number| {
        append(&file, &format!("new {number}\n"));
        follow.line_within(Duration::from_millis(50))
    });
    assert!(heard.unwrap().starts_with("new "), "it printed what was there before");
}

#[test]
fn follow_a_file_that_is_cut_then_it_goes_on_from_the_start() {
    let place = Place::new("cut");
    let file = place.file("log", "one\ntwo\nhalf a li");
    let follow = Follower::start("follow", &[&file, "--from-start", "--pause-ms", "1"]);
    assert_eq!([follow.next_line(), follow.next_line()], ["one", "two"]);
    fs::write(&file, "anew\n").unwrap();
    assert_eq!(follow.next_line(), "anew");
    append(&file, "again\n");
    assert_eq!(follow.next_line(), "again");
}

#[test]
fn follow_a_number_of_lines_then_it_stops() {
    let place = Place::new("few");
    let file = place.file("log", "one\ntwo\nthree\n");
    assert_eq!(output_of("follow", &[&file, "--from-start", "--lines", "2"]), "one\ntwo\n");
    assert_eq!(output_of("follow", &[&file, "--lines", "0"]), "");
}

#[test]
fn grep_pipeline_then_the_lines_with_the_pattern() {
    let place = Place::new("grep");
    let file = place.file("log", "a python\na snake\n");
    let arguments = [&*file, "python", "--from-start", "--lines", "2", "--pause-ms", "1"];
    let mut pipeline = Follower::start("grep_pipeline", &arguments);
    assert_eq!(pipeline.next_line(), "a python");
    append(&file, "nothing\npythons\nmore python\n");
    assert_eq!(pipeline.next_line(), "pythons");
    assert!(pipeline.child.wait().unwrap().success());
    assert_eq!(pipeline.lines.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn broadcast_then_each_line_once_for_each_pattern() {
    let place = Place::new("broadcast");
    let file = place.file("lines", "python and ply\nperl\nswig\nply");
    let printed = output_of("broadcast", &[&file, "python", "ply", "swig"]);
    assert_eq!(printed, "python and ply\npython and ply\nswig\nply\n");
    assert_eq!(output_of("broadcast", &[&file, "nothing"]), "");
}

#[test]
fn broadcast_of_the_standard_input_then_the_same() {
    let mut child = example("broadcast")
        .args(["-", "b"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"abc\nxyz\ncab\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), "abc\ncab\n");
}

#[test]
fn bus_xml_then_the_buses_of_the_route_in_the_direction() {
    let place = Place::new("buses");
    let file = place.file("buses.xml", BUSES);
    let north = "22,1485,\"North Bound\",41.88,-87.62\n22,A&B!,\"North Bound\",42,-88\n";
    assert_eq!(output_of("bus_xml", &[&file]), north);
    let other = output_of("bus_xml", &[&file, "--route", "147", "--direction", "North Bound"]);
    assert_eq!(other, "147,7574,\"North Bound\",41.9,-87.6\n");
    assert_eq!(output_of("bus_xml", &[&file, "--route", "1"]), "");
}

#[test]
fn bus_xml_over_what_make_buses_made_then_what_a_plain_search_finds() {
    let place = Place::new("made");
    let made = output_of("make_buses", &["--count", "500"]);
    assert_eq!(output_of("make_buses", &["--count", "500"]), made, "it is the same every time");
    assert_ne!(output_of("make_buses", &["--count", "500", "--seed", "1"]), made);
    assert_eq!(made.matches("<bus>").count(), 500);
    let file = place.0.join("buses.xml");
    let file = file.to_str().unwrap();
    assert_eq!(output_of("make_buses", &["--count", "500", "--output", file]), "");
    assert_eq!(fs::read_to_string(file).unwrap(), made);

    let found = |route: &str, direction: &str| -> String {
        made.split("</bus>").filter_map(|bus| bus_at(bus, route, direction)).collect()
    };
    for (route, direction) in [("22", "North Bound"), ("9X", "West Bound")] {
        let expected = found(route, direction);
        assert!(expected.lines().count() > 5, "{expected}");
        let printed = output_of("bus_xml", &[file, "--route", route, "--direction", direction]);
        assert_eq!(printed, expected);
    }
}

/// The line for the bus in `xml`, if it is on that route and goes in that direction.
fn bus_at(xml: &str, route: &str, direction: &str) -> Option<String> {
    let field = |name: &str| {
        let (_, rest) = xml.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<').unwrap().0)
    };
    if field("route")? != route || field("direction")? != direction {
        return None;
    }
    let (id, latitude, longitude) = (field("id")?, field("latitude")?, field("longitude")?);
    Some(format!("{route},{id},\"{direction}\",{latitude},{longitude}\n"))
}

#[test]
fn bus_xml_over_what_is_no_xml_then_an_error_with_its_position() {
    let place = Place::new("broken");
    for (xml, position, why) in [
        ("<buses><bus></buses>", 12, "expected `</bus>`"),
        ("<buses><bus>", 12, "ends inside"),
        ("<buses><!-- ", 7, "comment"),
        ("<buses>&who;</buses>", 12, "&who;"),
        ("<buses></buses></bus>", 15, "</bus>"),
        ("", 0, "no element"),
    ] {
        let file = place.file("broken.xml", xml);
        let line = assert_refuses("bus_xml", &[&file]);
        let expected = format!("not well-formed at byte {position}: ");
        assert!(line.contains(&expected) && line.contains(why), "{xml}: {line}");
    }
    // What came before the fault is printed.
    let cut = place.file("cut.xml", &BUSES[..BUSES.len() - 20]);
    let output = run("bus_xml", &[&cut]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "22,1485,\"North Bound\",41.88,-87.62\n");
}

/// A directory for a test, which goes with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let name = format!("trapline-generators-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Place(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn append(file: &str, text: &str) {
    OpenOptions::new().append(true).open(file).unwrap().write_all(text.as_bytes()).unwrap();
}

/// A program that runs on, and the lines that it prints.
struct Follower {
    child: Child,
    lines: Receiver<String>,
}

impl Follower {
    fn start(program: &str, arguments: &[&str]) -> Follower {
        let mut child = example(program).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // A thread, since only so can a line be waited for with patience that ends.
        thread::spawn(move || stdout.lines().try_for_each(|line| sender.send(line.unwrap())));
        Follower { child, lines }
    }

    fn next_line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("it prints a line")
    }

    fn line_within(&self, time: Duration) -> Option<String> {
        match self.lines.recv_timeout(time) {
            Err(RecvTimeoutError::Disconnected) => panic!("it has ended"),
            heard => heard.ok(),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The example must end with status 2, one line on standard error, which is given, and nothing on
/// standard output.
#[track_caller]
fn assert_refuses(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    assert_eq!(output.status.code(), Some(2), "{program} {arguments:?}: {}", output.status);
    assert_eq!(text(&output.stdout), "");
    let said = text(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    said.to_owned()
}

/// Runs an example to its end, which must be a good one, and gives what it printed.
#[track_caller]
fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    assert_eq!(text(&output.stderr), "", "{program} {arguments:?}, on standard error");
    assert!(output.status.success(), "{program} {arguments:?}: {}", output.status);
    text(&output.stdout).to_owned()
}

fn run(program: &str, arguments: &[&str]) -> Output {
    example(program).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
