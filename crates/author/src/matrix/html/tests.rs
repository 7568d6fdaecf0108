use policy::{Labels, NetworkPolicy, ObjectKey, PodPeer, Port, PortNumbers, Protocol};
use policy::{Peer, Peers, Ports, Requirement, Rule, Selector, Snapshot};

use super::*;

const EVIL: &str = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>&\"'";

/// A cluster whose every text is an attack.
fn evil() -> Cluster {
    let selector = Selector::new([Requirement::equals(EVIL, EVIL)]);
    let mut pod = policy::Kept::stand_in(
        ObjectKey::new(EVIL, format!("{EVIL}\u{202e}\u{1b}[2J")),
        vec!["10.0.0.1".parse().expect("an address")],
    );
    pod.labels = Labels::from([(EVIL.to_owned(), EVIL.to_owned())]);
    let port = Port { protocol: Protocol::Tcp, numbers: PortNumbers::Named(EVIL.to_owned()) };
    let rule = Rule {
        peers: Peers::Only(vec![Peer::Pods(PodPeer {
            namespaces: Some(selector.clone()),
            pods: selector.clone(),
        })]),
        ports: Ports::Only(vec![port]),
    };
    let policy = NetworkPolicy {
        ingress: Some(vec![rule]),
        pod_selector: selector,
        ..NetworkPolicy::shut(ObjectKey::new(EVIL, EVIL))
    };
    let mut cluster = Cluster::from(Snapshot::new([policy], [pod], []));
    cluster.notices.push(EVIL.to_owned());
    cluster.focus = Some(EVIL.to_owned());
    cluster
}

#[test]
fn no_text_of_the_input_is_markup() {
    let cluster = evil();
    let mut sets = Sets::default();
    let mut judge = Judge::new(&cluster.snapshot, &mut sets);
    let matrix = Matrix::with(&cluster, &mut judge, sets, &mut |_, _| {}).unwrap();
    let page = page(&cluster, &judge, &matrix).expect("a page");
    // Two script elements: the data and the script.
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script").count(), 2);
    assert_eq!(page.matches("<img").count() + page.matches("<!--").count(), 0);
    assert!(!page.contains('\u{202e}') && !page.contains('\u{1b}'));
    let data = page.split_once("id=\"data\">").and_then(|(_, rest)| rest.split_once("</"));
    let data: Value = serde_json::from_str(data.expect("the data").0).expect("JSON");
    assert!(data["policies"][0][0].as_str().expect("a key").contains(EVIL));
    assert!(data["rules"][0][5].as_str().expect("peers").contains(EVIL));
}

#[test]
fn the_page_names_no_other_place() {
    for text in [SCRIPT, STYLE, include_str!("../../../templates/matrix.html")] {
        for word in ["http:", "https:", "url(", "@import", "innerHTML", "eval(", "fetch("] {
            assert!(!text.contains(word), "{word}");
        }
    }
}

#[test]
fn rows_and_sets_of_ends_are_short() {
    assert_eq!(runs([0, 0, 0, 0, 0, 1, 37].into_iter()), "0*5,1,11");
    assert_eq!(ranges([0, 1, 2, 40].into_iter()), "0-2,14");
    assert_eq!(runs(std::iter::empty()), "");
}
