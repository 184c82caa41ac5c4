"""What schemathesis has to be told: how a body of Wasm is sent."""

import schemathesis


@schemathesis.serializer("application/wasm")
def wasm(_, value):
    return value if isinstance(value, bytes) else str(value).encode()
