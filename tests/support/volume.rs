//! A volume of a ConfigMap or Secret, as kubelet writes it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

/// All files change at once, with a link: `name -> ..data/name`, `..data -> ..<version>`
/// (Go: k8s.io/kubernetes/pkg/volume/util/atomic_writer.go).
pub(crate) struct Volume {
    dir: TempDir,
    version: u32,
}

impl Volume {
    /// One with these files.
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Self {
        let mut volume = Self { dir: TempDir::new().unwrap(), version: 0 };
        volume.put(files);
        volume
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Replaces all files.
    pub(crate) fn put(&mut self, files: &[(&str, &[u8])]) {
        self.version += 1;
        let [name, before] = [self.version, self.version - 1].map(|version| format!("..{version}"));
        let path = |name: &str| self.dir.path().join(name);
        fs::create_dir(path(&name)).unwrap();
        for (file, content) in files {
            fs::write(path(&name).join(file), content).unwrap();
        }
        symlink(&name, path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
        for (file, _) in files {
            if fs::symlink_metadata(path(file)).is_err() {
                symlink(Path::new("..data").join(file), path(file)).unwrap();
            }
        }
        for entry in fs::read_dir(self.dir.path()).unwrap().map(Result::unwrap) {
            let file = entry.file_name().into_string().unwrap();
            if !file.starts_with("..") && !files.iter().any(|(name, _)| *name == file) {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        fs::remove_dir_all(path(&before)).ok();
    }
}
