//! The parent's side: starts a child, tells it what to do, listens, and sees to its end whatever comes.
#![forbid(unsafe_code)]

use super::{Message, Outcome, Spec};
use crate::Result;
use crate::memory::{Group, killed_for_memory};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How often it is looked whether to stop.
const LOOK: Duration = Duration::from_millis(50);
/// After the first Ctrl-C, how long another one ends nothing.
const GRACE: Duration = Duration::from_secs(3);
/// Bytes of what a child says on standard error that are kept.
const ERRORS: u64 = 64 << 10;

/// Whether the user wants it all to end.
#[derive(Clone, Default, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on the first Ctrl-C is remembered here, and ends nothing by itself. Another one ends the process, but
    /// only three seconds later: time enough to remove what there is, and for whoever sends a signal to the
    /// process and to its group, which are two.
    ///
    /// # Errors
    /// If the system takes no handler, or starts no thread.
    pub fn on_ctrl_c() -> Result<Self> {
        let (flag, ends) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&ends))?;
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
        }
        let came = Self(flag);
        let watched = came.clone();
        thread::Builder::new().name("interrupt".into()).spawn(move || {
            while !watched.came() {
                thread::sleep(LOOK);
            }
            thread::sleep(GRACE);
            ends.store(true, Ordering::Relaxed);
        })?;
        Ok(came)
    }

    /// Whether it came.
    pub fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// One that came.
    #[cfg(test)]
    pub(crate) fn that_came() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// Fails if it came.
    ///
    /// # Errors
    /// That it was interrupted.
    pub fn check(&self) -> Result<()> {
        if self.came() { Err("it was interrupted".into()) } else { Ok(()) }
    }
}

/// How a child ended that has nothing to show.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Died {
    /// The kernel killed it: its group had no memory left.
    ForMemory,
    /// It took longer than it was given.
    TookTooLong(f64),
    /// It said why.
    Failed(String),
    /// It ended without a word.
    Silent(String),
    /// The user ended it.
    Interrupted,
    /// It ended well, but no operation did in the time that counts.
    Nothing,
}

impl fmt::Display for Died {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForMemory => f.write_str("killed: out of memory"),
            Self::TookTooLong(seconds) => write!(f, "not done after {seconds:.0} s"),
            Self::Failed(error) => f.write_str(error),
            Self::Silent(how) => write!(f, "died: {how}"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Nothing => f.write_str("no operation ended in the time that counts"),
        }
    }
}

/// A child to be started.
#[derive(Debug)]
pub struct Child<'a> {
    /// What it is to do.
    pub spec: &'a Spec,
    /// Its memory group, if it has one; named in `spec`.
    pub group: Option<&'a Group>,
    /// When to give it up.
    pub patience: Duration,
}

enum Heard {
    Message(Message),
    End,
}

/// Starts a child and waits for what comes of it. `phase` is called when it begins with another part.
///
/// # Errors
/// If no child can be started. How it ended otherwise is in what is returned.
pub fn run(
    child: &Child<'_>,
    interrupt: &Interrupt,
    mut phase: impl FnMut(&str),
) -> Result<Result<Outcome, Died>> {
    let mut process = Command::new(std::env::current_exe()?)
        .arg("child")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let text = serde_json::to_string(child.spec)?;
    let (mut input, output) = (process.stdin.take(), process.stdout.take());
    let errors = process.stderr.take();
    // A child that dies at once does not read; that it died is heard below.
    if let Some(input) = &mut input {
        let _ = input.write_all(text.as_bytes());
    }
    drop(input);
    let (send, receive) = mpsc::channel();
    let listener = thread::spawn(move || {
        for line in output.into_iter().flat_map(|output| BufReader::new(output).lines()) {
            let Ok(line) = line else { break };
            let message = serde_json::from_str(&line);
            let message = message.unwrap_or_else(|_| Message::Failed(format!("it said: {line}")));
            if send.send(Heard::Message(message)).is_err() {
                return;
            }
        }
        let _ = send.send(Heard::End);
    });
    let complaints = thread::spawn(move || {
        let mut text = String::new();
        if let Some(errors) = errors {
            let _ = errors.take(ERRORS).read_to_string(&mut text);
        }
        text
    });
    let begun = Instant::now();
    let mut said = None;
    let ended = loop {
        match receive.recv_timeout(LOOK) {
            Ok(Heard::Message(Message::Phase(what))) => phase(&what),
            Ok(Heard::Message(Message::Done(outcome))) => said = Some(Ok(*outcome)),
            Ok(Heard::Message(Message::Failed(error))) => said = Some(Err(Died::Failed(error))),
            Ok(Heard::End) | Err(RecvTimeoutError::Disconnected) => break None,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if interrupt.came() {
            break Some(Died::Interrupted);
        }
        if begun.elapsed() > child.patience {
            break Some(Died::TookTooLong(child.patience.as_secs_f64()));
        }
    };
    if ended.is_some() {
        // It may have ended by itself just now.
        let _ = process.kill();
    }
    let status = process.wait()?;
    let _ = listener.join();
    let complaints = complaints.join().unwrap_or_default();
    Ok(match (ended, said) {
        (Some(died), _) => Err(died),
        (None, Some(said)) => said,
        (None, None) => Err(silent(status, child.group, complaints.trim())),
    })
}

fn silent(status: ExitStatus, group: Option<&Group>, complaints: &str) -> Died {
    if group.is_some_and(|group| killed_for_memory(status, group)) {
        return Died::ForMemory;
    }
    let last = complaints.lines().last().unwrap_or_default();
    Died::Silent(if last.is_empty() { status.to_string() } else { format!("{status}: {last}") })
}
