//! Why two nodes do not come to speak encrypted.

use rustls::{AlertDescription, CertificateError, Error};
use std::io;

/// Why two nodes do not come to speak encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistrust {
    /// This node does not accept the other's certificate.
    #[error("its certificate is not accepted: {0}")]
    TheirCertificate(&'static str),
    /// The other node does not accept this one's.
    #[error("it does not accept this node's certificate: {0}")]
    OurCertificate(&'static str),
    /// This node encrypts. The other does not, or has closed the connection before it did.
    #[error("it does not speak TLS")]
    NoTls,
    /// The other encrypts, and this node does not.
    #[error("it speaks TLS, and this node has no certificate")]
    OnlyTls,
}

impl Mistrust {
    /// What a failure to read, write or shake hands says about it, if anything.
    pub(crate) fn of(error: &io::Error) -> Option<Mistrust> {
        match error.get_ref()?.downcast_ref::<Error>()? {
            Error::InvalidCertificate(why) => Some(Mistrust::TheirCertificate(flaw(why))),
            Error::NoCertificatesPresented => Some(Mistrust::TheirCertificate("it shows none")),
            Error::AlertReceived(alert) => refusal(*alert).map(Mistrust::OurCertificate),
            Error::InvalidMessage(_) => Some(Mistrust::NoTls),
            _ => None,
        }
    }
}

fn flaw(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet",
        // An authority of the same name that is not the same has signed it otherwise.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "no authority that is trusted here has signed it"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is not for the name mainstem-node"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it may not be used by this side of a connection"
        }
        _ => "it is damaged, or of a kind that is not known here",
    }
}

/// What an alert says about a certificate, if it is about one.
fn refusal(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::CertificateExpired => "it has expired, or is not valid yet",
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "no authority that is trusted there has signed it"
        }
        AlertDescription::CertificateRequired => "none was shown",
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::AccessDenied => "it is not that of a node",
        _ => return None,
    })
}
