//! Keys, wherever they come from.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    Char(char),
    Up,
    Down,
    Home,
    End,
    Enter,
    Escape,
    Backspace,
    Tab,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-Z.
    Suspend,
}

/// The keys of a text: letters as they are, others by their names, as in `nn<end>b<enter>`.
pub(crate) fn parse(text: &str) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let named = rest.strip_prefix('<').and_then(|inner| inner.split_once('>'));
        match named {
            Some((name, after)) if !name.is_empty() => {
                keys.push(named_key(name).ok_or_else(|| format!("there is no key <{name}>"))?);
                rest = after;
            }
            _ => {
                keys.push(Key::Char(first));
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    Ok(keys)
}

fn named_key(name: &str) -> Option<Key> {
    Some(match name {
        "up" => Key::Up,
        "down" => Key::Down,
        "home" => Key::Home,
        "end" => Key::End,
        "enter" => Key::Enter,
        "esc" => Key::Escape,
        "backspace" => Key::Backspace,
        "tab" => Key::Tab,
        "space" => Key::Char(' '),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_by_letter_and_by_name_then_each_once() {
        let expected = vec![Key::Char('n'), Key::End, Key::Char('g'), Key::Enter];

        assert_eq!(parse("n<end>g<enter>"), Ok(expected));
        assert_eq!(parse("x<"), Ok(vec![Key::Char('x'), Key::Char('<')]));
        assert!(parse("<nothing>").is_err());
    }
}
