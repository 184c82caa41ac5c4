//! Requests that change something: how many there are at once, and that none is carried out whose condition nobody looks at.
//! Knows no route but those that look at theirs.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::Semaphore;

use super::problem::{Code, Problem};
use super::stream::Serving;

/// The layer behind the one that knows who asks: whoever may change nothing takes no place here.
pub(super) async fn bound(request: Request, next: Next) -> Result<Response, Problem> {
    if request.method().is_safe() {
        return Ok(next.run(request).await);
    }
    let conditions = [header::IF_MATCH, header::IF_NONE_MATCH];
    let given = conditions.iter().find(|name| request.headers().contains_key(*name));
    if let Some(name) = given.filter(|_| !looks_at_conditions(request.method(), request.uri().path())) {
        let detail = format!("this request takes no `{name}`: nothing was done");
        return Err(Problem::new(Code::BadRequest, detail));
    }
    let changes = request.extensions().get::<Serving>().map(|serving| Arc::clone(&serving.changes));
    let _place = match changes.map(Semaphore::try_acquire_owned) {
        Some(Err(_)) => {
            let detail = "a quarter of the connections that may be open at once are changes already";
            return Err(Problem::new(Code::TooManyChanges, detail));
        }
        place => place,
    };
    Ok(next.run(request).await)
}

/// See `pipelines::condition`.
fn looks_at_conditions(method: &Method, path: &str) -> bool {
    let target = path.strip_prefix("/api/v1/pipelines/").filter(|target| !target.contains('/'));
    target.is_some_and(|target| match (method.as_str(), target.rsplit_once(':')) {
        ("PUT" | "DELETE", None) => true,
        ("POST", Some((_, action))) => action == "upgrade" || action == "rollback",
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_looked_at_where_a_revision_is_meant() {
        let looks = |method, path| looks_at_conditions(&method, path);
        for path in ["/api/v1/pipelines/p:upgrade", "/api/v1/pipelines/p:rollback"] {
            assert!(looks(Method::POST, path), "{path}");
        }
        assert!(looks(Method::PUT, "/api/v1/pipelines/p") && looks(Method::DELETE, "/api/v1/pipelines/p"));
        for path in ["/api/v1/pipelines/p:stop", "/api/v1/pipelines/p/checkpoints", "/api/v1/tokens"] {
            assert!(!looks(Method::POST, path), "{path}");
        }
        assert!(!looks(Method::DELETE, "/api/v1/operators/o/versions/1.0.0"));
    }
}
