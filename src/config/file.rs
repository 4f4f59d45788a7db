//! The files that a configuration names, and the only place that reads them.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::metrics::hash;

/// A file that an option names, read.
pub(super) struct NamedFile {
    /// Where the option was written and the file's name, for errors.
    pub(super) place: String,
    /// What it holds.
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

/// Every file that was read, or could not be, and what it was like just before.
#[derive(Debug, Default)]
pub struct Files {
    read: Vec<(PathBuf, Option<Stamp>)>,
    authentication_config: Option<String>,
}

impl Files {
    /// Whether any of them is another than it was: written to, replaced, removed, or there at last. Symbolic links are followed,
    /// so the swap of a Kubernetes volume (`..data`) shows.
    pub fn changed(&self) -> bool {
        self.read.iter().any(|(path, stamp)| Stamp::of(path) != *stamp)
    }

    /// What the file that `--authentication-config` names is like: the hash that Kubernetes puts into metrics, empty if the file could
    /// not be read; none without such a file.
    pub fn authentication_config(&self) -> Option<&str> {
        self.authentication_config.as_deref()
    }

    pub(super) fn note_authentication_config(&mut self, bytes: &[u8]) {
        self.authentication_config = Some(hash(bytes));
    }

    /// Reads a file, or says why that cannot be done.
    pub(super) fn read(&mut self, path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
        // Before reading: what changes in between is seen at the next look.
        self.read.push((path.to_owned(), Stamp::of(path)));
        read(path).map_err(|error| format!("cannot be read: {error}"))
    }
}

/// Where Kubernetes reads anything, this takes regular files alone (symbolic links are followed), and none without end: a pipe may be waited
/// for without end, at a reload too, and holds nothing when it is read again.
fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let refused = |problem: String| Err(io::Error::other(problem));
    // Before it is opened, since that waits for whoever writes to a pipe. Of a folder the kernel says so itself.
    let kind = std::fs::metadata(path)?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return refused("it is a pipe, a socket or a device; write what it holds to a file".to_owned());
    }
    let file = File::open(path)?;
    let (length, too_large) =
        (file.metadata()?.len(), || format!("it has more than {MAX_FILE} bytes; shorten it"));
    if length > MAX_FILE {
        return refused(too_large());
    }
    // Room for all of it at once, for what is left behind when a vector grows is not wiped.
    let mut bytes = Zeroizing::new(Vec::new());
    bytes.try_reserve_exact(usize::try_from(length).unwrap_or_default())?;
    // The length is what it was, and 0 in /proc.
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()) {
        Ok(read) if read <= MAX_FILE => Ok(bytes),
        _ => refused(too_large()),
    }
}

/// No file is larger, in bytes. Ours: a million static tokens have some 100 MB, and 512 bytes of each fit.
const MAX_FILE: u64 = 512 << 20;

/// What changes when a file does: where it is, how long, and when its content and its inode were last written.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata: io::Result<Metadata> = std::fs::metadata(path);
        let metadata = metadata.ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// CWE-400, CWE-770: whatever the path leads to, reading it comes to an end.
    #[test]
    fn what_has_no_end_is_refused_and_what_a_link_leads_to_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let told = |path: &Path| Files::default().read(path).map(|bytes| bytes.to_vec());
        let endless = "cannot be read: it is a pipe, a socket or a device; write what it holds to a file";
        assert!(Command::new("mkfifo").arg(at("pipe")).status().expect("mkfifo").success());
        std::os::unix::fs::symlink("/dev/zero", at("link to zero")).expect("a link");
        for path in [at("pipe"), at("link to zero"), "/dev/zero".into()] {
            assert_eq!(told(&path), Err(endless.to_owned()), "{path:?}");
        }
        assert_eq!(told(folder.path()), Err("cannot be read: Is a directory (os error 21)".to_owned()));
        // Of zeros that are nowhere on the disk.
        let large = File::create(at("large")).expect("a file");
        large.set_len(MAX_FILE + 1).expect("a length");
        let too_large = "cannot be read: it has more than 536870912 bytes; shorten it";
        assert_eq!(told(&at("large")), Err(too_large.to_owned()));

        std::fs::write(at("file"), "what it holds").expect("a file");
        std::os::unix::fs::symlink("file", at("link")).expect("a link");
        for path in [at("file"), at("link")] {
            assert_eq!(told(&path), Ok(b"what it holds".to_vec()), "{path:?}");
        }
        assert!(
            told(Path::new("/proc/self/status")).is_ok_and(|text| text.starts_with(b"Name:")),
            "no length"
        );
    }
}
