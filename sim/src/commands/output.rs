//! The file that a long search ends in: that it can be written is found out before the search, and
//! what the search found is never lost.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::BadInput;
use crate::report::Report;

/// A file that will be written. One that was not there before goes again if nothing is.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    made: bool,
}

impl Output {
    /// Opens a file that may be there already; it keeps its content until [`Self::finish`].
    pub(super) fn begin(path: &Path) -> Result<Self, BadInput> {
        if path.is_dir() {
            return Err(BadInput(format!("can not write {}: it is a folder", path.display())));
        }
        let made = !path.exists();
        Self::open(path, OpenOptions::new().append(true).create(true), made)
    }

    /// Makes a file that must not be there yet, and its folder.
    pub(super) fn begin_new(path: &Path) -> Result<Self, BadInput> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| refused(path, &error))?;
        }
        Self::open(path, OpenOptions::new().append(true).create_new(true), true)
    }

    fn open(path: &Path, options: &OpenOptions, made: bool) -> Result<Self, BadInput> {
        options.open(path).map_err(|error| refused(path, &error))?;
        Ok(Self { path: path.to_owned(), made })
    }

    /// Writes the text in place of what is there; if that fails, to standard output.
    pub(super) fn finish(mut self, text: &str, report: &Report) -> Result<PathBuf, BadInput> {
        if let Err(error) = fs::write(&self.path, text) {
            report.text(text);
            return Err(refused(&self.path, &error));
        }
        self.made = false;
        Ok(self.path.clone())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.made {
            // The complaint that led here says more than one about this would.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn refused(path: &Path, error: &io::Error) -> BadInput {
    BadInput(format!("can not write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("seedbed-output-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        folder.join(name)
    }

    #[test]
    fn output_that_is_not_finished_leaves_what_was_there() {
        let (new, old) = (at("new"), at("old"));
        fs::write(&old, "kept").expect("written");
        drop(Output::begin(&new).expect("opened"));
        drop(Output::begin(&old).expect("opened"));
        assert!(!new.exists());
        assert_eq!(fs::read_to_string(&old).expect("read"), "kept");
        Output::begin(&old).expect("opened").finish("new", &Report::default()).expect("written");
        assert_eq!(fs::read_to_string(&old).expect("read"), "new");
    }

    #[test]
    fn output_that_must_be_new_or_can_not_be_made_is_refused() {
        let there = at("there");
        fs::write(&there, "").expect("written");
        for path in [there.clone(), there.join("below"), at("")] {
            assert!(Output::begin_new(&path).is_err(), "{path:?}");
        }
        assert!(Output::begin(&there.join("below")).is_err());
        assert!(there.exists());
    }
}
