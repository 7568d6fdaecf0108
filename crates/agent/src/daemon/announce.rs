//! Events on policies that are not enforced as written, and on pods.
//!
//! In: what is wrong with which object now. Out: one Event for each object and
//! reason, under a name made of both, so that several nodes and repeats update
//! one object. Never: more than a few requests a second; a read from the API
//! server.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agent::problems::{About, Problems};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// The API server forgets Events after an hour (`--event-ttl`).
const REPEAT_EVERY: Duration = Duration::from_secs(30 * 60);
/// The pause between two requests.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause after a failed request.
const RETRY: Duration = Duration::from_secs(30);
/// `NoteLengthLimit` of the API server's validation (pkg/apis/core/validation/events.go).
const MESSAGE_BYTES: usize = 1024;

/// Publishes problems as they change, until the sender is gone.
pub async fn publish(client: Client, node: String, mut problems: watch::Receiver<Problems>) {
    let mut published: BTreeMap<About, (String, Instant)> = BTreeMap::new();
    let mut failing = false;
    loop {
        let current = problems.borrow_and_update().clone();
        published.retain(|about, _| current.contains_key(about));
        let mut wait = REPEAT_EVERY;
        for (about, message) in &current {
            let known = published
                .get(about)
                .is_some_and(|(before, when)| before == message && when.elapsed() < REPEAT_EVERY);
            if known {
                continue;
            }
            match put(&client, &node, about, message).await {
                Ok(()) => {
                    failing = false;
                    published.insert(about.clone(), (message.clone(), Instant::now()));
                }
                Err(error) => {
                    // Log once: further problems would fail for the same reason.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(object = %about.object, "cannot write an Event: {error}");
                    }
                    wait = RETRY;
                }
            }
            sleep(PAUSE).await;
        }
        if let Ok(Err(_)) = timeout(wait, problems.changed()).await {
            return;
        }
    }
}

/// Creates the Event, or updates the existing one.
async fn put(client: &Client, node: &str, about: &About, message: &str) -> Result<(), kube::Error> {
    let events: Api<Event> = Api::namespaced(client.clone(), &about.object.namespace);
    let now = Timestamp::now();
    let event = event(node, about, message, now);
    let name = event.metadata.name.clone().unwrap_or_default();
    let request = async {
        match events.create(&PostParams::default(), &event).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let patch = Patch::Merge(json!({
                    "message": event.message,
                    "lastTimestamp": Time(now),
                    "source": event.source,
                }));
                match events.patch(&name, &PatchParams::default(), &patch).await {
                    // Another node was faster, with the same content.
                    Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
                    result => result.map(drop),
                }
            }
            result => result.map(drop),
        }
    };
    match timeout(PATIENCE, request).await {
        Ok(result) => result,
        Err(_) => Err(kube::Error::Service("the API server does not answer".into())),
    }
}

fn event(node: &str, about: &About, message: &str, now: Timestamp) -> Event {
    let About { object, uid, reason } = about;
    let (api_version, kind) = reason.kind();
    let name = format!("nftpol.{uid}.{}", reason.name().to_lowercase());
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(object.namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(api_version.to_owned()),
            kind: Some(kind.to_owned()),
            namespace: Some(object.namespace.clone()),
            name: Some(object.name.clone()),
            uid: Some(uid.clone()),
            ..ObjectReference::default()
        },
        type_: Some("Warning".to_owned()),
        reason: Some(reason.name().to_owned()),
        message: Some(shortened(message)),
        source: Some(EventSource {
            component: Some("nftpol".to_owned()),
            host: Some(node.to_owned()),
        }),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..Event::default()
    }
}

fn shortened(message: &str) -> String {
    const ELLIPSIS: &str = " ...";
    if message.len() < MESSAGE_BYTES {
        return message.to_owned();
    }
    let mut end = MESSAGE_BYTES - ELLIPSIS.len() - 1;
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ELLIPSIS}", &message[..end])
}

#[cfg(test)]
mod tests {
    use agent::problems::EventReason;
    use policy::ObjectKey;

    use super::*;

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = "ä".repeat(1000);
        let short = shortened(&long);
        assert!(short.len() < MESSAGE_BYTES && short.ends_with("ä ..."), "{}", short.len());
        assert_eq!(shortened("short"), "short");
    }

    #[test]
    fn the_name_is_made_of_policy_and_reason() {
        let about = About {
            object: ObjectKey::new("dev", "Web"),
            uid: "0b5c".to_owned(),
            reason: EventReason::UnusablePart,
        };
        let event = event("n1", &about, "why", Timestamp::now());
        assert_eq!(event.metadata.name.as_deref(), Some("nftpol.0b5c.unusablepart"));
        assert_eq!(event.involved_object.kind.as_deref(), Some("NetworkPolicy"));
        let of_pod = About { reason: EventReason::TableRemoved, ..about };
        let event = super::event("n1", &of_pod, "why", Timestamp::now());
        assert_eq!(event.involved_object.kind.as_deref(), Some("Pod"));
    }
}
