"""What schemathesis has to be told: how a body of Wasm is sent, and which answers are failures of the server."""

import schemathesis


@schemathesis.serializer("application/wasm")
def wasm(_, value):
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.check
def weir_has_not_failed(_, response, __):
    """501, 503 and 507 are answers that the document explains: a pipeline may stop while it is asked for a checkpoint."""
    assert response.status_code != 500, "weir failed"
