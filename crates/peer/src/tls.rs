//! Connections that nobody else can read or change, between nodes that show each other certificates.

use crate::node_verifier::NodeVerifier;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// The name that the certificate of every node has among its alternative names (SAN, DNS). Which node it is
/// is not part of it: a node that joins has no number yet.
pub const NAME: &str = "mainstem-node";

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file has nothing of what it is for.
    #[error("there is no {0} in it")]
    Missing(&'static str),
    /// It is not PEM.
    #[error("{what}: {error}")]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// What is wrong.
        error: rustls::pki_types::pem::Error,
    },
    /// The certificate, its key and the authority do not go together.
    #[error("{0}")]
    Unfit(String),
}

/// A node's certificate and key, and the authority that has to have signed the others'. TLS 1.3 only.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
    name: ServerName<'static>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Takes the contents of three PEM files: the certificate with what it is signed by up to the authority,
    /// its key, and the authority's certificates.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(certificate: &[u8], key: &[u8], authority: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates(certificate, "certificate")?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Pem { what: "key", error })?;
        let unfit = |error: &dyn fmt::Display| TlsError::Unfit(error.to_string());
        let mut roots = RootCertStore::empty();
        for root in certificates(authority, "authority")? {
            roots.add(root).map_err(|error| unfit(&error))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider.clone());
        let verifier = NodeVerifier::new(verifier.build().map_err(|error| unfit(&error))?);
        let verifier = Arc::new(verifier.map_err(|error| unfit(&error))?);
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .and_then(|server| {
                server.with_client_cert_verifier(verifier).with_single_cert(chain.clone(), key.clone_key())
            })
            .map_err(|error| unfit(&error))?;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .and_then(|client| client.with_root_certificates(roots).with_client_auth_cert(chain, key))
            .map_err(|error| unfit(&error))?;
        // All nodes have one name, so sessions of one would be offered to another, which cannot know them.
        client.resumption = Resumption::disabled();
        let name = ServerName::try_from(NAME).map_err(|error| unfit(&error))?;
        Ok(Tls { connector: Arc::new(client).into(), acceptor: Arc::new(server).into(), name })
    }

    pub(crate) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        Ok(self.connector.connect(self.name.clone(), stream).await?.into())
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        Ok(self.acceptor.accept(stream).await?.into())
    }
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| TlsError::Pem { what, error })?;
    if found.is_empty() { Err(TlsError::Missing(what)) } else { Ok(found) }
}
