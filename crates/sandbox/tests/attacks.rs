//! What programs try against the machine: time, memory, processes, output, files, network. Each attack has a control that
//! succeeds outside, or with the layer that stops it left out.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test says what is wrong by panicking

mod common;

use std::time::{Duration, Instant};

use common::{ask, control, no_python, run, sandbox, with_limits};
use lapidary_sandbox::{Heard, Layer, Limits};

lapidary_sandbox::launcher_of_tests!();

/// Signals that end a program, as exit codes.
const KILLED: i32 = -9;
const CPU_LIMIT: i32 = -24;
const NOBODY_READS: i32 = -13;

#[test]
fn a_program_sees_nothing_of_the_machine() {
    if no_python() {
        return;
    }
    let mut cell = sandbox().start().unwrap();
    println!("{}", cell.layers());
    let seen = ask(
        &mut cell,
        "import os, socket\nanswer = (os.getcwd(), os.listdir(), dict(os.environ), os.getuid(), os.getgid(), os.getgroups(), os.getppid() <= 1)",
    );
    assert_eq!(seen, "('/work', [], {'PYTHONHASHSEED': '0'}, 65534, 65534, [], True)");
    if cell.layers().has(Layer::Uts) {
        assert_eq!(ask(&mut cell, "import os; answer = os.uname().nodename"), "sandbox");
        assert_ne!(control("import os; answer = os.uname().nodename"), "sandbox");
    }
    let open = "import os\nanswer = []\nfor number in range(1024):\n    try:\n        os.fstat(number)\n        answer.append(number)\n    except OSError:\n        pass";
    assert_eq!(ask(&mut cell, open), "[0, 1, 2, 3, 4]", "stdin, stdout, stderr and the two frames");
    // the same seed of hashes for all, so that equal programs do equal things
    let hash = ask(&mut cell, "answer = hash('lapidary')");
    assert_eq!(ask(&mut sandbox().start().unwrap(), "answer = hash('lapidary')"), hash);
}

#[test]
fn an_endless_loop_ends_when_its_time_is_up() {
    if no_python() {
        return;
    }
    let limits = Limits { cpu_s: 1, wall: Duration::from_secs(20), ..Limits::default() };
    let mut cell = with_limits(limits).start().unwrap();
    let (heard, ending) = run(&mut cell, "while True: pass");
    assert_eq!((heard.as_str(), ending.code), ("End", CPU_LIMIT));
    assert!((0.8..=1.3).contains(&ending.cpu_s), "{ending:?}");
    // one that ignores the signal has a second more
    let stubborn = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass";
    let (heard, ending) = run(&mut cell, stubborn);
    assert_eq!((heard.as_str(), ending.code), ("End", KILLED));
    assert!((1.8..=2.4).contains(&ending.cpu_s), "{ending:?}");
    assert_eq!(ask(&mut cell, "answer = 1"), "1", "the cell goes on");
}

#[test]
fn a_program_that_sleeps_is_ended_by_the_clock() {
    if no_python() {
        return;
    }
    let limits = Limits { wall: Duration::from_millis(300), ..Limits::default() };
    let mut cell = with_limits(limits).start().unwrap();
    let started = Instant::now();
    let (heard, ending) = run(&mut cell, "import time\ntry:\n    time.sleep(600)\nfinally:\n    answer = 1");
    assert_eq!((heard.as_str(), ending.code), ("Nothing", KILLED));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(cell.is_fit());
}

#[test]
fn memory_is_bounded() {
    if no_python() {
        return;
    }
    let bomb = "answer = len(bytearray(1 << 30))";
    let mut cell = sandbox().start().unwrap();
    assert_eq!(ask(&mut cell, bomb), "MemoryError: ");
    assert_eq!(control(bomb), (1u64 << 30).to_string());
    let creeping = "kept = []\ntry:\n    while True: kept.append(bytearray(1 << 20))\nexcept MemoryError:\n    kept.clear()\n    answer = 'stopped'";
    let (said, ending) = run(&mut cell, creeping);
    assert_eq!(said, "stopped");
    assert!(ending.memory <= (512 + 64) << 10, "{} KiB", ending.memory);
    // and so are files in memory
    let files = "import os\ntotal = 0\ntry:\n    for number in range(100):\n        total += open('f%d' % number, 'wb').write(bytes(1 << 20))\nexcept OSError as error:\n    answer = (total >> 20, error.errno)";
    assert_eq!(ask(&mut cell, files), "(8, 28)", "no space left after 8 MiB");
    assert!(!cell.is_fit(), "files were left behind");
    let mut cell = sandbox().start().unwrap();
    assert_eq!(ask(&mut cell, "import os; answer = os.listdir()"), "[]");
    let many = "count = 0\ntry:\n    while True:\n        open('n%d' % count, 'w').close()\n        count += 1\nexcept OSError as error:\n    answer = count < 256";
    assert_eq!(ask(&mut cell, many), "True");
}

#[test]
fn no_new_process_and_few_threads() {
    if no_python() {
        return;
    }
    let mut cell = sandbox().start().unwrap();
    let bomb = "import os\nanswer = 0\ntry:\n    while answer < 40:\n        if os.fork() == 0: os._exit(0)\n        answer += 1\nexcept OSError as error:\n    answer = 'stopped at %d: %d' % (answer, error.errno)";
    assert_eq!(ask(&mut cell, bomb), "stopped at 0: 1");
    assert_eq!(control(bomb), "40");
    for start in [
        "subprocess.run(['/bin/true'])",
        "os.system('true')",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.popen('true').read()",
        "multiprocessing.Process(target=print).start()",
    ] {
        let said = ask(&mut cell, &format!("import os, subprocess, multiprocessing\nanswer = {start}"));
        assert!(said.contains("Error") || said == "32512" || said == "-1" || said.is_empty(), "{start} gives {said}");
    }
    let threads = "import threading, time\nstarted = []\ntry:\n    for number in range(200):\n        thread = threading.Thread(target=time.sleep, args=(60,), daemon=True)\n        thread.start()\n        started.append(thread)\nexcept RuntimeError:\n    pass\nanswer = len(started)";
    let count: usize = ask(&mut cell, threads).parse().unwrap();
    assert!((1..32).contains(&count), "{count} threads");
    assert_eq!(control(threads), "200");
    assert_eq!(ask(&mut cell, "answer = 1"), "1", "they are gone with their program");
}

#[test]
fn output_is_bounded() {
    if no_python() {
        return;
    }
    let mut cell = sandbox().start().unwrap();
    let mut flood = cell.run(b"").unwrap();
    flood.say(b"import os\nwhile True: os.write(1, b'x' * 65536)");
    assert_eq!(flood.output(), Err(Heard::TooMuch));
    let code = cell.end(flood, None).unwrap().code;
    assert!(code == KILLED || code == NOBODY_READS, "{code}");
    let mut frames = cell.run(b"").unwrap();
    frames.say(b"import os\nos.write(4, (1 << 30).to_bytes(4, 'big'))\nwhile True: os.write(4, b'x' * 65536)");
    assert_eq!(frames.hear(), Heard::TooMuch);
    cell.end(frames, None).unwrap();
    let mut small = cell.run(b"some input").unwrap();
    small.say(b"import sys\nprint(sys.stdin.read().upper())\nsys.stdout.flush()\nimport os\nos._exit(3)");
    assert_eq!(small.output(), Ok(b"SOME INPUT\n".to_vec()));
    let left = small.left();
    assert_eq!(cell.end(small, Some(left)).unwrap().code, 3);
}

/// Files and folders of the machine, the interesting ones first.
fn places() -> Vec<String> {
    let mut all: Vec<String> = [
        "/etc/passwd",
        "/etc/shadow",
        "/etc/hostname",
        "/proc/self/environ",
        "/proc/self/mem",
        "/proc/1/environ",
        "/proc/1/mem",
        "/proc/self/maps",
        "/proc/self/status",
        "/proc/cpuinfo",
        "/proc/meminfo",
        "/proc/mounts",
        "/proc/self/fd",
        "/proc/sys/kernel/core_pattern",
        "/proc/kallsyms",
        "/dev/mem",
        "/dev/kmsg",
        "/dev/zero",
        "/dev/random",
        "/dev/tty",
        "/dev/shm",
        "/sys/kernel",
        "/sys/fs/cgroup",
        "/root",
        "/home",
        "/tmp",
        "/var/log",
        "/var/run",
        "/run",
        "/boot",
        "/bin/sh",
        "/usr/bin/env",
        "/usr/bin/python3",
        "/root/.ssh",
        "/root/.bashrc",
        "/root/.profile",
        "/etc/ssl",
        "/usr/share",
        "/opt",
        "/mnt",
        "/srv",
    ]
    .map(String::from)
    .to_vec();
    all.push(env!("CARGO_MANIFEST_DIR").into());
    all.push(std::env::current_exe().unwrap().display().to_string());
    for folder in ["/etc", "/usr/bin", "/proc/self", "/sys/kernel"] {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        all.extend(entries.take(80).map(|entry| entry.path().display().to_string()));
    }
    all
}

/// Whether each path can be listed, read or followed from inside a link: one `1` or `0` each.
fn reading(paths: &[String]) -> String {
    format!(
        "import os\nanswer = ''\nfor at, path in enumerate({paths:?}):\n    seen = 0\n    link = 'link%d' % at\n    try: os.symlink(path, link)\n    except OSError: link = path\n    for way in (path, link, '/work/../' + path, '/dev/..' + path):\n        try:\n            seen |= len(os.listdir(way)) >= 0 if os.path.isdir(way) else len(open(way, 'rb').read(1)) >= 0\n        except OSError: pass\n    try: os.unlink(link) if link != path else None\n    except OSError: pass\n    answer += '1' if seen else '0'"
    )
}

#[test]
fn no_file_of_the_machine_can_be_read() {
    if no_python() {
        return;
    }
    let paths = places();
    let mut outside_root = 0;
    let mut cell = sandbox().start().unwrap();
    let inside = ask(&mut cell, &reading(&paths));
    let outside = control(&reading(&paths));
    for ((path, inside), outside) in paths.iter().zip(inside.chars()).zip(outside.chars()) {
        assert!(matches!(inside, '0' | '1'), "{inside}");
        // the folders that lead to the interpreter are there, and hold nothing else
        let leads = inside == '1'
            && ["/root", "/home", "/opt", "/mnt", "/srv", "/usr/bin", "/usr/share"].contains(&path.as_str());
        assert!(inside == '0' || leads, "{path} can be read");
        outside_root += usize::from(outside == '1');
    }
    println!("{outside_root} of {} places can be read outside, none inside", paths.len());
    assert!(outside_root >= 100, "the control reads hardly anything");
    let write = "import json, os\ndef attempt(path):\n    try: open(path, 'a').close(); return 'written'\n    except OSError as error: return error.errno\nanswer = [attempt(os.path.dirname(json.__file__) + '/new.py'), attempt(json.__file__), attempt('/new'), attempt('/dev/new')]";
    let said = ask(&mut cell, write);
    assert!(!said.contains("written") && said.starts_with('['), "{said}");
    let site = "import os\nanswer = sum(len(os.listdir(os.path.dirname(os.__file__) + '/' + name)) for name in ('site-packages', 'dist-packages') if os.path.isdir(os.path.dirname(os.__file__) + '/' + name))";
    assert_eq!(ask(&mut cell, site), "0", "installed packages are not part of the interpreter");
}

#[test]
fn files_are_shut_away_twice() {
    if no_python() {
        return;
    }
    let peek = "answer = open('/etc/passwd').read()[:4]";
    let root = control(peek);
    let without = |layers: &[Layer]| sandbox().without(layers).start().unwrap();
    let denied =
        |said: String| assert!(said.starts_with("FileNotFoundError") || said.starts_with("PermissionError"), "{said}");
    denied(ask(&mut without(&[Layer::Landlock]), peek));
    // root's interpreter may lie in a folder that nobody else enters, so without the mount namespace it stays root
    let bare = without(&[Layer::Mount, Layer::User]);
    if bare.layers().has(Layer::Landlock) {
        let mut bare = bare;
        denied(ask(&mut bare, peek));
        assert_eq!(
            ask(&mut bare, "open('x', 'w').write('1'); answer = open('x').read()"),
            "1",
            "the work folder is there"
        );
    }
    assert_eq!(
        ask(&mut without(&[Layer::Mount, Layer::User, Layer::Landlock]), peek),
        root,
        "with neither, it is open"
    );
    let left = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let ours = |name: &str| name.starts_with("lapidary-sandbox-");
    assert_eq!(left.filter(|entry| ours(&entry.file_name().to_string_lossy())).count(), 0, "work folders are removed");
}

#[test]
fn the_network_is_shut_twice() {
    if no_python() {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let call =
        format!("import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=5)\nanswer = 'connected'");
    assert_eq!(control(&call), "connected");
    let without = |layers: &[Layer]| sandbox().without(layers).start().unwrap();
    let filters = [Layer::Seccomp, Layer::Program];
    assert!(ask(&mut without(&[]), &call).starts_with("PermissionError"));
    assert!(ask(&mut without(&[Layer::Net, Layer::Landlock]), &call).starts_with("PermissionError"), "no socket");
    let lonely = ask(&mut without(&[filters[0], filters[1], Layer::Landlock]), &call);
    assert!(lonely.contains("Error"), "sockets, but no network: {lonely}");
    let open = ask(&mut without(&[filters[0], filters[1], Layer::Landlock, Layer::Net]), &call);
    assert_eq!(open, "connected", "with none of the layers the program reaches the machine");
}

#[test]
fn processes_are_counted_even_without_the_filter() {
    if no_python() {
        return;
    }
    let without = |layers: &[Layer]| sandbox().without(layers).start().unwrap();
    let mut cell = without(&[Layer::Seccomp, Layer::Program]);
    if !cell.layers().has(Layer::User) {
        println!("skipped: no user namespace");
        return;
    }
    let bomb = "import os, time\nanswer = 0\ntry:\n    while answer < 100:\n        if os.fork() == 0:\n            time.sleep(100)\n            os._exit(0)\n        answer += 1\nexcept OSError as error:\n    pass";
    let count: usize = ask(&mut cell, bomb).parse().unwrap();
    assert!((1..32).contains(&count), "{count} processes");
    assert_eq!(ask(&mut cell, "answer = 1"), "1", "all were killed with their parent, so there is room again");
}

#[test]
fn what_is_required_and_missing_is_refused() {
    if no_python() {
        return;
    }
    let refused = sandbox().require(&[Layer::Net]).without(&[Layer::Net]).start().unwrap_err();
    assert_eq!(refused.code(), "W022");
    assert!(refused.to_string().contains("`net`"), "{refused}");
    sandbox().require(&[Layer::Seccomp, Layer::Limits]).start().unwrap();
}

#[test]
fn nothing_is_left_when_a_cell_is_dropped() {
    if no_python() {
        return;
    }
    let before = processes();
    for _ in 0..3 {
        let mut cell = sandbox().start().unwrap();
        let mut busy = cell.run(b"").unwrap();
        busy.say(b"while True: pass");
        drop(cell);
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while processes() > before && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(processes() <= before, "processes are left");
}

/// Processes of this test that hold a sandbox: children of ours, and those whose command line has the zygote.
fn processes() -> usize {
    let of = |entry: &std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("The first process of a sandbox")
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| of(entry)).count()
}
