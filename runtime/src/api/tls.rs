//! TLS before HTTP: the certificate and its key, the handshake, and new files in the place of the old ones. HTTP/1.1 is all
//! that is offered. Knows no route.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

/// A client that has not finished its handshake by then loses its place.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// How often somebody looks whether the files have changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct Error {
    /// Which one.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

/// See the module.
pub(super) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    config: RwLock<Arc<ServerConfig>>,
    /// The files as they were before they were read: what comes meanwhile is new.
    opened: Stamp,
}

/// What tells that a file is another one: each of the two may be a link whose end has moved.
type Stamp = [Option<(u64, i64, i64, u64)>; 2];

impl Tls {
    /// Reads the files.
    pub(super) fn open(certificate: &Path, key: &Path) -> Result<Tls, Error> {
        let opened = stamp(certificate, key);
        let config = RwLock::new(read(certificate, key)?);
        Ok(Tls { certificate: certificate.to_owned(), key: key.to_owned(), config, opened })
    }

    /// The handshake of one connection, within its time.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        let config = Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner));
        let handshake = TlsAcceptor::from(config).accept(stream);
        match tokio::time::timeout(HANDSHAKE_TIME_MAX, handshake).await {
            Ok(done) => done,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long")),
        }
    }

    /// Takes new files as they come, for as long as it is polled. Connections that are there keep what they began with.
    pub(super) async fn follow(self: Arc<Tls>) {
        let (mut seen, mut looks) = (self.opened, tokio::time::interval(LOOK_EVERY));
        loop {
            looks.tick().await;
            let now = stamp(&self.certificate, &self.key);
            if now != seen {
                seen = now;
                self.take();
            }
        }
    }

    fn take(&self) {
        match read(&self.certificate, &self.key) {
            Ok(config) => {
                *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
                tracing::info!("the new certificate in {} is in use", self.certificate.display());
            }
            // Of two files that are replaced one after the other the first does not fit the second for a moment.
            Err(e) => tracing::warn!("the new certificate is not taken, and the one before stays in use: {e}"),
        }
    }
}

fn stamp(certificate: &Path, key: &Path) -> Stamp {
    [certificate, key].map(|path| {
        let found = fs::metadata(path).ok()?;
        Some((found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
    })
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, Error> {
    let failed = |path: &Path, e: &dyn std::fmt::Display| Error { path: path.to_owned(), why: e.to_string() };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|e| failed(certificate, &e))?;
    if chain.is_empty() {
        return Err(failed(certificate, &"it holds no certificate in PEM"));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| failed(key, &e))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, secret);
    let mut config = config.map_err(|e| failed(key, &e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tls").join(name)
    }

    /// What a client that offers this comes to.
    fn spoken(tls: &Tls, offers: &[&str]) -> io::Result<Option<Vec<u8>>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(fixture("first.pem")).unwrap()).unwrap();
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = offers.iter().map(|offer| offer.as_bytes().to_vec()).collect();
        let (here, there) = tokio::io::duplex(64 << 10);
        let name = ServerName::try_from("localhost").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = TlsConnector::from(Arc::new(config)).connect(name, here);
            let (client, server) = tokio::join!(client, tls.accept(there));
            server?;
            Ok(client?.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
        })
    }

    #[test]
    fn nothing_but_http_1_1_is_spoken() {
        let tls = Tls::open(&fixture("first.pem"), &fixture("first-key.pem")).unwrap();
        assert_eq!(spoken(&tls, &["h2", "http/1.1"]).unwrap(), Some(b"http/1.1".to_vec()));
        assert_eq!(spoken(&tls, &[]).unwrap(), None);
        spoken(&tls, &["h2"]).unwrap_err();
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        assert!(Tls::open(&fixture("first.pem"), &fixture("second-key.pem")).is_err());
    }
}
