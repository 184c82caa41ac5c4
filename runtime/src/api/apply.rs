//! `PUT /api/v1/pipelines/NAME`: how a text is applied, and under which condition. The manager decides; this reads the request and
//! writes the answer.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::By;
use super::body;
use super::pipelines::{Asked, asked};
use super::plan::Planned;
use super::problem::{Code, Problem, blocking};
use super::refusals::{Always, Changing, Taking};
use crate::pipeline::{Condition, From as Begin, Language, Manager, Origin, Wanted};

pub(super) const PIPELINE_BYTES_MAX: usize = 256 << 10;

/// How to apply.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct How {
    /// Say what would change, and change nothing.
    dry_run: bool,
    /// So long nothing of it is committed, and the revision before it comes back where it fails: `10s`, at most `60s`. None,
    /// unless said.
    grace: Option<String>,
    /// Where it starts: `latest`, though another guarantee made it; `empty`; or a savepoint, by its absolute path on the server's
    /// machine. Once: from its first commit on it goes on from what it commits.
    from: Option<String>,
    /// With `from`: forget the state that is there, or go back behind it.
    rewind: bool,
    /// With `from`: leave out state that the text has no place for.
    allow_non_restored: bool,
}

impl How {
    fn origin(&self) -> Result<Option<Origin>, Problem> {
        let refuse = |detail: &str| Err(Problem::new(Code::BadRequest, detail));
        let from = match self.from.as_deref() {
            None if self.rewind || self.allow_non_restored => {
                return refuse("rewind and allow_non_restored go with `from`");
            }
            None => return Ok(None),
            Some("latest") if self.rewind => return refuse("rewind goes with `from=empty`, or with a savepoint"),
            Some("latest") => Begin::Latest,
            Some("empty") => Begin::Empty,
            Some(path) if std::path::Path::new(path).is_absolute() => Begin::Savepoint(path.into()),
            Some(_) => {
                return refuse("`from` is latest, empty, or the absolute path of a savepoint on the server's machine");
            }
        };
        Ok(Some(Origin::new(from, self.rewind, self.allow_non_restored)))
    }
}

/// Apply a pipeline
///
/// Checks all of it, keeps it as a revision, and runs it, also where it was stopped. The same text for one that runs, or
/// whose bounded input has ended, changes nothing. One that runs is stopped after a last checkpoint and goes on with the new
/// text.
#[utoipa::path(put, path = "/api/v1/pipelines/{name}", operation_id = "applyPipeline", tag = "pipelines",
    params(("name" = String, Path, description = "The pipeline; its text says the same"), How,
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the revision that is meant, or `*`"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is no such pipeline")),
    request_body(content((String = "application/toml"), (Object = "application/json")), description = "The pipeline file, at most 256 KiB"),
    responses((status = 201, body = Asked, description = "It is new"), (status = 200, body = Applied, description = "It was there; or the plan of a dry run"),
        (status = 412, body = super::problem::Shown<'static>, content_type = "application/problem+json", description = "It has another revision"),
        Always, Changing, Taking))]
pub(super) async fn apply(
    State(manager): State<Manager>,
    By(by): By,
    path: Result<Path<String>, PathRejection>,
    how: Result<Query<How>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let (name, how) = (body::name(&body::path(path)?)?, body::query(how)?);
    let language = match body::media_type(request.headers(), &["application/toml", "application/json"])? {
        "application/json" => Language::Json,
        _ => Language::Toml,
    };
    let condition = condition(request.headers())?;
    let bytes = body::read(request, PIPELINE_BYTES_MAX).await?;
    let text = String::from_utf8(bytes.to_vec());
    let text =
        text.map_err(|e| Problem::new(Code::BadRequest, format!("a pipeline is UTF-8 text: {}", e.utf8_error())))?;
    let (grace, origin) = (body::duration("grace", how.grace.as_deref())?.unwrap_or_default(), how.origin()?);
    let is_dry = how.dry_run;
    let done = blocking(move || {
        let wanted = Wanted { name: &name, language, text: &text, condition, grace, origin, by: &by };
        match is_dry {
            true => manager.plan(&wanted).map(Err),
            false => manager.apply(&wanted).map(Ok),
        }
    });
    let applied = match done.await? {
        Ok(applied) => applied,
        Err(plan) => return Ok(body::json(&Planned::from(plan))),
    };
    let status = if applied.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(asked(status, &applied.view, applied.operation.as_ref().map(|it| it.id(&applied.view.name))))
}

/// What an apply answers: what became of it, or the plan of a dry run.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "stands in the documentation only")]
pub(super) enum Applied {
    /// It was applied.
    Asked(Asked),
    /// It would be.
    Planned(Planned),
}

/// `If-Match: "3"`, as the ETag said; `*` for any that is there. `If-None-Match: *` for none.
pub(super) fn condition(headers: &HeaderMap) -> Result<Condition, Problem> {
    if let Some(value) = headers.get(header::IF_NONE_MATCH) {
        return match value.as_bytes() {
            b"*" => Ok(Condition::New),
            _ => Err(Problem::new(Code::BadRequest, "If-None-Match takes `*`: only if there is no such pipeline")),
        };
    }
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
