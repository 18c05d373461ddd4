//! The way through the pages of a list, by Zoom's `next_page_token`.

use std::collections::HashSet;

use super::ApiError;

/// Where a list is, and where it was. Every token leads on once: a list that comes back to one goes round for ever.
#[derive(Debug, Default)]
pub(super) struct Trail {
    token: Option<String>,
    seen: HashSet<String>,
}

impl Trail {
    /// The token of the page that is next; `None` at the first one.
    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Goes on to the page that `next` names. Whether there is one: an empty token is the end, and the trail begins again.
    ///
    /// # Errors
    /// [`ApiError::Refused`] when it has been there before; the trail begins again.
    pub(super) fn turn(&mut self, next: String) -> Result<bool, ApiError> {
        if next.is_empty() {
            self.begin_again();
            return Ok(false);
        }
        if !self.seen.insert(next.clone()) {
            self.begin_again();
            return Err(ApiError::refused("Zoom's list leads back to a page that was read before"));
        }
        self.token = Some(next);
        Ok(true)
    }

    /// Back to the first page.
    pub(super) fn begin_again(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_goes_round_is_noticed_however_long_the_way() {
        let mut trail = Trail::default();
        for token in ["a", "b", "c"] {
            assert!(trail.turn(token.to_owned()).unwrap());
            assert_eq!(trail.token(), Some(token));
        }
        assert!(trail.turn("a".to_owned()).is_err());
        // Then it begins again, and may be right.
        assert_eq!(trail.token(), None);
        assert!(trail.turn("a".to_owned()).unwrap());
        assert!(!trail.turn(String::new()).unwrap());
        assert!(trail.turn("a".to_owned()).unwrap(), "another part of the list");
    }
}
