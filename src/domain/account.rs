//! What a person calls the Zoom accounts that are archived.

use std::collections::BTreeMap;
use std::sync::Arc;

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
        let closed = AccountNames::new([pair("emea", "a1")], true);
        assert_eq!((closed.label("a1"), closed.label("a3"), closed.in_keys("a3")), ("emea", OTHER, "a3"));
    }
}
