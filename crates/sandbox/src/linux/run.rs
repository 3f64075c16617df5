//! One program: what is written to it, what it says, and the clock.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Bytes read at once.
const CHUNK: usize = 64 << 10;
/// Bytes that say how long a frame is.
const HEAD: usize = 4;

/// What was heard of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A frame.
    Frame(Vec<u8>),
    /// It closed its frames: it ended, or wants to say no more.
    End,
    /// Nothing before the deadline.
    Nothing,
    /// A frame, or its output, beyond the limit.
    TooMuch,
}

/// A running program, seen from outside. Frames are a length (4 bytes, big-endian) and that many bytes.
#[derive(Debug)]
pub struct Run {
    to: Option<OwnedFd>,
    from: Option<OwnedFd>,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    frames_out: VecDeque<u8>,
    frames_in: Vec<u8>,
    input: VecDeque<u8>,
    output: Vec<u8>,
    limit: usize,
    deadline: Instant,
}

/// The four ends that the program gets: frames in, frames out, stdin, stdout.
pub(super) type Ends = [OwnedFd; 4];

impl Run {
    /// Pipes for a program; `input` is what it finds on its stdin.
    pub(super) fn new(input: &[u8], limit: usize, wall: Duration) -> Result<(Self, Ends), Errno> {
        use rustix::pipe::{PipeFlags, pipe_with};
        let pair = || pipe_with(PipeFlags::CLOEXEC);
        let ((in_read, to), (from, out_write), (stdin_read, stdin), (stdout, stdout_write)) =
            (pair()?, pair()?, pair()?, pair()?);
        for ours in [&to, &from, &stdin, &stdout] {
            rustix::fs::fcntl_setfl(ours, rustix::fs::OFlags::NONBLOCK)?;
        }
        let run = Self {
            to: Some(to),
            from: Some(from),
            stdin: (!input.is_empty()).then_some(stdin),
            stdout: Some(stdout),
            frames_out: VecDeque::new(),
            frames_in: Vec::new(),
            input: input.iter().copied().collect(),
            output: Vec::new(),
            limit,
            deadline: Instant::now() + wall,
        };
        Ok((run, [in_read, out_write, stdin_read, stdout_write]))
    }

    /// Puts a frame in line; it is written while [`hear`](Self::hear) waits.
    pub fn say(&mut self, frame: &[u8]) {
        assert!(u32::try_from(frame.len()).is_ok(), "a frame is shorter than 4 GiB");
        self.frames_out.extend((frame.len() as u32).to_be_bytes());
        self.frames_out.extend(frame);
    }

    /// The next frame, or why there is none. Input is written and output read meanwhile.
    pub fn hear(&mut self) -> Heard {
        loop {
            match self.whole_frame() {
                Some(heard) => return heard,
                None if self.from.is_none() => return Heard::End,
                None => {}
            }
            if let Some(heard) = self.exchange() {
                return heard;
            }
        }
    }

    /// Waits until the program has closed its stdout, and gives what it wrote there.
    pub fn output(&mut self) -> Result<Vec<u8>, Heard> {
        while self.stdout.is_some() {
            if let Some(heard) = self.exchange() {
                return Err(heard);
            }
        }
        Ok(std::mem::take(&mut self.output))
    }

    /// How much time is left.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn whole_frame(&mut self) -> Option<Heard> {
        let head: [u8; HEAD] = self.frames_in.get(..HEAD)?.try_into().ok()?;
        let length = u32::from_be_bytes(head) as usize;
        if length > self.limit {
            return Some(Heard::TooMuch);
        }
        let end = HEAD + length;
        let frame = self.frames_in.get(HEAD..end)?.to_vec();
        self.frames_in.drain(..end);
        Some(Heard::Frame(frame))
    }

    /// Waits for any of the four and moves what can be moved; says why to stop.
    fn exchange(&mut self) -> Option<Heard> {
        let left = self.left();
        if left.is_zero() {
            return Some(Heard::Nothing);
        }
        let wait = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ };
        let mut watched = Vec::with_capacity(4);
        let writing = [self.to.as_ref().filter(|_| !self.frames_out.is_empty()), self.stdin.as_ref()];
        for end in writing.into_iter().flatten() {
            watched.push(PollFd::new(end, PollFlags::OUT));
        }
        for end in [self.from.as_ref(), self.stdout.as_ref()].into_iter().flatten() {
            watched.push(PollFd::new(end, PollFlags::IN));
        }
        match poll(&mut watched, Some(&wait)) {
            Ok(0) => return Some(Heard::Nothing),
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return Some(Heard::End),
        }
        drop(watched);
        write_some(&mut self.to, &mut self.frames_out);
        if write_some(&mut self.stdin, &mut self.input) {
            self.stdin = None;
        }
        read_some(&mut self.from, &mut self.frames_in);
        read_some(&mut self.stdout, &mut self.output);
        let most = self.limit + HEAD + CHUNK; // a frame within the limit and the beginning of another
        (self.frames_in.len() > most || self.output.len() > self.limit).then_some(Heard::TooMuch)
    }
}

/// Writes what the pipe takes; whether all is written or nobody reads any more.
fn write_some(end: &mut Option<OwnedFd>, bytes: &mut VecDeque<u8>) -> bool {
    let Some(pipe) = end else { return true };
    while !bytes.is_empty() {
        match rustix::io::write(&*pipe, bytes.as_slices().0) {
            Ok(count) => drop(bytes.drain(..count)),
            Err(Errno::AGAIN) => return false,
            Err(Errno::INTR) => {}
            Err(_) => {
                bytes.clear(); // nobody reads; what comes back says why
                *end = None;
                return true;
            }
        }
    }
    true
}

/// Reads one chunk; the end of the pipe closes it.
fn read_some(end: &mut Option<OwnedFd>, bytes: &mut Vec<u8>) {
    let Some(pipe) = end else { return };
    let mut chunk = [0u8; CHUNK];
    match rustix::io::read(&*pipe, &mut chunk[..]) {
        Ok(0) => *end = None,
        Ok(count) => bytes.extend_from_slice(&chunk[..count]),
        Err(Errno::AGAIN | Errno::INTR) => {}
        Err(_) => *end = None,
    }
}
