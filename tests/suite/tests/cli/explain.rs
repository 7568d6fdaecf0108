//! `explain` as an author sees it, in both programs.

use std::fmt::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};
use netbed::program;
use samples::fixtures;
use samples::scratch::Folder;

/// What a person types, and what is answered: lines with `$` are commands.
#[test]
fn questions_are_answered_as_in_the_transcript() -> Result<()> {
    let transcript = fixtures::read("explain/answers.txt")?;
    let programs = [program::path()?, program::beside("kubectl-nftpol")?];
    let mut answered = String::new();
    let mut questions = 0;
    for line in transcript.lines().filter(|line| line.starts_with("$ nftpol ")) {
        let arguments: Vec<&str> = line.split_whitespace().skip(2).collect();
        let [one, other] = programs.each_ref().map(|program| run(program, &arguments));
        let (one, other) = (shown(&one?)?, shown(&other?)?);
        assert_eq!(one, other, "both programs answer alike");
        writeln!(answered, "{line}\n{one}")?;
        questions += 1;
    }
    assert!(questions > 20, "{questions} questions");
    assert_eq!(answered.trim_end(), transcript.trim_end());
    Ok(())
}

fn run(program: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(fixtures::directory("explain")).stdin(Stdio::null());
    command.output().with_context(|| format!("run {}", program.display()))
}

fn shown(output: &Output) -> Result<String> {
    let stderr = std::str::from_utf8(&output.stderr)?.lines();
    let errors: Vec<&str> = stderr.filter(|line| !line.starts_with("notice: ")).collect();
    let mut text = std::str::from_utf8(&output.stdout)?.to_owned();
    for line in errors {
        writeln!(text, "{line}")?;
    }
    writeln!(text, "[exit {}]", output.status.code().context("a code")?)?;
    Ok(text)
}

#[test]
fn json_has_what_the_text_has() -> Result<()> {
    let arguments =
        ["explain", "-f", "cluster.yaml", "shop/front-1", "shop/app=cart:http", "-o", "json"];
    let output = run(&program::path()?, &arguments)?;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(answer["verdict"], "denied");
    let case = &answer["cases"][0];
    assert_eq!(case["port"], "TCP 8080");
    assert_eq!(case["families"], serde_json::json!(["IPv4"]));
    assert_eq!(case["egress"]["why"], "no policy isolates it");
    let rule = &case["ingress"]["policies"][0]["rules"][0];
    assert_eq!(rule["at"], "cluster.yaml:85");
    assert_eq!([&rule["peer"]["matches"], &rule["ports"]["matches"]], [false, true]);
    let nearest = "write app=front for app=fronts in ingress[0] of shop/cart-from-front";
    assert_eq!(case["nearest"][0], nearest);
    Ok(())
}

/// uid 65534 without any capability, in a folder that it can read.
#[test]
fn kubectl_nftpol_needs_no_root_and_no_library_of_the_kernels() -> Result<()> {
    let folder = Folder::new("kubectl-nftpol")?;
    let program = folder.path().join("kubectl-nftpol");
    std::fs::copy(program::beside("kubectl-nftpol")?, &program)?;
    let manifests = folder.path().join("cluster.yaml");
    std::fs::copy(fixtures::directory("explain").join("cluster.yaml"), &manifests)?;
    open_to_all(folder.path())?;
    let mut command = Command::new(&program);
    command.args(["explain", "-f"]).arg(&manifests).args(["shop/cart-a2", "shop/db:5432"]);
    command.uid(65534).gid(65534).stdin(Stdio::null());
    let output = command.output().context("run as nobody")?;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let linked = Command::new("ldd").arg(&program).output().context("run ldd")?;
    let linked = String::from_utf8(linked.stdout)?;
    assert!(linked.contains("libc.so"), "{linked}");
    assert!(!linked.contains("libnftnl") && !linked.contains("libmnl"), "{linked}");
    Ok(())
}

fn open_to_all(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}
