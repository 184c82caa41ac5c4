//! What stands behind the `?` of a request: what the document says of its operation, and nothing else. `?dry_run=true` at a DELETE
//! was meant to change nothing, and `?curso=` to be another page. The handlers read it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::Response;
use serde_json::Value;
use utoipa::openapi::path::{Operation, ParameterIn};

use super::fits::{self, json};
use super::openapi::{document, operations_of};
use super::problem::{Code, Problem};

/// By method and path: the parameters and their schemas.
type Known = BTreeMap<(String, String), Vec<(String, Value)>>;

/// From the document, which is the same for all.
static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let mut known = Known::new();
    for (path, item) in document().paths.paths.iter_mut().filter(|(path, _)| path.starts_with("/api/")) {
        for (method, operation) in operations_of(item) {
            known.entry((method.to_string(), shape(path))).or_default().extend(parameters(operation));
        }
    }
    known
});

fn parameters(operation: &Operation) -> impl Iterator<Item = (String, Value)> {
    let all = operation.parameters.iter().flatten().filter(|it| it.parameter_in == ParameterIn::Query);
    all.map(|it| (it.name.clone(), json(&it.schema)))
}

/// The router knows all actions of a pipeline as one path, and its variables by other names.
fn shape(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect::<Vec<_>>().join("/")
}

/// A pipeline, or one and an action.
const TARGET: &str = "/api/v1/pipelines/{}";

fn names_an_action(path: &str) -> bool {
    [":", "%3a", "%3A"].iter().any(|colon| path.contains(colon))
}

/// The routes, behind this check.
pub(super) fn checked(routes: Router) -> Router {
    routes.layer(middleware::from_fn(check))
}

async fn check(request: Request, next: Next) -> Result<Response, Problem> {
    let query = request.uri().query().unwrap_or_default();
    let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let path = request.extensions().get::<MatchedPath>().map(|path| shape(path.as_str()));
    // Where there is no such request, that is what its answer says.
    let path = path.filter(|path| path != TARGET || method != Method::POST || names_an_action(request.uri().path()));
    let known = path.and_then(|path| KNOWN.get(&(method.to_string(), path)));
    if let Some(known) = known {
        read(query, known).map_err(|detail| Problem::new(Code::BadRequest, detail))?;
    }
    Ok(next.run(request).await)
}

fn read(query: &str, known: &[(String, Value)]) -> Result<(), String> {
    let mut seen = Vec::new();
    for (name, text) in form_urlencoded::parse(query.as_bytes()) {
        let Some((_, schema)) = known.iter().find(|(known, _)| *known == name) else {
            let names: Vec<String> = known.iter().map(|(name, _)| format!("`{name}`")).collect();
            return Err(match names.is_empty() {
                true => format!("this request takes nothing behind the `?`, and there is {name:?}: nothing was done"),
                false => format!("there is no parameter {name:?} here: there are {}", names.join(", ")),
            });
        };
        if seen.contains(&name) {
            return Err(format!("`{name}` stands twice behind the `?`"));
        }
        fits::parameter(schema, &name, &text)?;
        seen.push(name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_document_does_not_name_is_refused_and_a_value_says_what_it_is_to_be() {
        let said = |method: &str, path: &str, query: &str| {
            read(query, &KNOWN[&(method.to_owned(), path.to_owned())]).err().unwrap_or_default()
        };
        let list = |query: &str| said("GET", "/api/v1/pipelines", query);
        assert_eq!(list(""), "");
        assert_eq!(list("limit=7&cursor=%C3%A4"), "");
        assert_eq!(list("curso=1"), "there is no parameter \"curso\" here: there are `limit`, `cursor`");
        assert_eq!(list("limit=x"), "limit=x: `limit` is to be a whole number from 0 on");
        assert_eq!(list("limit=1&limit=2"), "`limit` stands twice behind the `?`");
        let apply = |query: &str| said("PUT", "/api/v1/pipelines/{}", query);
        assert_eq!(apply("dry_run=true&grace=1s&from=empty&rewind=true&allow_non_restored=false"), "");
        assert_eq!(apply("dry_run=1"), "dry_run=1: `dry_run` is to be true or false");
        let nothing = "this request takes nothing behind the `?`, and there is \"dry_run\": nothing was done";
        assert_eq!(said("POST", "/api/v1/pipelines/{}", "dry_run=true"), nothing);
        assert_eq!(said("DELETE", "/api/v1/pipelines/{}/checkpoints/{}", "dry_run=true"), nothing);
    }
}
