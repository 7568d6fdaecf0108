//! What a runtime may pass, where no agent is: a network namespace of its own has none.

use serde_json::json;

use super::*;

const PREVIOUS: &str = r#"{"cniVersion":"1.0.0","interfaces":[{"name":"veth1"},{"name":"eth0",
    "sandbox":"/run/netns/a"}],"ips":[{"address":"10.244.1.5/24","interface":1},
    {"address":"fd00::5/64","interface":1}],"later":{"field":1}}"#;

fn call(command: &str) -> Call {
    Call {
        command: command.to_owned(),
        container: "c1".to_owned(),
        interface: "eth0".to_owned(),
        arguments: "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart-0;K8S_POD_UID=u"
            .to_owned(),
    }
}

fn config(version: &str, more: Value) -> Vec<u8> {
    let mut config =
        json!({"cniVersion": version, "name": "pods", "type": "nftpol-cni", "waitMs": 60});
    config["prevResult"] = serde_json::from_str(PREVIOUS).unwrap();
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    config.to_string().into_bytes()
}

#[test]
fn the_pod_and_its_addresses_are_found() {
    let pod = call("ADD").pod().unwrap();
    assert_eq!((pod.namespace.as_str(), pod.name.as_str()), ("shop", "cart-0"));
    assert_eq!(pod.uid.as_deref(), Some("u"));
    let config = Config::parse(&config("1.1.0", json!({}))).unwrap();
    let addresses: Vec<String> =
        config.addresses().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.244.1.5", "fd00::5"]);
    assert_eq!(config.host_interfaces().unwrap(), ["veth1"], "eth0 is in a sandbox");
    assert_eq!(Call { arguments: String::new(), ..call("ADD") }.pod(), None);
}

#[test]
fn what_is_passed_on_is_unchanged() {
    for version in VERSIONS {
        // No pod of Kubernetes: the agent is not asked.
        let other = Call { arguments: String::new(), ..call("ADD") };
        let printed = run(&other, &config(version, json!({}))).unwrap().unwrap();
        assert_eq!(printed, serde_json::from_str::<Value>(PREVIOUS).unwrap(), "{version}");
    }
}

#[test]
fn mistakes_have_the_codes_of_cni() {
    let code = |call: &Call, input: &[u8]| {
        let error = run(call, input).unwrap_err();
        error.json("1.0.0")["code"].as_u64().unwrap()
    };
    assert_eq!(code(&call("ADD"), &config("0.2.0", json!({}))), 1, "a version of long ago");
    assert_eq!(code(&call("ADD"), &config("2.0.0", json!({}))), 1, "a later version");
    assert_eq!(code(&call("ADD"), b"{"), 7, "no JSON");
    assert_eq!(code(&call("ADD"), &config("1.0.0", json!({"prevResult": null}))), 7, "unchained");
    let bad = json!({"prevResult": {"ips": [{"address": "none"}]}});
    assert_eq!(code(&call("ADD"), &config("1.0.0", bad)), 7, "no address");
    assert_eq!(code(&call("ADD"), &config("1.0.0", json!({"withoutAgent": "open"}))), 7);
    assert_eq!(code(&call("BUILD"), &config("1.0.0", json!({}))), 4, "no command");
    let none = Call { container: String::new(), ..call("ADD") };
    assert_eq!(code(&none, &config("1.0.0", json!({}))), 4, "no container");
}

#[test]
fn versions_are_told_without_a_configuration() {
    let said = run(&call("VERSION"), b"").unwrap().unwrap();
    assert_eq!(said["supportedVersions"], json!(VERSIONS));
}
