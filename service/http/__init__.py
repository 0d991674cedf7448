"""What lies between the socket and a route: the protocol, admission, request context, strict JSON bodies, OpenAPI."""
