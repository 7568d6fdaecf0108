use std::ffi::OsStr;

use super::*;

#[test]
fn documentation_gives_way_to_other_work() {
    let Job { command, .. } =
        documentation(&Cargo::default(), &["nice", "-n", "19"], &["a_filter".to_owned()]);
    assert_eq!(command.get_program(), "nice");
    let args: Vec<_> = command.get_args().filter_map(OsStr::to_str).collect();
    assert_eq!(args[..2], ["-n", "19"]);
    assert_eq!(args[3..], ["test", "--workspace", "--doc", "--", "a_filter"]);
}
