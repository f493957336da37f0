//! Fingerprints of alerts in the order in which they came, each once: ten thousand come and go at the cost of a seek
//! each. Kept as a list.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

/// Fingerprints, the first that came first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Fingerprints {
    order: BTreeMap<u64, String>,
    places: HashMap<String, u64>,
    next: u64,
}

impl Fingerprints {
    /// Puts it behind the others, unless it is there.
    pub fn push(&mut self, one: String) {
        if !self.places.contains_key(&one) {
            self.places.insert(one.clone(), self.next);
            self.order.insert(self.next, one);
            self.next += 1;
        }
    }

    /// Takes it out.
    pub fn remove(&mut self, one: &str) {
        if let Some(place) = self.places.remove(one) {
            self.order.remove(&place);
        }
    }

    /// Takes all of them out.
    pub fn take(&mut self) -> Vec<String> {
        std::mem::take(self).into()
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.take();
    }

    /// In their order.
    pub fn iter(&self) -> impl Iterator<Item = &String> {
        self.order.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

impl From<Vec<String>> for Fingerprints {
    fn from(list: Vec<String>) -> Fingerprints {
        let mut all = Fingerprints::default();
        list.into_iter().for_each(|one| all.push(one));
        all
    }
}

impl From<Fingerprints> for Vec<String> {
    fn from(all: Fingerprints) -> Vec<String> {
        all.order.into_values().collect()
    }
}

impl PartialEq for Fingerprints {
    fn eq(&self, other: &Fingerprints) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fingerprints {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_keep_their_order_and_come_once() {
        let list = ["b", "a", "c"].map(String::from).to_vec();
        let mut all = Fingerprints::from(list);
        all.push("a".into());
        all.remove("b");
        all.remove("none");
        all.push("b".into());
        assert_eq!(all.len(), 3);
        let kept = serde_json::to_string(&all).unwrap();
        assert_eq!(kept, r#"["a","c","b"]"#);
        let mut read: Fingerprints = serde_json::from_str(&kept).unwrap();
        assert_eq!(read, all);
        assert_eq!(read.take(), ["a", "c", "b"]);
        assert!(read.is_empty());
    }
}
