"""The layers between the socket and a route: protocol, admission, request context, strict JSON bodies, OpenAPI."""
