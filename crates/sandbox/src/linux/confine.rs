//! What the first process of a sandbox gives up: descriptors, privileges, resources, files.

use std::path::Path;

use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr};
use landlock::{RulesetCreatedAttr, RulesetStatus, Scope};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};

use super::launcher::Spec;
use crate::{Layer, Layers, Limits};

/// The newest Landlock that is used; older kernels enforce what they know.
const LANDLOCK: ABI = ABI::V6;

/// Closes every descriptor but the three standard ones.
pub(super) fn close_inherited() {
    // SAFETY: nothing in this process owns a descriptor above 2: it has just started and opened none.
    unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) };
}

/// Closes the three standard descriptors of a process that only waits.
pub(super) fn close_standard_streams() {
    // SAFETY: the process neither reads nor writes from here on; it waits and exits.
    unsafe { libc::syscall(libc::SYS_close_range, 0u32, 2u32, 0u32) };
}

/// Limits, privileges and Landlock, each noted.
pub(super) fn restrict(spec: &Spec, work: &Path, layers: &mut Layers) {
    let off = |layer: Layer| spec.without.contains(&layer);
    let skip = || Err("switched off".to_string());
    let in_user_namespace = layers.has(Layer::User);
    layers.note(Layer::Limits, if off(Layer::Limits) { skip() } else { limit(&spec.limits, in_user_namespace) });
    layers.note(Layer::Privileges, if off(Layer::Privileges) { skip() } else { drop_privileges() });
    let whole_root = layers.has(Layer::Mount);
    layers.note(Layer::Landlock, if off(Layer::Landlock) { skip() } else { shut_files(spec, work, whole_root) });
}

/// The limits of the kernel. CPU time is set for each program when it is forked.
fn limit(limits: &Limits, in_user_namespace: bool) -> Result<(), String> {
    let mut all = vec![
        (Resource::As, limits.memory_bytes),
        (Resource::Fsize, limits.work_bytes),
        (Resource::Nofile, limits.files),
        (Resource::Core, 0),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
        (Resource::Nice, 0),
        (Resource::Rtprio, 0),
        (Resource::Sigpending, 64),
    ];
    if in_user_namespace {
        // outside a user namespace the kernel counts all processes of the user, ours among them; there the list of system
        // calls alone forbids new processes
        all.push((Resource::Nproc, limits.threads));
    }
    for (resource, most) in all {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .map_err(|error| format!("{resource:?}: {error}"))?;
    }
    Ok(())
}

/// Gives up every capability for ever.
fn drop_privileges() -> Result<(), String> {
    let failed = |what: &str, error: rustix::io::Errno| format!("{what}: {error}");
    let held = rustix::thread::capabilities(None).map_err(|error| failed("capabilities", error))?;
    if held.effective.contains(CapabilitySet::SETPCAP) {
        let bits = CapabilitiesSecureBits::NO_ROOT
            | CapabilitiesSecureBits::NO_ROOT_LOCKED
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
        rustix::thread::set_capabilities_secure_bits(bits).map_err(|error| failed("secure bits", error))?;
        for capability in CapabilitySet::all().iter() {
            // a capability that the running kernel does not know cannot be held either
            let _ = rustix::thread::remove_capability_from_bounding_set(capability);
        }
    }
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets).map_err(|error| failed("capabilities", error))?;
    rustix::thread::set_no_new_privs(true).map_err(|error| failed("no new privileges", error))
}

/// Landlock: reading and running below the interpreter's folders, everything below the work folder, nothing else; no TCP,
/// no signal and no abstract socket beyond the sandbox.
fn shut_files(spec: &Spec, work: &Path, whole_root: bool) -> Result<(), String> {
    let rules = || -> Result<RulesetStatus, Box<dyn std::error::Error>> {
        let read = AccessFs::from_read(LANDLOCK);
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(LANDLOCK))?
            .handle_access(AccessNet::from_all(LANDLOCK))?
            .scope(Scope::from_all(LANDLOCK))?
            .create()?;
        let interpreter = &spec.interpreter;
        let root = [std::path::PathBuf::from("/")];
        let readable: Vec<_> = if whole_root {
            root.iter().collect()
        } else {
            interpreter.folders.iter().chain(&interpreter.files).collect()
        };
        for path in readable {
            let allowed = if path.is_dir() { read } else { AccessFs::Execute | AccessFs::ReadFile };
            ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(path)?, allowed))?;
        }
        let write = AccessFs::from_all(LANDLOCK)
            & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeSock | AccessFs::MakeFifo);
        ruleset = ruleset
            .add_rule(PathBeneath::new(PathFd::new(work)?, write))?
            .add_rule(PathBeneath::new(PathFd::new("/dev/null")?, AccessFs::ReadFile | AccessFs::WriteFile))?;
        Ok(ruleset.restrict_self()?.ruleset)
    };
    match rules() {
        Ok(RulesetStatus::NotEnforced) => Err("this kernel has none".into()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
