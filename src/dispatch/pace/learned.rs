//! Which chat an address leads to, as answers have shown it. Bounded: what was not seen for
//! long is forgotten, and learned again from the next answer.

use std::collections::HashMap;

/// Two generations: the older is dropped whole when the younger is full.
#[derive(Debug)]
pub(super) struct Learned {
    half: usize,
    young: HashMap<Box<str>, Box<str>>,
    old: HashMap<Box<str>, Box<str>>,
}

impl Learned {
    /// Holds at most `capacity` addresses.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            half: (capacity / 2).max(1),
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    pub(super) fn chat_of(&self, address: &str) -> Option<&str> {
        let chat = self.young.get(address).or_else(|| self.old.get(address))?;
        Some(chat)
    }

    pub(super) fn learn(&mut self, address: &str, chat_id: &str) {
        if self
            .young
            .get(address)
            .is_some_and(|known| **known == *chat_id)
        {
            return;
        }
        if self.young.len() >= self.half && !self.young.contains_key(address) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(address.into(), chat_id.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_chat_of_an_address_counts() {
        let mut learned = Learned::new(8);
        assert_eq!(learned.chat_of("ou_a"), None);
        learned.learn("ou_a", "oc_1");
        learned.learn("ou_a", "oc_2");
        assert_eq!(learned.chat_of("ou_a"), Some("oc_2"));
    }

    #[test]
    fn the_older_half_is_still_known() {
        let mut learned = Learned::new(4);
        for address in ["ou_a", "ou_b", "ou_c"] {
            learned.learn(address, "oc_x");
        }
        let known = ["ou_a", "ou_b", "ou_c"].map(|address| learned.chat_of(address).is_some());
        assert_eq!(known, [true; 3]);
    }

    #[test]
    fn what_is_seen_again_outlives_what_is_not_and_the_size_is_bounded() {
        let mut learned = Learned::new(100);
        learned.learn("ou_kept", "oc_kept");
        for n in 0..10_000 {
            learned.learn(&format!("ou_{n}"), "oc_x");
            learned.learn("ou_kept", "oc_kept");
            assert!(learned.young.len() + learned.old.len() <= 100);
        }
        assert_eq!(learned.chat_of("ou_kept"), Some("oc_kept"));
        assert_eq!(learned.chat_of("ou_0"), None);
    }
}
