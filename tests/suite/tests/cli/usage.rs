//! The first minutes with the command: help, typing mistakes, pipes, colour.

use std::fs::File;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};
use netbed::program;
use samples::fixtures;
use samples::scratch::Folder;
use samples::testbed_spec::Network;

use super::support::{NODE, fixture};

/// Runs the command outside any test namespace: none of these calls may touch the
/// kernel.
fn run(arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(program::path()?);
    command.args(arguments).stdin(Stdio::null()).env_remove("NO_COLOR");
    Ok(command.output()?)
}

#[test]
fn help_names_every_command_and_option() -> Result<()> {
    let cases: [(&[&str], &[&str]); 9] = [
        (&["--help"], &["render", "apply", "diff", "verify", "cleanup", "Examples:", "--node"]),
        (&["help"], &["render", "apply", "diff", "verify", "cleanup"]),
        (&["render", "--help"], &["-f", "--filename", "--node", "--validate", "-o", "--no-log"]),
        (&["apply", "--help"], &["-f", "--filename", "--node", "--validate", "--watch"]),
        (&["diff", "--help"], &["exit 0 same, 1 different, 2 error", "--node", "--validate"]),
        (&["verify", "--help"], &["exit 0 same, 1 different, 2 error", "--kernel", "--node"]),
        (&["cleanup", "--help"], &["Remove"]),
        (
            &["explain", "--help"],
            &["-f", "--namespace", "--context", "svc/shop/cart:80", "internet"],
        ),
        (&["completion", "--help"], &["bash", "zsh", "fish"]),
    ];
    for (arguments, words) in cases {
        let output = run(arguments)?;
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(String::from_utf8(output.stderr)?, "", "{arguments:?}");
        let said = String::from_utf8(output.stdout)?;
        for word in words {
            assert!(said.contains(word), "{arguments:?} lacks {word}:\n{said}");
        }
        assert!(said.lines().all(|line| line.chars().count() <= 100), "{said}");
    }
    let version = String::from_utf8(run(&["--version"])?.stdout)?;
    assert_eq!(version, format!("nftpol {}\n", env!("CARGO_PKG_VERSION")));
    Ok(())
}

#[test]
fn slips_of_the_hand_are_explained() -> Result<()> {
    let cases: [(&[&str], &str); 9] = [
        (&[], "Usage: nftpol <COMMAND>"),
        (&["rende"], "a similar subcommand exists: 'render'"),
        (&["render", "-f", "a", "--kubeconfig", "b"], "cannot be used with '--kubeconfig <FILE>'"),
        (&["apply"], "--filename <FILE|DIR|->"),
        (&["apply", "policy.yaml"], "unexpected argument 'policy.yaml' found"),
        (&["apply", "-f"], "a value is required for '--filename <FILE|DIR|->'"),
        (&["apply", "--file", "a"], "a similar argument exists: '--filename'"),
        (&["render", "-f", "a", "-o", "yaml"], "[possible values: nft, json]"),
        (&["render", "-f", "a", "--validate", "ignore"], "[possible values: strict, warn]"),
    ];
    for (arguments, expected) in cases {
        let output = run(arguments)?;
        let said = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert_eq!(String::from_utf8(output.stdout)?, "", "{arguments:?}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    Ok(())
}

/// More text than a pipe holds (pipe(7): 64 KiB).
fn much() -> Result<(Folder, [String; 6])> {
    let folder = Folder::new("cli")?;
    let mut text = fixtures::town(Network::Routed, &[NODE]).manifests();
    for number in 0..2000 {
        text += &format!(
            "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p-{number}, \
             namespace: dev}}\nspec:\n  podSelector: {{}}\n  ingress: [{{ports: [{{port: {}}}]}}]\n",
            1000 + number
        );
    }
    let file = folder.path().join("much.yaml");
    std::fs::write(&file, text)?;
    let file = file.display().to_string();
    let arguments = ["render", "-f", &file, "--node", NODE, "--no-log"].map(str::to_owned);
    Ok((folder, arguments))
}

/// `nftpol render ... | head -1`.
#[test]
fn a_reader_who_goes_away_is_no_error() -> Result<()> {
    let (_folder, arguments) = much()?;
    let mut child = Command::new(program::path()?)
        .args(&arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut head = Command::new("head")
        .arg("-1")
        .stdin(child.stdout.take().context("standard output")?)
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.wait_with_output()?;
    assert_eq!(String::from_utf8(output.stderr)?, "");
    assert_eq!(output.status.code(), Some(0));
    assert!(head.wait()?.success());
    let whole = run(&arguments.each_ref().map(String::as_str))?;
    assert!(whole.stdout.len() > 65536 + 32768, "{} bytes cannot fail", whole.stdout.len());
    Ok(())
}

#[test]
fn a_full_disk_is_an_error() -> Result<()> {
    let output = Command::new(program::path()?)
        .args(["render", "-f", &fixture("cluster.yaml")])
        .stdout(File::options().write(true).open("/dev/full")?)
        .stderr(Stdio::piped())
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr)?,
        "error: write to standard output: No space left on device (os error 28)\n"
    );
    Ok(())
}

/// Whether the command prints colour on a terminal, which `script` provides.
fn colours(arguments: &str, no_color: Option<&str>) -> Result<bool> {
    let mut command = Command::new("script");
    command.args(["-q", "-e", "-c", &format!("{} {arguments}", program::path()?.display())]);
    command.arg("/dev/null").env("TERM", "xterm-256color").env_remove("NO_COLOR");
    command.env_remove("CLICOLOR").env_remove("CLICOLOR_FORCE");
    if let Some(value) = no_color {
        command.env("NO_COLOR", value);
    }
    let output = command.output().context("run script (Debian package bsdutils)")?;
    assert!(!output.stdout.is_empty(), "{arguments}: {output:?}");
    Ok(output.stdout.contains(&0x1b))
}

#[test]
fn no_color_is_honoured() -> Result<()> {
    assert!(colours("--help", None)?, "without colour there is nothing to turn off");
    let file = fixture("cluster.yaml");
    for arguments in ["--help", "rende", &format!("render -f {file}"), "render -f /no/such"] {
        assert!(!colours(arguments, Some("1"))?, "{arguments}");
    }
    // There is none in a pipe either, not even in the log.
    let logged = Command::new(program::path()?)
        .args(["apply", "-f", "/no/such"])
        .env_remove("NO_COLOR")
        .env("RUST_LOG", "trace")
        .output()?;
    assert!(!logged.stderr.contains(&0x1b), "{logged:?}");
    assert!(!run(&["--help"])?.stdout.contains(&0x1b));
    assert!(!run(&["rende"])?.stderr.contains(&0x1b));
    Ok(())
}
