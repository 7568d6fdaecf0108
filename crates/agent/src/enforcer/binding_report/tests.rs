//! What is said when, with a clock of the test.

use std::net::IpAddr;

use policy::{Holder, InterfaceIndex};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn key(name: usize) -> ObjectKey {
    ObjectKey::new("dev", format!("pod-{name}"))
}

fn no_interface(pod: usize) -> BindingFinding {
    BindingFinding::NoInterface { pod: key(pod), address: IpAddr::from([10, 0, 0, 1]) }
}

fn claimed(by: usize) -> BindingFinding {
    let claimant =
        Holder { index: InterfaceIndex(by as u32), name: format!("veth{by}"), pod: None };
    let owner = Some(Holder { pod: Some(key(1)), ..claimant.clone() });
    let address = IpAddr::from([10, 0, 0, 1]);
    BindingFinding::ClaimedTwice { address, pod: key(1), owner, claimant, more: 0 }
}

fn logged(report: &BindingReport) -> usize {
    report.found.values().filter(|found| found.is_logged).count()
}

/// An interface goes before its pod's object does.
#[test]
fn an_address_without_an_interface_is_mentioned_only_if_it_stays_so() {
    let (now, metrics) = (Instant::now(), Metrics::new());
    let mut report = BindingReport::default();
    assert_eq!(report.take(now, &[no_interface(1)], &metrics).as_deref(), Some(""));
    assert_eq!((metrics.unbound_pods.get(), logged(&report)), (1, 0), "counted at once");
    assert_eq!(report.take(now + 9 * SECOND, &[no_interface(1)], &metrics), None);
    let remark = report.take(now + 10 * SECOND, &[no_interface(1)], &metrics).unwrap();
    assert!(remark.starts_with("1 of this node's pods are not bound"), "{remark}");
    assert!(remark.ends_with(": dev/pod-1"), "{remark}");
    assert_eq!(logged(&report), 1);
    assert_eq!(report.take(now + 11 * SECOND, &[], &metrics).as_deref(), Some(""));
    assert_eq!(metrics.unbound_pods.get(), 0);
}

#[test]
fn a_remark_names_a_few_of_many_pods() {
    let (now, metrics) = (Instant::now(), Metrics::new());
    let mut report = BindingReport::default();
    let findings: Vec<_> = (0..100).map(no_interface).collect();
    report.take(now, &findings, &metrics);
    let remark = report.take(now + 10 * SECOND, &findings, &metrics).unwrap();
    assert!(remark.starts_with("100 of this node's pods"), "{remark}");
    assert!(remark.ends_with(", ...") && remark.len() < 250, "{remark}");
}

/// However often a tenant changes the addresses in its pods.
#[test]
fn no_tenant_fills_the_log() {
    let (start, metrics) = (Instant::now(), Metrics::new());
    let mut report = BindingReport::default();
    let mut most = 0;
    for step in 0..3000u32 {
        let now = start + step * (SECOND / 50);
        report.take(now, &[claimed(step as usize)], &metrics);
        most = most.max(report.window.unwrap().lines);
    }
    let window = report.window.unwrap();
    assert_eq!((most, window.lines), (LINES, LINES));
    assert_eq!(window.more, 3000 - LINES, "they are counted");
    report.take(start + 2 * WINDOW, &[claimed(1)], &metrics);
    let window = report.window.unwrap();
    assert_eq!((window.lines, window.more), (1, 0), "a new window");
}

#[test]
fn each_kind_has_a_gauge() {
    let (now, metrics) = (Instant::now(), Metrics::new());
    let mut report = BindingReport::default();
    report.take(now, &[claimed(2), claimed(3), no_interface(1)], &metrics);
    let value = |kind| metrics.binding_findings.get_or_create(&[("kind", kind)]).get();
    assert_eq!((value("claimed_twice"), value("no_interface")), (2, 1));
    report.take(now, &[], &metrics);
    assert_eq!((value("claimed_twice"), value("no_interface")), (0, 0));
}
