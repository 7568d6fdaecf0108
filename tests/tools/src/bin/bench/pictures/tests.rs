//! Pictures of figures in small.

use super::*;

const CHANGES: &str = "\
change,pods,cpu_ms,wall_ms,kernel_cpu_ms
a remote pod relabelled,1000,0.2,0.3,0.1
a remote pod relabelled,10000,0.25,0.3,0.1
a local pod relabelled,1000,1.2,1.3,0.9
a local pod relabelled,10000,1.1,1.3,0.9
";
const PACKETS: &str = "\
pods_are,form,size,new_ns,established_ns,connect_ns
routed,no table,0,1000,900,50000
routed,nftpol; bound,0,1200,1100,52000
routed,nftpol; bound,10,1200,1100,52000
routed,kube-router,10,2200,2100,72000
bridged,elsewhere,10,2200,2100,72000
";

#[test]
fn equal_figures_make_equal_pictures_with_all_names() {
    let draw = || changes_picture(&rows(CHANGES)).unwrap().svg().unwrap();
    let svg = draw();
    assert_eq!(svg, draw());
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
    for name in ["a remote pod relabelled", "a local pod relabelled, the kernel alone"] {
        assert!(svg.contains(name), "{name}");
    }
}

#[test]
fn what_has_one_size_is_a_line_across() {
    let picture = packets_picture("New flows", &rows(PACKETS), 3).unwrap();
    let lines: Vec<_> = picture.lines.iter().map(|line| (&*line.name, &*line.points)).collect();
    let expected = [
        ("no table", &[(0.0, 1e6), (1.0, 1e6)][..]),
        ("nftpol, bound", &[(0.0, 1e9 / 1200.0), (1.0, 1e9 / 1200.0)]),
        ("kube-router", &[(0.0, 1e9 / 2200.0), (1.0, 1e9 / 2200.0)]),
    ];
    assert_eq!(lines, expected);
    assert!(picture.svg().unwrap().contains("1000"), "a label");
}

#[test]
fn nothing_is_drawn_of_nothing() {
    assert!(changes_picture(&[]).unwrap().svg().is_err());
    assert!(changes_picture(&rows("head\na,b,c,d,e")).is_err());
}
