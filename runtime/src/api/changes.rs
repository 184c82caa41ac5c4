//! Requests that change something: that they leave room for others, and that none is carried out whose condition nobody looks at.
//! Knows of routes which have one.

use axum::extract::Request;
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::Response;

use super::problem::{Code, Problem};
use super::stream::Serving;

/// The layer behind the one that knows who asks.
pub(super) async fn bound(request: Request, next: Next) -> Result<Response, Problem> {
    if request.method().is_safe() {
        return Ok(next.run(request).await);
    }
    let conditions = [header::IF_MATCH, header::IF_NONE_MATCH];
    let given = conditions.iter().find(|name| request.headers().contains_key(*name));
    if let Some(name) = given.filter(|_| has_no_condition(request.method(), request.uri().path())) {
        let detail = format!("this request takes no `{name}`: nothing was done");
        return Err(Problem::new(Code::BadRequest, detail));
    }
    // A body may come slowly, and an action wait for its end.
    if request.extensions().get::<Serving>().is_some_and(|serving| serving.crowd.is_dense()) {
        let detail = "nearly all connections that may be open at once have requests under way: nothing was done";
        return Err(Problem::new(Code::TooManyChanges, detail));
    }
    Ok(next.run(request).await)
}

/// Changes of which no revision is the condition.
fn has_no_condition(method: &Method, path: &str) -> bool {
    let segments: Vec<&str> = path.strip_prefix("/api/v1/").unwrap_or_default().split('/').collect();
    match (method.as_str(), segments.as_slice()) {
        ("POST", ["pipelines", target]) => {
            target.rsplit_once(':').is_some_and(|(_, action)| action != "upgrade" && action != "rollback")
        }
        ("POST", ["operators:validate" | "tokens"] | ["pipelines", _, "checkpoints"])
        | ("DELETE", ["tokens", _] | ["pipelines", _, "checkpoints", _])
        | ("PUT" | "DELETE", ["operators", _, "versions", _]) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_refused_where_nobody_looks_at_it() {
        for (method, path) in [
            (Method::POST, "pipelines/p:stop"),
            (Method::POST, "pipelines/p/checkpoints"),
            (Method::POST, "tokens"),
            (Method::DELETE, "operators/o/versions/1.0.0"),
        ] {
            assert!(has_no_condition(&method, &format!("/api/v1/{path}")), "{method} {path}");
        }
        // These look at it, or are refused for another reason.
        for (method, path) in [
            (Method::PUT, "pipelines/p"),
            (Method::DELETE, "pipelines/p"),
            (Method::POST, "pipelines/p:upgrade"),
            (Method::POST, "pipelines/p:rollback"),
            (Method::PATCH, "pipelines/p:rollback"),
            (Method::POST, "pipelines/p"),
        ] {
            assert!(!has_no_condition(&method, &format!("/api/v1/{path}")), "{method} {path}");
        }
    }
}
