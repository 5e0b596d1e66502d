//! Who is let in where connections are encrypted.

use crate::node::{CLUSTER, PATIENCE, echo, node, node_with, part, within};
use model::NodeId;
use peer::tls::NAME;
use peer::{Identity, Lane, Mistrust, NotSent, Options, PeerError, Peers, Tls, identify};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use std::time::Duration;

/// An authority, and what it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        Authority::named("an authority")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// What a node has whose certificate is for `name`, and which trusts `trusted`.
    fn node(&self, name: &str, trusted: &Authority) -> Options {
        self.node_with(name, trusted, |_| ())
    }

    /// The same with something else in its certificate.
    fn node_with(&self, name: &str, trusted: &Authority, change: impl FnOnce(&mut CertificateParams)) -> Options {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap().pem();
        let tls = Tls::new(certificate.as_bytes(), key.serialize_pem().as_bytes(), trusted.0.pem().as_bytes());
        Options { tls: Some(tls.unwrap()), handshake_timeout: Duration::from_secs(1), ..Options::default() }
    }
}

#[tokio::test]
async fn nodes_with_certificates_of_one_authority_talk() {
    let authority = Authority::new();
    let two = node_with(2, echo(), authority.node(NAME, &authority)).await;
    let options = authority.node(NAME, &authority);
    let tls = options.tls.clone();
    let one = node_with(1, echo(), options).await;
    one.set_address(NodeId(2), two.address());
    within(async {
        let found = identify(two.address(), tls.as_ref(), PATIENCE).await;
        assert_eq!(found, Ok(Identity { cluster: CLUSTER, node: NodeId(2) }));
        for lane in Lane::ALL {
            assert_eq!(one.call(NodeId(2), 0, lane, part("x"), PATIENCE).await.unwrap(), "x");
        }
        // More than any buffer holds.
        let large = "y".repeat(12 << 20);
        assert_eq!(one.call(NodeId(2), 0, Lane::Bulk, part(large.as_str()), PATIENCE).await.unwrap(), large);
    })
    .await;
}

/// What a node with `options` is told that calls `two`.
async fn refusal(options: Options, two: &Peers) -> PeerError {
    let one = node_with(1, echo(), options).await;
    one.set_address(NodeId(2), two.address());
    let answer = within(one.call(NodeId(2), 0, Lane::Bulk, part("x"), PATIENCE)).await;
    one.stop().await;
    answer.unwrap_err()
}

fn insecure(why: Mistrust) -> PeerError {
    PeerError::NotSent(NotSent::Insecure(why))
}

#[tokio::test]
async fn nobody_else_is_let_in() {
    let authority = Authority::new();
    let two = node_with(2, echo(), authority.node(NAME, &authority)).await;
    // One that bears the same name, too.
    for stranger in [Authority::new(), Authority::named("another")] {
        let error = refusal(stranger.node(NAME, &authority), &two).await;
        let there = "no authority that is trusted there has signed it";
        assert_eq!(error, insecure(Mistrust::OurCertificate(there)));
        assert_eq!(error.to_string(), format!("not sent: it does not accept this node's certificate: {there}"));
        let here = "no authority that is trusted here has signed it";
        let error = refusal(authority.node(NAME, &stranger), &two).await;
        assert_eq!(error, insecure(Mistrust::TheirCertificate(here)));
    }
    // A client's certificate, say, of the same authority.
    let for_another_name = refusal(authority.node("www.example", &authority), &two).await;
    assert_eq!(for_another_name, insecure(Mistrust::OurCertificate("it is not that of a node")));
    let without = Options { handshake_timeout: Duration::from_secs(1), ..Options::default() };
    assert_eq!(refusal(without, &two).await, insecure(Mistrust::OnlyTls));
    assert_eq!(identify(two.address(), None, PATIENCE).await, Err(NotSent::Insecure(Mistrust::OnlyTls)));
    assert_eq!((two.counts().accepted, two.counts().requests_received), (0, 0));
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_a_nodes() {
    let authority = Authority::new();
    let two = node_with(2, echo(), authority.node("www.example", &authority)).await;
    let error = refusal(authority.node(NAME, &authority), &two).await;
    assert_eq!(error, insecure(Mistrust::TheirCertificate("it is not for the name mainstem-node")));
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_not_accepted() {
    let authority = Authority::new();
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    let two = node_with(2, echo(), authority.node(NAME, &authority)).await;
    let error = refusal(authority.node_with(NAME, &authority, expired), &two).await;
    assert_eq!(error, insecure(Mistrust::OurCertificate("it has expired, or is not valid yet")));
    let two = node_with(2, echo(), authority.node_with(NAME, &authority, expired)).await;
    let error = refusal(authority.node(NAME, &authority), &two).await;
    assert_eq!(error, insecure(Mistrust::TheirCertificate("it has expired")));
}

#[tokio::test]
async fn who_expects_encryption_does_not_talk_without() {
    let authority = Authority::new();
    let two = node(2, echo()).await;
    assert_eq!(refusal(authority.node(NAME, &authority), &two).await, insecure(Mistrust::NoTls));
    assert_eq!((two.counts().accepted, two.counts().requests_received), (0, 0));
}

#[test]
fn files_that_are_not_what_they_should_be_are_refused() {
    for (certificate, key, authority) in [("", "", ""), ("x", "y", "z")] {
        assert!(Tls::new(certificate.as_bytes(), key.as_bytes(), authority.as_bytes()).is_err());
    }
}
