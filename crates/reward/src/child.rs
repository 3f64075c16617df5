//! A child process that is spoken to in lines: bounded in what it may write, how long it may think, and how long it lives.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines that may wait to be heard; then the program waits.
const MOST_WAITING: usize = 1024;
/// Bytes kept of what the program last wrote to stderr.
const KEPT_STDERR: usize = 4096;
/// Characters of stderr shown in a message.
const SHOWN_STDERR: usize = 300;
/// How long a program may take to end by itself once its stdin is closed.
const GRACE: Duration = Duration::from_millis(500);

/// What was heard.
pub(crate) enum Heard {
    /// A line without its end.
    Line(String),
    /// A line beyond the limit.
    TooLong,
    /// Nothing before the deadline.
    Nothing,
    /// The program closed its stdout.
    End,
}

/// A running program. Dropping it closes its stdin, waits half a second and then kills it and all it started.
pub(crate) struct Child {
    process: std::process::Child,
    mouth: Option<Sender<Vec<u8>>>,
    ear: Receiver<Heard>,
    stderr: Arc<Mutex<VecDeque<u8>>>,
}

impl Child {
    /// Starts a program in its own process group, so that Ctrl-C reaches lapidary and not the program.
    pub(crate) fn start(program: &[String], longest_line: usize) -> std::io::Result<Self> {
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut process = command.spawn()?;
        let (mouth, words) = channel::<Vec<u8>>();
        let (heard, ear) = sync_channel(MOST_WAITING);
        let kept = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(mut stdin) = process.stdin.take() {
            // its own thread, because a program that does not read would block the write for ever
            std::thread::spawn(move || {
                while let Ok(bytes) = words.recv() {
                    if stdin.write_all(&bytes).and_then(|()| stdin.flush()).is_err() {
                        break; // the program is gone; the ear says so
                    }
                }
            });
        }
        if let Some(stdout) = process.stdout.take() {
            std::thread::spawn(move || listen(stdout, &heard, longest_line));
        }
        if let Some(stderr) = process.stderr.take() {
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || keep_tail(stderr, &kept));
        }
        Ok(Self { process, mouth: Some(mouth), ear, stderr: kept })
    }

    /// Sends bytes to the program's stdin. Whether they arrive is seen by what comes back.
    pub(crate) fn say(&mut self, bytes: Vec<u8>) {
        if let Some(mouth) = &self.mouth
            && mouth.send(bytes).is_err()
        {
            self.mouth = None;
        }
    }

    /// The next thing the program says.
    pub(crate) fn hear(&mut self, deadline: Instant) -> Heard {
        match self.ear.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(heard) => heard,
            Err(RecvTimeoutError::Timeout) => Heard::Nothing,
            Err(RecvTimeoutError::Disconnected) => Heard::End,
        }
    }

    /// Whether the program said something that nobody asked for. (That it ended is noticed when it is asked.)
    pub(crate) fn spoke_unasked(&mut self) -> bool {
        match self.ear.try_recv() {
            Ok(_) => true,
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => false,
        }
    }

    /// How the program ended, in words.
    pub(crate) fn ending(&mut self) -> String {
        match self.wait(GRACE) {
            Some(status) => status.to_string(),
            None => "its output is closed but it still runs".into(),
        }
    }

    /// What it last wrote to stderr, for the end of a message; empty where it wrote nothing.
    pub(crate) fn complaint(&mut self) -> String {
        if self.wait(Duration::ZERO).is_some() {
            std::thread::sleep(Duration::from_millis(20)); // let the last words arrive
        }
        let kept = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = kept.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let words = clean.split_whitespace().collect::<Vec<_>>().join(" ");
        let skipped = words.chars().count().saturating_sub(SHOWN_STDERR);
        let shown: String = words.chars().skip(skipped).collect();
        match (shown.is_empty(), skipped) {
            (true, _) => String::new(),
            (false, 0) => format!("; stderr: {shown}"),
            (false, _) => format!("; stderr: …{shown}"),
        }
    }

    fn wait(&mut self, patience: Duration) -> Option<std::process::ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            match self.process.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Kills the program and everything in its process group.
    fn kill(&mut self) {
        #[cfg(unix)]
        if let Some(group) = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw) {
            // an error means that the group is gone already
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        // the same for the program itself; after this it is reaped, so no zombie is left
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.mouth = None; // closes stdin once what was said is written
        if self.wait(GRACE).is_none() {
            self.kill();
        }
    }
}

/// Reads lines until the end, each within the limit.
fn listen(stdout: impl Read, heard: &SyncSender<Heard>, longest_line: usize) {
    let mut reader = BufReader::new(stdout);
    loop {
        let mut bytes = Vec::new();
        let read = reader.by_ref().take(longest_line as u64 + 1).read_until(b'\n', &mut bytes);
        if !matches!(read, Ok(count) if count > 0) {
            return;
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        } else if bytes.len() > longest_line {
            let _ = heard.send(Heard::TooLong); // nobody listens any more: that is the end too
            return;
        }
        let line = String::from_utf8_lossy(&bytes).trim().to_string();
        if !line.is_empty() && heard.send(Heard::Line(line)).is_err() {
            return;
        }
    }
}

/// Reads everything and keeps the end of it.
fn keep_tail(mut stderr: impl Read, kept: &Mutex<VecDeque<u8>>) {
    let mut chunk = [0u8; 1024];
    while let Ok(count) = stderr.read(&mut chunk) {
        if count == 0 {
            return;
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(&chunk[..count]);
        let excess = kept.len().saturating_sub(KEPT_STDERR);
        kept.drain(..excess);
    }
}
