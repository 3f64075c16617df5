//! Namespaces: what of the machine can be named at all.
//!
//! Two ways in. *As root*: the new root is built first, with root's eyes (the interpreter may lie in a folder that only root
//! enters), then a user namespace follows in which the sandbox's user is nobody outside. *As anyone else*: the user namespace comes
//! first, because it is what allows the rest. Either way the user inside is 65534 and holds no right outside.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{Gid, Uid};
use rustix::process::WaitOptions;
use rustix::thread::UnshareFlags;

use super::launcher::Spec;
use super::root;
use crate::{Layer, Layers};

/// The user inside, and for root also outside: `nobody` everywhere.
pub(super) const NOBODY: u32 = 65534;
/// What `uname` and `gethostname` say inside.
const HOST_NAME: &[u8] = b"sandbox";

/// The namespaces that need nothing but the right to make them.
const SIMPLE: [(Layer, UnshareFlags); 5] = [
    (Layer::Pid, UnshareFlags::NEWPID),
    (Layer::Net, UnshareFlags::NEWNET),
    (Layer::Ipc, UnshareFlags::NEWIPC),
    (Layer::Uts, UnshareFlags::NEWUTS),
    (Layer::CgroupNamespace, UnshareFlags::NEWCGROUP),
];

/// Enters every namespace that the kernel grants and notes the others.
///
/// # Errors
/// In words: a step that left the process between two states.
pub(super) fn enter(spec: &Spec, layers: &mut Layers) -> Result<(), String> {
    let off = |layer: Layer| spec.without.contains(&layer);
    let outside = (rustix::process::geteuid(), rustix::process::getegid());
    let root_outside = outside.0.is_root();
    let mut mapper = if root_outside && !off(Layer::User) { Some(Mapper::start()?) } else { None };
    let mut mount = Err("switched off".to_string());
    if root_outside && !off(Layer::Mount) {
        mount = unshare(UnshareFlags::NEWNS).and_then(|()| root::build(spec));
    }
    let mut user = Err("switched off".to_string());
    if !off(Layer::User) {
        // a mount namespace of the new user's own, so that no mount can be undone inside
        let flags = if mount.is_ok() { UnshareFlags::NEWUSER | UnshareFlags::NEWNS } else { UnshareFlags::NEWUSER };
        user = unshare(flags);
        if user.is_ok() {
            match mapper.take() {
                Some(mapper) => mapper.map()?,
                None => map_own_user(outside)?,
            }
        }
    }
    drop(mapper);
    if !root_outside && user.is_ok() && !off(Layer::Mount) {
        mount = unshare(UnshareFlags::NEWNS).and_then(|()| root::build(spec));
    }
    layers.note(Layer::Mount, mount);
    let mapped = user.is_ok();
    layers.note(Layer::User, user);
    for (layer, flag) in SIMPLE {
        let outcome = if off(layer) { Err("switched off".into()) } else { unshare(flag) };
        layers.note(layer, outcome);
    }
    if layers.has(Layer::Uts)
        && let Err(error) = rustix::system::sethostname(HOST_NAME)
    {
        return Err(format!("could not set the host name: {error}"));
    }
    if mapped || layers.has(Layer::Mount) {
        become_nobody()?;
    }
    Ok(())
}

fn unshare(flags: UnshareFlags) -> Result<(), String> {
    // SAFETY: `FILES` is never among the flags, and this process has one thread.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(|error| error.to_string())
}

/// Takes the user and group 65534 and no other group. Does nothing where they are these already.
fn become_nobody() -> Result<(), String> {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    rustix::thread::set_thread_res_gid(group, group, group)
        .and_then(|()| rustix::thread::set_thread_res_uid(user, user, user))
        .map_err(|error| format!("could not become nobody: {error}"))
}

/// The maps of a user namespace, written by its own process: one line, its own user as seen outside.
fn map_own_user((user, group): (Uid, Gid)) -> Result<(), String> {
    let (user, group) = (user.as_raw(), group.as_raw());
    let write = |file: &str, text: String| {
        std::fs::write(format!("/proc/self/{file}"), text).map_err(|error| format!("could not write {file}: {error}"))
    };
    write("setgroups", "deny".into())?;
    write("uid_map", format!("{NOBODY} {user} 1"))?;
    write("gid_map", format!("{NOBODY} {group} 1"))
}

/// A child that stays outside and, when told, writes the maps that only a process outside may write.
struct Mapper {
    child: rustix::process::Pid,
    tell: OwnedFd,
}

impl Mapper {
    fn start() -> Result<Self, String> {
        rustix::thread::set_thread_groups(&[]).map_err(|error| format!("could not leave its groups: {error}"))?;
        let (hear, tell) = rustix::pipe::pipe().map_err(|error| error.to_string())?;
        let parent = std::process::id();
        // SAFETY: this process has one thread; the child may run any code.
        match unsafe { libc::fork() } {
            -1 => Err(std::io::Error::last_os_error().to_string()),
            0 => {
                drop(tell);
                let mut word = [0u8; 1];
                let told = std::fs::File::from(hear).read(&mut word).is_ok_and(|count| count == 1);
                let line = format!("{NOBODY} {NOBODY} 1");
                let written = told
                    && std::fs::write(format!("/proc/{parent}/uid_map"), &line).is_ok()
                    && std::fs::write(format!("/proc/{parent}/gid_map"), &line).is_ok();
                std::process::exit(i32::from(!written))
            }
            child => {
                let child = rustix::process::Pid::from_raw(child).ok_or("no child")?;
                Ok(Self { child, tell })
            }
        }
    }

    /// Has the maps written.
    fn map(self) -> Result<(), String> {
        let Self { child, tell } = self;
        let told = std::fs::File::from(tell).write_all(b"m");
        told.map_err(|error| error.to_string())?;
        match rustix::process::waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) if status.exit_status() == Some(0) => Ok(()),
            other => Err(format!("the users of the sandbox could not be mapped: {other:?}")),
        }
    }
}
