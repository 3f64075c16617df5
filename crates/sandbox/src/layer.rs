//! The layers of a sandbox, and which of them are there.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One layer. Each alone stops some attacks; most attacks are stopped by several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// A user namespace: the program's user is nobody outside.
    User,
    /// A mount namespace whose root holds the interpreter, read-only, an empty work folder and nothing else.
    Mount,
    /// A process namespace: no other process can be named, and all die with the first.
    Pid,
    /// A network namespace without any device that is up.
    Net,
    /// A namespace of shared memory and message queues.
    Ipc,
    /// A namespace of host names; the name is `sandbox`.
    Uts,
    /// A namespace of control groups.
    CgroupNamespace,
    /// Landlock: the kernel refuses files outside the interpreter and the work folder, and TCP.
    Landlock,
    /// A list of allowed system calls.
    Seccomp,
    /// The shorter list for the program itself: no new process, no signal, no socket, no `exec`.
    Program,
    /// No capability, none to be had by `exec`, no new privileges.
    Privileges,
    /// Limits on memory, CPU time, file size, open files, processes; no core dumps.
    Limits,
    /// A control group (version 2) that bounds memory and processes of the whole tree.
    Cgroup,
}

impl Layer {
    /// All, in the order in which they are put up.
    pub const ALL: &'static [Layer] = &[
        Layer::Cgroup,
        Layer::Mount,
        Layer::User,
        Layer::Pid,
        Layer::Net,
        Layer::Ipc,
        Layer::Uts,
        Layer::CgroupNamespace,
        Layer::Limits,
        Layer::Privileges,
        Layer::Landlock,
        Layer::Seccomp,
        Layer::Program,
    ];

    /// The names, for settings.
    pub const NAMES: &'static [&'static str] = &[
        "cgroup",
        "mount",
        "user",
        "pid",
        "net",
        "ipc",
        "uts",
        "cgroup-namespace",
        "limits",
        "privileges",
        "landlock",
        "seccomp",
        "program",
    ];

    /// Its name in settings and messages.
    pub fn name(self) -> &'static str {
        let at = Layer::ALL.iter().position(|layer| *layer == self);
        at.map_or("", |at| Layer::NAMES[at])
    }

    /// The layer of that name.
    pub fn named(name: &str) -> Option<Self> {
        Layer::NAMES.iter().position(|known| *known == name).map(|at| Layer::ALL[at])
    }
}

/// Which layers a sandbox has, and why it lacks the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    active: Vec<Layer>,
    missing: Vec<(Layer, String)>,
}

impl Layers {
    /// Notes that a layer is there, or why it is not.
    pub fn note<E: fmt::Display>(&mut self, layer: Layer, outcome: Result<(), E>) {
        match outcome {
            Ok(()) => self.active.push(layer),
            Err(error) => self.missing.push((layer, error.to_string())),
        }
    }

    /// Whether the layer is there.
    pub fn has(&self, layer: Layer) -> bool {
        self.active.contains(&layer)
    }

    /// The layers that are there.
    pub fn active(&self) -> &[Layer] {
        &self.active
    }

    /// The layers that are not there, each with its reason.
    pub fn missing(&self) -> &[(Layer, String)] {
        &self.missing
    }

    /// What a program could do that it must never be able to: the promises that do not hold with these layers. A sandbox
    /// with any of these gaps is never used.
    pub fn gaps(&self) -> Vec<&'static str> {
        let mut gaps = Vec::new();
        if !self.has(Layer::Mount) && !self.has(Layer::Landlock) {
            gaps.push("its files are not shut away (neither `mount` nor `landlock`)");
        }
        if !self.has(Layer::Seccomp) || !self.has(Layer::Program) {
            gaps.push("its system calls are not restricted (`seccomp`, `program`)");
        }
        if !self.has(Layer::Limits) {
            gaps.push("its memory and time are not limited (`limits`)");
        }
        if !self.has(Layer::Privileges) {
            gaps.push("its privileges are not dropped (`privileges`)");
        }
        gaps
    }
}

impl fmt::Display for Layers {
    /// `mount, user, pid; without cgroup (no cgroup v2 here)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.active.iter().map(|layer| layer.name()).collect();
        f.write_str(&names.join(", "))?;
        if !self.missing.is_empty() {
            let lacks: Vec<String> =
                self.missing.iter().map(|(layer, why)| format!("{} ({why})", layer.name())).collect();
            write!(f, "; without {}", lacks.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_has_a_name_of_its_own() {
        assert_eq!(Layer::ALL.len(), Layer::NAMES.len());
        for layer in Layer::ALL {
            assert_eq!(Layer::named(layer.name()), Some(*layer));
            let word = serde_json::to_value(layer).unwrap();
            assert_eq!(word, layer.name(), "settings and JSON use one name");
        }
        assert_eq!(Layer::named("firewall"), None);
    }

    #[test]
    fn gaps_are_what_no_other_layer_covers() {
        let mut layers = Layers::default();
        for layer in Layer::ALL.iter().filter(|layer| **layer != Layer::Landlock) {
            layers.note::<&str>(*layer, Ok(()));
        }
        assert_eq!(layers.gaps(), Vec::<&str>::new(), "the mount namespace alone hides files");
        let mut layers = Layers::default();
        layers.note(Layer::Mount, Err("not permitted"));
        layers.note::<&str>(Layer::Limits, Ok(()));
        assert_eq!(layers.gaps().len(), 3);
        assert_eq!(layers.to_string(), "limits; without mount (not permitted)");
    }
}
