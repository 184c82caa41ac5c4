//! Who may ask: a bearer token for everything but a short list of open paths, and no request that a browser sends on
//! behalf of another site. Runs before any route, so a new route is closed until somebody opens it here.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::middleware::Next;
use axum::response::Response;

use super::problem::{Code, Problem};
use super::token::Token;

/// Paths that need no token: nothing secret, nothing changed.
const OPEN: &[&str] = &["/metrics", "/livez", "/readyz", "/startupz", "/version"];

/// What is asked of every request.
pub(super) struct Guard {
    pub(super) token: Token,
    /// Only this machine can connect: then a name that is not this machine's comes from a page that rebinds its own.
    pub(super) is_loopback: bool,
    /// Whoever only reads needs no token.
    pub(super) is_reading_open: bool,
}

/// The layer before all routes.
pub(super) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Result<Response, Problem> {
    guard.check(request.method(), request.uri(), request.headers())?;
    Ok(next.run(request).await)
}

impl Guard {
    fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let host = text(header::HOST).or_else(|| uri.authority().map(|a| a.as_str())).unwrap_or_default();
        if self.is_loopback && !is_local(host) {
            let detail =
                format!("{host:?} is not this machine: use 127.0.0.1 or localhost, or start with another --listen");
            return Err(Problem::new(Code::ForeignHost, detail));
        }
        if let Some(origin) = text(header::ORIGIN)
            && origin.strip_prefix("http://").is_none_or(|authority| authority != host)
        {
            return Err(Problem::new(Code::ForeignOrigin, format!("a page of {origin:?} may not use this server")));
        }
        if OPEN.contains(&uri.path()) || (self.is_reading_open && method.is_safe()) {
            return Ok(());
        }
        let presented = text(header::AUTHORIZATION).and_then(|value| value.split_once(' '));
        match presented {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && self.token.is(token.trim()) => Ok(()),
            Some(_) => Err(Problem::new(Code::Unauthorized, "this is not the token of this server")),
            None => Err(Problem::new(
                Code::Unauthorized,
                "send `Authorization: Bearer TOKEN`; the token is in the file admin-token of the server's data folder, or of the state folder of a `weir run`",
            )),
        }
    }
}

/// `localhost` or an address, with or without a port: neither can be rebound by somebody's DNS.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split_once(']').map_or("", |(name, _)| name),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_dns_can_rebind_are_foreign() {
        for local in ["127.0.0.1:7171", "localhost", "localhost:1", "[::1]:7171", "LOCALHOST"] {
            assert!(is_local(local), "{local}");
        }
        for foreign in
            ["evil.example", "evil.example:7171", "", "127.0.0.1.evil.example", "localhost.evil.example", "[evil"]
        {
            assert!(!is_local(foreign), "{foreign}");
        }
    }
}
