//! TLS: the one place that knows which cryptography is used and whom it trusts.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Whose certificates are accepted, beside those that browsers accept.
pub struct Trust<'a> {
    /// Those in docker's directory for this host are.
    pub host: &'a str,
    pub authorities: Option<&'a Path>,
}

/// HTTP/1.1 alone: each layer has a connection of its own, which is faster than streams of one.
pub fn configuration(trust: &Trust) -> Result<ClientConfig> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for file in docker_certificates(trust.host).iter().map(PathBuf::as_path).chain(trust.authorities) {
        add(&mut roots, file).with_context(|| format!("cannot read certificates of {}", file.display()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut configuration = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(configuration)
}

fn add(roots: &mut RootCertStore, file: &Path) -> Result<()> {
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    Ok(())
}

/// The authorities that docker trusts for a registry.
fn docker_certificates(host: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(Path::new("/etc/docker/certs.d").join(host)) else {
        return Vec::new();
    };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "crt")).collect()
}

/// Whether a connection failed because of the registry's certificate.
pub fn is_refused_certificate(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        // An io::Error is transparent: its source() is not the error in it, but that one's source.
        cause = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}
