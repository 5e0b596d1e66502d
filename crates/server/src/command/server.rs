//! The broker that the commands talk to: where it is, and HTTP to it.

use super::failure::{Failure, in_words};
use super::visible;
use crate::setting::ENVIRONMENT_SERVER;
use admin::shape::{ErrorBody, Problem};
use admin::words::plain;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::env::VarError;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use ureq::http::header::CONTENT_TYPE;
use ureq::http::{Method, Request, Response, StatusCode, Uri};
use ureq::{Agent, AsSendBody, Body, Timeout};

/// Where the broker is unless somebody says so: the default of its setting.
pub(crate) const DEFAULT: &str = "http://127.0.0.1:8080";
const JSON: &str = "application/json";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For an answer, beyond what the request itself may wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const BODY_TIMEOUT: Duration = Duration::from_secs(120);
/// The broker closes connections that are idle for 10 seconds; ours must not be used then.
const IDLE: Duration = Duration::from_secs(5);
/// The broker closes connections after 10 minutes, whatever they do then.
const LIFETIME: Duration = Duration::from_secs(300);
/// The largest answer that is read into memory.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// What a broken connection leaves open.
const UNKNOWN: &str = "It is not known whether the last request was done";
/// Who ends connections without an answer, whatever is asked.
const NOT_OURS: &str = "Where that happens each time, this is not the port of HTTP but perhaps that of Kafka's clients, \
                        or the broker has as many HTTP connections as it takes";
/// Bytes shown of an answer that is not ours.
const STRANGE_BYTES_SHOWN: usize = 200;

/// Where to find the broker.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ServerFlag {
    /// The broker's HTTP address [default: http://127.0.0.1:8080] [environment: MAINSTEM_SERVER]
    #[arg(long, global = true, value_name = "URL", help_heading = "Connection")]
    server: Option<String>,
}

impl ServerFlag {
    /// The server that the flag, else the environment names.
    pub(crate) fn server(&self) -> Result<Server, Failure> {
        let environment = match std::env::var(ENVIRONMENT_SERVER) {
            Ok(text) => Some(text),
            Err(VarError::NotPresent) => None,
            Err(VarError::NotUnicode(_)) => return Err(Failure::usage(format!("{ENVIRONMENT_SERVER} is not UTF-8"))),
        };
        // An empty variable is not set, as for the broker.
        let environment = environment.filter(|text| !text.is_empty());
        let named = self.server.as_deref().or(environment.as_deref()).unwrap_or(DEFAULT);
        Server::named(named).map_err(Failure::Usage)
    }
}

/// A broker, and connections to it.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// `http://host:port`, without anything after it.
    address: String,
    /// The connections that are kept, and since when.
    kept: RefCell<(Agent, Instant)>,
}

/// Why a request was not done.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The broker says why.
    Refused(Problem),
    /// It did not answer, or something that is no broker of ours did.
    Unanswered(String),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Refused(problem) => Failure::Failed(problem.message),
            Refusal::Unanswered(why) => Failure::Unanswered(why),
        }
    }
}

/// A request. The path is below the address; how to make one is [`path`].
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    /// JSON, unless the request has no body.
    pub(crate) body: Option<Vec<u8>>,
    /// How long the broker may wait on purpose before it answers.
    pub(crate) wait: Duration,
}

impl Server {
    /// The one at `http://host:port` or `host:port`.
    pub(crate) fn named(text: &str) -> Result<Server, String> {
        Ok(Server::at(address(text)?))
    }

    fn at(address: String) -> Self {
        Server { address, kept: RefCell::new((Self::new_agent(), Instant::now())) }
    }

    fn new_agent() -> Agent {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_body(Some(BODY_TIMEOUT))
            .max_idle_age(IDLE)
            .max_redirects(0)
            // The broker is reached directly, whatever is set up for the web.
            .proxy(None)
            .user_agent(concat!("mainstem/", env!("CARGO_PKG_VERSION")))
            .build();
        config.into()
    }

    /// Connections that the broker does not close for their age before they have answered.
    fn agent(&self) -> Agent {
        let (agent, since) = &mut *self.kept.borrow_mut();
        if since.elapsed() > LIFETIME {
            (*agent, *since) = (Self::new_agent(), Instant::now());
        }
        agent.clone()
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Asks, and reads the answer as JSON.
    pub(crate) fn ask<T: DeserializeOwned>(&self, ask: Ask<'_>) -> Result<T, Refusal> {
        let answer = self.exchange(ask)?;
        serde_json::from_slice(&answer).map_err(|error| {
            let why = format!(
                "{} answered what this program does not understand: {}",
                self.address,
                plain(&error.to_string())
            );
            Refusal::Unanswered(why + ". Is it of the same version?")
        })
    }

    /// Asks, and returns the bytes of the answer.
    pub(crate) fn exchange(&self, ask: Ask<'_>) -> Result<Vec<u8>, Refusal> {
        let unanswered = |error: ureq::Error| Refusal::Unanswered(unanswered(&self.address, &error));
        let request = Request::builder().method(ask.method).uri(format!("{}{}", self.address, ask.path));
        let answer = match ask.body {
            Some(body) => {
                let request = request.header(CONTENT_TYPE, JSON).body(body);
                self.run(request.map_err(|error| unanswered(error.into()))?, ask.wait)
            }
            None => self.run(request.body(()).map_err(|error| unanswered(error.into()))?, ask.wait),
        };
        let mut answer = answer.map_err(unanswered)?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(unanswered)?;
        if answer.status().is_success() {
            return Ok(body);
        }
        Err(match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(body) => Refusal::Refused(body.error),
            Err(_) => Refusal::Unanswered(strange(&self.address, answer.status(), &body)),
        })
    }

    fn run(&self, request: Request<impl AsSendBody>, wait: Duration) -> Result<Response<Body>, ureq::Error> {
        let patience = Some(wait + ANSWER_TIMEOUT);
        let agent = self.agent();
        let request = agent.configure_request(request).timeout_recv_response(patience).build();
        agent.run(request)
    }
}

/// `/a/b?c=d`: names and values may hold anything.
pub(crate) fn path(segments: &[&str], query: &[(&str, String)]) -> String {
    let mut path: String = segments.iter().map(|segment| format!("/{}", encode(segment))).collect();
    for (nth, (name, value)) in query.iter().enumerate() {
        path.push(if nth == 0 { '?' } else { '&' });
        path += &format!("{}={}", encode(name), encode(value));
    }
    path
}

fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    // A dot or two alone would mean another place in the path.
    if matches!(text, "." | "..") {
        return text.replace('.', "%2E");
    }
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Whether an address, with or without `http://` before it, means the machine that it is used on.
pub(crate) fn is_loopback(address: &str) -> bool {
    let place = address.strip_prefix("http://").unwrap_or(address);
    let Some((host, _)) = host_and_port(place) else { return false };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|host| host.to_canonical().is_loopback())
}

/// Reads `http://host:port` or `host:port`.
fn address(text: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("{text:?} {why}, expected http://HOST:PORT such as {DEFAULT}"));
    let rest = match text.split_once("://") {
        Some(("http", rest)) => rest,
        Some(("https", _)) => return wrong("asks for TLS, which the broker does not speak yet"),
        Some(_) => return wrong("is no HTTP address"),
        None => text,
    };
    let rest = rest.trim_end_matches('/');
    if rest.is_empty() || rest.contains(['/', '?', '#', '@']) || rest.contains(char::is_whitespace) {
        return wrong("is no address of a broker");
    }
    let Some((host, port)) = host_and_port(rest) else {
        return wrong("has an IPv6 address without brackets around it");
    };
    if host.is_empty() {
        return wrong("names no host");
    }
    match port {
        None => return wrong("names no port"),
        Some(port) if !port.parse::<u16>().is_ok_and(|number| number > 0) => {
            return wrong(&format!("has {port:?} for a port, which is a number from 1 to 65535"));
        }
        Some(_) => {}
    }
    let address = format!("http://{rest}");
    match address.parse::<Uri>() {
        Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) => Ok(address),
        _ => wrong("is no address of a broker"),
    }
}

/// What stands before and behind the colon. Nothing when it is not clear which one that is.
fn host_and_port(text: &str) -> Option<(&str, Option<&str>)> {
    // The colons of an address in brackets are its own.
    let after = text.rfind(']').map_or(0, |at| at + 1);
    let Some(colon) = text[after..].rfind(':') else { return Some((text, None)) };
    let (host, port) = text.split_at(after + colon);
    (after > 0 || !host.contains(':')).then(|| (host, Some(&port[1..])))
}

/// Why there is no answer, and what to do.
fn unanswered(address: &str, error: &ureq::Error) -> String {
    const WHERE: &str = "Is the broker running? --server or MAINSTEM_SERVER names another";
    match error {
        ureq::Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => {
                format!("the connection to {address} broke: {}. {UNKNOWN}. {NOT_OURS}", in_words(error))
            }
            _ => format!("cannot reach {address}: {}. {WHERE}", in_words(error)),
        },
        ureq::Error::HostNotFound => format!("cannot reach {address}: there is no such host. {WHERE}"),
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
            format!("cannot reach {address}: no connection within {}s. {WHERE}", CONNECT_TIMEOUT.as_secs())
        }
        ureq::Error::Timeout(_) => format!("{address} did not answer in time. {UNKNOWN}"),
        ureq::Error::BodyExceedsLimit(limit) => format!("{address} answered with more than {limit} bytes"),
        other => format!("{address} answered strangely: {other}. Is this the HTTP address of a broker? {WHERE}"),
    }
}

/// What was answered by something that is no broker, or one of another version.
fn strange(address: &str, status: StatusCode, body: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&body[..body.len().min(STRANGE_BYTES_SHOWN)]);
    let shown = shown.trim();
    let shown = if shown.is_empty() { String::new() } else { format!(": {}", visible::line(shown)) };
    format!("{address} answered {status}{shown}. Is this the HTTP address of a broker of this version?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_a_host_and_little_else() {
        for (text, read) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://broker.example.com:80/", "http://broker.example.com:80"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("localhost:1", "http://localhost:1"),
        ] {
            assert_eq!(address(text).as_deref(), Ok(read));
        }
        for (text, why) in [
            ("a", "names no port"),
            ("http://a/", "names no port"),
            ("[::1]", "names no port"),
            ("a:", "has \"\" for a port, which is a number from 1 to 65535"),
            ("a:abc", "has \"abc\" for a port"),
            ("a:0", "has \"0\" for a port"),
            ("http://a:99999", "has \"99999\" for a port"),
            ("::1:8080", "without brackets"),
            (":8080", "names no host"),
        ] {
            let refused = address(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
        for text in ["", "http://", "https://a:1", "ftp://a", "a:1/v1", "a b:1", "http://:80", "a:1?x", "u@a:1"] {
            let refused = address(text).unwrap_err();
            assert!(refused.contains("expected http://HOST:PORT such as http://127.0.0.1:8080"), "{text}: {refused}");
        }
        assert!(address("https://a:1").unwrap_err().contains("TLS"));
    }

    #[test]
    fn a_loopback_address_is_known_in_every_spelling() {
        for here in ["127.0.0.1:80", "http://127.0.0.1:80", "[::1]:80", "http://LocalHost:80", "[::ffff:127.0.0.1]:80"]
        {
            assert!(is_loopback(here), "{here}");
        }
        for elsewhere in ["10.0.0.1:80", "http://localhost.example:80", "[fd00::1]:80", "", "::1:80"] {
            assert!(!is_loopback(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn a_name_stays_one_part_of_the_path() {
        assert_eq!(path(&["v1", "groups", "a/b c%ü"], &[]), "/v1/groups/a%2Fb%20c%25%C3%BC");
        assert_eq!(path(&["v1", "topics", ".."], &[]), "/v1/topics/%2E%2E");
        assert_eq!(path(&["a"], &[("x", "1&2=3".into()), ("y", String::new())]), "/a?x=1%262%3D3&y=");
    }

    #[test]
    fn what_went_wrong_is_said_with_what_to_do() {
        let refused = ureq::Error::Io(ErrorKind::ConnectionRefused.into());
        assert_eq!(
            unanswered("http://a:1", &refused),
            "cannot reach http://a:1: connection refused. Is the broker running? \
             --server or MAINSTEM_SERVER names another"
        );
        let broken = ureq::Error::Io(ErrorKind::ConnectionReset.into());
        let said = unanswered("http://a:1", &broken);
        assert!(said.starts_with("the connection to http://a:1 broke: ") && said.contains("Kafka's clients"), "{said}");
        assert!(unanswered("http://a:1", &ureq::Error::Timeout(Timeout::RecvResponse)).contains("did not answer"));
    }

    #[test]
    fn the_answer_of_another_program_is_shown_safely() {
        let said = strange("http://a:1", StatusCode::NOT_FOUND, b"<h1>\x1b[2J</h1>\n");
        assert!(said.starts_with("http://a:1 answered 404 Not Found: <h1>\u{241b}[2J</h1>. Is this"), "{said}");
        assert!(strange("a", StatusCode::OK, b" ").starts_with("a answered 200 OK. "));
    }
}
