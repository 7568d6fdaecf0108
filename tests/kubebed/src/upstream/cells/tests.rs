use super::*;

/// The log of a spec that checks two pods once. `x/a` must not reach itself, but
/// does. `x/a` must not reach `y/a`, but did at first. `y/a` did not reach `x/a`
/// for a while.
const LOG: &str = "\
I1123 18:30:09.3 10103 test_helper.go:71] waiting for HTTP servers
I1123 18:30:09.4 10103 kubemanager.go:185] probe #1 :: connectivity expected :: x/a -> 10.96.0.2 :: stderr - REFUSED
I1123 18:30:09.5 10103 kubemanager.go:273] creating network policy x/deny
I1123 18:30:10.1 10103 kubemanager.go:215]  probe #1 :: connectivity not expected :: x/a -> 10.96.0.1
I1123 18:30:10.2 10103 kubemanager.go:215]  probe #1 :: connectivity not expected :: x/a -> 10.96.0.2
I1123 18:30:11.1 10103 kubemanager.go:215]  probe #2 :: connectivity not expected :: x/a -> 10.96.0.1
I1123 18:30:11.2 10103 kubemanager.go:185] probe #1 :: connectivity expected :: y/a -> 10.96.0.1 :: stderr - TIMEOUT
I1123 18:30:12.2 10103 kubemanager.go:185] probe #2 :: connectivity expected :: y/a -> 10.96.0.1 :: stderr - TIMEOUT
I1123 18:30:13.1 10103 probe.go:100] Validation of x/a -> x/a FAILED !!!
I1123 18:30:13.2 10103 reachability.go:180] expected:

-\t\tx/a\ty/a
x/a\tX\t\tX\t
y/a\t.\t\t.\t


I1123 18:30:13.3 10103 reachability.go:183] observed:

-\t\tx/a\ty/a
x/a\t.\t\tX\t
y/a\t.\t\t.\t


I1123 18:30:13.4 10103 reachability.go:186] comparison:

-\t\tx/a\ty/a
x/a\tX\t\t.\t
y/a\t.\t\t.\t


I1123 18:30:13.5 10103 test_helper.go:134] VALIDATION SUCCESSFUL
";

#[test]
fn tries_of_two_pods_count_and_a_pod_that_reaches_itself_does_not() {
    let cells = Cells::read(LOG);
    let Cells { shown, .. } = &cells;
    assert_eq!(shown.len(), 3);
    let wanted = Cells {
        pairs: 2,
        itself: 2,
        first_tries: 2,
        later_tries: 1,
        shown: shown.clone(),
        ..Cells::default()
    };
    assert_eq!(cells, wanted);
}

#[test]
fn a_pod_that_does_not_reach_itself_counts() {
    let refused = LOG.replace("x/a\t.\t\tX\t\n", "x/a\tX\t\tX\t\n");
    assert_eq!(Cells::read(&refused).itself_refused, 1);
    assert!(Cells::read(&refused).any_wrong());
}

#[test]
fn what_stays_wrong_counts() {
    let retried =
        "test_helper.go:120] failed first probe 1 wrong results ... retrying (SECOND TRY)";
    let (start, end) = LOG.split_once("I1123 18:30:13.2").unwrap_or_default();
    let end = end.replace("x/a\t.\t\tX\t\n", "x/a\t.\t\t.\t\n");
    let cells = Cells::read(&format!("{start}I1123 18:30:13.2 10103 {retried}\nI1123{end}"));
    assert_eq!((cells.wrong, cells.wrong_for_long), (1, 1));
}

#[test]
fn counts_add_up() {
    let mut sum = Cells::read(LOG);
    sum += &Cells::read(LOG);
    assert_eq!((sum.pairs, sum.itself, sum.first_tries, sum.later_tries), (4, 4, 4, 2));
    assert_eq!(sum.shown.len(), SHOWN);
}

#[test]
fn no_policy_no_counts() {
    assert_eq!(Cells::read("I1123 1 a.go:1] Starting probe from pod a to b\n"), Cells::default());
}
