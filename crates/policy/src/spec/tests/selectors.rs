//! Selectors of pods and namespaces, and peers that match nobody.

use super::*;

/// The cases of this file.
pub(super) fn cases() -> Vec<Case> {
    [operators(), namespaces(), nobody()].into_iter().flatten().collect()
}

/// Whether a policy for all pods allows this source with this peer.
fn from(
    topic: &'static str,
    name: &'static str,
    peer: Peer,
    packet: &'static str,
    allowed: bool,
) -> Case {
    let says = if allowed { "passes: free; allowed dev/p[0]" } else { "stops: free; denied dev/p" };
    Case { topic, name, cluster: cluster([policy("").ingress([peers([peer])])]), packet, says }
}

fn operators() -> Vec<Case> {
    // From the labelled pod `web`, and from the pod `bare` without labels.
    let web = |name, text, allowed| {
        from("operators", name, own(text), "10.0.0.1 > 10.0.0.2 tcp/80", allowed)
    };
    let bare = |name, text, allowed| {
        from("operators", name, own(text), "10.0.0.3 > 10.0.0.2 tcp/80", allowed)
    };
    vec![
        web("In holds", "app=db|web", true),
        web("In does not hold", "app=db", false),
        bare("In without the key", "app=web", false),
        web("NotIn holds", "app!=db", true),
        web("NotIn does not hold", "app!=db|web", false),
        bare("NotIn without the key holds", "app!=web", true),
        web("Exists holds", "app", true),
        web("Exists holds for an empty value", "empty", true),
        bare("Exists without the key", "empty", false),
        web("DoesNotExist does not hold", "!app", false),
        web("DoesNotExist does not hold for an empty value", "!empty", false),
        bare("DoesNotExist holds", "!app", true),
        web("matchLabels with an empty value holds", "empty=", true),
        bare("matchLabels with an empty value, key missing", "empty=", false),
        web("all requirements must hold", "app=web,!empty", false),
        web("all requirements hold", "app=web,empty,other!=x", true),
        bare("{} holds for a pod without labels", "", true),
    ]
}

fn namespaces() -> Vec<Case> {
    let web = |name, namespaces, allowed| {
        let peer = any_of(namespaces, "");
        from("namespace labels", name, peer, "10.0.1.1 > 10.0.0.2 tcp/80", allowed)
    };
    let ghost = |name, namespaces, allowed| {
        let peer = any_of(namespaces, "");
        from("namespace labels", name, peer, "10.0.2.1 > 10.0.0.2 tcp/80", allowed)
    };
    let unknown_own = NetworkPolicy {
        key: key("ghost/p"),
        ..policy("").ingress([peers([own("app=web")]), peers([any_of("", "")])])
    };
    vec![
        web("by a label", "team=prod", true),
        web("by another label", "team=dev", false),
        web("by name", "kubernetes.io/metadata.name=prod", true),
        web("by another name", "kubernetes.io/metadata.name=dev", false),
        web("by all names but one", "kubernetes.io/metadata.name!=dev", true),
        ghost("an unknown namespace is not {}", "", false),
        ghost("nor lacks it a label", "!team", false),
        ghost("nor is its label another", "team!=prod", false),
        ghost("nor has it its name", "kubernetes.io/metadata.name=ghost", false),
        Case {
            topic: "namespace labels",
            name: "a policy's own namespace needs no labels",
            cluster: cluster_with([unknown_own], |pods| {
                pods.push(pod("ghost/db", "10.0.2.2", "app=db"));
            }),
            packet: "10.0.2.1 > 10.0.2.2 tcp/80",
            says: "passes: free; allowed ghost/p[0]",
        },
    ]
}

fn nobody() -> Vec<Case> {
    let case = |topic, name, rule: Rule, packet, says| Case {
        topic,
        name,
        cluster: cluster([policy("app=web").ingress([rule])]),
        packet,
        says,
    };
    let used_up = || block("10.0.0.0/30", ["10.0.0.0/31", "10.0.0.2/31"]);
    let none = "peers that are nobody";
    let denied = "stops: free; denied dev/p";
    #[rustfmt::skip]
    let cases = vec![
        case(none, "a selector that matches no pod, from a pod", peers([own("app=none")]), "10.0.0.2 > 10.0.0.1 tcp/80", denied),
        case(none, "a selector that matches no pod, from outside", peers([own("app=none")]), "8.8.8.8 > 10.0.0.1 tcp/80", denied),
        case(none, "a namespace that is not there", peers([any_of("team=none", "")]), "10.0.0.2 > 10.0.0.1 tcp/80", denied),
        case(none, "a block that its excepts use up, from inside", peers([used_up()]), "10.0.0.2 > 10.0.0.1 tcp/80", denied),
        case(none, "a block that its excepts use up, from outside", peers([used_up()]), "8.8.8.8 > 10.0.0.1 tcp/80", denied),
        // What is left of `from: [{}]`, or of an ipBlock beside a selector.
        case("unusable parts", "the only peer was unusable", peers([]), "10.0.0.2 > 10.0.0.1 tcp/80", denied),
        case("unusable parts", "from outside", peers([]), "8.8.8.8 > 10.0.0.1 tcp/80", denied),
        case("unusable parts", "one of two peers was unusable", peers([own("app=db")]), "10.0.0.2 > 10.0.0.1 tcp/80", "passes: free; allowed dev/p[0]"),
        case("unusable parts", "the only port was unusable", ports([]), "8.8.8.8 > 10.0.0.1 tcp/80", denied),
        case("unusable parts", "and ping", ports([]), "8.8.8.8 > 10.0.0.1 proto/1", denied),
    ];
    cases
}
