//! The objects of a directory, in the order of their keys, from any key on.
//!
//! Keys are compared byte by byte, as stores do: `a.txt` comes before `a/b`, because `.` comes before `/`. So the names
//! in a folder are put in order as the keys below them begin, and a folder whose keys all come before the one to go on
//! from is not entered.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::domain::verification::ListedObject;

/// Objects after a key, at most `limit`. Names of the root in `passed_over` are not entered.
pub(super) fn walk(
    root: &Path,
    passed_over: &[&str],
    after: Option<&str>,
    limit: usize,
) -> io::Result<Vec<ListedObject>> {
    let mut walk = Walk { after: after.unwrap_or_default(), limit, found: Vec::new() };
    let mut entries = entries(root, "")?;
    entries.retain(|entry| !passed_over.contains(&entry.begins_with.trim_end_matches('/')));
    walk.through(entries)?;
    Ok(walk.found)
}

/// A file or a folder.
struct Entry {
    /// The key of a file; the key of a folder with a slash, with which all keys below it begin.
    begins_with: String,
    path: PathBuf,
    is_folder: bool,
}

struct Walk<'a> {
    after: &'a str,
    limit: usize,
    found: Vec<ListedObject>,
}

impl Walk<'_> {
    fn through(&mut self, entries: Vec<Entry>) -> io::Result<()> {
        for entry in entries {
            if self.found.len() >= self.limit {
                break;
            }
            if entry.is_folder {
                if entry.begins_with.as_str() > self.after || self.after.starts_with(&entry.begins_with) {
                    self.descend(&entry)?;
                }
            } else if entry.begins_with.as_str() > self.after {
                self.take(entry)?;
            }
        }
        Ok(())
    }

    fn descend(&mut self, folder: &Entry) -> io::Result<()> {
        match entries(&folder.path, &folder.begins_with) {
            Ok(entries) => self.through(entries),
            // It has gone since its name was read; or it is closed to us, as `lost+found` is, and holds none of ours.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) =>
            {
                tracing::debug!(folder = folder.begins_with, %error, "a folder of the archive is passed over");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn take(&mut self, entry: Entry) -> io::Result<()> {
        match fs::metadata(&entry.path) {
            Ok(file) if file.is_file() => {
                self.found.push(ListedObject { key: entry.begins_with, bytes: file.len() });
                Ok(())
            }
            // A link to a folder, a socket: no object could lie there.
            Ok(_) => Ok(()),
            Err(error) if leads_nowhere(&error) => {
                tracing::debug!(key = entry.begins_with, %error, "an entry of the archive is passed over");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether it is this one entry that cannot be looked at, and not the disk: it has gone, or is a link to nothing, to
/// itself, or to where we may not look.
fn leads_nowhere(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
        || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// What lies in a folder, in the order of the keys.
fn entries(folder: &Path, begins_with: &str) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_folder = entry.file_type()?.is_dir();
        let slash = if is_folder { "/" } else { "" };
        // What is not UTF-8 is none of ours, and is told as well as can be.
        let begins_with = format!("{begins_with}{}{slash}", entry.file_name().to_string_lossy());
        entries.push(Entry { begins_with, path: entry.path(), is_folder });
    }
    entries.sort_unstable_by(|one, other| one.begins_with.cmp(&other.begins_with));
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(keys: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for key in keys {
            let path = root.path().join(key);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, key).unwrap();
        }
        root
    }

    #[test]
    fn keys_come_in_the_order_in_which_a_store_lists_them_and_page_by_page() {
        let mut keys = ["a.txt", "a/b", "a/b.c", "a/b-c/d", "a0", "b/c/d/e", "b/c/d0", "ä/x", ".hidden"];
        let root = tree(&keys);
        fs::create_dir(root.path().join("empty")).unwrap();
        keys.sort_unstable();
        for limit in 1..=keys.len() + 1 {
            let (mut found, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
            loop {
                let page = walk(root.path(), &[], after.as_deref(), limit).unwrap();
                assert!(page.len() <= limit);
                found.extend(page.iter().map(|object| object.key.clone()));
                match page.last() {
                    Some(last) if page.len() == limit => after = Some(last.key.clone()),
                    _ => break,
                }
            }
            assert_eq!(found, keys, "{limit} at a time");
        }
    }

    #[test]
    fn what_is_passed_over_is_not_listed_and_what_only_begins_like_it_is() {
        let root = tree(&[".staging/x", ".staging2/x", "z/.staging/x"]);
        let keys: Vec<_> =
            walk(root.path(), &[".staging"], None, 9).unwrap().into_iter().map(|object| object.key).collect();
        assert_eq!(keys, [".staging2/x", "z/.staging/x"]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_no_object_and_does_not_end_the_listing() {
        let root = tree(&["a", "c"]);
        let (itself, nothing) = (root.path().join("b"), root.path().join("b0"));
        std::os::unix::fs::symlink(&itself, &itself).unwrap();
        std::os::unix::fs::symlink(root.path().join("nothing"), nothing).unwrap();
        let keys: Vec<_> =
            walk(root.path(), &[], None, 9).unwrap().into_iter().map(|object| object.key).collect();
        assert_eq!(keys, ["a", "c"]);
    }
}
