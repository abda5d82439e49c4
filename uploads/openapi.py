"""The two streaming routes in the OpenAPI schema: they are no views of the REST framework, and are described here."""

from typing import Any

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_ID = {"in": "path", "name": "upload_id", "schema": {"type": "string", "format": "uuid"}, "required": True}
_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"page_session": []}]


def _problem(codes: str) -> dict[str, Any]:
    return {"description": codes, "content": _PROBLEM}


CHUNK: dict[str, Any] = {
    "operationId": "uploads_chunks_update",
    "description": "Takes one chunk: bytes [n * chunk_size, (n + 1) * chunk_size) of the upload. The same octets again"
    " are welcome; an acknowledged chunk is never overwritten.",
    "summary": "Send a chunk",
    "tags": ["uploads"],
    "security": _SECURITY,
    "parameters": [
        _ID,
        {"in": "path", "name": "index", "schema": {"type": "integer", "minimum": 0}, "required": True},
        {
            "in": "header",
            "name": "Content-Digest",
            "schema": {"type": "string"},
            "required": True,
            "description": "sha-256=:…: (RFC 9530)",
        },
    ],
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
    "responses": {
        "204": {"description": "The octets are kept."},
        "400": _problem("digest_required | digest_mismatch | chunk_length"),
        "401": _problem("not_authenticated | token_invalid"),
        "403": _problem("forbidden"),
        "404": _problem("not_found | no_such_chunk"),
        "408": _problem("chunk_timeout: no octet came for 30 seconds"),
        "409": _problem("chunk_conflict | chunk_busy (with Retry-After) | wrong_state"),
        "410": _problem("expired"),
        "411": _problem("length_required"),
        "507": _problem("no_space"),
    },
}
EVENTS: dict[str, Any] = {
    "operationId": "uploads_events_retrieve",
    "description": "Server-sent events; the data of each is the truth about the upload, sent when it has changed.",
    "summary": "Follow an upload",
    "tags": ["uploads"],
    "security": _SECURITY,
    "parameters": [_ID],
    "responses": {
        "200": {"description": "A stream of truths.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
        "401": _problem("not_authenticated | token_invalid"),
        "404": _problem("not_found"),
    },
}


def add_streams(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A postprocessing hook of drf-spectacular."""
    result["paths"]["/api/v1/uploads/{upload_id}/chunks/{index}"] = {"put": CHUNK}
    result["paths"]["/api/v1/uploads/{upload_id}/events"] = {"get": EVENTS}
    return result
