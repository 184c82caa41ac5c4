//! `/api/v1/tokens` and `/api/v1/audit`: for whoever has the scope `admin`.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::auth::By;
use super::body;
use super::page::{Page, Paging};
use super::problem::{Code, Problem, blocking};
use super::refusals::{Always, Changing, Named, Taking};
use crate::access::audit::{Audit, Line};
use crate::access::tokens::{self, Tokens};
use crate::access::{Quota, Scope};
use crate::clock;

#[derive(Clone)]
pub(super) struct Access {
    pub(super) tokens: Arc<Tokens>,
    pub(super) audit: Arc<Audit>,
}

/// The routes.
pub(super) fn routes(access: Access) -> Router {
    Router::new()
        .route("/api/v1/tokens", get(list).post(make))
        .route("/api/v1/tokens/{name}", axum::routing::delete(delete))
        .route("/api/v1/audit", get(audit))
        .with_state(access)
}

/// What is known of a token. Its secret is not.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Token {
    name: String,
    /// `read`, `operators:write`, `pipelines:write`, `admin`.
    scopes: Vec<&'static str>,
    quota: Limits,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339; null for one without an end.
    expires_at: Option<String>,
    /// The secret: shown in this one answer, and kept nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// How much one token may bring; what is null or left out is not limited.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    /// Versions of operators.
    operators: Option<u64>,
    /// Bytes of their components.
    bytes: Option<u64>,
    /// Pipelines.
    pipelines: Option<u64>,
    /// Bytes of memory that the guests of its pipelines may take.
    memory: Option<u64>,
}

/// A token that somebody wants.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    /// What it is called.
    name: String,
    /// `read`, `operators:write`, `pipelines:write`, `admin`.
    scopes: Vec<String>,
    /// What it may bring.
    #[serde(default)]
    quota: Limits,
    /// How long it is one: `"30d"`, `"12h"`. For ever, unless said.
    expires_in: Option<String>,
}

impl Token {
    fn of(it: tokens::Token, secret: Option<String>) -> Token {
        let Quota { operators, bytes, pipelines, memory } = it.quota;
        Token {
            name: it.name.to_string(),
            scopes: it.scopes.iter().map(|scope| scope.as_str()).collect(),
            quota: Limits { operators, bytes, pipelines, memory },
            created_at: clock::rfc3339(it.created_at),
            expires_at: it.expires_at.map(clock::rfc3339),
            token: secret,
        }
    }
}

type Asked = Result<Query<Paging>, QueryRejection>;

/// List tokens
#[utoipa::path(get, path = "/api/v1/tokens", operation_id = "listTokens", tag = "access", params(Paging),
    responses((status = 200, body = Page<Token>), Always))]
pub(super) async fn list(State(access): State<Access>, asked: Asked) -> Result<Response, Problem> {
    let paging = body::query(asked)?;
    let items = access.tokens.list().into_iter().map(|it| Token::of(it, None));
    Ok(body::json(&paging.cut(items, |it| it.name.clone())?))
}

/// Make a token
///
/// Its secret is in this answer and nowhere else: what is kept is its sha256.
#[utoipa::path(post, path = "/api/v1/tokens", operation_id = "makeToken", tag = "access",
    request_body(content = New, content_type = "application/json"),
    responses((status = 201, body = Token), Always, Changing, Taking))]
pub(super) async fn make(State(access): State<Access>, By(by): By, request: Request) -> Result<Response, Problem> {
    body::media_type(request.headers(), &["application/json"])?;
    let New { name, scopes, quota, expires_in } = body::must(request).await?;
    let name = body::name(&name)?;
    if RESERVED.contains(&name.as_str()) {
        let detail = format!("`{name}` is what the audit log calls the owner's own token, or the server itself");
        return Err(Problem::new(Code::BadName, detail));
    }
    let bad = |detail: String| Problem::new(Code::BadRequest, detail);
    let scopes = scopes
        .iter()
        .map(|text| {
            scope(text).ok_or_else(|| {
                bad(format!("there is no scope {text:?}: there are read, operators:write, pipelines:write and admin"))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    if scopes.is_empty() {
        return Err(bad("a token needs a scope: `read` is the least".to_owned()));
    }
    let lives = body::duration("expires_in", expires_in.as_deref())?;
    if lives.is_some_and(|time| time.is_zero()) {
        return Err(bad("expires_in: a token that is over at once is none".to_owned()));
    }
    let lives = lives.map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
    let expires_at = lives.map(|millis| clock::now_millis().saturating_add(millis));
    let Limits { operators, bytes, pipelines, memory } = quota;
    let quota = Quota { operators, bytes, pipelines, memory };
    let made = blocking(move || access.tokens.make((&by, &access.audit), name, scopes, quota, expires_at)).await?;
    let location = format!("/api/v1/tokens/{}", made.0.name);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], body::json(&Token::of(made.0, Some(made.1))))
        .into_response())
}

/// Names that stand for others in the audit log and in revisions.
const RESERVED: [&str; 3] = ["admin", "owner", "weir"];

fn scope(text: &str) -> Option<Scope> {
    [Scope::Read, Scope::Operators, Scope::Pipelines, Scope::Admin].into_iter().find(|scope| scope.as_str() == text)
}

/// Delete a token
///
/// From then on it is none.
#[utoipa::path(delete, path = "/api/v1/tokens/{name}", operation_id = "deleteToken", tag = "access",
    params(("name" = String, Path, description = "The token")),
    responses((status = 204, description = "It is gone"), Always, Named, Changing))]
pub(super) async fn delete(
    State(access): State<Access>,
    By(by): By,
    path: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let name = body::path(path)?;
    blocking(move || access.tokens.delete((&by, &access.audit), &name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A line of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditLine {
    /// Its number, from 1.
    seq: u64,
    /// RFC 3339.
    at: String,
    /// The name of the token.
    who: String,
    /// The address that it came from.
    from: Option<String>,
    /// The request that it came with.
    request: Option<String>,
    /// What was done, as `operator.put`.
    action: String,
    /// To what.
    subject: String,
    /// What else there is to say.
    #[schema(value_type = Object)]
    detail: Value,
    /// sha256 of the line before this one.
    prev: String,
}

/// In which order.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(super) struct Order {
    /// Begin with the newest line, and not with the first.
    newest_first: bool,
}

/// Read the audit log
///
/// Oldest first, unless asked otherwise. Every change has a line, which was durable before the change was made.
#[utoipa::path(get, path = "/api/v1/audit", operation_id = "readAudit", tag = "access", params(Order, Paging),
    responses((status = 200, body = Page<AuditLine>), Always))]
pub(super) async fn audit(
    State(access): State<Access>,
    order: Result<Query<Order>, QueryRejection>,
    asked: Asked,
) -> Result<Response, Problem> {
    let (Order { newest_first }, paging) = (body::query(order)?, body::query(asked)?);
    let read = blocking(move || {
        let (from, limit) = paging.by_number()?;
        // One more than a page has: then there is a next one. A cursor is the number that the page before ended with.
        let lines = match newest_first {
            true => access.audit.read_newest((from > 0).then_some(from), limit + 1),
            false => access.audit.read(from, limit + 1),
        };
        let lines = lines.map_err(|e| Problem::io(&e, e.to_string()))?;
        let before = |line: &AuditLine| if newest_first { line.seq + 1 } else { line.seq - 1 };
        Paging::of_length(limit).cut(lines.into_iter().map(shown), |line| before(line).to_string())
    });
    Ok(body::json(&read.await?))
}

fn shown(line: Line) -> AuditLine {
    let Line { seq, at, who, from, request, action, subject, detail, prev } = line;
    AuditLine { seq, at, who, from, request, action, subject, detail, prev }
}
