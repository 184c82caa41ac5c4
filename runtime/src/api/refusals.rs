//! The problems of an operation, as its documentation lists them: groups of statuses that come together.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};

/// What a status means here.
type Said = (&'static str, &'static str);

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: [$(($status:literal, $says:literal)),* $(,)?];)*) => {$(
        $(#[$doc])*
        pub(super) struct $name;
        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                let said: &[Said] = &[$(($status, $says)),*];
                said.iter().map(|(status, says)| ((*status).to_owned(), problem(says))).collect()
            }
        }
    )*};
}

refusals! {
    /// Of every operation below `/api/v1`.
    Always: [
        ("400", "The request cannot be read"),
        ("401", "No token, a wrong one, or one that expired"),
        ("403", "The token may not do this, the request comes from another site, or the quota is used up"),
        ("429", "The token asks too often"),
        ("500", "weir failed, or what it keeps is damaged"),
        ("503", "The server is stopping, or something outside of it failed"),
    ];
    /// Of one that is about something with a name.
    Named: [("404", "There is no such thing")];
    /// Of one that changes something.
    Changing: [
        ("409", "It stands in the way of something that is there"),
        ("413", "The body is too large"),
        ("422", "The body or a name in the path is not valid"),
        ("507", "The server's disk is full"),
    ];
    /// Of one that takes a body.
    Taking: [
        ("408", "The body came too slowly"),
        ("415", "The body has a type or an encoding that is not taken"),
    ];
    /// Of one that a later version brings.
    Later: [("501", "A later version brings this")];
}

fn problem(says: &str) -> RefOr<Response> {
    let body = Content::new(Some(Ref::from_schema_name("Problem")));
    ResponseBuilder::new().description(says).content("application/problem+json", body).build().into()
}
