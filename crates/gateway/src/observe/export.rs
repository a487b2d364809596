//! Export of spans to an OpenTelemetry collector, in builds with the feature `otel`. A thread of the exporter's
//! own sends them in batches from a bounded queue; what does not fit is dropped, so that a collector that is
//! slow or absent never touches traffic. Set up before the runtime and ended after it, by `main`.

use std::io;

use settings::ExportSettings;
use tracing_subscriber::{Layer, Registry};

/// The running export.
#[derive(Debug)]
pub(crate) struct Export {
    #[cfg(feature = "otel")]
    provider: opentelemetry_sdk::trace::SdkTracerProvider,
}

#[cfg(feature = "otel")]
impl Export {
    /// Starts the exporter's thread. Nothing is sent yet.
    pub(crate) fn start(settings: &ExportSettings) -> io::Result<Self> {
        use opentelemetry_otlp::{SpanExporter, WithExportConfig};
        use opentelemetry_sdk::{
            Resource,
            trace::{Sampler, SdkTracerProvider},
        };

        let exporter = SpanExporter::builder().with_http().with_endpoint(&settings.endpoint).build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter.map_err(io::Error::other)?)
            .with_sampler(Sampler::TraceIdRatioBased(settings.sample_ratio))
            .with_resource(Resource::builder().with_service_name("respool").build())
            .build();
        Ok(Self { provider })
    }

    /// Where spans go in; whatever the filter of the logs says.
    pub(crate) fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        use opentelemetry::trace::TracerProvider;
        use tracing_subscriber::filter::{LevelFilter, Targets};

        use crate::observe::spans;

        let spans = Targets::new().with_target(spans::TARGET, LevelFilter::TRACE);
        let tracer = self.provider.tracer("respool");
        tracing_opentelemetry::layer().with_tracer(tracer).with_filter(spans).boxed()
    }

    /// Sends what is left, as far as that takes no longer than a few seconds. Not within a runtime.
    pub(crate) fn end(self) {
        const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(3);
        if let Err(error) = self.provider.shutdown_with_timeout(LAST_WORDS) {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

#[cfg(not(feature = "otel"))]
impl Export {
    pub(crate) fn start(_: &ExportSettings) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        tracing_subscriber::layer::Identity::new().boxed()
    }

    pub(crate) fn end(self) {}
}
