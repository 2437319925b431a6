//! The page: its modules, put one behind the other into one script, and what it is to show.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use sha2::{Digest, Sha256};

/// The modules, each behind those that it imports.
const MODULES: [&str; 15] = [
    include_str!("../../page/trace.js"),
    include_str!("../../page/mirror.js"),
    include_str!("../../page/recording.js"),
    include_str!("../../page/history.js"),
    include_str!("../../page/names.js"),
    include_str!("../../page/scene.js"),
    include_str!("../../page/telling.js"),
    include_str!("../../page/asking.js"),
    include_str!("../../page/breakpoint.js"),
    include_str!("../../page/lesson.js"),
    include_str!("../../page/panes.js"),
    include_str!("../../page/timeline.js"),
    include_str!("../../page/desk.js"),
    include_str!("../../page/live.js"),
    include_str!("../../page/main.js"),
];

const TEMPLATE: &str = include_str!("../../page/index.html");

const STYLE: &str = include_str!("../../page/style.css");

/// The loop's own text.
const LOOP: &str = include_str!("../../../scheduler/src/scheduler.rs");

/// What goes into a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page<'a> {
    pub(crate) title: &'a str,
    /// The bytes of the recording; without, the page asks whoever serves it.
    pub(crate) trace: Option<&'a [u8]>,
    /// What the program wrote.
    pub(crate) output: Option<&'a [u8]>,
}

impl Page<'_> {
    pub(crate) fn html(&self) -> String {
        let script = script();
        let policy = self.policy();
        let mut data = block("loop", LOOP.as_bytes());
        if let Some(trace) = self.trace {
            data.push_str(&block("trace", trace));
        }
        if let Some(output) = self.output {
            data.push_str(&block("output", output));
        }
        // Each place once, in order: nothing that is put in is looked at again.
        let title = escaped(self.title);
        let fillings = [
            ("{policy}", policy.as_str()),
            ("{title}", &title),
            ("{style}", STYLE),
            ("{title}", &title),
            ("{data}", &data),
            ("{script}", &script),
        ];
        let mut html =
            String::with_capacity(TEMPLATE.len() + data.len() + script.len() + STYLE.len());
        let mut rest = TEMPLATE;
        for (place, filling) in fillings {
            let (before, after) = rest.split_once(place).unwrap_or((rest, ""));
            html.push_str(before);
            html.push_str(filling);
            rest = after;
        }
        html.push_str(rest);
        html
    }

    /// What the page may do: run its own script, and nothing else.
    pub(crate) fn policy(&self) -> String {
        let (script, style) = (hash(&script()), hash(STYLE));
        let asks = if self.trace.is_none() { " connect-src 'self';" } else { "" };
        format!(
            "default-src 'none'; script-src '{script}'; style-src '{style}';{asks} base-uri 'none'; form-action 'none'"
        )
    }
}

/// The modules as one: without their imports, since what they import stands before them, and without the word by
/// which they export.
fn script() -> String {
    let mut script = String::from("'use strict';\n");
    for module in MODULES {
        let mut is_import = false;
        for line in module.lines() {
            is_import |= line.starts_with("import ");
            if !is_import {
                script.push_str(line.strip_prefix("export ").unwrap_or(line));
                script.push('\n');
            }
            is_import &= !line.ends_with(';');
        }
    }
    script
}

/// The hash of a script or a style, as a policy names it.
pub(crate) fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

/// A block of data: no browser takes it for a script, and in base64 it ends nothing.
fn block(id: &str, bytes: &[u8]) -> String {
    let mut deflated = ZlibEncoder::new(Vec::new(), Compression::best());
    // Writing to memory never fails.
    let _ = deflated.write_all(bytes);
    let deflated = deflated.finish().unwrap_or_default();
    let text = STANDARD.encode(deflated);
    format!("<script type=\"application/x-trapline\" id=\"{id}\">{text}</script>\n")
}

/// A text in the text of a page, or in an attribute.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.extend(c.escape_default()),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn modules_put_together_then_no_name_is_there_twice_and_no_import_is_left() {
        let script = script();
        let mut names = BTreeSet::new();
        for line in script.lines() {
            let words = ["const ", "let ", "class ", "function ", "async function "];
            let Some(rest) = words.iter().find_map(|word| line.strip_prefix(word)) else {
                continue;
            };
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            assert!(names.insert(&rest[..end]), "{line}");
        }
        assert!(names.contains("Desk") && names.contains("SUM_TABLE"));
        assert!(
            !script.lines().any(|line| line.starts_with("import ") || line.starts_with("export "))
        );
        // It would end the script.
        assert!(!script.contains("</script"));
        assert!(!script.contains("innerHTML"));
    }

    #[test]
    fn scripts_of_the_page_then_they_are_small_enough_to_be_read() {
        let size = MODULES.iter().map(|module| module.len()).sum::<usize>();
        assert!(size <= 150 * 1024, "{size}");
    }

    #[test]
    fn odd_texts_then_the_page_has_them_as_text_only() {
        let title = "</title><script>alert(1)</script>{script}";
        let html = Page { title, trace: Some(b"<!--"), output: Some(b"</script>") }.html();
        assert!(html.contains("&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;{script}"));
        assert_eq!(html.matches("</script>").count(), 4);
        assert!(!html.contains("<script>alert"));
        assert!(!html.contains("http://") || html.contains("http://www.w3.org/2000/svg"));
    }
}
