//! `/openapi.json`: the API in the words of its code, OpenAPI 3.1; and `/docs`, a page to read it with. What an operation needs
//! of a token stands there as the guard asks it.

use axum::Router;
use axum::http::Method;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, PathItem};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::SwaggerUi;

use super::auth::{VIEWER, needed};
use super::{
    actions, apply, checkpoints, events, later, logs, nodes, operations, operators, pipelines, probes, problem,
    problems, revisions, tokens,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "weir", description = "Operators and pipelines of a `weir serve`. Every refusal is a problem (RFC 9457) with a stable `code`."),
    paths(
        operators::operators, operators::versions, operators::one, operators::upload, operators::delete, operators::validate,
        pipelines::list, pipelines::one, apply::apply, pipelines::delete,
        actions::stop, actions::cancel, actions::pause, actions::resume, actions::restart, actions::upgrade, actions::rollback,
        revisions::list, revisions::one, revisions::graph,
        checkpoints::list, checkpoints::history, checkpoints::one, checkpoints::manifest, checkpoints::remove, checkpoints::make,
        events::events, logs::logs, problems::problems, problems::restarts, nodes::status,
        operations::list, operations::one,
        tokens::list, tokens::make, tokens::delete, tokens::audit,
        later::tap, later::state, later::scan, later::profile,
        probes::live, probes::ready, probes::started, probes::show_metrics, probes::version,
    ),
    components(schemas(problem::Shown<'static>)),
    modifiers(&Guarded),
)]
struct Api;

/// The document.
pub(super) fn document() -> Document {
    Api::openapi()
}

/// The routes.
pub(super) fn routes() -> Router {
    SwaggerUi::new(VIEWER).url("/openapi.json", document()).into()
}

/// Writes down what the guard asks.
struct Guarded;

impl Modify for Guarded {
    fn modify(&self, document: &mut Document) {
        document.info.version = env!("CARGO_PKG_VERSION").to_owned();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token with the scope that the operation names"));
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("token", SecurityScheme::Http(bearer.build()));
        for (path, item) in &mut document.paths.paths {
            if !path.starts_with("/api/v1/") {
                continue;
            }
            for (method, operation) in operations_of(item) {
                let scope = needed(&method, path).as_str();
                operation.security = Some(vec![SecurityRequirement::new("token", [scope])]);
            }
        }
    }
}

/// The operations of a path, with their methods.
pub(super) fn operations_of(item: &mut PathItem) -> Vec<(Method, &mut Operation)> {
    let of = [
        (Method::GET, item.get.as_mut()),
        (Method::PUT, item.put.as_mut()),
        (Method::POST, item.post.as_mut()),
        (Method::DELETE, item.delete.as_mut()),
    ];
    of.into_iter().filter_map(|(method, operation)| Some((method, operation?))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_operation_has_a_summary_an_id_of_its_own_and_its_refusals() {
        let (mut document, mut ids) = (document(), BTreeSet::new());
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in operations_of(item) {
                let at = format!("{method} {path}");
                assert!(operation.summary.as_ref().is_some_and(|s| !s.is_empty()), "{at}");
                assert!(ids.insert(operation.operation_id.clone().expect(&at)), "{at}");
                if path.starts_with("/api/v1") {
                    let statuses: Vec<&String> = operation.responses.responses.keys().collect();
                    for status in ["400", "401", "403", "429", "500", "503"] {
                        assert!(statuses.contains(&&status.to_owned()), "{at}: {statuses:?}");
                    }
                    assert!(operation.security.is_some(), "{at}");
                }
            }
        }
        assert!(ids.len() > 30, "{ids:?}");
    }
}
