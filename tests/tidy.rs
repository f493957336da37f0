//! House rules that a machine can keep: which room may use which, and how a file looks.
//!
//! `MAP` is the map of `docs/ARCHITECTURE.md`; a new arrow is drawn there and here, or not at all.
//! It reads names, not meanings: a path in a macro or behind a glob is not seen.
//! Not here: what the compiler, clippy and rustfmt see by themselves.

use std::path::{Path, PathBuf};

/// Rooms of `src/`, the narrowest first, and what each may name beside itself: a room, a crate that
/// is fenced in, or one item of either.
const MAP: &[(&str, &[&str])] = &[
    ("src/lib.rs", &[]),
    ("src/main.rs", &["cli"]),
    ("src/cli/check.rs", &["config", "alerts", "feishu_im"]),
    ("src/cli/backup.rs", &["daemon", "config", "clock", "store"]),
    (
        "src/cli/restore.rs",
        &["daemon", "config", "clock", "store"],
    ),
    ("src/cli/explain.rs", &["feishu_im"]),
    (
        "src/fuzz.rs",
        &[
            "http::fuzz",
            "job::fuzz",
            "alerts::sources",
            "config",
            "clock",
        ],
    ),
    (
        "src/bench.rs",
        &["dispatch::bench", "dispatch::trial", "http::bench"],
    ),
    ("src/cli/routes.rs", &["alerts", "config", "clock"]),
    ("src/cli/demo/", &["daemon", "config", "feishu_sandbox"]),
    ("src/cli/sandbox.rs", &["feishu_sandbox"]),
    (
        "src/cli/",
        &["daemon", "config", "clock", "store::StoreError"],
    ),
    (
        "src/daemon/",
        &[
            "http",
            "dispatch",
            "alerts",
            "store",
            "job",
            "config",
            "clock",
            "watchdog",
            "feishu_im",
        ],
    ),
    (
        "src/http/",
        &["alerts", "job", "store", "config", "clock", "metrics"],
    ),
    (
        "src/alerts/run/",
        &["job", "store", "config", "clock", "metrics"],
    ),
    ("src/alerts/", &["job", "config", "clock"]),
    ("src/dispatch/", &["job", "store", "clock", "feishu_im"]),
    (
        "src/store/restore.rs",
        &["job", "clock", "feishu_im::limits", "sqlx"],
    ),
    (
        "src/store/",
        &["job", "clock", "metrics", "feishu_im::Api", "sqlx"],
    ),
    (
        "src/job/",
        &[
            "clock",
            "feishu_im::Api",
            "feishu_im::BatchContent",
            "feishu_im::CardObject",
            "feishu_im::CONTENT_KEYS",
            "feishu_im::Content",
            "feishu_im::ContentUse",
            "feishu_im::Flaw",
            "feishu_im::HookContent",
            "feishu_im::IdType",
            "feishu_im::Repeat",
            "feishu_im::UuidPlace",
            "feishu_im::limits",
            "feishu_im::FILE_TYPES",
            "feishu_im::FOLLOW_UP_LANGUAGES",
        ],
    ),
    ("src/config/", &[]),
    ("src/clock.rs", &[]),
    ("src/watchdog.rs", &[]),
    ("src/metrics.rs", &[]),
];
/// Crates that not every room may name.
const FENCED: [&str; 3] = ["feishu_im", "feishu_sandbox", "sqlx"];
/// The crates below the daemon, and what none of their files may name.
const BELOW: [(&str, [&str; 3]); 2] = [
    (
        "crates/feishu-im/",
        ["feishu_relay", "feishu_sandbox", "sqlx"],
    ),
    (
        "crates/feishu-sandbox/",
        ["feishu_relay", "feishu_im", "sqlx"],
    ),
];
/// What the relay's speed is compared with: the same libraries, nothing of the relay.
const CEILING: &str = "benches/relay/ceiling.rs";
const LINES_MAX: usize = 700;
/// Folders with Rust in them.
const FOLDERS: [&str; 4] = ["src", "crates", "tests", "benches"];
const MANIFESTS: [&str; 3] = [
    "Cargo.toml",
    "crates/feishu-im/Cargo.toml",
    "crates/feishu-sandbox/Cargo.toml",
];

/// A file, by its path from the root of the repository.
struct File {
    path: String,
    text: String,
}

#[test]
fn the_rooms_keep_to_the_map() {
    holds(rooms);
}

#[test]
fn the_crates_below_know_nothing_of_ours() {
    holds(below);
    for (folder, others) in BELOW {
        let manifest = read(&format!("{folder}Cargo.toml"));
        for other in others {
            let dependency = other.replace('_', "-");
            let named = dependencies(&manifest).any(|line| {
                line.starts_with(&format!("{dependency} "))
                    || line.starts_with(&format!("{dependency}."))
            });
            assert!(
                !named,
                "{folder}Cargo.toml depends on {dependency}: take the line out; this crate stands alone"
            );
        }
    }
}

#[test]
fn every_file_says_what_it_is_for_and_can_be_read_in_one_go() {
    holds(shape);
}

#[test]
fn nothing_is_left_to_be_done_later() {
    holds(unfinished);
}

#[test]
fn no_test_waits_by_sleeping() {
    holds(sleepless);
}

#[test]
fn every_dependency_has_a_reason() {
    let missing: Vec<String> = MANIFESTS
        .iter()
        .flat_map(|path| reasonless(path, &read(path)))
        .collect();
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

/// Rules that see nothing would pass for ever.
#[test]
fn each_rule_sees_its_breach() {
    let check = |rule: fn(&File) -> Vec<String>, path: &str, text: &str, fine: bool| {
        let file = File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let said = rule(&file);
        assert_eq!(said.is_empty(), fine, "{path}: {text}\n{said:?}");
    };
    check(rooms, "src/http/a.rs", "use crate::store::Store;", true);
    check(rooms, "src/http/a.rs", "use crate::dispatch::Core;", false);
    check(rooms, "src/http/a.rs", "crate::dispatch::run()", false);
    check(
        rooms,
        "src/http/a.rs",
        "/// As `crate::dispatch` says.",
        true,
    );
    check(rooms, "src/http/a.rs", "use super::super::dispatch;", false);
    check(
        rooms,
        "src/http/a/b.rs",
        "use super::super::dispatch;",
        true,
    );
    check(rooms, "src/http/a.rs", "use crate::{store, job};", false);
    check(rooms, "src/http/a.rs", "use feishu_im::Api;", false);
    check(rooms, "src/store/a.rs", "use feishu_im::Api;", true);
    check(
        rooms,
        "src/store/a.rs",
        "use feishu_im::{Api, Client};",
        false,
    );
    check(rooms, "src/store/a.rs", "use feishu_im::ApiError;", false);
    check(rooms, "src/store/a.rs", "use feishu_im as im;", false);
    check(rooms, "src/store/a.rs", r#""feishu_im=warn""#, true);
    check(rooms, "src/store/a.rs", "sqlx::query(\"\")", true);
    check(rooms, "src/job/a.rs", "sqlx::query(\"\")", false);
    check(rooms, "src/cli/a.rs", "use crate::store::StoreError;", true);
    check(rooms, "src/cli/a.rs", "use crate::store::Store;", false);
    check(rooms, "src/cli/a.rs", "use feishu_im::Api;", false);
    check(rooms, "src/new/a.rs", "", false);
    check(
        below,
        "crates/feishu-im/src/a.rs",
        "use feishu_sandbox::X;",
        false,
    );
    check(below, "crates/feishu-im/src/a.rs", "use crate::X;", true);
    check(
        below,
        "crates/feishu-sandbox/tests/a.rs",
        "feishu_im::X",
        false,
    );
    check(below, "tests/a.rs", "sqlx::query(\"\")", false);
    check(shape, "src/a.rs", "//! Does a thing.\n", true);
    check(shape, "src/a.rs", "use std::fmt;\n", false);
    check(shape, "src/a.rs", &"//! a\n".repeat(LINES_MAX + 1), false);
    check(unfinished, "src/a.rs", concat!("to", "do!()"), false);
    check(
        unfinished,
        "src/a.rs",
        concat!("unimple", "mented!()"),
        false,
    );
    check(sleepless, "src/a.rs", concat!("sle", "ep(sleep)"), true);
    check(sleepless, "tests/a.rs", concat!("sle", "ep(x)"), false);
    check(
        sleepless,
        "crates/x/tests/a.rs",
        concat!("sle", "ep(x)"),
        false,
    );
    let manifest = "[dependencies]\na = \"1\" # why\nb.workspace = true\n[x]\nc = 1";
    assert!(reasonless("Cargo.toml", manifest).is_empty());
    assert_eq!(
        reasonless("Cargo.toml", "[dev-dependencies]\na = \"1\"").len(),
        1
    );
    assert_eq!(reasonless("Cargo.toml", "[dependencies.a]").len(), 1);
}

fn rooms(file: &File) -> Vec<String> {
    if !file.path.starts_with("src/") {
        return Vec::new();
    }
    let Some((room, may)) = MAP.iter().find(|(room, _)| file.path.starts_with(room)) else {
        return vec![format!(
            "{}: no room owns this file; put it into a room of the map, or add a room to docs/ARCHITECTURE.md and to MAP",
            file.path
        )];
    };
    let own = name_of(room);
    let fault = |used: String| {
        let allowed = used.split("::").next() == Some(own)
            || may
                .iter()
                .any(|one| used == *one || used.starts_with(&format!("{one}::")));
        let why = match used.as_str() {
            "{" => {
                String::from("names several rooms in one `use crate::{`; write one `use` a room")
            }
            _ if used.starts_with("sqlx") => {
                String::from("speaks SQL; only src/store does: give `Store` a method for it")
            }
            _ => format!(
                "uses {used}, which the map does not allow; hand it in from above, move the code, or draw the arrow in docs/ARCHITECTURE.md and in MAP"
            ),
        };
        (!allowed).then(|| format!("{}: {why}", file.path))
    };
    used(file).into_iter().filter_map(fault).collect()
}

fn below(file: &File) -> Vec<String> {
    let code = code(&file.text);
    let forbidden = BELOW
        .iter()
        .find(|(folder, _)| file.path.starts_with(folder))
        .map_or(&["sqlx"][..], |(_, names)| &names[..]);
    // This file has the names in its table.
    if file.path.starts_with("src/") || file.path == file!() || file.path == CEILING {
        return Vec::new();
    }
    forbidden
        .iter()
        .filter(|name| named(&code, name).next().is_some())
        .map(|name| {
            format!(
                "{}: names {name}; this crate or test stands without it: write what it needs here",
                file.path
            )
        })
        .collect()
}

fn shape(file: &File) -> Vec<String> {
    let mut said = Vec::new();
    if !file.text.starts_with("//!") {
        said.push(format!(
            "{}: open it with `//!` and one line that says what the file is for",
            file.path
        ));
    }
    let lines = file.text.lines().count();
    if lines > LINES_MAX {
        said.push(format!(
            "{}: {lines} lines, more than {LINES_MAX}; it holds two ideas: make a folder of it",
            file.path
        ));
    }
    said
}

fn unfinished(file: &File) -> Vec<String> {
    let words = [concat!("to", "do!"), concat!("unimple", "mented!")];
    let found = words.iter().filter(|word| file.text.contains(**word));
    found
        .map(|word| {
            format!(
                "{}: {word}; write it now, or leave out what needs it",
                file.path
            )
        })
        .collect()
}

fn sleepless(file: &File) -> Vec<String> {
    let is_test = file.path.starts_with("tests/")
        || file.path.starts_with("crates/") && file.path.contains("/tests/");
    if is_test && file.text.contains(concat!("sle", "ep(")) {
        return vec![format!(
            "{}: sleeps; move the clock by hand, or wait for an event",
            file.path
        )];
    }
    Vec::new()
}

/// Dependencies of a manifest without a word on why they are there.
fn reasonless(path: &str, manifest: &str) -> Vec<String> {
    dependencies(manifest)
        .filter(|line| !line.ends_with(".workspace = true"))
        .filter(|line| line.split_once(" # ").is_none_or(|(_, why)| why.is_empty()))
        .map(|line| format!("{path}: say after a `#` why it is there: {line}"))
        .collect()
}

/// The lines of a manifest that name a dependency.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    manifest.lines().filter(move |line| {
        let header = line.starts_with('[');
        if header {
            inside = line.trim_end().ends_with("dependencies]");
        }
        let table = header && line.contains("dependencies.");
        table || inside && !header && !line.is_empty() && !line.starts_with('#')
    })
}

/// Every path into another room or a fenced crate: `store::Store`, `feishu_im::Api`, `sqlx::query`.
fn used(file: &File) -> Vec<String> {
    let code = code(&file.text);
    let mut used = Vec::new();
    for root in ["crate", "feishu_relay"] {
        used.extend(
            after(&code, root)
                .filter_map(|rest| rest.strip_prefix("::"))
                .flat_map(paths),
        );
    }
    for name in FENCED {
        for rest in named(&code, name) {
            match rest.strip_prefix("::") {
                Some(rest) => used.extend(firsts(rest).iter().map(|one| format!("{name}::{one}"))),
                None => used.push(name.to_owned()),
            }
        }
    }
    // As many steps up as the file lies deep reach the root.
    let deep = file.path.matches('/').count() - usize::from(file.path.ends_with("/mod.rs"));
    let up = "super::".repeat(deep.max(1));
    used.extend(
        after(&code, up.trim_end_matches("::"))
            .filter_map(|rest| word(rest.strip_prefix("::")?))
            .filter(|word| MAP.iter().any(|(room, _)| name_of(room) == *word))
            .map(str::to_owned),
    );
    used
}

/// What follows `crate::`: a room and what is named in it.
fn paths(rest: &str) -> Vec<String> {
    let Some(room) = word(rest) else {
        return vec![String::from("{")];
    };
    match rest[room.len()..].strip_prefix("::") {
        Some(rest) => firsts(rest)
            .into_iter()
            .map(|first| format!("{room}::{first}"))
            .collect(),
        None => vec![room.to_owned()],
    }
}

/// The first names of a path or of a group in braces.
fn firsts(rest: &str) -> Vec<&str> {
    let Some(group) = rest.strip_prefix('{') else {
        return word(rest).into_iter().collect();
    };
    let mut depth = 1;
    let end = group.find(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth == 0
    });
    let mut outer = 0;
    group[..end.unwrap_or(group.len())]
        .split(|c| {
            outer += i32::from(c == '{') - i32::from(c == '}');
            c == ',' && outer == 0
        })
        .filter_map(|name| word(name.trim_start()))
        .collect()
}

/// What follows each place where `name` stands as a word of its own.
fn after<'a>(code: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).filter_map(move |(at, _)| {
        let rest = &code[at + name.len()..];
        let alone = !code[..at].ends_with(part) && !rest.starts_with(part);
        alone.then_some(rest)
    })
}

/// What follows each use of a crate: a path into it, or a `use` of it whole. Its bare name may be the
/// target of a log line.
fn named<'a>(code: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    after(code, name).filter(|rest| {
        ["::", ";", " as "]
            .iter()
            .any(|next| rest.starts_with(next))
    })
}

fn word(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    Some(&text[..end.unwrap_or(text.len())]).filter(|word| !word.is_empty())
}

/// `src/store/` and `src/daemon.rs` without folder and ending; a command's room is `cli`.
fn name_of(room: &str) -> &str {
    let name = room.trim_start_matches("src/");
    let name = name.split('/').next().unwrap_or(name);
    name.trim_end_matches(".rs")
}

/// Without the lines that are comments.
fn code(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn holds(rule: fn(&File) -> Vec<String>) {
    let mut files = Vec::new();
    for folder in FOLDERS {
        collect(Path::new(folder), &mut files);
    }
    assert!(files.len() > 100, "only {} files found", files.len());
    let said: Vec<String> = files.iter().flat_map(rule).collect();
    assert!(said.is_empty(), "\n{}", said.join("\n"));
}

fn collect(folder: &Path, files: &mut Vec<File>) {
    let Ok(entries) = std::fs::read_dir(root().join(folder)) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| folder.join(entry.expect("a folder can be listed").file_name()))
        .collect();
    paths.sort();
    for path in paths {
        if root().join(&path).is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let path = path.to_str().expect("our names are UTF-8").to_owned();
            let text = read(&path);
            files.push(File { path, text });
        }
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
