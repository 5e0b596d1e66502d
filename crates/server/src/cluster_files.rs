//! Files that say who belongs to the cluster: its secret, and certificates.

use crate::configuration::Settings;
use broker::cluster::{Secret, Tls};
use std::path::Path;

/// Shorter ones are guessed.
const SECRET_BYTES_MIN: usize = 16;
/// Larger ones are something else.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What nodes have to know, if anything.
///
/// # Errors
/// When the file cannot be read, or is no secret.
pub(crate) fn secret(settings: &Settings) -> Result<Option<Secret>, String> {
    let Some(path) = &settings.secret_file else { return Ok(None) };
    let bytes = read(path)?;
    // Editors end files with a line.
    let secret = bytes.trim_ascii_end();
    if secret.len() < SECRET_BYTES_MIN {
        return Err(format!("the secret in {} is shorter than {SECRET_BYTES_MIN} bytes", path.display()));
    }
    Ok(Some(Secret::new(secret)))
}

/// What connections between nodes are encrypted with, if they are.
///
/// # Errors
/// When a file cannot be read, is not what it should be, or is missing among the three.
pub(crate) fn tls(settings: &Settings) -> Result<Option<Tls>, String> {
    let files = (&settings.certificate_file, &settings.key_file, &settings.authority_file);
    let (Some(certificate), Some(key), Some(authority)) = files else {
        return match files {
            (None, None, None) => Ok(None),
            _ => Err("cluster.certificate-file, cluster.key-file and cluster.authority-file are given together".into()),
        };
    };
    let named = |error| {
        let (certificate, key, authority) = (certificate.display(), key.display(), authority.display());
        format!("{certificate}, {key} and {authority} cannot be used: {error}")
    };
    Tls::new(&read(certificate)?, &read(key)?, &read(authority)?).map(Some).map_err(named)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let named = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
    let length = std::fs::metadata(path).map_err(|error| named(&error))?.len();
    if length > FILE_BYTES_MAX {
        return Err(named(&"it is too large"));
    }
    std::fs::read(path).map_err(|error| named(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Configuration;

    #[test]
    fn a_secret_is_the_file_without_the_end_of_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Configuration::default().settings();
        assert!(secret(&settings).unwrap().is_none());
        let path = folder.path().join("secret");
        settings.secret_file = Some(path.clone());
        assert!(secret(&settings).unwrap_err().starts_with("cannot read "));
        std::fs::write(&path, "0123456789abcde\n").unwrap();
        assert!(secret(&settings).unwrap_err().contains("shorter than 16 bytes"));
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        assert!(secret(&settings).unwrap().is_some());
    }

    #[test]
    fn certificates_come_together() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Configuration::default().settings();
        assert!(tls(&settings).unwrap().is_none());
        let path = folder.path().join("pem");
        std::fs::write(&path, "nothing").unwrap();
        settings.certificate_file = Some(path.clone());
        assert!(tls(&settings).unwrap_err().contains("are given together"));
        (settings.key_file, settings.authority_file) = (Some(path.clone()), Some(path.clone()));
        assert!(tls(&settings).unwrap_err().contains("cannot be used"));
    }
}
