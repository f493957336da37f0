//! Who is meant: the people of a route, those of its on-duty lists among them.
//!
//! A list is read from its file at each use. One that cannot be read, or names nobody, stands as it was read last:
//! whoever was on duty an hour ago is called rather than nobody. What is wrong is always said.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::alerts::policy::Who;
use crate::config::{Config, is_mail, is_person};

/// The largest file of a list.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// The most people of a list.
const LIST_MAX: usize = 200;
/// The most lines of a file that are found fault with.
const FAULTS_MAX: usize = 5;

/// The on-duty lists. Clones share what was read last.
#[derive(Clone, Debug, Default)]
pub struct OnCall {
    files: BTreeMap<String, PathBuf>,
    last: Arc<Mutex<BTreeMap<String, Vec<Who>>>>,
}

/// Who is meant: everybody once, in the order in which they were named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct People {
    /// `ou_…`, `on_…` and user_ids.
    pub ids: Vec<String>,
    /// Mail addresses.
    pub mails: Vec<String>,
    /// Everybody in the chat.
    pub all: bool,
    /// What is wrong with the lists, in words that name no person.
    pub faults: Vec<String>,
}

impl People {
    /// Nobody is meant.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.mails.is_empty() && !self.all
    }

    fn add(&mut self, who: &Who) {
        let once = |all: &mut Vec<String>, one: &String| {
            if !all.contains(one) {
                all.push(one.clone());
            }
        };
        match who {
            Who::Id(id) => once(&mut self.ids, id),
            Who::Mail(mail) => once(&mut self.mails, mail),
            Who::All => self.all = true,
            Who::List(_) => {}
        }
    }
}

impl OnCall {
    /// Those of the config; reads nothing yet.
    pub fn new(config: &Config) -> OnCall {
        OnCall {
            files: config.oncall.clone(),
            last: Arc::default(),
        }
    }

    /// Those of another config, with what was read last.
    pub fn reloaded(&self, config: &Config) -> OnCall {
        OnCall {
            files: config.oncall.clone(),
            last: Arc::clone(&self.last),
        }
    }

    /// The people whom `named` means now. Reads files.
    pub fn resolve(&self, named: &[Who]) -> People {
        let mut people = People::default();
        for who in named {
            match who {
                Who::List(list) => {
                    for one in &self.list(list, &mut people.faults) {
                        people.add(one);
                    }
                }
                one => people.add(one),
            }
        }
        people
    }

    fn list(&self, name: &str, faults: &mut Vec<String>) -> Vec<Who> {
        let found = match self.files.get(name) {
            None => Err(String::from("is no list of [oncall] any more")),
            Some(path) => read(path).and_then(|text| people(&text, name, faults)),
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(list) => {
                last.insert(name.to_owned(), list.clone());
                list
            }
            Err(why) => {
                let list = last.get(name).cloned().unwrap_or_default();
                let then = match list.is_empty() {
                    true => "",
                    false => "; those whom it named last are taken",
                };
                faults.push(format!("@{name} {why}{then}"));
                list
            }
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let wrong = |error: std::io::Error| format!("cannot be read: {error}");
    // A pipe would hold whoever reads it.
    if !std::fs::metadata(path).map_err(wrong)?.is_file() {
        return Err(String::from("cannot be read: it is not a file"));
    }
    let mut text = String::new();
    let file = File::open(path).map_err(wrong)?;
    let size = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    match size.map_err(wrong)? as u64 > FILE_BYTES_MAX {
        true => Err(String::from("cannot be read: it is too large")),
        false => Ok(text),
    }
}

/// The first word of each line; what follows it, and what follows a `#`, is for people.
fn people(text: &str, name: &str, faults: &mut Vec<String>) -> Result<Vec<Who>, String> {
    let mut list = Vec::new();
    let mut wrong = 0;
    for (n, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let Some(word) = line.split_whitespace().next() else {
            continue;
        };
        let who = match (is_mail(word), is_person(word)) {
            (true, _) => Who::Mail(word.to_owned()),
            (_, true) => Who::Id(word.to_owned()),
            _ => {
                wrong += 1;
                if wrong <= FAULTS_MAX {
                    let line = n + 1;
                    let why = "is neither an id (ou_…, on_…, a user id) nor a mail address";
                    faults.push(format!("@{name}: line {line} {why}"));
                }
                continue;
            }
        };
        if list.len() == LIST_MAX {
            faults.push(format!(
                "@{name} names more than {LIST_MAX}; the first are taken"
            ));
            break;
        }
        list.push(who);
    }
    match list.is_empty() {
        true => Err(String::from("names nobody")),
        false => Ok(list),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oncall(path: PathBuf) -> OnCall {
        OnCall {
            files: BTreeMap::from([(String::from("duty"), path)]),
            last: Arc::default(),
        }
    }

    fn duty() -> Vec<Who> {
        vec![Who::Id("ou_1".into()), Who::List("duty".into())]
    }

    #[test]
    fn a_list_is_read_at_each_use_and_names_everybody_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("duty.txt");
        let text = "\u{feff}# this week\n ou_2  Li Lei\r\n\nou_1\nou_2\na@corp.cn # mail\nu7";
        std::fs::write(&path, text).unwrap();
        let oncall = oncall(path.clone());
        let people = oncall.resolve(&duty());
        assert_eq!(people.ids, ["ou_1", "ou_2", "u7"]);
        assert_eq!(people.mails, ["a@corp.cn"]);
        assert_eq!(people.faults, [""; 0]);
        std::fs::write(&path, "ou_3\n").unwrap();
        assert_eq!(oncall.resolve(&duty()).ids, ["ou_1", "ou_3"]);
    }

    #[test]
    fn a_list_that_cannot_be_read_stands_as_it_was_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("duty.txt");
        let oncall = oncall(path.clone());
        let people = oncall.resolve(&duty());
        assert_eq!(people.ids, ["ou_1"]);
        assert!(
            people.faults[0].starts_with("@duty cannot be read: "),
            "{people:?}"
        );
        std::fs::write(&path, "ou_2\n").unwrap();
        assert_eq!(oncall.resolve(&duty()).ids, ["ou_1", "ou_2"]);
        for broken in ["", "# nobody\n", "<at id=all></at>\n"] {
            std::fs::write(&path, broken).unwrap();
            let people = oncall.resolve(&duty());
            assert_eq!(people.ids, ["ou_1", "ou_2"], "{broken:?}");
            let last = people.faults.last().unwrap();
            assert_eq!(
                last,
                "@duty names nobody; those whom it named last are taken"
            );
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(oncall.clone().resolve(&duty()).ids, ["ou_1", "ou_2"]);
        std::fs::create_dir(&path).unwrap();
        let people = oncall.resolve(&duty());
        assert!(people.faults[0].contains("not a file"), "{people:?}");
    }

    #[test]
    fn a_line_that_names_nobody_is_left_out_and_named_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("duty.txt");
        std::fs::write(&path, "ou_2\noc_chat\n@all\nou_\"><at>\nou_3\n").unwrap();
        let people = oncall(path).resolve(&[Who::List("duty".into()), Who::All]);
        assert_eq!(people.ids, ["ou_2", "ou_3"]);
        assert!(people.all);
        assert_eq!(people.faults.len(), 3);
        assert!(people.faults[0].starts_with("@duty: line 2 is neither"));
        assert!(people.faults.iter().all(|fault| !fault.contains("oc_chat")));
    }

    #[test]
    fn what_is_too_much_is_cut_and_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("duty.txt");
        let many: String = (0..LIST_MAX + 5).map(|n| format!("ou_{n}\n")).collect();
        std::fs::write(&path, many).unwrap();
        let oncall = oncall(path.clone());
        let people = oncall.resolve(&[Who::List("duty".into())]);
        assert_eq!((people.ids.len(), people.faults.len()), (LIST_MAX, 1));
        std::fs::write(&path, "#".repeat(70_000)).unwrap();
        let people = oncall.resolve(&[Who::List("duty".into())]);
        assert_eq!(people.ids.len(), LIST_MAX);
        assert!(people.faults[0].contains("too large"), "{people:?}");
        let gone = oncall.resolve(&[Who::List("gone".into())]);
        assert!(gone.is_empty() && gone.faults.len() == 1);
    }
}
