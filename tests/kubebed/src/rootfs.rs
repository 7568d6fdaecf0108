//! A root file system with one program and nothing else.
//!
//! The program is where a container's `PATH` finds it. Its loader and libraries are
//! where the loader finds them. Never: a shell, or any file that the program does
//! not load.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Where the program is in the root file system.
pub const PROGRAM: &str = "/usr/local/bin/nftpol";

/// Copies the program and what it needs into a folder.
///
/// # Errors
/// When a library is missing, or a file cannot be copied.
pub fn write(folder: &Path, program: &Path) -> Result<()> {
    copy(program, folder, Path::new(PROGRAM))?;
    for library in libraries(program)? {
        copy(&library, folder, &library)?;
    }
    Ok(())
}

/// The loader and the libraries of a program, as the loader finds them (ldd(1)). A
/// statically linked program has none.
///
/// # Errors
/// When one is missing, or `ldd` does not know the program.
pub fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").env("LC_ALL", "C").arg(program).output().context("run ldd")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let problem = String::from_utf8_lossy(&output.stderr);
    // For a static position-independent program, it prints "statically linked" and
    // succeeds.
    if problem.trim() == "not a dynamic executable" {
        return Ok(Vec::new());
    }
    ensure!(output.status.success(), "ldd {}: {said}{problem}", program.display());
    named(&said).with_context(|| format!("ldd {}", program.display()))
}

/// The loader that a program names, `None` if it needs none (elf(5), `PT_INTERP`).
///
/// # Errors
/// When it is no 64-bit little-endian ELF file.
pub fn loader(program: &Path) -> Result<Option<String>> {
    let bytes = fs::read(program).with_context(|| format!("read {}", program.display()))?;
    named_loader(&bytes).with_context(|| format!("{} is no such ELF file", program.display()))
}

fn named_loader(bytes: &[u8]) -> Option<Option<String>> {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, length: usize| {
        let bytes = bytes.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte)))
    };
    // EI_CLASS and EI_DATA: 64 bits, little-endian.
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    // e_phoff, e_phentsize, e_phnum.
    let (start, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for index in 0..count {
        let at = usize::try_from(start.checked_add(index * size)?).ok()?;
        if number(at, 4)? == PT_INTERP {
            // p_offset, p_filesz. The text ends with a zero.
            let (from, length) = (number(at + 8, 8)?, number(at + 32, 8)?);
            let (from, length) = (usize::try_from(from).ok()?, usize::try_from(length).ok()?);
            let text = bytes.get(from..from.checked_add(length)?)?;
            let text = String::from_utf8_lossy(text);
            return Some(Some(text.trim_end_matches('\0').to_owned()));
        }
    }
    Some(None)
}

/// Reads lines like `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)`. The
/// loader has no arrow. The kernel's `linux-vdso.so.1` is no file.
fn named(said: &str) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for line in said.lines().map(str::trim) {
        ensure!(!line.ends_with("not found"), "{line}");
        let found = line.split_once(" => ").map_or(line, |(_, found)| found);
        if let Some((path, _)) = found.split_once(" (").filter(|_| found.starts_with('/')) {
            paths.push(path.into());
        }
    }
    Ok(paths)
}

fn copy(from: &Path, folder: &Path, to: &Path) -> Result<()> {
    let to = folder.join(to.strip_prefix("/").unwrap_or(to));
    let parent = to.parent().unwrap_or(folder);
    fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    fs::copy(from, &to).with_context(|| format!("copy {}", from.display())).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_of_ldd() -> Result<()> {
        let dynamic = "\tlinux-vdso.so.1 (0x00007f94)\n\
                       \tlibmnl.so.0 => /lib/x/libmnl.so.0 (0x00007f93)\n\
                       \t/lib64/ld-linux-x86-64.so.2 (0x00007f92)\n";
        let paths = ["/lib/x/libmnl.so.0", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(named(dynamic)?, paths.map(PathBuf::from));
        assert_eq!(named("\tstatically linked\n")?, Vec::<PathBuf>::new());
        assert!(named("\tlibmnl.so.0 => not found\n").is_err());
        Ok(())
    }

    #[test]
    fn a_program_names_its_loader() -> Result<()> {
        let own = loader(&std::env::current_exe()?)?.context("this test has a loader")?;
        assert!(own.contains("/ld-linux"), "{own}");
        let whole = fs::read(std::env::current_exe()?)?;
        for length in [0, 6, 40, 60, 70, 200] {
            assert!(named_loader(&whole[..length]).is_none_or(|one| one.is_none()), "{length}");
        }
        assert_eq!(named_loader(b"#!/bin/sh"), None);
        Ok(())
    }
}
