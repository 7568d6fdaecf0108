use super::*;

fn parse(text: &str) -> Result<End, EndError> {
    End::parse(text, "here")
}

fn key(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey::new(namespace, name)
}

fn labelled(namespace: &str, pairs: &[(&str, &str)]) -> Named {
    let pairs = pairs.iter().map(|&(key, value)| Requirement::equals(key, value));
    Named::Selected(namespace.to_owned(), Selector::new(pairs))
}

#[test]
fn ends_are_written_as_kubectl_users_write_them() {
    let address = |text: &str| Named::Address(text.parse().unwrap());
    let cases = [
        ("internet", Named::Internet),
        ("10.0.0.1", address("10.0.0.1")),
        ("fd00::1", address("fd00::1")),
        ("[fd00::1]", address("fd00::1")),
        ("shop/cart", Named::PodOrWorkload(key("shop", "cart"))),
        ("cart", Named::PodOrWorkload(key("here", "cart"))),
        ("shop/deploy/cart", Named::Workload("Deployment", key("shop", "cart"))),
        ("deploy/cart", Named::Workload("Deployment", key("here", "cart"))),
        ("deploy/shop/cart", Named::Workload("Deployment", key("shop", "cart"))),
        ("shop/pod/cart-0", Named::Workload("Pod", key("shop", "cart-0"))),
        ("svc/shop/cart", Named::Service(key("shop", "cart"))),
        ("shop/svc/cart", Named::Service(key("shop", "cart"))),
        ("svc/cart", Named::Service(key("here", "cart"))),
        ("node/worker-1", Named::Node("worker-1".to_owned())),
        ("shop/*", Named::AllOf("shop".to_owned())),
        ("shop/app=cart", labelled("shop", &[("app", "cart")])),
        ("app=cart,tier==x", labelled("here", &[("app", "cart"), ("tier", "x")])),
        ("shop/k8s.io/app=cart", labelled("shop", &[("k8s.io/app", "cart")])),
        ("k8s.io/app=cart", labelled("here", &[("k8s.io/app", "cart")])),
    ];
    for (text, expected) in cases {
        let end = parse(text).map(|end| (end.named, end.port));
        assert_eq!(end, Ok((expected, None)), "{text}");
    }
}

#[test]
fn a_port_without_a_protocol_is_tcp() {
    let number = |protocol, port| AskedPort { protocol, port: NumberOrName::Number(port) };
    let http = AskedPort { protocol: Protocol::Tcp, port: NumberOrName::Name("http".to_owned()) };
    let cases = [
        ("shop/cart:80", number(Protocol::Tcp, 80)),
        ("shop/cart:53/udp", number(Protocol::Udp, 53)),
        ("[fd00::1]:53/UDP", number(Protocol::Udp, 53)),
        ("10.0.0.1:65535", number(Protocol::Tcp, 65535)),
        ("svc/shop/cart:http", http),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text).map(|end| end.port), Ok(Some(expected)), "{text}");
    }
}

#[test]
fn what_names_nothing_is_refused_with_the_forms_that_do() {
    let cases = [
        ("", "names nothing"),
        ("shop/", "names nothing"),
        ("/cart", "names nothing"),
        ("a/b/c/d", "names nothing"),
        ("shop/depoly/cart", "\"depoly\" makes no pods"),
        ("shop/cart:", "is no port"),
        ("shop/cart:0", "is no port"),
        ("shop/cart:65536", "is no port"),
        ("shop/cart:-1", "is no port"),
        ("shop/cart:HTTP", "is no port"),
        (
            "shop/cart:a-name-of-more-letters-than-the-sixty-three-that-a-label-may-have-ab",
            "is no port",
        ),
        ("shop/cart:80/ICMP", "\"ICMP\" is no protocol with ports"),
        ("shop/=cart", "is no selector"),
        ("shop/app=cart,", "is no selector"),
    ];
    for (text, expected) in cases {
        let said = parse(text).expect_err(text).to_string();
        assert!(said.contains(expected), "{text}: {said}");
    }
}
