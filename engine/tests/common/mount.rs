//! Small file systems of one's own: a loop-mounted ext4 image, or a tmpfs with a size. Both need root.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A mounted file system, undone when dropped.
#[derive(Debug)]
pub(crate) struct Mount {
    dir: TempDir,
    image: Option<PathBuf>,
    mounted: bool,
}

/// Runs a command.
///
/// # Errors
/// What it wrote to its standard error.
fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("{name}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{name}: {}", said.trim())) }
}

impl Mount {
    /// A tmpfs of so many bytes.
    ///
    /// # Errors
    /// Why there can be none here.
    pub(crate) fn tmpfs(bytes: u64) -> Result<Self, String> {
        let mut mount = Self { dir: tempfile::tempdir().unwrap(), image: None, mounted: false };
        std::fs::create_dir(mount.root()).unwrap();
        let options = format!("size={bytes}");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(mount.root()))?;
        mount.mounted = true;
        Ok(mount)
    }

    /// An ext4 in an image of so many bytes, some of which it takes for itself.
    ///
    /// # Errors
    /// Why there can be none here.
    pub(crate) fn ext4(bytes: u64) -> Result<Self, String> {
        let mut mount = Self { dir: tempfile::tempdir().unwrap(), image: None, mounted: false };
        std::fs::create_dir(mount.root()).unwrap();
        let image = mount.dir.path().join("image");
        File::create(&image).unwrap().set_len(bytes).unwrap();
        // No blocks for root alone: the tests run as root.
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
        mount.image = Some(image);
        mount.mount_image()?;
        Ok(mount)
    }

    /// Mounts the image (again).
    pub(crate) fn mount_image(&mut self) -> Result<(), String> {
        let image = self.image.as_ref().ok_or("there is no image")?;
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(self.root()))?;
        self.mounted = true;
        Ok(())
    }

    pub(crate) fn unmount(&mut self) -> Result<(), String> {
        run(Command::new("umount").arg(self.root()))?;
        self.mounted = false;
        Ok(())
    }

    /// Where it is mounted.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }

    /// A path in it.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root().join(name)
    }

    /// Cuts its power: nothing that has not reached the image yet will, its journal included.
    ///
    /// # Errors
    /// Why that cannot be done here.
    pub(crate) fn cut_power(&self) -> Result<(), String> {
        // EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH; from another program, as it takes an unsafe call.
        const SHUTDOWN: &str = "import fcntl, os, struct, sys\n\
            fd = os.open(sys.argv[1], os.O_RDONLY)\n\
            fcntl.ioctl(fd, 0x8004587d, struct.pack('I', 2))\n";
        run(Command::new("python3").args(["-c", SHUTDOWN]).arg(self.root()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.mounted && self.unmount().is_err() {
            // Something of it is still open: it goes when that does.
            let _ = run(Command::new("umount").arg("-l").arg(self.root()));
        }
    }
}
