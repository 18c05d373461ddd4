//! Whose secret signed an event, and which accounts such an event may speak of.

use std::collections::BTreeSet;

use secrecy::SecretString;

use crate::config::secrets::ZoomAccount;
use crate::zoom::payload::{FOREIGN_ACCOUNT, UNKNOWN_ACCOUNT};

/// The secrets of all accounts, and what each of them is good for.
pub(super) struct Signers {
    secrets: Vec<SecretString>,
    /// By position in `secrets`.
    signers: Vec<Signer>,
    /// Ids of all accounts that have one.
    ids: BTreeSet<String>,
    /// Whether there are several accounts, so that one could speak of another.
    are_several: bool,
}

#[derive(Clone)]
struct Signer {
    name: String,
    account_id: Option<String>,
    sub_account_ids: Vec<String>,
    /// Whether it may speak of accounts that nobody has named: the account of the environment, whose sessions and meetings may
    /// be of two accounts, and one that does not say which it is.
    is_open: bool,
}

impl Signers {
    pub(super) fn new(accounts: &[ZoomAccount]) -> Self {
        let signers = accounts.iter().flat_map(|account| {
            let signer = Signer {
                name: account.name.clone(),
                account_id: account.account_id.clone(),
                sub_account_ids: account.sub_account_ids.clone(),
                is_open: account.is_of_environment() || account.account_id.is_none(),
            };
            account.webhook_secret_tokens.iter().map(move |secret| (secret.clone(), signer.clone()))
        });
        let (secrets, signers) = signers.unzip();
        let ids =
            accounts.iter().flat_map(|account| account.account_id.iter().chain(&account.sub_account_ids));
        Self { secrets, signers, ids: ids.cloned().collect(), are_several: accounts.len() > 1 }
    }

    pub(super) fn secrets(&self) -> &[SecretString] {
        &self.secrets
    }

    /// Zoom's id of the account that a secret belongs to, where it is known.
    pub(super) fn account_id(&self, signed_by: usize) -> Option<&str> {
        self.signers[signed_by].account_id.as_deref()
    }

    /// Why an event of this account is not believed, if so: it was signed with the secret of another one.
    pub(super) fn objection(&self, signed_by: usize, account_id: &str) -> Option<String> {
        let signer = &self.signers[signed_by];
        let is_own = signer.account_id.as_deref() == Some(account_id)
            || signer.sub_account_ids.iter().any(|sub| sub == account_id);
        let is_nobodys = signer.is_open && !self.ids.contains(account_id);
        if !self.are_several || account_id == UNKNOWN_ACCOUNT || is_own || is_nobodys {
            return None;
        }
        Some(format!(
            "{FOREIGN_ACCOUNT}: it was signed with the secret of account `{}`; list the account id among its \
             sub_account_ids if it may speak of it",
            signer.name
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secrets::ZoomCredentials;

    fn account(name: &str, id: Option<&str>, sub: &[&str]) -> ZoomAccount {
        ZoomAccount {
            name: name.to_owned(),
            account_id: id.map(str::to_owned),
            sub_account_ids: sub.iter().map(|id| (*id).to_owned()).collect(),
            webhook_secret_tokens: vec![name.into()],
            credentials: ZoomCredentials::default(),
            sdk: None,
        }
    }

    #[test]
    fn a_secret_speaks_of_its_own_account_and_of_those_that_are_listed() {
        let accounts = [
            account("default", Some("d"), &[]),
            account("a", Some("1"), &["11"]),
            account("b", Some("2"), &[]),
        ];
        let signers = Signers::new(&accounts);
        let believed = |by: usize| {
            ["d", "1", "11", "2", "other", UNKNOWN_ACCOUNT].map(|id| signers.objection(by, id).is_none())
        };
        assert_eq!(believed(0), [true, false, false, false, true, true]);
        assert_eq!(believed(1), [false, true, true, false, false, true]);
        assert_eq!(believed(2), [false, false, false, true, false, true]);
    }

    #[test]
    fn one_account_alone_speaks_of_whatever_its_events_name() {
        let signers = Signers::new(&[account("default", Some("d"), &[])]);
        assert!(["d", "other"].iter().all(|id| signers.objection(0, id).is_none()));
    }
}
