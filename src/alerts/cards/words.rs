//! Foreign text on its way into a card: what cannot be seen goes, what would be syntax is defused, and it is cut.
//!
//! Promises: what comes out has no control sign but a line's end, no sign that turns or hides others, no `<` before
//! what could be a tag and no `](`; it reads as it did before, and it has a bound.
//! Not here: where it stands in a card (`built`, `template`).

/// Marks that stand on one letter, at most.
const MARKS_MAX: usize = 3;
/// What a cut text ends with.
const CUT: char = '…';

/// One line of foreign text, at most `chars` signs long.
pub(crate) fn line(text: &str, chars: usize) -> String {
    cleaned(text, chars, 1)
}

/// Some lines of foreign text, at most `chars` signs and `lines` lines long.
pub(super) fn lines(text: &str, chars: usize, lines: usize) -> String {
    cleaned(text, chars, lines)
}

/// Foreign text, cleaned before, for a place where markdown is read: its signs become others that look like them.
pub(super) fn markdown(text: &str, starts_line: bool) -> String {
    let mut made = String::with_capacity(text.len());
    let mut at_start = starts_line;
    for sign in text.replace("://", "：//").chars() {
        made.push(match sign {
            '<' => '＜',
            '>' => '＞',
            '[' => '［',
            ']' => '］',
            '*' => '∗',
            '~' => '～',
            '`' => 'ˋ',
            '\\' => '＼',
            '&' => '＆',
            '!' if at_start => '！',
            '#' if at_start => '＃',
            '-' if at_start => '－',
            '+' if at_start => '＋',
            '=' if at_start => '＝',
            '|' if at_start => '｜',
            other => other,
        });
        at_start = sign == '\n' || at_start && sign == ' ';
    }
    made
}

fn cleaned(text: &str, chars: usize, lines: usize) -> String {
    let mut made = Cleaned::new(chars, lines);
    for sign in text.chars() {
        if !made.take(sign) {
            break;
        }
    }
    made.end()
}

struct Cleaned {
    text: String,
    left: usize,
    lines_left: usize,
    marks: usize,
    /// A space or a line's end is owed before the next sign that is seen.
    gap: Option<char>,
    is_cut: bool,
}

impl Cleaned {
    fn new(chars: usize, lines: usize) -> Cleaned {
        Cleaned {
            text: String::new(),
            left: chars.max(1),
            lines_left: lines.saturating_sub(1),
            marks: 0,
            gap: None,
            is_cut: false,
        }
    }

    /// Takes one more sign; `false`: there is no room for any.
    fn take(&mut self, sign: char) -> bool {
        if is_break(sign) {
            let ends = self.lines_left > 0 && sign != '\t';
            if self.gap != Some('\n') {
                self.gap = Some(if ends { '\n' } else { ' ' });
            }
            return true;
        }
        if is_hidden(sign) {
            return true;
        }
        if is_mark(sign) {
            self.marks += 1;
            if self.marks > MARKS_MAX {
                return true;
            }
        } else {
            self.marks = 0;
        }
        let gap = self.gap.take().filter(|_| !self.text.is_empty());
        let gap = gap.filter(|gap| *gap == '\n' || !self.text.ends_with(' ') && sign != ' ');
        if let Some(gap) = gap {
            self.lines_left -= usize::from(gap == '\n');
            if !self.put(gap) {
                return false;
            }
        }
        if is_tag_start(sign) && self.text.ends_with('<') {
            self.text.pop();
            self.text.push('＜');
        }
        if sign == '(' && self.text.ends_with(']') && !self.put(' ') {
            return false;
        }
        self.put(sign)
    }

    fn put(&mut self, sign: char) -> bool {
        if self.left == 0 {
            self.is_cut = true;
            return false;
        }
        self.left -= 1;
        self.text.push(sign);
        true
    }

    fn end(mut self) -> String {
        if self.is_cut {
            self.text.pop();
        }
        if self.text.ends_with('<') {
            // What comes behind it in the card might make a tag of it.
            self.text.pop();
            self.text.push('＜');
        }
        if self.is_cut {
            self.text.push(CUT);
        }
        let end = self.text.trim_end().len();
        self.text.truncate(end);
        self.text
    }
}

/// `< 5` and `<= 5` are not syntax anywhere; what has a letter behind it may be.
fn is_tag_start(sign: char) -> bool {
    !(sign.is_whitespace()
        || sign.is_ascii_digit()
        || matches!(sign, '=' | '<' | '＜' | '-' | '.' | '~'))
}

/// Signs that end a line or take the room of a space.
fn is_break(sign: char) -> bool {
    matches!(
        sign,
        '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// Signs that are not seen, or that turn the order of others.
fn is_hidden(sign: char) -> bool {
    sign.is_control()
        || matches!(sign,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0e}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{fdd0}'..='\u{fdef}'
            | '\u{e000}'..='\u{f8ff}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{10ffff}')
        || u32::from(sign) & 0xfffe == 0xfffe
}

/// Signs that stand on the one before.
fn is_mark(sign: char) -> bool {
    matches!(sign,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe0f}' | '\u{fe20}'..='\u{fe2f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn foreign_text_keeps_its_words_and_loses_its_tricks() {
        let check = |text: &str, expected: &str| assert_eq!(line(text, 40), expected, "{text:?}");
        check("disk full on db-1:9100", "disk full on db-1:9100");
        check("a < 5, b<=6 and c<7", "a < 5, b<=6 and c<7");
        check("<at id=all></at>", "＜at id=all>＜/at>");
        check("<<at id=all>", "<＜at id=all>");
        check("<\u{200b}at id=all>", "＜at id=all>");
        check("<\u{0}at", "＜at");
        check("ends in <", "ends in ＜");
        check("[a](https://ex.cn)", "[a] (https://ex.cn)");
        check("[a]\u{200b}(b)", "[a] (b)");
        check("a\n\r\tb\u{2028}c", "a b c");
        check("\u{202e}evil\u{2066}\u{feff}", "evil");
        check("\u{1b}[31mred\u{7}", "[31mred");
        check(
            "a\u{301}\u{301}\u{301}\u{301}\u{301}b",
            "a\u{301}\u{301}\u{301}b",
        );
        check(&"x".repeat(41), &format!("{}…", "x".repeat(39)));
        check(&"x".repeat(40), &"x".repeat(40));
        check("  \n  ", "");
        assert_eq!(lines("a\n\n\nb\nc\nd", 40, 3), "a\nb\nc d");
        assert_eq!(lines("a\tb", 40, 3), "a b");
    }

    proptest! {
        #[test]
        fn no_text_comes_out_as_syntax(
            text in prop::collection::vec(prop_oneof![
                Just("<".to_owned()), Just("at id=all>".to_owned()), Just("]".to_owned()), Just("(".to_owned()),
                Just("\u{200b}".to_owned()), Just("\u{202e}".to_owned()), Just("\n".to_owned()), ".{0,8}",
                any::<char>().prop_map(String::from),
            ], 0..30).prop_map(|parts| parts.concat()),
            chars in 1_usize..60, max in 1_usize..5,
        ) {
            let made = lines(&text, chars, max);
            prop_assert!(made.chars().count() <= chars);
            prop_assert!(made.lines().count() <= max, "{made:?}");
            prop_assert!(!made.contains("]("));
            prop_assert!(!made.chars().any(|sign| sign != '\n' && (is_hidden(sign) || is_break(sign))), "{made:?}");
            for (at, _) in made.match_indices('<') {
                let next = made[at + 1..].chars().next();
                prop_assert!(next.is_some_and(|next| !is_tag_start(next)), "{made:?}");
            }
            prop_assert_eq!(lines(&made, chars, max), made.clone());
        }
    }
}
