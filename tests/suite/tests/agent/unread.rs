//! Nobody reads the agent's log. It enforces nevertheless.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubebed::daemon::Daemon;
use kubebed::outpost::{NODE, Outpost, toggle};
use kubebed::world::PATIENCE;
use netbed::fire::{nft, say};
use netbed::program;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use samples::scratch::Folder;

/// A table that is restored within a millisecond is back within 40 ms. The rest is for a
/// busy machine.
const RESTORED: Duration = Duration::from_secs(2);
const FLUSHES: u32 = 5;

#[test]
fn a_log_that_nobody_reads_does_not_stop_the_agent() -> Result<()> {
    let outpost = Outpost::new()?;
    let folder = Folder::new("unread")?;
    let path = folder.path().join("stderr");
    mkfifo(&path, Mode::S_IRWXU).context("make a pipe")?;
    let mut pipe = full(&path)?;
    // A shell opens the pipe: the log of other tests is a file.
    let mut command = outpost.range.node().command("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 2>\"$STDERR\""]).arg(program::path()?);
    command.env("STDERR", &path).env("RUST_LOG", "debug");
    // Otherwise nobody can flush the table.
    let options = ["--table-owner=off"];
    let mut agent =
        Daemon::of(outpost.range.node(), command, outpost.kubeconfig(), NODE, &options)?;
    agent.ready_within(PATIENCE)?;
    outpost.settled()?;
    // Otherwise the last words of a process that finds no memory would wait.
    ensure!(!stderr_blocks(agent.pid().as_raw())?, "a write to stderr waits");

    let mut table = outpost.table()?;
    let mut longest = Duration::ZERO;
    for _ in 0..FLUSHES {
        // Far enough apart that this is no fight.
        sleep(Duration::from_secs(3));
        nft(outpost.range.node(), "flush ruleset")?;
        let start = Instant::now();
        while table.names()?.is_empty() {
            ensure!(start.elapsed() < RESTORED, "the table is not restored");
        }
        longest = longest.max(start.elapsed());
    }
    outpost.server.apply(&toggle())?;
    agent.ready_within(PATIENCE)?;
    let repairs = agent.metric("nftpol_repairs_total")?;
    ensure!(repairs >= f64::from(FLUSHES), "{repairs} repairs");
    say(&format!("restored within {} ms with a full log\n", longest.as_millis()))?;

    // A later reader finds the lines that were kept, whole.
    let log = read_until(&mut pipe, "others changed table")?;
    ensure!(log.contains("enforcing: table inet nftpol matches the policies"), "{log}");
    agent.stop().map(drop)
}

/// By the flags of the open file (proc_pid_fdinfo(5)).
fn stderr_blocks(process: i32) -> Result<bool> {
    let path = format!("/proc/{process}/fdinfo/2");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).context("no flags")?;
    Ok(i32::from_str_radix(flags.trim(), 8)? & nix::libc::O_NONBLOCK == 0)
}

/// A pipe without room.
fn full(path: &Path) -> Result<File> {
    let mut pipe = OpenOptions::new();
    pipe.read(true).write(true).custom_flags(nix::libc::O_NONBLOCK);
    let mut pipe = pipe.open(path).context("open the pipe")?;
    loop {
        match pipe.write(b"\n") {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(pipe),
            Err(error) => return Err(error).context("fill the pipe"),
        }
    }
}

fn read_until(pipe: &mut File, text: &str) -> Result<String> {
    let (mut log, start) = (String::new(), Instant::now());
    let mut buffer = [0; 4096];
    while !log.contains(text) {
        ensure!(start.elapsed() < PATIENCE, "not in the log: {log}");
        match pipe.read(&mut buffer) {
            Ok(length) => log += &String::from_utf8_lossy(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(Duration::from_millis(5)),
            Err(error) => return Err(error).context("read the pipe"),
        }
    }
    Ok(log)
}
