//! The statements that stand in the sources of `store`, read from them as text.
//!
//! What is heard is only what somebody ran; what stands there is all there is. A string that begins with a verb of
//! SQL is a statement, or a piece of one. Strings in one `concat!` are one, with those of `macro_rules!` put in.
//! Not here: tests' own statements, and files whose statements are run once by a person's hand (`BY_HAND`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Statements that a person runs once, on a file that nobody else has open: they go through all of it.
const BY_HAND: [&str; 3] = ["backup.rs", "restore.rs", "damage.rs"];
const VERBS: [&str; 5] = ["select", "insert", "update", "delete", "with"];

/// A statement or a piece of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Its file, from `src/store` on.
    pub(super) file: String,
    /// One space between words.
    pub(super) text: String,
}

impl Written {
    /// Something is put into it before it is run: what stands between, in order. `None`: it is run as it is.
    pub(super) fn pieces(&self) -> Option<Vec<String>> {
        // In SQL itself a brace stands in quotes only.
        let text = self.text.replace("'{}'", "''").replace("{{", "\u{1}");
        let mut pieces = text.split('{');
        let plain = |piece: &str| piece.trim().replace('\u{1}', "{");
        let first = plain(pieces.next().unwrap_or_default());
        let rest: Option<Vec<String>> = pieces
            .map(|piece| Some(plain(piece.split_once('}')?.1)))
            .collect();
        let rest = rest?;
        (!rest.is_empty()).then(|| std::iter::once(first).chain(rest).collect())
    }
}

/// All of them, file by file.
pub(super) fn written() -> Vec<Written> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    let texts: Vec<(String, Vec<Token>)> = files
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            (name, tokens(text))
        })
        .collect();
    let macros: HashMap<String, String> = texts.iter().flat_map(|(_, all)| macros(all)).collect();
    let mut written = Vec::new();
    for (file, tokens) in texts {
        for text in strings(&tokens, &macros) {
            let text = one_line(&text);
            let verb = text.split(' ').next().unwrap_or_default();
            if VERBS.contains(&verb) && text.contains(' ') {
                let file = file.clone();
                written.push(Written { file, text });
            }
        }
    }
    written
}

/// One space between words.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match path.is_dir() {
            true if name != "tests" && name != "plans" => walk(&path, files),
            false if !BY_HAND.contains(&name.as_str()) => files.push(path),
            _ => {}
        }
    }
}

#[derive(Debug, PartialEq)]
enum Token {
    Text(String),
    Word(String),
    Sign(char),
}

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let next = chars.get(at + 1).copied();
        match c {
            '/' if next == Some('/') => {
                at += chars[at..].iter().take_while(|c| **c != '\n').count();
            }
            'r' if next == Some('#') && chars.get(at + 2) == Some(&'"') => {
                let body = &chars[at + 3..];
                let end = body.windows(2).position(|two| two == ['"', '#']).unwrap();
                all.push(Token::Text(body[..end].iter().collect()));
                at += end + 5;
            }
            '"' => {
                let mut string = String::new();
                at += 1;
                while chars[at] != '"' {
                    if chars[at] == '\\' {
                        at += 1;
                        // Of what is escaped only quotes matter here; a line that goes on is a space.
                        string.push(if chars[at] == '"' { '"' } else { ' ' });
                    } else {
                        string.push(chars[at]);
                    }
                    at += 1;
                }
                all.push(Token::Text(string));
                at += 1;
            }
            // A character; a lifetime has no quote behind it.
            '\'' if next == Some('\\') => at += 4,
            '\'' if chars.get(at + 2) == Some(&'\'') => at += 3,
            _ if c.is_alphanumeric() || c == '_' => {
                let word = chars[at..].iter();
                let word: String = word
                    .take_while(|c| c.is_alphanumeric() || **c == '_')
                    .collect();
                at += word.chars().count();
                all.push(Token::Word(word));
            }
            _ => {
                if !c.is_whitespace() {
                    all.push(Token::Sign(c));
                }
                at += 1;
            }
        }
    }
    all
}

/// Macros of one string, by name.
fn macros(tokens: &[Token]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if *token == Token::Word("macro_rules".into())
            && let Some(Token::Word(name)) = tokens.get(at + 2)
        {
            let text = tokens[at..].iter().find_map(|token| match token {
                Token::Text(text) => Some(text.clone()),
                _ => None,
            });
            found.extend(text.map(|text| (name.clone(), text)));
        }
    }
    found
}

fn strings(tokens: &[Token], macros: &HashMap<String, String>) -> Vec<String> {
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token {
            Token::Word(word) if word == "concat" => {
                let (mut whole, mut depth) = (String::new(), 0);
                at += 1;
                while let Some(token) = tokens.get(at) {
                    match token {
                        Token::Sign('(') => depth += 1,
                        Token::Sign(')') if depth == 1 => break,
                        Token::Sign(')') => depth -= 1,
                        Token::Text(text) => whole.push_str(text),
                        Token::Word(word) => {
                            whole.push_str(macros.get(word).map_or("", String::as_str));
                        }
                        Token::Sign(_) => {}
                    }
                    at += 1;
                }
                all.push(whole);
            }
            Token::Text(text) => all.push(text.clone()),
            _ => {}
        }
        at += 1;
    }
    all
}

#[test]
fn strings_are_found_wherever_they_stand() {
    let text = r###"
        // "select 1 from comment"
        macro_rules! columns { () => { "a, b" }; }
        let c = '"'; let d = '\''; let e: &'static str = "update \"x\" \
            set y";
        query(concat!("select ", columns!(), " from t")); r#"{"class":"doubt"}"#;
    "###;
    let tokens = tokens(text);
    let macros = macros(&tokens).into_iter().collect();
    let strings: Vec<String> = strings(&tokens, &macros)
        .iter()
        .map(|text| one_line(text))
        .collect();
    let wanted = [
        "a, b",
        "update \"x\" set y",
        "select a, b from t",
        r#"{"class":"doubt"}"#,
    ];
    assert_eq!(strings, wanted);
}
