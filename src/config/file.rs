//! The files that a configuration names, and the only place that reads them.

use std::fs::Metadata;
use std::io;
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
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the configuration's files")]
        let bytes = std::fs::read(path);
        bytes.map(Zeroizing::new).map_err(|error| format!("cannot be read: {error}"))
    }
}

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
