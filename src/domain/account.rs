//! What a person calls the Zoom accounts that are archived.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

/// Name of the account whose secrets are in the environment.
pub const DEFAULT_ACCOUNT: &str = "default";
/// Stands for accounts that nobody has named, where all should have a name.
const OTHER: &str = "other";

/// Names by Zoom's account ids. Clones share them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountNames {
    /// As the configuration names them.
    by_id: Arc<BTreeMap<String, String>>,
    /// Whether only named accounts are expected.
    is_closed: bool,
}

impl AccountNames {
    /// Names as the configuration gives them, each with its id. `is_closed`: whether there is no account of the
    /// environment, to which all others would belong.
    pub fn new(names: impl IntoIterator<Item = (String, String)>, is_closed: bool) -> Self {
        let by_id = names.into_iter().map(|(name, id)| (id, name)).collect();
        Self { by_id: Arc::new(by_id), is_closed }
    }

    /// The name that the configuration gives to an account, if it does.
    #[must_use]
    pub fn given(&self, account_id: &str) -> Option<&str> {
        self.by_id.get(account_id).map(String::as_str)
    }

    /// Zoom's ids of an account that is named by a person: by the name that the configuration gives it, or by the id
    /// itself. Empty for all accounts: `default`, where that is the only one.
    #[must_use]
    pub fn ids(&self, name: &str) -> Vec<String> {
        if name == DEFAULT_ACCOUNT && self.by_id.is_empty() {
            return Vec::new();
        }
        let named = self.by_id.iter().filter(|(_, known)| *known == name).map(|(id, _)| id.clone());
        let ids: Vec<String> = named.collect();
        if ids.is_empty() { vec![name.to_owned()] } else { ids }
    }

    /// A word for metrics and logs, of which there are no more than accounts in the configuration, and one: the name;
    /// `default` for all that have none, as far as the environment has secrets.
    #[must_use]
    pub fn label(&self, account_id: &str) -> &str {
        self.given(account_id).unwrap_or(if self.is_closed { OTHER } else { DEFAULT_ACCOUNT })
    }

    /// What `{account}` in a key stands for: the name, or the id where the configuration gives no name.
    #[must_use]
    pub fn in_keys<'a>(&'a self, account_id: &'a str) -> &'a str {
        self.given(account_id).filter(|name| *name != DEFAULT_ACCOUNT).unwrap_or(account_id)
    }
}

impl AccountNames {
    /// The accounts that these words, names or ids, stand for; all when there are none.
    #[must_use]
    pub fn choose(&self, words: &[String]) -> AccountChoice {
        let is_named = |word: &str| words.iter().any(|it| it == word);
        let of_the_nameless = if self.is_closed { OTHER } else { DEFAULT_ACCOUNT };
        let takes_listed = !(words.is_empty() || is_named(of_the_nameless));
        let is_chosen = |(id, name): &(&String, &String)| words.is_empty() || is_named(id) || is_named(name);
        let listed = self.by_id.iter().filter(|named| is_chosen(named) == takes_listed);
        let mut listed: BTreeSet<String> = listed.map(|(id, _)| id.clone()).collect();
        if takes_listed {
            listed.extend(words.iter().cloned());
        }
        AccountChoice { listed, takes_listed }
    }
}

/// Some of all accounts, told by their ids: those that are listed, or all others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountChoice {
    listed: BTreeSet<String>,
    takes_listed: bool,
}

impl AccountChoice {
    /// Whether an account is one of them.
    #[must_use]
    pub fn takes(&self, account_id: &str) -> bool {
        self.listed.contains(account_id) == self.takes_listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_without_a_name_keeps_its_id_in_keys_and_shares_a_word_in_metrics() {
        let none = AccountNames::default();
        assert_eq!((none.label("a1"), none.in_keys("a1")), (DEFAULT_ACCOUNT, "a1"));
        let pair = |name: &str, id: &str| (name.to_owned(), id.to_owned());
        let names = AccountNames::new([pair("emea", "a1"), pair(DEFAULT_ACCOUNT, "a2")], false);
        assert_eq!((names.label("a1"), names.in_keys("a1")), ("emea", "emea"));
        assert_eq!((names.label("a2"), names.in_keys("a2")), (DEFAULT_ACCOUNT, "a2"));
        assert_eq!((names.label("a3"), names.in_keys("a3")), (DEFAULT_ACCOUNT, "a3"));
        assert_eq!((names.ids("emea"), names.ids("a9")), (vec!["a1".to_owned()], vec!["a9".to_owned()]));
        assert!(none.ids(DEFAULT_ACCOUNT).is_empty(), "there is no other");
        let closed = AccountNames::new([pair("emea", "a1")], true);
        assert_eq!((closed.label("a1"), closed.label("a3"), closed.in_keys("a3")), ("emea", OTHER, "a3"));
    }

    #[test]
    fn accounts_are_chosen_by_name_or_id_and_the_nameless_by_the_word_for_them() {
        let pair = |name: &str, id: &str| (name.to_owned(), id.to_owned());
        let names = AccountNames::new([pair("emea", "a1"), pair("apac", "a2")], false);
        let taken = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            ["a1", "a2", "a3"].map(|id| names.choose(&words).takes(id))
        };
        assert_eq!(taken(&[]), [true, true, true]);
        assert_eq!(taken(&["emea"]), [true, false, false]);
        assert_eq!(taken(&["a2", "a3"]), [false, true, true]);
        assert_eq!(taken(&[DEFAULT_ACCOUNT]), [false, false, true]);
        assert_eq!(taken(&[DEFAULT_ACCOUNT, "emea"]), [true, false, true]);
    }
}
