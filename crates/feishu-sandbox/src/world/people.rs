//! Who lives here: users under their four ids, departments, and how a list of ids becomes people.

use std::collections::{HashMap, HashSet};

use crate::seed::{Department, Seed, User};

/// The kinds of id a person has. Source: messages.md 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum IdKind {
    Open,
    Union,
    User,
    Email,
}

impl IdKind {
    /// Reads a `user_id_type` or `receive_id_type`.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "open_id" => Some(Self::Open),
            "union_id" => Some(Self::Union),
            "user_id" => Some(Self::User),
            "email" => Some(Self::Email),
            _ => None,
        }
    }

    /// The kind an id looks like. Source: messages.md 1 (guessing the type).
    pub(crate) fn guess(id: &str) -> Option<Self> {
        match id {
            _ if id.starts_with("oc_") => None,
            _ if id.starts_with("ou_") => Some(Self::Open),
            _ if id.starts_with("on_") => Some(Self::Union),
            _ if id.contains('@') => Some(Self::Email),
            _ => Some(Self::User),
        }
    }

    /// The id of this kind that `user` has.
    pub(crate) fn of(self, user: &User) -> &str {
        match self {
            Self::Open => &user.open_id,
            Self::Union => &user.union_id,
            Self::User => &user.user_id,
            Self::Email => &user.email,
        }
    }
}

/// Users and departments, looked up by id.
#[derive(Debug)]
pub(crate) struct People {
    users: Vec<User>,
    by_id: HashMap<(IdKind, String), usize>,
    departments: HashMap<String, Department>,
    below: HashMap<String, Vec<String>>,
}

impl People {
    pub(crate) fn new(seed: &Seed) -> Self {
        let mut by_id = HashMap::new();
        for (at, user) in seed.users.iter().enumerate() {
            for kind in [IdKind::Open, IdKind::Union, IdKind::User, IdKind::Email] {
                if !kind.of(user).is_empty() {
                    by_id.entry((kind, kind.of(user).to_owned())).or_insert(at);
                }
            }
        }
        let mut below: HashMap<String, Vec<String>> = HashMap::new();
        for each in &seed.departments {
            if let Some(parent) = &each.parent {
                below
                    .entry(parent.clone())
                    .or_default()
                    .push(each.department_id.clone());
            }
        }
        let departments = seed
            .departments
            .iter()
            .map(|each| (each.department_id.clone(), each.clone()))
            .collect();
        Self {
            users: seed.users.clone(),
            by_id,
            departments,
            below,
        }
    }

    /// The user who has this id of this kind.
    pub(crate) fn find(&self, kind: IdKind, id: &str) -> Option<&User> {
        self.by_id
            .get(&(kind, id.to_owned()))
            .and_then(|at| self.users.get(*at))
    }

    /// The user who has this id, of whatever kind it looks like.
    pub(crate) fn guess(&self, id: &str) -> Option<&User> {
        IdKind::guess(id).and_then(|kind| self.find(kind, id))
    }

    /// The name to show for an open id.
    pub(crate) fn name<'a>(&'a self, open_id: &'a str) -> &'a str {
        self.find(IdKind::Open, open_id)
            .map(|user| user.name.as_str())
            .filter(|name| !name.is_empty())
            .unwrap_or(open_id)
    }

    /// The open ids of all in a department and below it; `None` when there is no such department.
    pub(crate) fn department(&self, department_id: &str) -> Option<Vec<String>> {
        self.departments.get(department_id)?;
        let mut seen = HashSet::new();
        let mut waiting = vec![department_id];
        let mut people = Vec::new();
        while let Some(id) = waiting.pop() {
            if !seen.insert(id) {
                continue;
            }
            if let Some(each) = self.departments.get(id) {
                people.extend(each.members.iter().cloned());
            }
            waiting.extend(self.below.get(id).into_iter().flatten().map(String::as_str));
        }
        Some(people)
    }
}
