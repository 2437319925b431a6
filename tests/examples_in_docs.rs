//! Every public function and every public type of the library shows how it is used.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

/// What needs no example of its own: it stands in that of its neighbour, or says all by its name.
const PLAIN: [&str; 9] = [
    "is_empty",
    "capacity",
    "ask",
    "recv_buffer_size",
    "send_buffer_size",
    "linger",
    "ttl",
    // Documented by its namesake of the handle.
    "next",
    // Programs call `state`.
    "state_any",
];

/// Traits that programs implement and seldom call: the example of each shows its methods.
const IMPLEMENTED: [&str; 5] = ["Driver", "OwnCall", "Probe", "Sealed", "Unpark"];

/// What the macros expand to, which programs never name; and the halves of a stream, whose operations are
/// those of the stream.
const HIDDEN: [&str; 3] = ["expansion.rs", "together.rs", "net/split.rs"];

/// Types that programs do not name: what seals a trait, and what macros expand to.
const SEALED: [(&str, &str); 3] =
    [("net/addr.rs", "Sealed"), ("together.rs", "MaybeDone"), ("local.rs", "TaskLocalCell")];

#[test]
fn public_function_then_its_documentation_has_an_example() {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("syscalls/src"), &mut files);
    assert!(files.len() > 80, "the sources have moved: {files:?}");
    let mut without = Vec::new();
    for file in files.iter().filter(|file| !HIDDEN.iter().any(|name| file.ends_with(name))) {
        let text = fs::read_to_string(file).unwrap();
        for (line, name) in functions_without_example(&text) {
            if !PLAIN.contains(&name) {
                without.push(format!("{}:{line}: {name}", file.display()));
            }
        }
    }
    assert!(without.is_empty(), "no example:\n{}", without.join("\n"));
}

#[test]
fn public_type_then_its_documentation_has_an_example() {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("syscalls/src"), &mut files);
    let mut without = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        for (line, name) in types_without_example(&text) {
            if !SEALED.iter().any(|(end, sealed)| file.ends_with(end) && *sealed == name) {
                without.push(format!("{}:{line}: {name}", file.display()));
            }
        }
    }
    assert!(without.is_empty(), "no example:\n{}", without.join("\n"));
}

#[test]
fn item_that_the_facade_names_then_its_documentation_has_an_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let facade = fs::read_to_string(root.join("src/lib.rs")).unwrap();
    let mut without = Vec::new();
    for (name, place) in [("abi", "syscalls/abi/src"), ("scheduler", "scheduler/src")] {
        let names = named_by(&facade, &format!("trapline_{name}"));
        assert!(names.len() > 10, "the facade has changed: {names:?}");
        let mut missing = names.clone();
        let mut files = Vec::new();
        collect(&root.join(place), &mut files);
        let library = fs::read_to_string(root.join(place).join("lib.rs")).unwrap();
        for file in &files {
            let text = fs::read_to_string(file).unwrap();
            let module = file.strip_prefix(root.join(place)).unwrap().with_extension("");
            let module = module.iter().next().and_then(|first| first.to_str()).unwrap();
            // Where the facade names a whole module, all that is in it.
            let is_open = library.contains(&format!("pub mod {module};"));
            let is_whole = is_open && names.contains(&module);
            missing.retain(|name| !is_whole || *name != module);
            for item in items(&text) {
                missing.retain(|name| *name != item.name);
                let is_named = is_whole || names.contains(&item.owner.unwrap_or(item.name));
                if is_named && item.is_without_example() && !PLAIN.contains(&item.name) {
                    without.push(format!("{}:{}: {}", file.display(), item.line, item.name));
                }
            }
        }
        assert!(missing.is_empty(), "not found in {place}: {missing:?}");
    }
    assert!(without.is_empty(), "no example:\n{}", without.join("\n"));
}

#[test]
fn facade_then_what_it_names_is_found() {
    let facade = "pub use kernel::{\n    Fate, Step,\n    run,\n};\npub use abi::On;\n\
                  pub use all::*;\nmod own {\n    pub use all::Own;\n}";
    assert_eq!(named_by(facade, "kernel"), ["Fate", "Step", "run"]);
    assert_eq!(named_by(facade, "abi"), ["On"]);
    assert!(named_by(facade, "all").is_empty());
}

#[test]
fn item_within_an_impl_or_a_trait_then_its_owner_is_found() {
    let text = "impl<F: Fn()> Nap<F> {\n    pub fn end() {}\n}\nimpl dyn Bed + '_ {\n    pub fn make() {}\n}\n\
                pub fn sleep() {}\nimpl Drop for Nap {\n    fn drop() {}\n}\n\
                pub trait Wake {\n    fn wake();\n}";
    let found = items(text).map(|item| (item.owner, item.name));
    let expected = [
        (Some("Nap"), "end"),
        (Some("Bed"), "make"),
        (None, "sleep"),
        (None, "Wake"),
        (Some("Wake"), "wake"),
    ];
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

#[test]
fn type_without_example_then_it_is_found() {
    let text = "/// A nap.\n#[must_use = \"it \\\n    naps\"]\npub struct Nap<F> {\n/// ```\n/// Nap;\n/// ```\n\
                #[derive(\n    Debug,\n)]\npub enum Wake {}\npub trait Bed {}";
    assert_eq!(types_without_example(text), [(4, "Nap"), (12, "Bed")]);
    assert_eq!(types_without_example("#[doc(hidden)]\npub struct Own;\nstruct Private;"), []);
    assert_eq!(
        types_without_example("/// ```text\n/// zzz\n/// ```\npub struct Nap;"),
        [(4, "Nap")]
    );
}

#[test]
fn type_that_a_macro_makes_then_it_is_held_to_an_example_too() {
    let text = "nap! {\n    /// A nap.\n    Nap -> (), |_| ()\n}\nnap! {\n    /// ```\n    /// Doze;\n    /// ```\n\
                    Doze {}\n}\nthread_local! {\n    static BED: u8 = 0;\n}";
    assert_eq!(types_without_example(text), [(3, "Nap")]);
}

#[test]
fn function_without_example_then_it_is_found() {
    let text = "/// Sleeps.\npub fn sleep() {}\n/// ```\n/// wake();\n/// ```\n#[must_use]\npub fn wake() {}";
    assert_eq!(functions_without_example(text), [(2, "sleep")]);
    assert_eq!(functions_without_example("pub const fn new() {}"), [(1, "new")]);
    assert_eq!(functions_without_example("#[doc(hidden)]\npub fn of() {}\nfn own() {}"), []);
}

/// A public function or type.
struct Item<'a> {
    name: &'a str,
    /// The type of a method.
    owner: Option<&'a str>,
    line: usize,
    is_type: bool,
    /// Whether its documentation has an example, or it is hidden.
    is_excused: bool,
}

impl Item<'_> {
    fn is_without_example(&self) -> bool {
        !self.is_excused && !self.owner.is_some_and(|owner| IMPLEMENTED.contains(&owner))
    }
}

/// Public functions, with their lines, whose documentation has no example and that are not hidden.
fn functions_without_example(text: &str) -> Vec<(usize, &str)> {
    let without = items(text).filter(|item| item.is_without_example() && !item.is_type);
    without.map(|item| (item.line, item.name)).collect()
}

/// Likewise the types and traits.
fn types_without_example(text: &str) -> Vec<(usize, &str)> {
    let without = items(text).filter(|item| item.is_without_example() && item.is_type);
    without.map(|item| (item.line, item.name)).collect()
}

const FUNCTIONS: [&str; 2] = ["pub fn ", "pub const fn "];
const TYPES: [&str; 4] = ["pub struct ", "pub enum ", "pub trait ", "pub type "];

fn items(text: &str) -> impl Iterator<Item = Item<'_>> {
    let mut is_excused = false;
    let mut in_attribute = false;
    let mut in_example = false;
    let mut in_macro = false;
    let mut in_trait = false;
    let mut owner = None;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let code = line.trim_start();
        if in_attribute || code.starts_with("#[") {
            is_excused |= code.contains("doc(hidden)");
            in_attribute = !code.ends_with(']');
            return None;
        }
        if code.starts_with("//") {
            if let Some(language) = code.strip_prefix("/// ```") {
                in_example = !in_example;
                is_excused |= in_example && language != "text";
            }
            return None;
        }
        if let Some(name) = line.strip_prefix("pub trait ") {
            (owner, in_trait) = (Some(word(name)), true);
        } else if line.starts_with("impl") {
            (owner, in_trait) = (owner_of(line), false);
        } else if line == "}" {
            in_trait = false;
        }
        let item = item_in(line, in_macro, in_trait);
        in_macro = line.ends_with("! {");
        let is_excused = std::mem::take(&mut is_excused);
        let (item, is_type) = item?;
        let owner = owner.filter(|_| !is_type && line.starts_with(' '));
        Some(Item { name: word(item), owner, line: index + 1, is_type, is_excused })
    })
}

/// What the line makes, and whether that is a type: from its name on.
fn item_in(line: &str, in_macro: bool, in_trait: bool) -> Option<(&str, bool)> {
    let code = line.trim_start();
    let of = |keywords: &[&str]| keywords.iter().find_map(|keyword| code.strip_prefix(keyword));
    // What a macro makes is documented where the macro is used, and begins with its name.
    let made = Some(code).filter(|code| in_macro && code.starts_with(char::is_uppercase));
    let method = line.strip_prefix("    fn ").filter(|_| in_trait);
    let item = of(&TYPES).or(made).map(|item| (item, true));
    let item = item.or_else(|| of(&FUNCTIONS).or(method).map(|item| (item, false)));
    item.filter(|(item, _)| !item.starts_with('$'))
}

/// Whose methods follow.
fn owner_of(line: &str) -> Option<&str> {
    let mut rest = line.strip_prefix("impl")?;
    if rest.starts_with('<') {
        let mut depth = 0;
        let end = rest.find(|c| {
            depth += i32::from(c == '<') - i32::from(c == '>');
            depth == 0
        });
        rest = &rest[end? + 1..];
    }
    let rest = rest.trim_start();
    Some(word(rest.strip_prefix("dyn ").unwrap_or(rest)))
}

/// The name that `text` begins with.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| c != '_' && !c.is_alphanumeric());
    &text[..end.unwrap_or(text.len())]
}

/// What a facade names of a crate.
fn named_by<'a>(facade: &'a str, of: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (start, _) in facade.match_indices("pub use ") {
        if facade[..start].ends_with(' ') {
            // It is within a module.
            continue;
        }
        let Some((uses, _)) = facade[start..].split_once(';') else { continue };
        let Some(names) = uses.strip_prefix(&*format!("pub use {of}::")) else { continue };
        let names = names.trim_start_matches('{').trim_end_matches('}').split(',').map(str::trim);
        found.extend(names.filter(|name| !name.is_empty() && !name.ends_with('*')));
    }
    found
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
    files.sort();
}
