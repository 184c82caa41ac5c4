//! `/api/v1/pipelines`: apply, list, look up, stop, cancel, delete. The manager decides; this reads requests and writes answers.

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use serde_json::{Value, json};

use super::problem::{Code, Problem, blocking};
use super::watched::{Stop, Watched};
use super::{body, checkpoints};
use crate::clock;
use crate::pipeline::{Language, Manager, View};

const PIPELINE_BYTES_MAX: usize = 256 << 10;
/// Actions that a later version brings.
const LATER: &[&str] = &["pause", "resume", "restart", "upgrade", "rollback"];

/// The routes. The router takes no `{name}:stop`, so an action is found at the last colon of the target.
pub(super) fn routes(watched: Watched) -> Router {
    let mut target = get(one).post(act);
    if let Watched::All(manager) = &watched {
        let changes = put(apply).delete(delete).layer(DefaultBodyLimit::max(PIPELINE_BYTES_MAX));
        target = target.merge(changes.with_state(manager.clone()));
    }
    Router::new().route("/api/v1/pipelines", get(list)).route("/api/v1/pipelines/{target}", target).with_state(watched)
}

type Target = Result<Path<String>, PathRejection>;

async fn list(State(watched): State<Watched>) -> Result<Response, Problem> {
    let views = blocking(move || Ok::<_, Problem>(watched.views())).await?;
    Ok(body::json(&json!({"items": views.iter().map(show).collect::<Vec<_>>(), "next": null})))
}

async fn one(State(watched): State<Watched>, path: Target) -> Result<Response, Problem> {
    let name = body::path(path)?;
    let view = blocking(move || watched.view(&name)).await?;
    Ok(answer(StatusCode::OK, &view))
}

async fn apply(State(manager): State<Manager>, path: Target, request: Request) -> Result<Response, Problem> {
    let name = body::name(&body::path(path)?)?;
    let language = match body::media_type(request.headers(), &["application/toml", "application/json"])? {
        "application/json" => Language::Json,
        _ => Language::Toml,
    };
    let condition = if_match(request.headers())?;
    let bytes = body::read(request, PIPELINE_BYTES_MAX).await?;
    let text = String::from_utf8(bytes.to_vec());
    let text =
        text.map_err(|e| Problem::new(Code::BadRequest, format!("a pipeline is UTF-8 text: {}", e.utf8_error())))?;
    let (view, is_new) = blocking(move || {
        let revision = match condition {
            Condition::None => None,
            Condition::Revision(revision) => Some(revision),
            // None is 0, which no pipeline has.
            Condition::Any => Some(manager.get(name.as_str()).map_or(0, |view| view.revision)),
        };
        manager.apply(&name, language, &text, revision)
    })
    .await?;
    Ok(answer(if is_new { StatusCode::CREATED } else { StatusCode::OK }, &view))
}

async fn act(State(watched): State<Watched>, path: Target, request: Request) -> Result<Response, Problem> {
    let target = body::path(path)?;
    let unknown = |action: &str| {
        Problem::new(
            Code::UnknownAction,
            format!("there is no action {action:?}: try POST …/NAME:stop or …/NAME:cancel"),
        )
    };
    match target.rsplit_once(':') {
        Some((name, "stop")) => {
            let name = name.to_owned();
            let stop: Stop = body::options(request).await?;
            let status = if stop.wait { StatusCode::OK } else { StatusCode::ACCEPTED };
            let (view, done) = blocking(move || watched.stop(&name, stop)).await?;
            let mut shown = show(&view);
            if let Some(done) = done {
                shown["savepoint"] = checkpoints::show(&done);
            }
            Ok((status, etag(&view), body::json(&shown)).into_response())
        }
        Some((name, "cancel")) => {
            let name = name.to_owned();
            let Cancel { wait } = body::options(request).await?;
            let view = blocking(move || watched.cancel(&name, wait)).await?;
            Ok(answer(if wait { StatusCode::OK } else { StatusCode::ACCEPTED }, &view))
        }
        Some((_, later)) if LATER.contains(&later) => {
            let detail = format!("`:{later}` comes later; `:stop`, `:cancel` and applying again are there");
            Err(Problem::new(Code::ComesLater, detail))
        }
        Some((_, action)) => Err(unknown(action)),
        None => Err(unknown("")),
    }
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Cancel {
    wait: bool,
}

async fn delete(State(manager): State<Manager>, path: Target) -> Result<StatusCode, Problem> {
    let name = body::path(path)?;
    blocking(move || manager.delete(&name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

enum Condition {
    None,
    Any,
    Revision(u64),
}

/// `If-Match: "3"`, as the ETag said; `*` for any that is there.
fn if_match(headers: &HeaderMap) -> Result<Condition, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(Condition::None) };
    let text = value.to_str().unwrap_or_default().trim();
    let number = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    match (text, number.parse()) {
        ("*", _) => Ok(Condition::Any),
        (_, Ok(revision)) => Ok(Condition::Revision(revision)),
        (_, Err(_)) => {
            let detail = format!("If-Match takes a revision as the ETag gives it, such as \"3\", and not {text:?}");
            Err(Problem::new(Code::BadRequest, detail))
        }
    }
}

fn answer(status: StatusCode, view: &View) -> Response {
    (status, etag(view), body::json(&show(view))).into_response()
}

fn etag(view: &View) -> [(header::HeaderName, String); 1] {
    [(header::ETAG, format!("\"{}\"", view.revision))]
}

fn show(view: &View) -> Value {
    let checkpoint = view
        .last_checkpoint
        .as_ref()
        .map(|last| json!({"epoch": last.epoch.0, "completed_at": clock::rfc3339(last.completed_at)}));
    json!({
        "name": view.name.as_str(),
        "state": view.state.as_str(),
        "revision": view.revision,
        "last_checkpoint": checkpoint,
        "restarts": view.restarts,
        "problem": view.problem,
    })
}
