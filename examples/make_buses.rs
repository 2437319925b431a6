//! Makes the file for `bus_xml`: where all buses of a town are, in XML.
//!
//! ```text
//! cargo run --example make_buses -- --count 100000 > allroutes.xml
//! ```
//!
//! The same count and seed give the same bytes.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use trapline::generator::Generator;

const ROUTES: [(&str, &str, &str); 6] = [
    ("22", "#009900", "Clark & Harrison"),
    ("147", "#3300ff", "Paulina & Howard Terminal"),
    ("36", "#cc3300", "Polk & Clark"),
    ("8", "#009900", "Waveland & Broadway"),
    ("9X", "#666666", "Ashland & 95th Street"),
    ("151", "#3300ff", "Union Station"),
];

const DIRECTIONS: [&str; 4] = ["North Bound", "South Bound", "East Bound", "West Bound"];

/// Writes where all buses of a town are, in XML
#[derive(Parser)]
struct Args {
    /// How many buses there are
    #[arg(long, value_name = "N", default_value_t = 1000)]
    count: u64,

    /// Where the random numbers start
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// The file to write, in place of the standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Random numbers (`SplitMix64`), each below `bound`.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// The buses, each as an element.
fn buses(count: u64, seed: u64) -> Generator<'static, String> {
    Generator::new(async move |y| {
        let mut dice = Dice(seed);
        for number in 0..count {
            let (route, color, stop) = dice.pick(&ROUTES);
            let direction = dice.pick(&DIRECTIONS);
            let fields = [
                ("id", format!("{}", 1000 + number)),
                ("route", route.to_owned()),
                ("color", color.to_owned()),
                ("revision", format!("{}", dice.below(2) == 0)),
                ("direction", direction.to_owned()),
                ("latitude", format!("41.{:06}", dice.below(1_000_000))),
                ("longitude", format!("-87.{:06}", dice.below(1_000_000))),
                ("pattern", format!("{}", dice.below(9000))),
                ("patternDirection", direction.to_owned()),
                ("run", format!("P{:03}", dice.below(1000))),
                ("finalStop", format!("<![CDATA[{stop}]]>")),
                ("operator", format!("{}", 40_000 + dice.below(10_000))),
            ];
            let mut bus = String::from("  <bus>\n");
            for (name, value) in fields {
                bus += &format!("    <{name}>{value}</{name}>\n");
            }
            y.yield_(bus + "  </bus>\n").await;
        }
    })
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let written = match &args.output {
        None => write(io::stdout().lock(), args),
        Some(path) => File::create(path).and_then(|file| write(file, args)),
    };
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("cannot write the buses: {error}").into())
        }
        _ => Ok(()),
    }
}

fn write(target: impl Write, args: &Args) -> io::Result<()> {
    let mut target = BufWriter::new(target);
    target.write_all(b"<?xml version=\"1.0\"?>\n<buses>\n")?;
    for bus in buses(args.count, args.seed) {
        target.write_all(bus.as_bytes())?;
    }
    target.write_all(b"</buses>\n")?;
    target.flush()
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
