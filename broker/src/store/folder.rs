//! A folder as an object store: what makes its answers durable.
//!
//! `object_store` writes an object into a file `key#n`, syncs it, links it to its key (a create) or
//! renames it (an overwrite), and syncs the folder in which the key is. Left to us are the folders
//! above, which another process may have created and not synced yet; a create that is refused
//! because of an object that is linked and not synced yet; and deletes.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use object_store::Error;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;

use crate::durable;

/// The folder.
pub(super) struct Folder {
    root: Arc<Path>,
    /// Folders whose names, and those of all above them, are durable. None is ever removed.
    reached: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<(Self, LocalFileSystem)> {
        durable::create_folder(path)?;
        let root = path.canonicalize()?;
        let objects = LocalFileSystem::new_with_prefix(&root)?.with_fsync(true);
        Ok((Self { root: root.into(), reached: Arc::default() }, objects))
    }

    /// Makes it durable that an object is there, or that none is; `synced` says that this is so
    /// already for the folder in which its key is.
    pub(super) async fn settle(&self, object: &ObjectPath, synced: bool) -> Result<(), Error> {
        let mut folder = self.root.to_path_buf();
        folder.extend(object.parts().map(|part| part.as_ref().to_owned()));
        folder.pop();
        let (root, reached) = (Arc::clone(&self.root), Arc::clone(&self.reached));
        let settled = tokio::task::spawn_blocking(move || {
            if synced { Ok(()) } else { sync(&folder) }?;
            reach(&root, &reached, folder)
        });
        settled.await?.map_err(|e| Error::Generic { store: "folder", source: e.into() })
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    match durable::sync_folder(folder) {
        // Nothing was ever put there.
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn reach(root: &Path, reached: &Mutex<BTreeSet<PathBuf>>, folder: PathBuf) -> io::Result<()> {
    let reached = || reached.lock().unwrap_or_else(PoisonError::into_inner);
    if folder.is_dir() && !reached().contains(&folder) {
        let mut above = folder.ancestors().skip(1).take_while(|above| above.starts_with(root));
        above.try_for_each(durable::sync_folder)?;
        reached().insert(folder);
    }
    Ok(())
}
