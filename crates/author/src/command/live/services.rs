//! The names of Services, for the addresses that senders asked for.
//!
//! In: the Services of a cluster, with the credentials of the person who asks. Out: a name
//! for an address. Never: a right that an agent needs: agents know no Services.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Service;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::time::timeout;

/// How often the Services are listed at most.
const AGAIN: Duration = Duration::from_secs(30);
/// How long a list may take. Without it, addresses have no names.
const PATIENCE: Duration = Duration::from_secs(5);
/// Services in an answer of the API server.
const PAGE: u32 = 500;

/// The names of addresses.
pub(super) struct Services {
    services: Api<Service>,
    names: HashMap<IpAddr, String>,
    tried: Option<Instant>,
}

impl Services {
    /// None is known yet.
    pub fn of(client: Client) -> Self {
        Self { services: Api::all(client), names: HashMap::new(), tried: None }
    }

    /// The Service with this address, as `namespace/name`. An address that is not known is
    /// looked for in a new list, now and then.
    pub async fn name(&mut self, address: IpAddr) -> Option<String> {
        let is_time = self.tried.is_none_or(|tried| tried.elapsed() >= AGAIN);
        if !self.names.contains_key(&address) && is_time {
            self.tried = Some(Instant::now());
            // Without the right to list Services there are no names.
            if let Ok(Ok(listed)) = timeout(PATIENCE, self.list()).await {
                self.names = listed.iter().flat_map(addresses).collect();
            }
        }
        self.names.get(&address).cloned()
    }

    async fn list(&self) -> Result<Vec<Service>, kube::Error> {
        let mut found = Vec::new();
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = self.services.list(&params).await?;
            found.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(found),
            }
        }
    }
}

/// All addresses of a Service: in the cluster, external, and of load balancers.
fn addresses(service: &Service) -> Vec<(IpAddr, String)> {
    let metadata = &service.metadata;
    let (Some(namespace), Some(name)) = (&metadata.namespace, &metadata.name) else {
        return Vec::new();
    };
    let spec = service.spec.as_ref();
    let inside = spec.and_then(|spec| spec.cluster_ips.clone()).unwrap_or_default();
    let outside = spec.and_then(|spec| spec.external_ips.clone()).unwrap_or_default();
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let balanced = balancer.and_then(|balancer| balancer.ingress.clone()).unwrap_or_default();
    let balanced = balanced.into_iter().filter_map(|one| one.ip);
    // A headless Service has the address `None`.
    let all = inside.into_iter().chain(outside).chain(balanced);
    let known = all.filter_map(|address| address.parse().ok());
    known.map(|address| (address, format!("{namespace}/{name}"))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_has_addresses_in_the_cluster_and_outside() {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": "cart"},
            "spec": {"clusterIPs": ["10.96.0.7", "fd00::7"], "externalIPs": ["192.0.2.1"]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}, {"hostname": "x"}]}},
        }))
        .expect("a Service");
        let found: Vec<String> =
            addresses(&service).iter().map(|(address, name)| format!("{address} {name}")).collect();
        let all = ["10.96.0.7", "fd00::7", "192.0.2.1", "192.0.2.2"];
        assert_eq!(found, all.map(|address| format!("{address} shop/cart")));
        let headless: Service = serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": "db"}, "spec": {"clusterIPs": ["None"]},
        }))
        .expect("a Service");
        assert_eq!(addresses(&headless), []);
    }
}
