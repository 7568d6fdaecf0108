use super::*;

#[test]
fn the_last_coverage_counts() {
    let log = "#2\tINITED cov: 3 ft: 4 corp: 1/1b exec/s: 0 rss: 30Mb\n\
               #9\tNEW    cov: 12 ft: 13 corp: 2/9b lim: 4 exec/s: 0 rss: 30Mb L: 2/2\n\
               Done 9 runs in 1 second(s)\nstat::number_of_executed_units: 9\n";
    assert_eq!(final_statistics(log), "9 executions, cov: 12 ft: 13 corp: 2/9b");
    assert_eq!(final_statistics(""), "no executions, no coverage");
}

#[test]
fn no_time_is_no_endless_time() {
    let minutes =
        |words: &[&str]| minutes(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
    assert_eq!(minutes(&[]).unwrap(), 5);
    assert_eq!(minutes(&["60"]).unwrap(), 60);
    for wrong in ["0", "-1", "65536", "x"] {
        let message = format!("`{wrong}` is no number of minutes from 1 to 65535");
        assert_eq!(minutes(&[wrong]).unwrap_err().to_string(), message);
    }
    assert!(minutes(&["1", "2"]).is_err());
}

/// A target with an empty folder of its own. Its program is never started.
fn target(test: &str) -> Target {
    let folder = std::env::temp_dir().join(format!("xtask-{}-{test}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    Target::new("watch", &folder, &folder.join("corpus")).unwrap()
}

fn remove(target: &Target) {
    let folder = target.corpus.parent().and_then(Path::parent).unwrap();
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_crash_that_was_mended_is_forgotten() {
    let target = target("mended");
    for name in ["mended", "crashes"] {
        fs::write(target.crashes.join(name), name).unwrap();
    }
    forget_mended(&target.crashes, |input| Ok(input.ends_with("mended"))).unwrap();
    let left = files(&target.crashes).unwrap();
    assert_eq!(left, [(target.crashes.join("crashes"), 7)]);
    remove(&target);
}

/// What the report says of a run of this script.
fn problems(target: &Target, script: &str, longest: Duration) -> Vec<String> {
    fs::write(&target.log, "").unwrap();
    let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
    target.problems(child, longest)
}

#[test]
fn a_target_that_is_killed_has_failed() {
    let target = target("killed");
    let log = target.log.display();
    assert_eq!(problems(&target, "exit 0", GRACE), [""; 0]);
    let killed = problems(&target, "kill -KILL $$", GRACE);
    assert_eq!(killed, [format!("watch failed; see {log}: signal: 9 (SIGKILL)")]);
    let late = problems(&target, "exec sleep 60", Duration::ZERO);
    assert_eq!(late, [format!("watch failed; see {log}: it does not end")]);
    remove(&target);
}

#[test]
fn an_input_that_crashes_is_named() {
    let target = target("crashes");
    let input = target.crashes.join("crash-1");
    fs::write(&input, "x").unwrap();
    assert_eq!(problems(&target, "exit 0", GRACE), [target.again(&input)]);
    remove(&target);
}

#[test]
fn a_program_with_a_time_limit_is_ended() {
    let start = Instant::now();
    let mut command = limited(Path::new("sleep"), Duration::from_millis(100));
    assert_eq!(command.arg("60").status().unwrap().code(), Some(124));
    assert!(start.elapsed() < Duration::from_secs(60));
    assert!(limited(Path::new("true"), GRACE).status().unwrap().success());
}
