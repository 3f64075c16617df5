//! The root of the file system inside: the interpreter's files, read-only; `/work`, small, empty and writable; `/dev/null`.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount};

use super::launcher::{Spec, WORK};
use super::namespaces::NOBODY;

/// A folder of every Linux system in which no interpreter lies; the new root is mounted over it until it is the root.
const STAGE: &str = "/sys";
/// Files in the work folder.
const WORK_FILES: u32 = 256;

/// Makes the new root and enters it; the old one is gone.
///
/// # Errors
/// In words, with the path.
pub(super) fn build(spec: &Spec) -> Result<(), String> {
    let failed = |what: &str, error: rustix::io::Errno| format!("{what}: {error}");
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    mount_change("/", private).map_err(|error| failed("could not leave shared mounts", error))?;
    let stage = Path::new(STAGE);
    memory(stage, "mode=0755,size=1m,nr_inodes=4096")?;
    let interpreter = &spec.interpreter;
    for folder in &interpreter.folders {
        bind(folder, &make_folder(stage, folder)?)?;
    }
    for folder in &interpreter.hidden {
        memory(&inside(stage, folder), "mode=0555,size=4k,nr_inodes=2")?;
    }
    for file in &interpreter.files {
        bind(file, &make_file(stage, file)?)?;
    }
    for (link, target) in &interpreter.links {
        make_folder(stage, link.parent().unwrap_or(Path::new("/")))?;
        // two names of one folder may both list a link: the first is enough
        let _ = std::os::unix::fs::symlink(target, inside(stage, link));
    }
    let work = make_folder(stage, Path::new(WORK))?;
    let null = make_file(stage, Path::new("/dev/null"))?;
    read_only(stage)?;
    bind(Path::new("/dev/null"), &null)?;
    let size = spec.limits.work_bytes;
    memory(&work, &format!("mode=0700,uid={NOBODY},gid={NOBODY},size={size},nr_inodes={WORK_FILES}"))?;
    std::env::set_current_dir(stage).map_err(|error| format!("could not enter the new root: {error}"))?;
    rustix::process::pivot_root(".", ".").map_err(|error| failed("could not change the root", error))?;
    unmount(".", UnmountFlags::DETACH).map_err(|error| failed("could not let go of the old root", error))?;
    std::env::set_current_dir("/").map_err(|error| format!("could not enter the new root: {error}"))
}

/// Where a path of the old root is while the new one is being built.
fn inside(stage: &Path, path: &Path) -> PathBuf {
    stage.join(path.strip_prefix("/").unwrap_or(path))
}

fn make_folder(stage: &Path, path: &Path) -> Result<PathBuf, String> {
    let place = inside(stage, path);
    std::fs::create_dir_all(&place).map_err(|error| format!("could not make {}: {error}", path.display()))?;
    Ok(place)
}

fn make_file(stage: &Path, path: &Path) -> Result<PathBuf, String> {
    make_folder(stage, path.parent().unwrap_or(Path::new("/")))?;
    let place = inside(stage, path);
    std::fs::write(&place, b"").map_err(|error| format!("could not make {}: {error}", path.display()))?;
    Ok(place)
}

fn bind(source: &Path, target: &Path) -> Result<(), String> {
    mount_bind(source, target).map_err(|error| format!("could not show {}: {error}", source.display()))
}

/// A file system in memory, on which nothing can be run.
fn memory(target: &Path, options: &str) -> Result<(), String> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let options = CString::new(options).map_err(|error| error.to_string())?;
    mount("tmpfs", target, "tmpfs", flags, options.as_c_str())
        .map_err(|error| format!("could not mount memory on {}: {error}", target.display()))
}

/// Makes everything mounted on and below `stage` read-only, without devices and without set-user-id.
fn read_only(stage: &Path) -> Result<(), String> {
    let path = CString::new(stage.as_os_str().as_encoded_bytes()).map_err(|error| error.to_string())?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is a C string and the attributes a whole `mount_attr`, both alive during the call, which writes neither.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            std::ptr::from_ref(&attributes),
            std::mem::size_of::<libc::mount_attr>(),
        )
    };
    match outcome {
        0 => Ok(()),
        _ => Err(format!("could not make the root read-only: {}", std::io::Error::last_os_error())),
    }
}
