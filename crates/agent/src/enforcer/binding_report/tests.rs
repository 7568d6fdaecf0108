//! What is logged when. The test keeps the clock.

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
    let claimant = Holder {
        index: InterfaceIndex(by as u32),
        name: format!("veth{by}"),
        pod: None,
        is_left_over: false,
    };
    let owner = Some(Holder { pod: Some(key(1)), ..claimant.clone() });
    let address = IpAddr::from([10, 0, 0, 1]);
    BindingFinding::ClaimedTwice { address, pod: key(1), owner, claimant, more: 0 }
}

fn logged(report: &BindingReport) -> usize {
    report.found.values().filter(|found| found.said == Said::Logged).count()
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
    assert!(remark.contains(" more") && remark.len() < 250, "{remark}");
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
        most = most.max(report.window.as_ref().unwrap().lines);
    }
    let window = report.window.as_ref().unwrap();
    assert_eq!((most, window.lines), (SHARE, SHARE), "the interfaces are no pod's");
    assert_eq!(window.more, 3000 - SHARE, "they are counted");
    report.take(start + 2 * WINDOW, &[claimed(1)], &metrics);
    let window = report.window.as_ref().unwrap();
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

fn unreported(pod: usize, more: usize) -> BindingFinding {
    let address = IpAddr::from([10, 9, 0, more as u8]);
    BindingFinding::UnreportedAddress {
        pod: key(pod),
        interface: "veth1".to_owned(),
        address,
        more,
    }
}

/// A pod that gives itself one more address at each look.
#[test]
fn what_a_tenant_counts_up_is_logged_once() {
    let (start, metrics) = (Instant::now(), Metrics::new());
    let mut report = BindingReport::default();
    for more in 0..100 {
        report.take(start + more as u32 * SECOND / 2, &[unreported(1, more)], &metrics);
    }
    let window = report.window.as_ref().unwrap();
    assert_eq!((window.lines, window.more), (1, 0));
}

/// Neither by one pod's share nor by a full window.
#[test]
fn what_was_held_back_is_logged_later() {
    let (start, metrics) = (Instant::now(), Metrics::new());
    let mut report = BindingReport::default();
    let noisy = |place: usize| BindingFinding::MacChanged {
        pod: key(0),
        interface: format!("veth{place}"),
        bound: policy::Mac([1; 6]),
        now: policy::Mac([2; 6]),
    };
    let findings: Vec<_> = (0..100).map(noisy).chain([unreported(1, 0)]).collect();
    report.take(start, &findings, &metrics);
    assert_eq!(logged(&report), SHARE + 1, "the other pod has its line");
    let findings: Vec<_> = (0..30).map(|pod| unreported(pod, 0)).collect();
    report.take(start, &findings, &metrics);
    let first = report.window.as_ref().unwrap();
    assert_eq!((first.lines, logged(&report)), (LINES, LINES - SHARE));
    report.take(start + WINDOW / 2, &findings, &metrics);
    assert_eq!(logged(&report), LINES - SHARE);
    report.take(start + WINDOW, &findings, &metrics);
    assert_eq!(logged(&report), 30, "none is forgotten");
}

/// Nobody knows which of two interfaces is the pod's.
#[test]
fn a_pod_whose_address_is_contested_is_cut_off() {
    let (now, metrics) = (Instant::now(), Metrics::new());
    let mut report = BindingReport::default();
    let claimants = [2, 3].map(|index| Holder {
        index: InterfaceIndex(index),
        name: format!("veth{index}"),
        pod: None,
        is_left_over: false,
    });
    let contested = BindingFinding::Contested {
        address: IpAddr::from([10, 0, 0, 1]),
        pod: key(1),
        claimants: claimants.into(),
        more: 0,
    };
    let findings = std::slice::from_ref(&contested);
    report.take(now, findings, &metrics);
    assert_eq!((metrics.unbound_pods.get(), logged(&report)), (1, 0));
    let count = metrics.binding_findings.get_or_create(&[("kind", "contested")]).get();
    assert_eq!(count, 1);
    report.take(now + 2 * SECOND, findings, &metrics);
    assert_eq!(logged(&report), 1, "a former interface of the pod would be gone by now");
    let remark = report.take(now + 10 * SECOND, findings, &metrics).unwrap();
    assert!(remark.starts_with("1 of this node's pods may be cut off"), "{remark}");
}

/// The interface of a pod that is gone has the address of a new one.
#[test]
fn a_pod_whose_address_another_interface_has_is_counted_and_named() {
    let (now, metrics) = (Instant::now(), Metrics::new());
    let mut report = BindingReport::default();
    report.take(now, &[claimed(2)], &metrics);
    assert_eq!(metrics.unbound_pods.get(), 1);
    let remark = report.take(now + 10 * SECOND, &[claimed(2)], &metrics).unwrap();
    assert!(remark.starts_with("1 of this node's pods may be cut off"), "{remark}");
    assert!(remark.ends_with(": dev/pod-1"), "{remark}");
    let BindingFinding::ClaimedTwice { address, pod, owner, claimant, more } = claimed(2) else {
        return;
    };
    let claimant = Holder { pod: Some(key(3)), ..claimant };
    let known = BindingFinding::ClaimedTwice { address, pod, owner, claimant, more };
    report.take(now, &[known], &metrics);
    assert_eq!(metrics.unbound_pods.get(), 0, "a known pod claims it in vain");
}
