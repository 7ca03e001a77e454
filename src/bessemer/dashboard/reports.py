"""Artifacts as answers: a report to look at, a file to download.

What users' programs wrote is nobody's word of ours: it is shown in an origin of its own, which
holds no cookie and reads none of our pages, and saved as a file without being run.
"""

from __future__ import annotations

import asyncio
import mimetypes
import posixpath
from urllib.parse import quote

from markdown_it import MarkdownIt
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from bessemer.artifacts.store import OpenArtifact
from bessemer.dashboard.assets import PRIVATE, digest
from bessemer.dashboard.html import Html, tag
from bessemer.dashboard.ranges import Unsatisfiable, find_span
from bessemer.pipelines.outputs import IN_METADATA
from bessemer.pipelines.records import Artifact

#: Whose file is a page to look at.
VIEWABLE = ("system.HTML", "system.Markdown")
MAX_BYTES = 1 << 20  # of a file that a page is made of
#: How URIs begin that a store of artifacts here may have.
_KEPT = ("/", "minio://")
_STYLE = """
body { font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
  color:#1d2430; margin:0; padding:1rem; overflow-wrap:anywhere }
pre,code { font-family:ui-monospace,"SF Mono",Menlo,"DejaVu Sans Mono",monospace; font-size:.86em }
pre { background:#f5f6f8; padding:.7rem .9rem; border-radius:6px; white-space:pre-wrap }
table { border-collapse:collapse; display:block; overflow-x:auto }
th,td { border:1px solid #e4e7ec; padding:.3rem .7rem; text-align:left }
blockquote { margin:0; padding-left:1rem; border-left:3px solid #e4e7ec; color:#5b6472 }
img { max-width:100% } a { color:#175cd3 }
"""
# It may run scripts and load pictures, but send nothing by a form and open no window.
_HTML_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' https:; "
    "style-src 'unsafe-inline' https:; img-src data: blob: https:; font-src data: https:; "
    "form-action 'none'; frame-ancestors 'self'"
)
# Links of a text open beside it: the frame shows the text alone.
_MARKDOWN_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; "
    f"style-src 'sha256-{digest(_STYLE)}'; img-src data: https:; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'self'"
)
_FILE_POLICY = "sandbox; default-src 'none'; frame-ancestors 'none'"


def has_file(artifact: Artifact) -> bool:
    """Whether there may be a file to download."""
    return artifact.uri.startswith(_KEPT) and artifact.type not in IN_METADATA


async def show(artifact: Artifact, file: OpenArtifact) -> Response:
    """An HTML or Markdown artifact as a page of its own."""
    if artifact.type == "system.HTML":
        return _stream(file, "text/html; charset=utf-8", {"Content-Security-Policy": _HTML_POLICY})
    try:
        start = range(min(file.size, MAX_BYTES))
        data = b"".join([piece async for piece in file.read(start)])
    finally:
        file.close()
    content = await asyncio.to_thread(render_markdown, data.decode(errors="replace"))
    headers = {**PRIVATE, "Content-Security-Policy": _MARKDOWN_POLICY}
    return Response(content, headers=headers, media_type="text/html")


def render_markdown(text: str) -> Html:
    """The text as a document. Its own HTML stays text, and links lead only where browsers go."""
    reader = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    head = tag("head", tag("meta", charset="utf-8"), tag("style", Html(_STYLE)),
               tag("base", target="_blank"))  # fmt: skip
    body = tag("body", Html(reader.render(text)))
    return Html("<!doctype html>" + tag("html", head, body))


def download(artifact: Artifact, file: OpenArtifact, range_header: str) -> Response:
    """The file as an attachment, whole or in part."""
    name = posixpath.basename(artifact.uri.rstrip("/"))
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._- ") else "_" for c in name)
    headers = {
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name)}",
        "Content-Security-Policy": _FILE_POLICY,
        "Accept-Ranges": "bytes",
    }
    try:
        span = find_span(range_header, file.size)
    except Unsatisfiable as error:
        file.close()
        size = {"Content-Range": f"bytes */{file.size}"}
        return Response(str(error), 416, {**PRIVATE, **size}, "text/plain")
    if span is None:
        return _stream(file, media_type, headers)
    headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{file.size}"
    return _stream(file, media_type, headers, span)


def _stream(
    file: OpenArtifact, media_type: str, headers: dict[str, str], span: range | None = None
) -> Response:
    whole = range(file.size) if span is None else span
    length = {"Content-Length": str(len(whole))}
    response = _Streamed(file, whole, 200 if span is None else 206)
    response.headers.update({**PRIVATE, **headers, **length, "Content-Type": media_type})
    return response


class _Streamed(StreamingResponse):
    """Bytes of a file, which is closed however the answer ends."""

    def __init__(self, file: OpenArtifact, span: range, status: int) -> None:
        super().__init__(file.read(span), status)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()
