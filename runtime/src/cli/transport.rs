//! HTTP/1.1 to a server, a `weir run --listen`, or the control socket in a state folder: one request a connection. Owns the
//! way there, TLS too; knows no path and prints nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore};

use crate::api::Opened;
use crate::pipeline::folder::SOCKET;

/// Who is asked.
#[derive(Debug, Clone)]
pub(super) enum Peer {
    /// The process that has this state folder.
    Socket(PathBuf),
    /// Whoever listens there.
    Server(Server),
}

/// An address, and how to speak to it.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// `HOST:PORT`.
    pub(super) authority: String,
    pub(super) is_tls: bool,
    pub(super) token: Option<String>,
    /// Certificates that are trusted, instead of the system's.
    pub(super) ca: Option<RootCertStore>,
}

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Asked<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) headers: Vec<(HeaderName, String)>,
    /// Asked again, it is not copied.
    pub(super) body: Bytes,
}

/// An answer, whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Server {
    /// Reads `http://HOST:PORT` or `https://HOST:PORT`.
    pub(super) fn parse(url: &str) -> Option<(String, bool)> {
        let (rest, is_tls) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => return None,
        };
        let authority = rest.trim_end_matches('/');
        (!authority.is_empty() && !authority.contains('/')).then(|| (authority.to_owned(), is_tls))
    }

    /// Host and port; the port that the scheme means, where none is said.
    fn address(&self) -> String {
        let has_port = self.authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        match (has_port, self.is_tls) {
            (true, _) => self.authority.clone(),
            (false, true) => format!("{}:443", self.authority),
            (false, false) => format!("{}:80", self.authority),
        }
    }

    fn host(&self) -> &str {
        let host = self.authority.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
        host.map_or(self.authority.as_str(), |(host, _)| host).trim_start_matches('[').trim_end_matches(']')
    }
}

impl Peer {
    /// Sends a request and waits for the whole answer, as long as it takes.
    pub(super) fn send(&self, asked: Asked<'_>) -> io::Result<Answer> {
        runtime()?.block_on(async {
            let (head, body) = self.begin(asked).await?.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            Ok(Answer { status: head.status, body: body.to_vec() })
        })
    }

    /// Sends a request and hands the answer's body on as it comes, until it ends, breaks off, or `take` says false. The body of
    /// a refusal comes back whole.
    pub(super) fn follow(&self, asked: Asked<'_>, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<Answer> {
        runtime()?.block_on(async {
            let (head, mut body) = self.begin(asked).await?.into_parts();
            let mut rest = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = match frame {
                    Ok(frame) => frame,
                    Err(_) if head.status.is_success() => break,
                    Err(e) => return Err(io::Error::other(e)),
                };
                let Ok(piece) = frame.into_data() else { continue };
                if !head.status.is_success() {
                    rest.extend_from_slice(&piece);
                } else if !take(&piece) {
                    break;
                }
            }
            Ok(Answer { status: head.status, body: rest })
        })
    }

    async fn begin(&self, asked: Asked<'_>) -> io::Result<axum::http::Response<Incoming>> {
        let (stream, host, token) = match self {
            Peer::Socket(state) => {
                let opened = Opened::new(state)?;
                let stream: Box<dyn Stream> = Box::new(UnixStream::connect(opened.path(SOCKET)).await?);
                (stream, "localhost", None)
            }
            Peer::Server(server) => (server.connect().await?, server.authority.as_str(), server.token.as_deref()),
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // Ends with the request, or with its runtime.
        tokio::spawn(connection);
        let mut request = Request::builder().method(asked.method).uri(asked.path).header(header::HOST, host);
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| io::Error::other("the token is no token"))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        for (name, value) in asked.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(asked.body)).map_err(io::Error::other)?;
        sender.send_request(request).await.map_err(|e| match self {
            Peer::Server(Server { is_tls: false, .. }) if e.is_parse() => io::Error::other(format!(
                "it does not speak HTTP ({e}): if it speaks TLS, its URL begins with https://"
            )),
            _ => io::Error::other(e),
        })
    }
}

impl Server {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(self.address()).await?;
        if !self.is_tls {
            return Ok(Box::new(stream));
        }
        let config = ClientConfig::builder().with_root_certificates(self.roots()).with_no_client_auth();
        let name = ServerName::try_from(self.host().to_owned()).map_err(io::Error::other)?;
        let secured = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        Ok(Box::new(secured.map_err(|e| self.explained(e))?))
    }

    /// What there is to do about a connection that TLS refused.
    fn explained(&self, error: io::Error) -> io::Error {
        let why = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let advice = match why {
            Some(rustls::Error::InvalidMessage(_)) => "if it speaks no TLS, its URL begins with http://",
            Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) if self.ca.is_none() => {
                "--ca FILE names the certificates that are trusted instead of the system's"
            }
            Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                "it is none of those in --ca, and not signed by one of them"
            }
            _ => return error,
        };
        io::Error::new(error.kind(), format!("{error}: {advice}"))
    }

    fn roots(&self) -> RootCertStore {
        self.ca.clone().unwrap_or_else(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        })
    }
}

/// The certificates in a file. One without any would trust nobody, which nobody means.
pub(super) fn trusted(file: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&std::fs::read(file)?) {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    if roots.is_empty() { Err(io::Error::other("there is no certificate in it")) } else { Ok(roots) }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_scheme_a_host_and_perhaps_a_port() {
        let server = |url: &str| {
            let (authority, is_tls) = Server::parse(url)?;
            let server = Server { authority, is_tls, token: None, ca: None };
            Some((server.address(), server.host().to_owned()))
        };
        let is = |address: &str, host: &str| Some((address.to_owned(), host.to_owned()));
        assert_eq!(server("http://127.0.0.1:7171/"), is("127.0.0.1:7171", "127.0.0.1"));
        assert_eq!(server("https://weir.example"), is("weir.example:443", "weir.example"));
        assert_eq!(server("http://[::1]:80"), is("[::1]:80", "::1"));
        for bad in ["weir.example", "ftp://a", "http://", "http://a/b"] {
            assert_eq!(server(bad), None, "{bad}");
        }
    }
}
