//! The log: where it goes, in which form, and how much.
//!
//! In: what the code says by `tracing`, the flags of `agent`. Out: lines on standard error.
//! Never: a wait for the reader.

use std::fmt;
use std::io::{IsTerminal, Write};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt as text};

use agent::report;

use crate::cli::{Command, LogFormat, LogLevel};

/// Begins to log.
pub fn start(command: &Command) {
    // A command has output of its own; an agent has only its log.
    let (level, format, node) = match command {
        Command::Agent(args) => (args.log_level, args.log_format, Some(args.node_name.clone())),
        Command::PodAgent(args) => (args.log_level, args.log_format, Some(args.node_name.clone())),
        _ => (Some(LogLevel::Warn), LogFormat::Text, None),
    };
    let registry = tracing_subscriber::registry().with(filter(command, level));
    match format {
        LogFormat::Json => registry.with(JsonLines { node }).init(),
        LogFormat::Text => {
            let text = text::layer()
                .with_writer(report::LogLine::default)
                .with_ansi(
                    std::io::stderr().is_terminal()
                        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
                )
                // Such an error goes to stderr, and panics where that is closed.
                .log_internal_errors(false);
            registry.with(text).init();
        }
    }
}

/// A flag counts more than the environment, which counts more than the default.
fn filter(command: &Command, level: Option<LogLevel>) -> EnvFilter {
    let is_agent = matches!(command, Command::Agent(_) | Command::PodAgent(_));
    let level = level.map(|level| match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    });
    let builder =
        EnvFilter::builder().with_default_directive(level.unwrap_or(LevelFilter::INFO).into());
    let has_environment = std::env::var_os(EnvFilter::DEFAULT_ENV).is_some();
    if is_agent && level.is_some() || !has_environment {
        // kube_client logs each failed request, which the watches log anyway.
        return match "kube_client=off".parse() {
            Ok(quiet) => builder.parse_lossy("").add_directive(quiet),
            Err(_) => builder.parse_lossy(""),
        };
    }
    builder.from_env_lossy()
}

/// A line of JSON for each event: `time`, `level`, `message`, `node`, and the event's fields.
struct JsonLines {
    node: Option<String>,
}

impl<S: Subscriber> Layer<S> for JsonLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(Map::new());
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        fields.0.insert("time".to_owned(), Timestamp::now().to_string().into());
        fields.0.insert("level".to_owned(), level.into());
        if let Some(node) = &self.node {
            fields.0.insert("node".to_owned(), node.as_str().into());
        }
        fields.0.insert("target".to_owned(), event.metadata().target().into());
        event.record(&mut fields);
        let line = Value::Object(fields.0).to_string();
        // It is one piece of memory: nothing can fail.
        let _ = report::LogLine::default().write_all(line.as_bytes());
    }
}

/// The fields of an event.
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Collects what an event records.
    #[derive(Clone, Default)]
    struct Seen(std::sync::Arc<std::sync::Mutex<Vec<Value>>>);

    impl<S: Subscriber> Layer<S> for Seen {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut fields = Fields(Map::new());
            event.record(&mut fields);
            self.0.lock().expect("a lock").push(Value::Object(fields.0));
        }
    }

    #[test]
    fn an_event_keeps_its_fields() {
        let seen = Seen::default();
        let subscriber = tracing_subscriber::registry().with(seen.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(object = %"dev/web", attempts = 3, "a \"quoted\"\nline");
        });
        let expected = serde_json::json!({
            "message": "a \"quoted\"\nline", "object": "dev/web", "attempts": 3
        });
        assert_eq!(*seen.0.lock().expect("a lock"), [expected]);
    }
}
