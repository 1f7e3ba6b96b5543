"""Who may come in: a token, and names that are really this machine's."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Collection
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .address import Address

App = Callable[[Any, Any, Any], Awaitable[None]]

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # addresses may hold the token
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """An ASGI application around another one, which nobody enters without the token.

    The token comes as `?token=...`, which leaves a cookie for the page's own requests, or as `Authorization: Bearer`.
    Without one a server that listens to this machine alone answers to its own names only: to a browser, a page from
    elsewhere could have given its name this machine's number.

    Args:
        app: the application.
        address: where it listens.
        token: or None.
        open_paths: that are answered without it.
    """

    def __init__(self, app: App, address: Address, token: str | None, open_paths: Collection[str] = ()) -> None:
        self._app, self._address, self._token, self._open_paths = app, address, token, open_paths
        self._cookie = f"fcnrt-{address.port}"  # browsers keep one jar for all ports

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.requests import Request
        from starlette.responses import PlainTextResponse, RedirectResponse

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        given = parse_qs(request.url.query).get("token", [""])[-1]
        answer: Any = self._app
        if not self._named_rightly(request):
            answer = PlainTextResponse(f"expected the address {self._address.url}\n", 421)
        elif self._token and scope["path"] not in self._open_paths and not self._knows(request, given):
            answer = PlainTextResponse("expected ?token=... or an Authorization header\n", 401)
        elif self._token and given and scope["path"] == "/":
            clean = request.url.remove_query_params("token")
            answer = RedirectResponse(f"{clean.path}?{clean.query}".rstrip("?"), 303)
            answer.set_cookie(self._cookie, given, httponly=True, samesite="lax")
        await answer(scope, receive, _with_headers(send))

    def _knows(self, request: Any, given: str) -> bool:
        header = request.headers.get("authorization", "").removeprefix("Bearer ")
        tries = (given, header, request.cookies.get(self._cookie, ""))
        token = str(self._token).encode()
        return any([secrets.compare_digest(text.encode(), token) for text in tries])

    def _named_rightly(self, request: Any) -> bool:
        if self._token or not self._address.is_local:
            return True
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname
        return host in ("localhost", "127.0.0.1", "::1", self._address.host)


def _with_headers(send: Any) -> Any:
    async def send_with_headers(message: Any) -> None:
        if message["type"] == "http.response.start":
            extra = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", ()), *extra]}
        await send(message)

    return send_with_headers
