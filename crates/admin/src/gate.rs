//! Who may ask.
//!
//! There is no authentication yet: whoever reaches the listener may do everything. By default that is
//! whoever may run programs on this machine. A browser widens it to the authors of every page that somebody
//! looks at here, because pages make requests, to loopback addresses, too. So they are kept out:
//!
//! - **Origin.** Browsers say which page a request comes from. One from another place than this API is
//!   refused, and no answer ever allows cross-origin reading. `Sec-Fetch-Site`, which says the same of
//!   requests that have no origin, such as those of images, is looked at as well.
//! - **Content-Type.** What changes something by a body has to be `application/json`. A page may send text
//!   or forms anywhere without asking, but not this: the browser asks the API first, and is not allowed to.
//!   `PATCH` and `DELETE` are asked about first whatever they carry.
//! - **Host.** A page may have its own name point to 127.0.0.1 after it was loaded (DNS rebinding), and then
//!   it is of the same origin as what answers there. Its requests still carry its name. So a listener on a
//!   loopback address answers only to loopback names, and to what is advertised. On other addresses people
//!   use names that only they know, and the network is the boundary. A name in the request's target goes
//!   before that in the header, as HTTP has it.
//!
//! Metrics have names of topics and groups and are kept from pages in the same way. Health is not: it tells
//! nothing of what is stored, and probes come by any name.

use crate::refusal::Refusal;
use crate::shape::Code;
use std::net::IpAddr;

/// What a request says about where it comes from and where it goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Claims<'a> {
    /// The host that is asked: of the request's target where that has one, else of `Host`.
    pub host: Option<&'a str>,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
}

/// Whom the API answers.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Whether the listener is on a loopback address.
    pub loopback: bool,
    /// Names by which clients are told to reach the node.
    pub advertised: Vec<String>,
}

impl Gate {
    /// Judges where a request comes from and where it goes.
    ///
    /// # Errors
    /// When the request may come from a page of somebody else.
    pub(crate) fn check(&self, claims: &Claims<'_>) -> Result<(), Refusal> {
        let host = claims.host.unwrap_or_default();
        if self.loopback && !self.is_ours(host) {
            let message = format!(
                "this listener is on a loopback address and answers to 127.0.0.1, [::1] and localhost, not to {host:?}; \
                 use one of those, or listen on another address"
            );
            return Err(Refusal::new(Code::ForeignHost, message));
        }
        let same = |origin: &str| {
            let place = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            place.is_some_and(|place| place.eq_ignore_ascii_case(host))
        };
        if let Some(origin) = claims.origin.filter(|origin| !same(origin)) {
            let message =
                format!("a page of {origin:?} may not use this API; ask without Origin, outside of a browser");
            return Err(Refusal::new(Code::ForeignOrigin, message));
        }
        if let Some(site) = claims.fetch_site.filter(|site| !matches!(*site, "same-origin" | "none")) {
            let message = format!("a page of another origin (Sec-Fetch-Site: {site}) may not use this API");
            return Err(Refusal::new(Code::ForeignOrigin, message));
        }
        Ok(())
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = without_port(host);
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let loopback = address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
        loopback
            || name.eq_ignore_ascii_case("localhost")
            || self.advertised.iter().any(|ours| ours.eq_ignore_ascii_case(name))
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(loopback: bool) -> Gate {
        Gate { loopback, advertised: vec!["broker.example".into()] }
    }

    fn host(loopback: bool, host: &str) -> Option<Code> {
        let claims = Claims { host: Some(host), ..Claims::default() };
        gate(loopback).check(&claims).err().map(|refusal| refusal.code)
    }

    #[test]
    fn on_loopback_only_our_own_names_are_answered() {
        for ours in ["127.0.0.1", "127.0.0.1:8080", "127.1.2.3:1", "localhost:8080", "LocalHost", "[::1]:8080", "[::1]"]
        {
            assert_eq!(host(true, ours), None, "{ours}");
        }
        assert_eq!(host(true, "Broker.Example:8080"), None);
        for theirs in ["evil.example", "evil.example:8080", "localhost.evil.example", "10.0.0.1", "", "127.0.0.1.evil"]
        {
            assert_eq!(host(true, theirs), Some(Code::ForeignHost), "{theirs}");
            assert_eq!(host(false, theirs), None, "{theirs}");
        }
        assert_eq!(gate(true).check(&Claims::default()).unwrap_err().code, Code::ForeignHost, "no host");
    }

    #[test]
    fn pages_of_others_are_refused() {
        let check = |origin, fetch_site| {
            let claims = Claims { host: Some("127.0.0.1:8080"), origin, fetch_site };
            gate(true).check(&claims).err().map(|refusal| refusal.code)
        };
        assert_eq!(check(Some("http://127.0.0.1:8080"), Some("same-origin")), None);
        assert_eq!(check(None, Some("none")), None);
        for origin in ["https://evil.example", "http://127.0.0.1:8081", "null", "http://127.0.0.1", ""] {
            assert_eq!(check(Some(origin), None), Some(Code::ForeignOrigin), "{origin}");
        }
        for site in ["cross-site", "same-site", "else"] {
            assert_eq!(check(None, Some(site)), Some(Code::ForeignOrigin), "{site}");
        }
    }
}
