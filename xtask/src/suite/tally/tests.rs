use super::*;

fn tally(output: &str, success: bool) -> Tally {
    let mut tally = Tally::default();
    output.lines().for_each(|line| tally.read(line));
    tally.close(success);
    tally
}

fn counts(output: &str, success: bool) -> [usize; 3] {
    let tally = tally(output, success);
    [tally.passed, tally.failed, tally.skipped]
}

const GREEN: &str = "
running 3 tests
test a ... ok
test b ... ok
test c ... ignored, needs a second machine

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.00s
";

const RED: &str = "
running 1 test
test a ... FAILED

test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
";

#[test]
fn binaries_add_up() {
    assert_eq!(counts(&[GREEN, GREEN, RED].concat(), false), [4, 1, 2]);
}

#[test]
fn colours_do_not_hide_a_result() {
    let coloured = GREEN.replace("result: ok.", "result: \x1b[32mok\x1b(B\x1b[m.");
    assert_eq!(counts(&coloured, true), [2, 0, 1]);
    let coloured = GREEN.replace("result: ok.", "result: \x1b[32mok\x1b[m.");
    assert_eq!(counts(&coloured, true), [2, 0, 1]);
}

#[test]
fn a_binary_that_dies_has_failed_its_tests() {
    let died = "running 7 tests\ntest a ... ok\n";
    assert_eq!(counts(&[died, GREEN].concat(), false), [2, 7, 1]);
    assert_eq!(counts(&[GREEN, died].concat(), false), [2, 7, 1]);
}

#[test]
fn a_failure_without_a_count_still_counts() {
    assert_eq!(counts(GREEN, false), [2, 1, 1]);
}

#[test]
fn failures_are_named() {
    assert_eq!(tally(&[GREEN, RED].concat(), false).failures, ["a"]);
    let coloured = RED.replace("FAILED", "\x1b[31mFAILED\x1b(B\x1b[m");
    assert_eq!(tally(&coloured, false).failures, ["a"]);
}

#[test]
fn verdicts() {
    let check = |output: &str, success, strict| {
        tally(output, success).verdict(strict).map_err(|error| error.to_string())
    };
    assert_eq!(check(GREEN, true, false), Ok(()));
    assert_eq!(
        check(GREEN, true, true),
        Err("1 tests were skipped, which CI does not allow".to_owned())
    );
    assert_eq!(check(RED, false, false), Err("1 tests failed".to_owned()));
    assert_eq!(check("", true, false), Err("no test ran".to_owned()));
    assert_eq!(check("running 0 tests", true, false), Err("1 tests failed".to_owned()));
}
