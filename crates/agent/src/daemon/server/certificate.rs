//! The certificate under which metrics are served.
//!
//! In: two PEM files, which are read again when they change, or nothing: then a certificate
//! is made, for this process alone, as the kubelet makes one. Out: what a TLS handshake needs.
//! Never: a key on the disk; a certificate that is given up because the next one is broken.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// How often the files are read. cert-manager and kubelet replace them long before they end.
const AGAIN: Duration = Duration::from_secs(10);

/// Two files of PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, followed by those that it was issued by.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// A certificate and its key.
pub struct Certificate {
    files: Option<Files>,
    inner: Mutex<Inner>,
}

struct Inner {
    config: Arc<ServerConfig>,
    /// What was read last, whether or not it could be used.
    read: [Vec<u8>; 2],
    looked: Instant,
}

impl Certificate {
    /// Reads the files, or makes a certificate for this name.
    ///
    /// # Errors
    /// The files hold no certificate and its key.
    pub fn new(files: Option<Files>, name: &str) -> Result<Self> {
        let (config, read) = match &files {
            Some(files) => {
                let read = files.read()?;
                (of_pem(&read).with_context(|| files.to_string())?, read)
            }
            None => (made(name)?, [Vec::new(), Vec::new()]),
        };
        let inner = Inner { config: Arc::new(config), read, looked: Instant::now() };
        Ok(Self { files, inner: Mutex::new(inner) })
    }

    /// For the next handshake.
    pub fn acceptor(&self) -> TlsAcceptor {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = &self.files
            && inner.looked.elapsed() >= AGAIN
        {
            inner.looked = Instant::now();
            inner.renew(files);
        }
        TlsAcceptor::from(Arc::clone(&inner.config))
    }
}

impl Inner {
    fn renew(&mut self, files: &Files) {
        // Between two files of a renewal one is new: the next look finds both.
        let Ok(read) = files.read() else { return };
        if read == self.read {
            return;
        }
        match of_pem(&read) {
            Ok(config) => self.config = Arc::new(config),
            Err(error) => tracing::warn!("{files}: {error:#}; the one before stays"),
        }
        self.read = read;
    }
}

impl Files {
    fn read(&self) -> Result<[Vec<u8>; 2]> {
        let read =
            |path: &PathBuf| fs::read(path).with_context(|| format!("read {}", path.display()));
        Ok([read(&self.certificate)?, read(&self.key)?])
    }
}

impl std::fmt::Display for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "use the certificate {} with the key {}",
            self.certificate.display(),
            self.key.display()
        )
    }
}

fn of_pem([certificates, key]: &[Vec<u8>; 2]) -> Result<ServerConfig> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<_, _>>()
        .context("read PEM")?;
    ensure!(!chain.is_empty(), "there is no certificate in it");
    let key = PrivateKeyDer::from_pem_slice(key).context("read the key")?;
    config(chain, key)
}

fn made(name: &str) -> Result<ServerConfig> {
    let names = [name.to_owned(), "nftpol".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).context("make a certificate")?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    config(vec![made.cert.der().clone()], key.into())
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("choose a version of TLS")?
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let mut config = config.context("the key is not that of the certificate")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(name: &str) -> [Vec<u8>; 2] {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        [made.cert.pem().into_bytes(), made.signing_key.serialize_pem().into_bytes()]
    }

    #[test]
    fn a_broken_certificate_does_not_replace_one_that_works() {
        let folder =
            std::env::temp_dir().join(format!("nftpol-certificate-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let files = Files { certificate: folder.join("tls.crt"), key: folder.join("tls.key") };
        let put = |[certificate, key]: &[Vec<u8>; 2]| {
            fs::write(&files.certificate, certificate).expect("written");
            fs::write(&files.key, key).expect("written");
        };
        assert!(Certificate::new(Some(files.clone()), "n").is_err(), "there is no file");
        let [one, two] = ["one", "two"].map(pem);
        put(&[one[0].clone(), two[1].clone()]);
        let Err(error) = Certificate::new(Some(files.clone()), "n") else { panic!("a wrong key") };
        assert!(format!("{error:#}").contains("the key is not that of"), "{error:#}");
        put(&one);
        let certificate = Certificate::new(Some(files.clone()), "n").expect("a certificate");
        let config = || {
            let mut inner = certificate.inner.lock().expect("the lock");
            inner.renew(&files);
            Arc::as_ptr(&inner.config) as usize
        };
        let first = config();
        put(&[b"rubbish".to_vec(), one[1].clone()]);
        assert_eq!(config(), first, "the one before stays");
        put(&two);
        assert_ne!(config(), first, "the next one is taken");
        fs::remove_dir_all(&folder).expect("removed");
        assert!(Certificate::new(None, "node-1").is_ok());
    }
}
