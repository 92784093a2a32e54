//! TLS: the one place that knows which cryptography is used, whom it trusts and who we say we are.

mod certs;
mod everybody;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use certs::Certificates;

/// Whose certificates are accepted, beside those that browsers accept.
pub struct Trust<'a> {
    /// Those in docker's and podman's directories for this host are.
    pub host: &'a str,
    pub authorities: Option<&'a Path>,
    /// Everybody's are: registries.conf says that it is insecure.
    pub everybody: bool,
}

/// HTTP/1.1 alone: each layer has a connection of its own, which is faster than streams of one.
pub fn configuration(trust: &Trust) -> Result<ClientConfig> {
    let certificates = Certificates::of(trust.host)?;
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for file in certificates.authorities.iter().map(std::path::PathBuf::as_path).chain(trust.authorities) {
        add(&mut roots, file).with_context(|| format!("cannot read certificates of {}", file.display()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = if trust.everybody {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(everybody::Everybody { provider }))
    } else {
        builder.with_root_certificates(roots)
    };
    let mut configuration = match certificates.client {
        Some((certificate, key)) => {
            let context = || format!("cannot use the client certificate {}", certificate.display());
            let chain: Result<Vec<_>, _> =
                CertificateDer::pem_file_iter(&certificate).with_context(context)?.collect();
            let key = PrivateKeyDer::from_pem_file(&key)
                .with_context(|| format!("cannot read the key {}", key.display()))?;
            builder.with_client_auth_cert(chain.with_context(context)?, key).with_context(context)?
        }
        None => builder.with_no_client_auth(),
    };
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(configuration)
}

fn add(roots: &mut RootCertStore, file: &Path) -> Result<()> {
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    Ok(())
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
