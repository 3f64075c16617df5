//! Which system calls there are inside: two lists of allowed calls.
//!
//! The *zygote* (the interpreter that forks) may do what an interpreter does, fork, wait, and receive descriptors. A *program*
//! may do less: no new process, no signal to anybody, no `exec`, no socket but a pair that talks to itself. Filters can only be
//! added, so the second list is what holds for a program. A call that is on no list fails with `EPERM`; `clone3` fails with `ENOSYS`,
//! because its flags lie in memory that a filter cannot read and the C library then takes `clone`.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter};
use seccompiler::{SeccompRule, TargetArch};

/// Calls that need no look at their arguments: memory, files that are open or can be opened, clocks, waiting, oneself.
const PLAIN: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_openat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_symlinkat,
    libc::SYS_ftruncate,
    libc::SYS_truncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_umask,
    libc::SYS_utimensat,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_close_range,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_pselect6,
    libc::SYS_ppoll,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_times,
    libc::SYS_getrusage,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getgroups,
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_uname,
    libc::SYS_getcpu,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_membarrier,
    libc::SYS_getrandom,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_clone3,
    libc::SYS_recvfrom,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
];

/// The older names of some of these, which x86 still has.
#[cfg(target_arch = "x86_64")]
const OLDER: &[i64] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_symlink,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_wait,
    libc::SYS_time,
    libc::SYS_getpgrp,
    libc::SYS_arch_prctl,
    libc::SYS_getrlimit,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[i64] = &[];

/// What the zygote may do besides.
const ZYGOTE: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_kill,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_prctl,
    libc::SYS_seccomp,
    libc::SYS_prlimit64,
    libc::SYS_pidfd_open,
    libc::SYS_setsockopt,
    libc::SYS_sysinfo,
];
#[cfg(target_arch = "x86_64")]
const ZYGOTE_OLDER: &[i64] = &[libc::SYS_fork, libc::SYS_vfork, libc::SYS_setrlimit];
#[cfg(not(target_arch = "x86_64"))]
const ZYGOTE_OLDER: &[i64] = &[];

/// What `ioctl` may ask: whether something is a terminal, how many bytes wait, and flags of a descriptor. Not `TIOCSTI`.
const IOCTLS: &[u64] = &[libc::TCGETS, libc::FIONREAD, libc::FIONBIO, libc::FIOCLEX, libc::FIONCLEX, libc::TIOCGWINSZ];

/// Namespaces that `clone` could make.
const NEW_NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// The compiled filters.
pub(super) struct Filters {
    zygote: BpfProgram,
    program: BpfProgram,
    clone3: BpfProgram,
}

impl Filters {
    /// Compiles the lists for this machine.
    pub(super) fn build() -> Result<Self, String> {
        compile().map_err(|error| format!("the system call filter does not compile: {error}"))
    }

    /// Restricts this process and all that come from it to the zygote's list.
    pub(super) fn apply(&self) -> Result<(), String> {
        let apply = |program| seccompiler::apply_filter(program).map_err(|error| error.to_string());
        apply(&self.clone3)?; // the list lets `clone3` pass, to fail here
        apply(&self.zygote)
    }

    /// The program's list as the bytes of its instructions, for the zygote to apply after a fork.
    pub(super) fn program_hex(&self) -> Vec<String> {
        [&self.clone3, &self.program].map(hex).to_vec()
    }
}

fn hex(program: &BpfProgram) -> String {
    let bytes = program.iter().flat_map(|step| {
        let [code, k] = [u32::from(step.code), step.k];
        let code = (code as u16).to_ne_bytes();
        [code[0], code[1], step.jt, step.jf].into_iter().chain(k.to_ne_bytes())
    });
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

type Failure = seccompiler::BackendError;
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn compile() -> Result<Filters, Failure> {
    let target: TargetArch = std::env::consts::ARCH.try_into()?;
    let list = |rules: Rules| -> Result<BpfProgram, Failure> {
        let refuse = SeccompAction::Errno(libc::EPERM as u32);
        SeccompFilter::new(rules, refuse, SeccompAction::Allow, target)?.try_into()
    };
    let clone3 = Rules::from([(libc::SYS_clone3, Vec::new())]);
    let absent = SeccompAction::Errno(libc::ENOSYS as u32);
    Ok(Filters {
        zygote: list(zygote_rules()?)?,
        program: list(program_rules()?)?,
        clone3: SeccompFilter::new(clone3, SeccompAction::Allow, absent, target)?.try_into()?,
    })
}

/// `argument & mask == value`.
fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompCondition, Failure> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(mask), value)
}

fn equals(argument: u8, value: u64) -> Result<SeccompCondition, Failure> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value)
}

/// Calls that both lists allow with certain arguments only.
fn shared_rules() -> Result<Rules, Failure> {
    let mut rules: Rules = PLAIN.iter().chain(OLDER).map(|call| (*call, Vec::new())).collect();
    let ioctls: Result<Vec<_>, Failure> = IOCTLS
        .iter()
        .map(|request| {
            SeccompRule::new(vec![SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, *request)?])
        })
        .collect();
    rules.insert(libc::SYS_ioctl, ioctls?);
    // memory is writable or executable, never both
    let both = (libc::PROT_WRITE | libc::PROT_EXEC) as u64;
    let not_both = || -> Result<Vec<SeccompRule>, Failure> {
        let one = |value: i32| SeccompRule::new(vec![masked(2, both, value as u64)?]);
        Ok(vec![one(0)?, one(libc::PROT_WRITE)?, one(libc::PROT_EXEC)?])
    };
    rules.insert(libc::SYS_mmap, not_both()?);
    rules.insert(libc::SYS_mprotect, not_both()?);
    // a pair of sockets that talk to each other, as event loops make one
    rules.insert(libc::SYS_socketpair, vec![SeccompRule::new(vec![equals(0, libc::AF_UNIX as u64)?])?]);
    Ok(rules)
}

fn zygote_rules() -> Result<Rules, Failure> {
    let mut rules = shared_rules()?;
    rules.extend(ZYGOTE.iter().chain(ZYGOTE_OLDER).map(|call| (*call, Vec::new())));
    let plain_fork = SeccompRule::new(vec![masked(0, NEW_NAMESPACES as u64, 0)?])?;
    rules.insert(libc::SYS_clone, vec![plain_fork]);
    Ok(rules)
}

fn program_rules() -> Result<Rules, Failure> {
    let mut rules = shared_rules()?;
    let thread = (libc::CLONE_THREAD | libc::CLONE_VM) as u64;
    let only_threads = SeccompRule::new(vec![masked(0, thread | NEW_NAMESPACES as u64, thread)?])?;
    rules.insert(libc::SYS_clone, vec![only_threads]);
    // its own limits, and only to read them
    let reading = SeccompRule::new(vec![equals(0, 0)?, equals(2, 0)?])?;
    rules.insert(libc::SYS_prlimit64, vec![reading]);
    // over a pair, without an address
    rules.insert(libc::SYS_sendto, vec![SeccompRule::new(vec![equals(4, 0)?])?]);
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_compile_and_the_programs_is_the_smaller() {
        let filters = Filters::build().unwrap();
        assert!(filters.program_hex().iter().all(|text| text.len() % 16 == 0 && !text.is_empty()));
        let (zygote, program) = (zygote_rules().unwrap(), program_rules().unwrap());
        assert!(program.keys().all(|call| zygote.contains_key(call)));
        for call in [libc::SYS_execve, libc::SYS_kill, libc::SYS_wait4, libc::SYS_prctl, libc::SYS_recvmsg] {
            assert!(zygote.contains_key(&call) && !program.contains_key(&call));
        }
    }
}
