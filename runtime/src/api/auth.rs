//! Who may ask: a bearer token for everything but a short list of open paths, and no request that a browser sends on behalf of
//! another site. Runs before any route, so a new route is closed until somebody opens it here.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri, Version, header};
use axum::middleware::Next;
use axum::response::Response;

use super::problem::{Code, Problem};
use super::rate::Rates;
use super::request_id;
use super::stream::Serving;
use crate::access::secret_file::Token;
use crate::access::tokens::{No, Tokens};
use crate::access::{Actor, Quota, Scope};
use crate::clock;

/// Paths that need no token: nothing secret, nothing changed.
const OPEN: &[&str] = &["/metrics", "/livez", "/readyz", "/startupz", "/version", "/openapi.json"];
/// The page that shows the document above.
pub(super) const VIEWER: &str = "/docs";

/// What is asked of every request.
pub(super) struct Guard {
    pub(super) admin: Token,
    /// Those that were made over the API, where there is such a thing.
    pub(super) tokens: Option<Arc<Tokens>>,
    /// Only this machine can connect: then a name that is not this machine's comes from a page that rebinds its own.
    pub(super) is_loopback: bool,
    /// Whoever only reads needs no token.
    pub(super) is_reading_open: bool,
    pub(super) rates: Rates,
}

/// Who sent a request that was let through.
pub(super) struct By(pub(super) Actor);

impl<S: Sync> FromRequestParts<S> for By {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<By, Infallible> {
        // Only a control socket has no guard before it: whoever connects there owns the state folder.
        let owner = || Actor {
            name: "owner".to_owned(),
            from: None,
            request: request_id::of(&parts.headers),
            quota: Quota::default(),
        };
        Ok(By(parts.extensions.get::<Actor>().cloned().unwrap_or_else(owner)))
    }
}

/// The layer before all routes.
pub(super) async fn check(
    State(guard): State<Arc<Guard>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    once(request.headers())?;
    guard.check_origin(&request)?;
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.to_string());
    if let Some(caller) = guard.caller(request.method(), request.uri(), request.headers())? {
        // A stream outlives its request, and ends with its token.
        let secret = text(request.headers(), &header::AUTHORIZATION).unwrap_or_default().to_owned();
        if let Some(serving) = request.extensions_mut().get_mut::<Serving>() {
            let guard = Arc::clone(&guard);
            serving.standing = Some(Arc::new(move || guard.still_knows(&secret)));
        }
        let actor = Actor { name: caller.0, from, request: request_id::of(request.headers()), quota: caller.1 };
        request.extensions_mut().insert(actor);
    }
    Ok(next.run(request).await)
}

/// What says for whom a request is and from whom, says it once: of two, something before this server may have read the other.
/// For `Host`: RFC 9112, section 3.2.
fn once(headers: &HeaderMap) -> Result<(), Problem> {
    match [header::HOST, header::AUTHORIZATION].iter().find(|name| headers.get_all(*name).iter().nth(1).is_some()) {
        Some(name) => Err(Problem::new(Code::BadRequest, format!("the header `{name}` is there twice"))),
        None => Ok(()),
    }
}

/// What a request needs. Whatever is not known needs the most.
pub(super) fn needed(method: &Method, path: &str) -> Scope {
    let rest = path.strip_prefix("/api/v1/").unwrap_or_default();
    let resource = rest.split(['/', ':']).next().unwrap_or_default();
    match (resource, method.is_safe()) {
        ("operators" | "pipelines" | "operations", true) => Scope::Read,
        // It keeps nothing.
        ("operators", false) => Scope::Operators,
        ("pipelines", false) => Scope::Pipelines,
        _ => Scope::Admin,
    }
}

impl Guard {
    /// A request says for whom it is in `Host`, and in its target where that is a whole URL: each of them counts.
    fn check_origin<B>(&self, request: &axum::http::Request<B>) -> Result<(), Problem> {
        let headers = request.headers();
        let in_target = request.uri().authority().map(|authority| authority.as_str());
        let in_header = text(headers, &header::HOST).filter(|host| !host.is_empty());
        // RFC 9112, section 3.2. An older request may do without: no page can have sent it.
        if in_header.is_none() && request.version() == Version::HTTP_11 {
            let detail = "the header `Host` is missing or says nothing: it names the host that a request is for";
            return Err(Problem::new(Code::BadRequest, detail));
        }
        let hosts = || in_header.into_iter().chain(in_target);
        if let Some(host) = hosts().find(|host| self.is_loopback && !is_local(host)) {
            let detail =
                format!("{host:?} is not this machine: use 127.0.0.1 or localhost, or start with another --listen");
            return Err(Problem::new(Code::ForeignHost, detail));
        }
        let is_ours = |origin: &str| {
            let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            authority.is_some_and(|authority| hosts().all(|host| host == authority))
        };
        match text(headers, &header::ORIGIN) {
            Some(origin) if !is_ours(origin) => {
                Err(Problem::new(Code::ForeignOrigin, format!("a page of {origin:?} may not use this server")))
            }
            _ => Ok(()),
        }
    }

    /// Whether the token of a request that was let through is still one.
    fn still_knows(&self, authorization: &str) -> bool {
        let secret = authorization.split_once(' ').map_or("", |(_, secret)| secret.trim());
        let find = |tokens: &Arc<Tokens>| tokens.find(secret, clock::now_millis()).is_ok();
        self.admin.is(secret) || self.tokens.as_ref().is_some_and(find)
    }

    /// Whose token came, if it may do this; nobody's where none is needed.
    fn caller(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Option<(String, Quota)>, Problem> {
        let path = uri.path();
        let is_open = OPEN.contains(&path) || path == VIEWER || path.starts_with("/docs/");
        // Whoever reaches this machine over the network sees no record without a token.
        let is_reading_open = self.is_reading_open && (self.is_loopback || !shows_records(path));
        if (is_open || is_reading_open) && method.is_safe() {
            return Ok(None);
        }
        let presented = text(headers, &header::AUTHORIZATION).and_then(|value| value.split_once(' '));
        let unauthorized = |detail: &str| Problem::new(Code::Unauthorized, detail);
        let secret = match presented {
            Some((scheme, secret)) if scheme.eq_ignore_ascii_case("bearer") => secret.trim(),
            Some(_) => return Err(unauthorized("this is not the token of this server")),
            None => {
                return Err(unauthorized(
                    "send `Authorization: Bearer TOKEN`; the token is in the file admin-token of the server's data folder, or of the state folder of a `weir run`",
                ));
            }
        };
        if self.admin.is(secret) {
            return Ok(Some(("admin".to_owned(), Quota::default())));
        }
        let found = self.tokens.as_ref().map_or(Err(No::Wrong), |tokens| tokens.find(secret, clock::now_millis()));
        let token = found.map_err(|no| match no {
            No::Wrong => unauthorized("this is not the token of this server"),
            No::Expired(at) => unauthorized(&format!("this token expired at {}", clock::rfc3339(at))),
        })?;
        if !self.rates.take(token.name.as_str()) {
            let detail =
                format!("the token `{}` asks more than {} times a second", token.name, super::rate::PER_SECOND);
            return Err(Problem::new(Code::TooManyRequests, detail));
        }
        let needed = needed(method, path);
        // Who may change something sees it too.
        let may = token.scopes.contains(&Scope::Admin) || token.scopes.contains(&needed) || needed == Scope::Read;
        match may {
            true => Ok(Some((token.name.to_string(), token.quota))),
            false => {
                let detail =
                    format!("this needs the scope `{}`, which the token `{}` has not", needed.as_str(), token.name);
                Err(Problem::new(Code::OutOfScope, detail))
            }
        }
    }
}

/// Answers that hold content of records, or what operators write about it.
fn shows_records(path: &str) -> bool {
    path.starts_with("/api/")
        && ["/logs", "/problems", "/status"].iter().any(|end| path.trim_end_matches('/').ends_with(end))
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
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

    #[test]
    fn what_holds_content_of_records_is_known() {
        for shows in ["logs", "problems", "nodes/count/status", "problems/"] {
            assert!(shows_records(&format!("/api/v1/pipelines/p/{shows}")), "{shows}");
        }
        for plain in ["/api/v1/pipelines/p", "/api/v1/pipelines/p/events", "/metrics", "/readyz"] {
            assert!(!shows_records(plain), "{plain}");
        }
    }

    #[test]
    fn whatever_is_not_known_needs_the_admin() {
        let needed = |method: Method, path| needed(&method, path);
        assert_eq!(needed(Method::GET, "/api/v1/pipelines/a"), Scope::Read);
        assert_eq!(needed(Method::POST, "/api/v1/pipelines/a:stop"), Scope::Pipelines);
        assert_eq!(needed(Method::POST, "/api/v1/operators:validate"), Scope::Operators);
        assert_eq!(needed(Method::PUT, "/api/v1/operators/a/versions/1.0.0"), Scope::Operators);
        for path in
            ["/api/v1/tokens", "/api/v1/audit", "/api/v1/new", "/api/v1/pipelinesx", "/other", "//api/v1/operators"]
        {
            assert_eq!(needed(Method::GET, path), Scope::Admin, "{path}");
        }
    }
}
