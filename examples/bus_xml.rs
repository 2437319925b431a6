//! The course's event stream: an XML parser feeds coroutines that pick out bus records.
//!
//! ```text
//! cargo run --example make_buses -- --output allroutes.xml
//! cargo run --example bus_xml -- allroutes.xml --route 22 --direction "North Bound"
//! ```
//!
//! ```text
//!   parser ─> buses_to_records ─> filter("route") ─> filter("direction") ─> bus_locations
//! ```
//!
//! The file is never in memory as a whole. `buses_to_records` is a state machine, and its state is
//! where in its block it stands.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, Event as Xml};
use trapline::generator::{Coroutine, Mailbox};

/// Prints where the buses of a route are that go in a direction
#[derive(Parser)]
struct Args {
    /// The file, as `make_buses` writes it
    file: PathBuf,

    /// The route
    #[arg(long, default_value = "22")]
    route: String,

    /// The direction
    #[arg(long, default_value = "North Bound")]
    direction: String,
}

/// What the parser sends.
enum Event {
    Start(String),
    Text(String),
    End(String),
}

/// A bus: its fields by name.
type Record = BTreeMap<String, String>;

/// Makes a record of each `<bus>`.
fn buses_to_records<'a>(target: Coroutine<'a, Record>) -> Coroutine<'a, Event> {
    Coroutine::new(async move |mailbox: Mailbox<Event>| {
        while let Some(event) = mailbox.receive().await {
            if !matches!(event, Event::Start(name) if name == "bus") {
                continue;
            }
            let mut record = Record::new();
            let mut text = String::new();
            loop {
                match mailbox.receive().await {
                    Some(Event::Start(_)) => text.clear(),
                    Some(Event::Text(piece)) => text += &piece,
                    Some(Event::End(name)) if name == "bus" => break,
                    Some(Event::End(name)) => drop(record.insert(name, std::mem::take(&mut text))),
                    None => return,
                }
            }
            if target.send(record).is_err() {
                return;
            }
        }
    })
}

/// Passes on the records whose field `name` is `value`.
fn filter_on_field<'a>(
    name: &'a str,
    value: &'a str,
    target: Coroutine<'a, Record>,
) -> Coroutine<'a, Record> {
    Coroutine::new(async move |mailbox: Mailbox<Record>| {
        while let Some(record) = mailbox.receive().await {
            let wanted = record.get(name).is_some_and(|field| field == value);
            if wanted && target.send(record).is_err() {
                return;
            }
        }
    })
}

/// Prints where buses are, as long as anybody reads it.
fn bus_locations<'a>() -> Coroutine<'a, Record> {
    Coroutine::new(async |mailbox: Mailbox<Record>| {
        while let Some(bus) = mailbox.receive().await {
            let field = |name| bus.get(name).map_or("", String::as_str);
            let (route, id, direction) = (field("route"), field("id"), field("direction"));
            let (latitude, longitude) = (field("latitude"), field("longitude"));
            let line = format!("{route},{id},\"{direction}\",{latitude},{longitude}");
            if writeln!(io::stdout(), "{line}").is_err() {
                return;
            }
        }
    })
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let name = args.file.display();
    let file = File::open(&args.file).map_err(|error| format!("cannot open {name}: {error}"))?;
    let locations = filter_on_field("direction", &args.direction, bus_locations());
    let target = buses_to_records(filter_on_field("route", &args.route, locations));
    let mut reader = Reader::from_reader(BufReader::new(file));
    parse(&mut reader, &target).map_err(|error| {
        if let Some(quick_xml::Error::Io(error)) = error.downcast_ref() {
            return format!("cannot read {name}: {error}").into();
        }
        let at_fault = reader.error_position();
        let position = if at_fault > 0 { at_fault } else { reader.buffer_position() };
        format!("{name} is not well-formed at byte {position}: {error}").into()
    })
}

/// Sends what it reads, until the document ends or nobody takes any more.
fn parse(
    reader: &mut Reader<BufReader<File>>,
    target: &Coroutine<'_, Event>,
) -> Result<(), Box<dyn Error>> {
    let mut buffer = Vec::new();
    let mut depth = 0_usize;
    let mut elements = 0_usize;
    loop {
        buffer.clear();
        let event = match reader.read_event_into(&mut buffer)? {
            Xml::Start(start) => {
                depth += 1;
                elements += 1;
                Event::Start(start.name().as_ref().to_owned())
            }
            Xml::End(end) => {
                depth -= 1;
                Event::End(end.name().as_ref().to_owned())
            }
            Xml::Text(text) => Event::Text(text.xml10_content().into_owned()),
            Xml::CData(text) => Event::Text(text.xml10_content().into_owned()),
            Xml::GeneralRef(reference) => Event::Text(resolve(&reference)?),
            Xml::Eof if depth > 0 => return Err("the file ends inside an element".into()),
            Xml::Eof if elements == 0 => return Err("there is no element".into()),
            Xml::Eof => break,
            Xml::Empty(_) | Xml::Comment(_) | Xml::Decl(_) | Xml::PI(_) | Xml::DocType(_) => {
                continue;
            }
        };
        if target.send(event).is_err() {
            return Ok(());
        }
    }
    target.close();
    Ok(())
}

/// The text that `&this;` stands for.
fn resolve(reference: &BytesRef<'_>) -> Result<String, Box<dyn Error>> {
    if let Some(character) = reference.resolve_char_ref()? {
        return Ok(character.into());
    }
    let name = reference.xml10_content();
    let text = resolve_predefined_entity(&name).ok_or(format!("nobody knows what &{name}; is"))?;
    Ok(text.to_owned())
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return explain(&error),
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("error: {error}")),
    }
}

/// Help is printed as it is; a mistake in the arguments is told in one line.
fn explain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _closed = error.print();
        return ExitCode::SUCCESS;
    }
    // What is wrong stands before the first empty line, the usage after it.
    let text = error.to_string();
    let what: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    complain(&what.join(" "))
}

fn complain(line: &str) -> ExitCode {
    let _closed = writeln!(io::stderr(), "{line}");
    ExitCode::from(2)
}
