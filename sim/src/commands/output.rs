//! The file that a long search ends in: that it can be written is found out before the search, and
//! what the search found is never lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::cli::BadInput;
use crate::report::Report;

/// A file that will be written.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    /// It must not be there until then.
    new: bool,
}

impl Output {
    /// A file that may be there already; it keeps its content until [`Self::finish`].
    pub(super) fn begin(path: &Path) -> Result<Self, BadInput> {
        if path.is_dir() {
            return Err(BadInput(format!("can not write {}: it is a folder", path.display())));
        }
        Self::probed(path, path.exists(), false)
    }

    /// A file that must not be there yet. Makes its folder.
    pub(super) fn begin_new(path: &Path) -> Result<Self, BadInput> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| refused(path, &error))?;
        }
        Self::probed(path, false, true)
    }

    /// Opens it for writing. One that was not there goes again at once: whoever interrupts the
    /// search finds no empty plan.
    fn probed(path: &Path, there: bool, new: bool) -> Result<Self, BadInput> {
        let mut options = OpenOptions::new();
        options.append(true).create(!there).create_new(new);
        options.open(path).map_err(|error| refused(path, &error))?;
        if !there {
            fs::remove_file(path).map_err(|error| refused(path, &error))?;
        }
        Ok(Self { path: path.to_owned(), new })
    }

    /// Writes the text in place of what is there; if that fails, to standard output.
    pub(super) fn finish(self, text: &str, report: &Report) -> Result<PathBuf, BadInput> {
        let file = if self.new { File::create_new(&self.path) } else { File::create(&self.path) };
        match file.and_then(|mut file| file.write_all(text.as_bytes())) {
            Ok(()) => Ok(self.path),
            Err(error) => {
                report.text(text);
                Err(refused(&self.path, &error))
            }
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
