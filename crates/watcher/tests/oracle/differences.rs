//! Where the two readers differ, and why.

const NO_NAME: &str = "the object has no name; ours leaves out what no rule can be known by";
const ITS_NAMESPACE: &str = "ours has no object in this namespace, see the policy without a name";
const REPEATED: &str = "a key is given twice; serde_yaml refuses the document, ours takes the last \
                        value and lets the rule allow nothing";
const UNKNOWN: &str = "an unknown field beside `ports`; k8s_openapi passes over it, ours lets the \
                       rule allow nothing, since the field may have been meant to narrow it";
const YAML_1_1: &str = "plain yes, no, on, off and y are booleans to kubectl (YAML 1.1) and to ours, \
                        text to serde_yaml (YAML 1.2)";

/// `folder/file: kind namespace/name`, and the reason.
pub(crate) const DIFFERENCES: &[(&str, &str)] = &[
    ("bad/field.yaml: NetworkPolicy dev/broken", UNKNOWN),
    ("broken/1-deny-all-ingress.yaml: NetworkPolicy default/", NO_NAME),
    ("broken/1-deny-all-ingress.yaml: Namespace /default", ITS_NAMESPACE),
    ("broken/2-all-ingress.yaml: NetworkPolicy default/", NO_NAME),
    ("broken/2-all-ingress.yaml: Namespace /default", ITS_NAMESPACE),
    ("broken/3b-allow-myapp-ingress.yaml: NetworkPolicy dev/allow-myapp-ingress", REPEATED),
    ("broken/3b-allow-myapp-ingress.yaml: Namespace /dev", REPEATED),
    ("broken/4-deny-all-Egress.yaml: NetworkPolicy default/", NO_NAME),
    ("broken/4-deny-all-Egress.yaml: Namespace /default", ITS_NAMESPACE),
    ("broken/5-deny-all-Egress.yaml: NetworkPolicy default/", NO_NAME),
    ("broken/5-deny-all-Egress.yaml: Namespace /default", ITS_NAMESPACE),
    ("manifests/values.yaml: NetworkPolicy ns/yaml-1-1", YAML_1_1),
    ("manifests/values.yaml: Pod ns/yaml-1-1", YAML_1_1),
];
