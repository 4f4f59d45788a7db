//! `--tracing-config-file`: Kubernetes' `TracingConfiguration` (k8s.io/apiserver/pkg/apis/apiserver/v1, v1beta1 and v1alpha1). It is read at
//! start only, as there. Stricter than there: what its gRPC library would fail on later, or is not to be had here, is an error at once.

use http::uri::Authority;

use super::decode::{Fields, Kind, Object, decode};
use super::field_error::FieldError;
use super::options::option;
use super::values::Values;
use crate::trace::TraceConfig;
use crate::url;

/// Go: `TracingConfiguration` of k8s.io/component-base/tracing/api/v1.
#[derive(Debug, Default)]
struct TracingConfiguration {
    endpoint: Option<String>,
    sampling_rate_per_million: Option<i32>,
}

impl Fields for TracingConfiguration {
    fn take_from(object: &mut Object<'_>) -> Self {
        Self {
            endpoint: object.take("endpoint"),
            sampling_rate_per_million: object.take("samplingRatePerMillion"),
        }
    }
}

const KIND: Kind = Kind {
    name: "TracingConfiguration",
    versions: &[
        "apiserver.config.k8s.io/v1",
        "apiserver.config.k8s.io/v1beta1",
        "apiserver.config.k8s.io/v1alpha1",
    ],
};

/// What the flag names, if it names a file. Go: `TracingOptions.ApplyTo` of k8s.io/apiserver/pkg/server/options/tracing.go.
pub(super) fn read(values: &mut Values<'_>) -> Option<TraceConfig> {
    let file = values.file(option("tracing-config-file"))?;
    match parse(&file.bytes) {
        Ok(config) => Some(config),
        Err(errors) => {
            values.file_errors(&file, errors);
            None
        }
    }
}

fn parse(text: &[u8]) -> Result<TraceConfig, Vec<String>> {
    let TracingConfiguration { endpoint, sampling_rate_per_million } = decode(text, &KIND)?;
    let mut errors = Vec::new();
    let rate = sampling_rate(sampling_rate_per_million.unwrap_or_default(), &mut errors);
    let endpoint = endpoint.as_deref().unwrap_or(DEFAULT_ENDPOINT);
    if let Err(error) = validate_endpoint(endpoint) {
        errors.push(error.to_string());
    }
    match collector(endpoint) {
        Ok(endpoint) if errors.is_empty() => Ok(TraceConfig { endpoint, sampling_rate_per_million: rate }),
        Err(problem) if errors.is_empty() => {
            Err(vec![FieldError::invalid("endpoint", endpoint, problem).to_string()])
        }
        _ => Err(errors),
    }
}

/// "Recommended is unset, and endpoint is the otlp grpc default".
const DEFAULT_ENDPOINT: &str = "localhost:4317";

/// Go: `validateSamplingRate`.
fn sampling_rate(rate: i32, errors: &mut Vec<String>) -> u32 {
    let problem = match rate {
        ..0 => "sampling rate must be positive",
        0..=1_000_000 => return rate.unsigned_abs(),
        _ => "sampling rate per million must be less than or equal to one million",
    };
    errors.push(format!("samplingRatePerMillion: Invalid value: {rate}: {problem}"));
    0
}

/// Go: `validateEndpoint`.
fn validate_endpoint(endpoint: &str) -> Result<(), FieldError> {
    let endpoint = match endpoint.contains("//") {
        true => endpoint.to_owned(),
        false => format!("dns://{endpoint}"),
    };
    let invalid = |problem: &str| FieldError::invalid("endpoint", &endpoint, problem);
    let scheme = url::parse(&endpoint).map_err(|error| invalid(&error.to_string()))?.scheme;
    match &*scheme {
        "dns" | "unix" | "unix-abstract" => Ok(()),
        other => Err(invalid(&format!(
            "unsupported scheme: {other}.  Options are none, dns, unix, or unix-abstract.  See \
             https://github.com/grpc/grpc/blob/master/doc/naming.md"
        ))),
    }
}

/// The endpoint as tonic names it. Go: what google.golang.org/grpc makes of a target (`initParsedTargetAndResolverBuilder`, and its resolvers
/// `dns` and `unix`).
fn collector(endpoint: &str) -> Result<String, &'static str> {
    if endpoint.starts_with("unix-abstract:") {
        return Err("abstract sockets are not supported; write unix:///PATH or HOST:PORT");
    }
    if let Some(rest) = endpoint.strip_prefix("unix:") {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        return match path.starts_with('/') {
            true => Ok(format!("unix://{path}")),
            false => Err("the path of a socket begins with a slash; write unix:///PATH"),
        };
    }
    let address = match endpoint.strip_prefix("dns:") {
        None => endpoint,
        Some(rest) => match rest.strip_prefix("//") {
            None => rest,
            Some(rest) => rest.strip_prefix('/').ok_or(
                "what stands there names a DNS server, which cannot be chosen; write dns:///HOST:PORT",
            )?,
        },
    };
    // An empty host is this one, and without a port it is 443.
    let address = if address.starts_with(':') { format!("localhost{address}") } else { address.to_owned() };
    let authority: Authority = address.parse().map_err(|_| NO_ADDRESS)?;
    if authority.as_str().contains('@') || authority.host().is_empty() || authority.as_str().ends_with(':') {
        return Err(NO_ADDRESS);
    }
    let port = authority.port_u16().unwrap_or(443);
    Ok(format!("http://{}:{port}", authority.host()))
}

const NO_ADDRESS: &str = "no address; write HOST:PORT";

#[cfg(test)]
mod tests {
    use super::*;

    fn file(fields: &str) -> Result<TraceConfig, Vec<String>> {
        let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\n";
        parse(format!("{head}{fields}").as_bytes())
    }

    fn endpoint(endpoint: &str) -> Result<String, Vec<String>> {
        file(&format!("endpoint: {endpoint:?}\n")).map(|config| config.endpoint)
    }

    /// Go: TestReadTracingConfiguration of k8s.io/apiserver/pkg/server/options/tracing_test.go.
    #[test]
    fn a_file_is_read_strictly() {
        let config = |endpoint: &str, sampling_rate_per_million| {
            Ok(TraceConfig { endpoint: endpoint.to_owned(), sampling_rate_per_million })
        };
        assert_eq!(file(""), config("http://localhost:4317", 0));
        assert_eq!(file("samplingRatePerMillion: null\nendpoint: null"), config("http://localhost:4317", 0));
        assert_eq!(file("samplingRatePerMillion: 12345"), config("http://localhost:4317", 12345));
        assert_eq!(
            file("endpoint: otel:1\nsamplingRatePerMillion: 1000000"),
            config("http://otel:1", 1_000_000)
        );
        let json = br#"{"kind":"TracingConfiguration","apiVersion":"apiserver.config.k8s.io/v1beta1"}"#;
        assert_eq!(parse(json), config("http://localhost:4317", 0));
        let json = br#"{"kind":"TracingConfiguration","apiVersion":"apiserver.config.k8s.io/v1alpha1","endpoint":"a:1"}"#;
        assert_eq!(parse(json), config("http://a:1", 0));

        let error = |text: &str| Err(vec![text.to_owned()]);
        assert_eq!(file("bogus: 1"), error("strict decoding error: unknown field \"bogus\""));
        assert_eq!(file("Endpoint: a:1"), error("strict decoding error: unknown field \"Endpoint\""));
        assert_eq!(
            file("endpoint: 4317"),
            error("endpoint: cannot unmarshal number into a string; write it in quotes")
        );
        for odd in ["1.5", "\"1\"", "2147483648"] {
            let read = file(&format!("samplingRatePerMillion: {odd}"));
            let text = read.unwrap_err().join("\n");
            assert!(text.starts_with("samplingRatePerMillion: cannot unmarshal "), "{odd}: {text}");
        }
        assert_eq!(
            parse(b"apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration"),
            error("kind: expected TracingConfiguration, got \"AuthenticationConfiguration\"")
        );
        assert_eq!(
            parse(b"kind: TracingConfiguration"),
            error("apiVersion: Object 'apiVersion' is missing; write apiserver.config.k8s.io/v1")
        );
    }

    /// Go: TestValidateTracingConfiguration of k8s.io/component-base/tracing/api/v1/config_test.go.
    #[test]
    fn rates_and_endpoints_are_judged_as_in_kubernetes() {
        let error = |text: &str| Err(vec![text.to_owned()]);
        assert_eq!(
            file("samplingRatePerMillion: -1"),
            error("samplingRatePerMillion: Invalid value: -1: sampling rate must be positive")
        );
        assert_eq!(
            file("samplingRatePerMillion: 1000001"),
            error(
                "samplingRatePerMillion: Invalid value: 1000001: sampling rate per million must be less than or equal to one million"
            )
        );
        assert_eq!(
            file("endpoint: http://localhost:4317"),
            error(
                "endpoint: Invalid value: \"http://localhost:4317\": unsupported scheme: http.  Options are none, dns, unix, or unix-abstract.  See https://github.com/grpc/grpc/blob/master/doc/naming.md"
            )
        );
        assert_eq!(
            file("endpoint: dn%2s://localhost:4317\nsamplingRatePerMillion: -1")
                .map_err(|errors| errors.len()),
            Err(2)
        );
    }

    #[test]
    fn an_endpoint_is_where_grpc_would_look_for_it() {
        let good = [
            ("otel.example:4317", "http://otel.example:4317"),
            ("dns:///otel.example:4317", "http://otel.example:4317"),
            ("[::1]:4317", "http://[::1]:4317"),
            ("otel.example", "http://otel.example:443"),
            (":4317", "http://localhost:4317"),
            ("unix:///run/otel.sock", "unix:///run/otel.sock"),
            ("unix:/run/otel.sock", "unix:///run/otel.sock"),
        ];
        for (written, read) in good {
            assert_eq!(endpoint(written), Ok(read.to_owned()), "{written}");
        }
        for bad in [
            "dns://otel.example:4317",
            "unix://run/otel.sock",
            "unix-abstract:otel",
            "",
            "a:",
            "u@a:1",
            "a:1/b",
        ] {
            let errors = endpoint(bad).unwrap_err();
            assert!(
                errors.len() == 1 && errors[0].starts_with("endpoint: Invalid value: "),
                "{bad}: {errors:?}"
            );
        }
    }
}
