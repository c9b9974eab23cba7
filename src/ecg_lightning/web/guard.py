"""Who may ask the viewer, and what its pages may do: nobody without the token, and no other site with it.

A viewer shows health data on a machine that others may use, too. So every address that is printed has a token, which
becomes a cookie of this one address; requests under another host name (DNS rebinding) and from pages of other origins
are refused; and the page itself may load from and speak to this server alone.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Reports have their style inside, and no scripts; they are shown in a frame of the page.
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox"
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """The server behind its door.

    Args:
        app: what answers those who may ask.
        token: that a request has as ``?token=…`` or as a cookie.
        hosts: names and ports under which the server is asked, such as ``127.0.0.1:8000``; None for any, where it
            listens on all addresses of a machine.
        cookie: name of the cookie; cookies are of a host, not of a port, so each server needs its own.
    """

    def __init__(self, app: App, *, token: str, hosts: Iterable[str] | None, cookie: str) -> None:
        self.app, self.token, self.cookie = app, token, cookie
        self.hosts = None if hosts is None else frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer a request or refuse it."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.hosts is not None and host not in self.hosts:
            await _refuse(send, 421, f"This viewer does not answer for {host!r}; open the address that it printed.")
            return
        if origin not in (None, f"http://{host}", f"https://{host}"):
            await _refuse(send, 403, "Pages of other sites may not ask this viewer.")
            return
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = dict(query).get("token")
        if given is not None and secrets.compare_digest(given.encode(), self.token.encode()):
            rest = urlencode([pair for pair in query if pair[0] != "token"])
            # A path alone: two slashes would begin another host.
            path = "/" + scope["path"].lstrip("/").encode("ascii", "ignore").decode() + f"?{rest}" * bool(rest)
            cookie = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
            await _answer(send, 303, b"", {"location": path, "set-cookie": cookie})
            return
        if not secrets.compare_digest(self._cookie_of(headers).encode(), self.token.encode()):
            await _refuse(send, 401, "Open the address that ecg-lightning view printed: it ends with a token.")
            return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                added = ((name.encode(), value.encode()) for name, value in HEADERS.items())
                message["headers"] = [*message["headers"], *(one for one in added if one[0] not in present)]
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _cookie_of(self, headers: MutableMapping[str, str]) -> str:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return ""
        return cookie.value if cookie is not None else ""


async def _refuse(send: Any, status: int, sentence: str) -> None:
    await _answer(send, status, f"{sentence}\n".encode(), {"content-type": "text/plain; charset=utf-8"})


async def _answer(send: Any, status: int, content: bytes, headers: MutableMapping[str, str]) -> None:
    own = [(name.encode(), value.encode()) for name, value in {**HEADERS, **headers}.items()]
    await send({"type": "http.response.start", "status": status, "headers": own})
    await send({"type": "http.response.body", "body": content})
