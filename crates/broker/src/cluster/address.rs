//! Where nodes are: the names in the catalog, made into addresses.

use crate::node::NodeError;
use bytes::Bytes;
use machine::catalog::Endpoint;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// A resolver that does not answer in this time is taken for one that does not know.
const PATIENCE: Duration = Duration::from_secs(3);

/// The first address that a name and port stand for.
pub(crate) async fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let found = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, port))).await;
    let mut found = found.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    found.next().ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The same of `HOST:PORT`, where an address of version 6 stands in brackets.
pub(crate) async fn resolve_pair(pair: &str) -> io::Result<SocketAddr> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "not HOST:PORT");
    let (host, port) = pair.rsplit_once(':').ok_or_else(invalid)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    resolve(host, port.parse().map_err(|_| invalid())?).await
}

/// What other nodes are told about where this one listens for them.
///
/// # Errors
/// `NoAddress` when that is everywhere, and nothing else was configured.
pub(crate) fn advertised(bound: SocketAddr, configured: Option<&(String, u16)>) -> Result<Endpoint, NodeError> {
    let endpoint = |host: &str, port| Endpoint {
        protocol: Bytes::from_static(b"peer"),
        host: Bytes::copy_from_slice(host.as_bytes()),
        port,
    };
    match configured {
        Some((host, port)) => Ok(endpoint(host, if *port == 0 { bound.port() } else { *port })),
        None if bound.ip().is_unspecified() => Err(NodeError::NoAddress(bound)),
        None => Ok(endpoint(&bound.ip().to_string(), bound.port())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pairs_are_resolved() {
        for (pair, address) in [("127.0.0.1:80", "127.0.0.1:80"), ("[::1]:81", "[::1]:81")] {
            assert_eq!(resolve_pair(pair).await.unwrap(), address.parse().unwrap());
        }
        for wrong in ["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536"] {
            assert!(resolve_pair(wrong).await.is_err(), "{wrong}");
        }
    }

    #[test]
    fn nodes_are_told_an_address_that_leads_somewhere() {
        let told = |bound: &str, configured: Option<(&str, u16)>| {
            let configured = configured.map(|(host, port)| (host.to_owned(), port));
            advertised(bound.parse().unwrap(), configured.as_ref()).ok().map(|endpoint| (endpoint.host, endpoint.port))
        };
        assert_eq!(told("10.0.0.1:9190", None), Some(("10.0.0.1".into(), 9190)));
        assert_eq!(told("0.0.0.0:9190", None), None);
        assert_eq!(told("0.0.0.0:9190", Some(("a.example", 1))), Some(("a.example".into(), 1)));
        assert_eq!(told("[::]:9190", Some(("a.example", 0))), Some(("a.example".into(), 9190)));
    }
}
