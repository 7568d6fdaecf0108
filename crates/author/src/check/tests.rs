use super::*;

#[test]
fn each_check_has_a_page_that_is_listed() {
    let index = include_str!("../../../../docs/checks/README.md");
    for check in CHECKS {
        assert!(check.page.starts_with(&format!("# {}\n", check.id)), "{}", check.id);
        let line =
            format!("| [{}]({}.md) | {} | {} |", check.id, check.id, check.level, check.summary);
        assert!(index.contains(&line), "{line}");
    }
    assert!(CHECKS.is_sorted_by_key(|check| check.id));
}
