//! A line of the log as one flat JSON object: what the line says, the fields of the spans that it stands in, and the trace
//! that they belong to, each under its own dotted name. What a line says itself goes before what its spans say, and an
//! inner span before an outer one.

use std::fmt;

use chrono::SecondsFormat;
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Clock;

/// The shape of a line.
pub(super) struct FlatJson;

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, JsonFields> for FlatJson {
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let Fields(mut fields) = fields;
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let Some(of_span) = extensions.get::<FormattedFields<JsonFields>>() else { continue };
            let Ok(of_span) = serde_json::from_str::<Map<String, Value>>(of_span) else { continue };
            for (name, value) in of_span {
                fields.entry(name).or_insert(value);
            }
        }
        add_trace(&mut fields);
        let time = Clock::System.now().to_rfc3339_opts(SecondsFormat::Micros, true);
        let metadata = event.metadata();
        write!(writer, r#"{{"timestamp":"{time}","level":"{}""#, metadata.level())?;
        // What every line has comes first, for those who read with their eyes.
        let message = fields.remove_entry("message");
        let target = ("target".to_owned(), Value::from(metadata.target()));
        for (name, value) in message.into_iter().chain([target]).chain(fields) {
            write!(writer, ",{}:{value}", Value::from(name))?;
        }
        writeln!(writer, "}}")
    }
}

/// The trace that is being worked on, where there is one.
fn add_trace(fields: &mut Map<String, Value>) {
    let context = Context::current();
    let span = context.span();
    let span = span.span_context();
    if span.is_valid() {
        fields.insert("trace.id".to_owned(), span.trace_id().to_string().into());
        fields.insert("span.id".to_owned(), span.span_id().to_string().into());
    }
}

/// Collects what an event says.
struct Fields(Map<String, Value>);

impl Fields {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, format!("{value:?}"));
    }
}
