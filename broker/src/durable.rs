//! Files that are on the disk before anybody is told: folders, whole files replaced at once, and
//! the number of a process's life.
//!
//! Sources: rename(2), fsync(2) ("does not necessarily ensure that the entry in the directory
//! containing the file has also reached disk"); Pillai et al., "All File Systems Are Not Created
//! Equal" (OSDI '14).

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use broker_core::ids::Incarnation;

/// Tells of which file or folder an error is: the system's words do not.
pub(crate) fn of(path: &Path) -> impl Fn(io::Error) -> io::Error + '_ {
    move |e| io::Error::new(e.kind(), format!("{}: {e}", path.display()))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder).and_then(|it| it.sync_all()).map_err(of(folder))
}

/// Creates a folder and those above it that are missing, durably.
pub(crate) fn create_folder(folder: &Path) -> io::Result<()> {
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
    if !folder.is_dir() {
        above.map_or(Ok(()), create_folder)?;
        match fs::create_dir(folder) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
            other => other.map_err(of(folder))?,
        }
    }
    // One that is there may be from a process that died before this.
    sync_folder(above.unwrap_or(Path::new(".")))
}

/// Puts a file of these bytes in the place of `name`: whoever reads finds the old file or the new
/// one, whole. The new name is durable after [`sync_folder`]. If it fails, nothing has changed.
pub(crate) fn replace(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let (new, old) = (folder.join(format!("{name}.new")), folder.join(name));
    let written = write(&new, bytes).map_err(of(&new));
    let replaced = written.and_then(|()| fs::rename(&new, &old).map_err(of(&old)));
    if replaced.is_err() {
        // It may be what fills the disk. If it stays, the next one is written over it.
        let _ = fs::remove_file(&new);
    }
    replaced
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A file's bytes, if it is there.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(of(path)(e)),
    }
}

/// Begins a life of the process that keeps its files in `folder`: a number greater than all that
/// were given before, durable before it is told. Two processes at once get two numbers.
///
/// # Errors
/// The file `incarnation` is damaged (it is never begun anew: a number given twice would let an
/// old process's messages pass for a new one's), or the disk failed.
pub fn next_incarnation(folder: &Path) -> io::Result<Incarnation> {
    create_folder(folder)?;
    let lock = folder.join("incarnation.lock");
    let _held = File::create(&lock).and_then(|it| it.lock().map(|()| it)).map_err(of(&lock))?;
    let path = folder.join("incarnation");
    let last = read(&path)?.map_or(Some(0), |text| number(&text));
    let next = last.and_then(|last: u32| last.checked_add(1)).ok_or_else(|| {
        io::Error::new(ErrorKind::InvalidData, format!("{}: not a number", path.display()))
    })?;
    replace(folder, "incarnation", format!("{next}\n").as_bytes())?;
    sync_folder(folder)?;
    Ok(Incarnation(next))
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.strip_suffix('\n')?.parse().ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::ops::Deref;
    use std::path::PathBuf;
    use std::sync::Mutex;
    use std::thread;

    use super::*;

    /// A path at which nothing is, before the test and after it.
    pub(crate) struct Scratch(PathBuf);

    impl Scratch {
        pub(crate) fn new(name: &str) -> Self {
            let name = format!("seedbed-broker-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Deref for Scratch {
        type Target = Path;

        fn deref(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn incarnation_grows_and_outlives_a_torn_replacement() {
        let scratch = Scratch::new("grows");
        let folder = scratch.join("of/a/node");
        let next = || next_incarnation(&folder).map_err(|e| e.kind());
        assert_eq!(next(), Ok(Incarnation(1)));
        assert_eq!(next(), Ok(Incarnation(2)));
        fs::write(folder.join("incarnation.new"), "9").expect("a process was killed here");
        assert_eq!(next(), Ok(Incarnation(3)));
    }

    #[test]
    fn incarnation_damaged_or_used_up_is_never_begun_anew() {
        let folder = Scratch::new("damaged");
        assert!(next_incarnation(&folder).is_ok());
        for text in [&b""[..], b"7", b"seven\n", b"\xff\n", b"4294967295\n", b"4294967296\n"] {
            fs::write(folder.join("incarnation"), text).expect("written");
            let refused = next_incarnation(&folder).map_err(|e| e.kind());
            assert_eq!(refused, Err(ErrorKind::InvalidData), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn folder_that_can_not_be_used_is_named() {
        let scratch = Scratch::new("named");
        create_folder(&scratch).expect("a folder");
        for name in ["node", "incarnation.lock", "incarnation"] {
            let folder = scratch.join(format!("with-{name}"));
            let in_the_way = if name == "node" { folder.clone() } else { folder.join(name) };
            if name == "node" {
                fs::write(&in_the_way, "a file").expect("written");
            } else {
                fs::create_dir_all(&in_the_way).expect("a folder");
            }
            let refused = next_incarnation(&folder).expect_err("in the way").to_string();
            assert!(refused.starts_with(&in_the_way.display().to_string()), "{refused}");
        }
    }

    #[test]
    fn incarnation_of_processes_at_once_is_never_given_twice() {
        let folder = Scratch::new("at-once");
        let given = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let next = next_incarnation(&folder).expect("a folder");
                        given.lock().expect("no panic").push(next);
                    }
                });
            }
        });
        let mut given = given.into_inner().expect("no panic");
        given.sort_unstable();
        assert_eq!(given, (1..=20).map(Incarnation).collect::<Vec<_>>());
    }

    #[test]
    fn file_that_can_not_be_replaced_is_as_it_was() {
        let folder = Scratch::new("as-it-was");
        create_folder(&folder).expect("a folder");
        replace(&folder, "name", b"old").expect("replaced");
        fs::create_dir(folder.join("name.new")).expect("in the way");
        assert!(replace(&folder, "name", b"new").is_err());
        assert_eq!(read(&folder.join("name")).expect("read"), Some(b"old".to_vec()));
        fs::create_dir(folder.join("other")).expect("in the way");
        assert!(replace(&folder, "other", b"new").is_err());
        assert_eq!(read(&folder.join("other.new")).expect("read"), None);
    }
}
