"""``ecg-lightning data fetch`` from servers that misbehave, on this machine.

Whatever a server does, either every file arrives as published, or the command ends with one sentence, nothing that is
not as published is in place, and the same command succeeds once the server behaves.
"""

import gzip
import hashlib
import io
import json
import os
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

from campaigns.frame import Case, Ended, run

ARRIVES = "every file arrives as published, by asking again, from the beginning or elsewhere"
UNCHECKED = "nothing is published about the file, and the command says that it is not checked"
RECORDS = ("100", "101")
CARD = """
defaults: [_database, _self_]
name: {name}
annotator: atr
class_map: aami
download: {{url: {url!r}, extensions: [.hea, .dat, .atr]}}
"""
TABLE = """
defaults: [_database, _self_]
name: {name}
reader: rows
rows: {{files: {files}, classes: [N, V]}}
about: {{published: {{classes: {{{counts}}}}}}}
download: {{{where}, files: {files}}}
"""


@dataclass
class Site:
    """A folder on the server: published files, and what is wrong with some of them."""

    files: dict[str, bytes]
    faults: "dict[str, Fault]" = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)


SITES: dict[str, Site] = {}


class Ask(socketserver.StreamRequestHandler):
    """A request, which a fault answers."""

    name: str
    start: int  # of the range that is asked for
    site: Site
    times: int  # this file has been asked for
    content: bytes

    def handle(self) -> None:
        with suppress(OSError, ValueError, IndexError, KeyError):
            path = self.rfile.readline(10_000).split()[1].decode()
            fields = {}
            while line := self.rfile.readline(10_000).strip():
                key, _, value = line.decode("latin-1").partition(": ")
                fields[key.lower()] = value
            _, site, self.name = path.split("/", 2)
            self.site = SITES[site]
            self.start = int(fields.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
            self.site.asked[self.name] += 1
            self.times = self.site.asked[self.name]
            self.content = self.site.files.get(self.name, b"")
            if self.name not in self.site.files:
                self.answer("404 Not Found")
            else:
                self.site.faults.get(self.name, whole)(self)

    def answer(self, status: str = "200 OK", body: bytes = b"", length: object = ..., **fields: object) -> None:
        """Send an answer; `length` None states none."""
        if length is not None:
            fields["Content-Length"] = len(body) if length is ... else length
        lines = [f"{key.replace('_', '-')}: {value}\r\n" for key, value in fields.items()]
        self.wfile.write(f"HTTP/1.1 {status}\r\nConnection: close\r\n{''.join(lines)}\r\n".encode("latin-1") + body)

    def range_from(self, start: int) -> str:
        """Content-Range of the rest of the file."""
        return f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"

    def stall(self) -> None:
        """Say nothing for longer than a client waits."""
        time.sleep(3)


Fault = Callable[[Ask], None]


def whole(ask: Ask) -> None:
    """What a good server does."""
    if ask.start and ask.start >= len(ask.content):
        ask.answer("416 Range Not Satisfiable")
    elif ask.start:
        ask.answer("206 Partial Content", ask.content[ask.start :], Content_Range=ask.range_from(ask.start))
    else:
        ask.answer(body=ask.content)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def handle_error(self, *_: Any) -> None:
        pass

    def verify_request(self, request: Any, client_address: Any) -> bool:
        request.settimeout(20)
        return True


class Server6(Server):
    address_family = socket.AF_INET6


@cache
def server(kind: str = "http") -> str:
    """The address of a server that runs as long as this process."""
    one = Server6(("::1", 0), Ask) if kind == "ipv6" else Server(("127.0.0.1", 0), Ask)
    if kind == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate())
        one.socket = context.wrap_socket(one.socket, server_side=True)
    threading.Thread(target=partial(one.serve_forever, 0.05), daemon=True).start()
    host = {"ipv6": "[::1]", "https": "localhost"}.get(kind, "127.0.0.1")
    return f"{'https' if kind == 'https' else 'http'}://{host}:{one.server_address[1]}"


@cache
def certificate() -> str:
    """A key with a certificate for localhost that it signed itself."""
    file = Path(tempfile.mkdtemp(prefix="faults-tls-")) / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=localhost"
    subprocess.run([*command.split(), "-addext", "subjectAltName=DNS:localhost",
                    "-keyout", file, "-out", f"{file}.crt"], check=True, capture_output=True)  # fmt: skip
    file.write_bytes(file.read_bytes() + Path(f"{file}.crt").read_bytes())
    return str(file)


@cache
def published() -> dict[str, bytes]:
    """The files of two records, which are fetched without being read, and their listings."""
    some = Random(0)
    sizes = {".hea": 300, ".dat": 60_000, ".atr": 5_000}
    files = {f"{record}{suffix}": some.randbytes(size) for record in RECORDS for suffix, size in sizes.items()}
    files["RECORDS"] = "".join(f"{record}\n" for record in RECORDS).encode()
    return {**files, "SHA256SUMS.txt": sums(files)}


def sums(files: dict[str, bytes]) -> bytes:
    return "".join(f"{hashlib.sha256(files[name]).hexdigest()} {name}\n" for name in sorted(files)).encode()


@cache
def table() -> dict[str, bytes]:
    """Two files of beats, without checksums."""
    some = Random(1)
    return {
        name: "".join(",".join([f"{some.random():.6f}" for _ in range(187)] + ["0"]) + "\n" for _ in range(n)).encode()
        for name, n in (("train.csv", 60), ("test.csv", 20))
    }


# What a server does with one file. Each takes the request.


def breaks_off_at_the_same_byte(ask: Ask) -> None:
    ask.answer(body=ask.content[: len(ask.content) // 2], length=len(ask.content))


def breaks_off_again_and_again(ask: Ask) -> None:
    rest = ask.content[ask.start :]
    ask.answer("206 Partial Content" if ask.start else "200 OK", rest[: len(rest) // 2 + 1], length=len(rest))


def sends_too_little_without_length(ask: Ask) -> None:
    ask.answer(body=ask.content[: min(1000, len(ask.content) // 2)], length=None)


def once_sends_too_little_without_length(ask: Ask) -> None:
    (sends_too_little_without_length if ask.times == 1 else whole)(ask)


def sends_nothing(ask: Ask) -> None:
    ask.answer()


def states_a_smaller_length(ask: Ask) -> None:
    ask.answer(body=ask.content, length=len(ask.content) // 2)


def states_a_larger_length(ask: Ask) -> None:
    ask.answer(body=ask.content, length=len(ask.content) * 2)


def states_an_enormous_length(ask: Ask) -> None:
    ask.answer(body=ask.content, length=10**18)


def states_no_length(ask: Ask) -> None:
    ask.answer(body=ask.content, length=None)


def states_a_length_that_is_none(ask: Ask) -> None:
    ask.answer(body=ask.content, length="many")


def states_a_negative_length(ask: Ask) -> None:
    ask.answer(body=ask.content, length=-5)


def states_two_lengths(ask: Ask) -> None:
    ask.answer(body=ask.content, length=f"{len(ask.content)}, {len(ask.content) + 5}")


def sends_more(ask: Ask) -> None:
    ask.answer(body=ask.content + b"more\n" * 1000, length=None)


def sends_without_end(ask: Ask) -> None:
    ask.answer(length=None)
    while True:
        ask.wfile.write(b"x" * (1 << 16))


def sends_in_chunks(ask: Ask) -> None:
    ask.answer(length=None, Transfer_Encoding="chunked")
    for part in (ask.content[:100], ask.content[100:]):
        ask.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
    ask.wfile.write(b"0\r\n\r\n")


def sends_chunks_that_end_early(ask: Ask) -> None:
    ask.answer(length=None, Transfer_Encoding="chunked")
    ask.wfile.write(b"5000\r\n" + ask.content[:100])


def sends_chunks_that_are_none(ask: Ask) -> None:
    ask.answer(length=None, Transfer_Encoding="chunked")
    ask.wfile.write(b"not a number\r\n" + ask.content)


def compresses_unasked(ask: Ask) -> None:
    ask.answer(body=gzip.compress(ask.content), Content_Encoding="gzip")


def says_compressed_but_is_not(ask: Ask) -> None:
    ask.answer(body=ask.content, Content_Encoding="gzip")


def sends_a_bomb(ask: Ask) -> None:
    ask.answer(body=gzip.compress(bytes(1 << 27)), Content_Encoding="gzip")


def stalls_at_once(ask: Ask) -> None:
    ask.stall()


def stalls_in_the_middle(ask: Ask) -> None:
    ask.answer(body=ask.content[: len(ask.content) // 3], length=len(ask.content))
    ask.stall()


def sends_a_byte_now_and_then(ask: Ask) -> None:
    ask.answer(length=len(ask.content))
    for at in range(len(ask.content)):
        ask.wfile.write(ask.content[at : at + 1])
        time.sleep(0.02)


def resets_the_connection(ask: Ask) -> None:
    ask.answer(body=ask.content[:50], length=len(ask.content))
    ask.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ask.connection.close()


def hangs_up_without_a_word(ask: Ask) -> None:
    pass


def is_no_web_server(ask: Ask) -> None:
    ask.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n" * 3)


def has_endless_headers(ask: Ask) -> None:
    ask.answer(body=ask.content, **{f"X-{i}": i for i in range(500)})


def has_a_header_without_end(ask: Ask) -> None:
    ask.answer(body=ask.content, X="x" * 200_000)


def says_continue_for_ever(ask: Ask) -> None:
    for _ in range(200):
        ask.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def has_a_status_that_is_none(ask: Ask) -> None:
    ask.answer("okay")


def redirects(to: str, ask: Ask) -> None:
    ask.answer("302 Found", Location=to)


def redirects_in_a_circle(ask: Ask) -> None:
    redirects(ask.name, ask)


def redirects_nowhere(ask: Ask) -> None:
    ask.answer("302 Found")


def answers_with(status: str, ask: Ask) -> None:
    ask.answer(status)


def is_busy_once(after: object, ask: Ask) -> None:
    if ask.times == 1:
        ask.answer("429 Too Many Requests", Retry_After=after)
    else:
        whole(ask)


def is_busy(after: object, ask: Ask) -> None:
    ask.answer("429 Too Many Requests", Retry_After=after)


def sends_a_login_page(ask: Ask) -> None:
    ask.answer(body=b"<!DOCTYPE html><html><body>Log in</body></html>", Content_Type="text/html; charset=utf-8")


def sends_other_bytes(ask: Ask) -> None:
    ask.answer(body=bytes(reversed(ask.content)))


def sends_other_bytes_once(ask: Ask) -> None:
    (sends_other_bytes if ask.times == 1 else whole)(ask)


def ignores_ranges(ask: Ask) -> None:
    size = len(ask.content)
    if ask.times == 1:
        ask.answer(body=ask.content[: size // 2], length=size)
    else:
        ask.answer(body=ask.content)


def sends_another_range(ask: Ask) -> None:
    size = len(ask.content)
    if ask.times == 1:
        ask.answer(body=ask.content[: size // 2], length=size)
    elif ask.start:
        ask.answer("206 Partial Content", ask.content[10:], Content_Range=ask.range_from(10))
    else:
        whole(ask)


def sends_a_part_unasked(ask: Ask) -> None:
    ask.answer("206 Partial Content", ask.content[7:], Content_Range=ask.range_from(7))


def has_no_such_range(ask: Ask) -> None:
    if ask.start or ask.times > 1:
        ask.answer("416 Range Not Satisfiable")
    else:
        breaks_off_at_the_same_byte(ask)


def changes_between_two_parts(ask: Ask) -> None:
    content = ask.content if ask.times == 1 else bytes(255 - byte for byte in ask.content)
    part = content[ask.start :][: 1 + len(content) // 3]
    ask.answer("206 Partial Content" if ask.start else "200 OK", part, length=len(content) - ask.start)


# By kind: those that depend on nothing, and those that are made for each case.
ANSWERS: dict[str, list[Fault]] = {
    "length": [
        breaks_off_at_the_same_byte, breaks_off_again_and_again, sends_too_little_without_length,
        once_sends_too_little_without_length, sends_nothing, states_a_smaller_length, states_a_larger_length,
        states_an_enormous_length, states_no_length, states_a_length_that_is_none, states_a_negative_length,
        states_two_lengths, sends_more, sends_without_end,
    ],
    "encoding": [
        sends_in_chunks, sends_chunks_that_end_early, sends_chunks_that_are_none, compresses_unasked,
        says_compressed_but_is_not, sends_a_bomb,
    ],
    "connection": [
        stalls_at_once, stalls_in_the_middle, sends_a_byte_now_and_then, resets_the_connection, hangs_up_without_a_word,
        is_no_web_server, has_endless_headers, has_a_header_without_end, says_continue_for_ever,
        has_a_status_that_is_none,
    ],
    "content": [sends_a_login_page, sends_other_bytes, sends_other_bytes_once],
    "ranges": [
        ignores_ranges, sends_another_range, sends_a_part_unasked, has_no_such_range, changes_between_two_parts,
    ],
    "redirects": [
        redirects_in_a_circle, redirects_nowhere,
        *(partial(redirects, to) for to in (
            "file:///etc/hostname", "ftp://127.0.0.1/x", "javascript:0", "http://", "http://[::1", "http://127.0.0.1:1/",
            "http://127.0.0.1:99999/", "//host.invalid/x", "data:text/plain,hello", "\xff\xfe", "http://a b/",
        )),
    ],
    "statuses": [
        *(partial(answers_with, status) for status in (
            "201 Created", "204 No Content", "304 Not Modified", "400 Bad Request", "401 Unauthorized", "403 Forbidden",
            "404 Not Found", "410 Gone", "500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable",
            "504 Gateway Timeout", "999 \x1b[31mStrange", "418 [bold]tea[/bold]",
        )),
        *(partial(is_busy_once, after) for after in (0, "soon", "", "Wed, 21 Oct 2015 07:28:00 GMT", -1)),
        *(partial(is_busy, after) for after in (0, 10**9, "inf", "soon")),
    ],
}  # fmt: skip

LISTINGS: list[tuple[str, bytes]] = [
    ("a path upwards", b"../../escaped\n"), ("a path from the root", b"/etc/passwd\n"), ("a NUL", b"100\x00\n"),
    ("a record twice", b"100\n100\n101\n"), ("300 letters", b"x" * 300), ("nothing", b""),
    ("blank lines", b"\n\n  \n"), ("bytes that are no text", b"\xff\xfe\x00"), ("an escape sequence", b"\x1b[31m100\n"),
    ("markup", b"[bold]100[/bold]\n"),
    ("a web page", b"<html><body>100</body></html>"), ("a record that is not there", b"100\n999\n"),
    ("a hidden file", b".netrc\n"), ("a folder of folders", b"a/" * 100 + b"100\n"), ("Windows", b"..\\..\\100\n"),
    ("very many", b"".join(b"%d\n" % i for i in range(200_000))), ("an option", b"--help\n"),
]  # fmt: skip

CHECKSUMS: list[tuple[str, bytes]] = [
    ("nothing", b""), ("MD5", b"d41d8cd98f00b204e9800998ecf8427e 100.dat\n"),
    ("bytes that are no text", b"\xff\xfe\x00"), ("words", b"there are no checksums here\n" * 10),
    ("a path upwards", b"0" * 64 + b" ../../100.dat\n"),
    ("one checksum for all", b"".join(b"0" * 64 + b" %s\n" % name for name in
     (b"100.hea", b"100.dat", b"100.atr", b"101.hea", b"101.dat", b"101.atr", b"RECORDS"))),
    ("not a checksum", b"".join(b"\x1b[31mX %s\n" % name for name in
     (b"100.hea", b"100.dat", b"100.atr", b"101.hea", b"101.dat", b"101.atr", b"RECORDS"))),
    ("a web page", b"<html>\n" * 10), ("very many", b"".join(b"%064d %d\n" % (i, i) for i in range(100_000))),
]  # fmt: skip

ADDRESSES = [
    "http://", "https://", "http:///x", "http://[::1", "http://[::1]:x/", "http://127.0.0.1:99999/", "http://a b/",
    "http://127.0.0.1:-1/", "http://.example.invalid/", "http://host.invalid/", "http://" + "a" * 300 + ".invalid/",
    "http://127.0.0.1:1/", "file:///etc/", "ftp://127.0.0.1/", "127.0.0.1", "", "http:127.0.0.1", "http://\u2603.invalid/",
    "http://user:secret@127.0.0.1:1/", "https://127.0.0.1:1/", "http://[bold]x[/bold]/", "http://127.0.0.1:1/\x1b[31m",
    "HTTP://127.0.0.1:1/", "http://0.0.0.0:1/", "http://xn--a.invalid/", "http://a..b.invalid/",
]  # fmt: skip


def impatient() -> None:
    """Patience of tenths of a second, and limits of a megabyte, in the process of a command."""
    from ecg_lightning.data import http

    quick: dict[str, Any] = {
        "ATTEMPTS": 3, "BACKOFF_S": 0.01, "TIMEOUT_S": (5.0, 1.0), "PATIENCE_S": 0.5, "SLOWEST_BYTES": 1000,
        "LONGEST_WAIT_S": 0.5, "LARGEST_FILE": 1 << 20, "LARGEST_LIST": 1 << 23,
    }  # fmt: skip
    for name, value in quick.items():
        setattr(http, name, value)
    os.environ |= {"NO_PROXY": "*", "no_proxy": "*"}
    logging_to_stderr()


def logging_to_stderr() -> None:
    """As in a process of its own, where a test runner has no handlers."""
    import logging

    logging.getLogger().handlers.clear()


@dataclass
class Place:
    """A case's own folder, with a database's card, and its site on a server."""

    folder: Path
    site: Site
    name: str = "clinic"
    url: str = ""
    card: str = CARD
    counts: str = ""
    where: str = ""

    def __post_init__(self) -> None:
        token = self.folder.name
        SITES.clear()  # of the cases before
        SITES[token] = self.site
        self.url = self.url or f"{server()}/{token}"

    def command(self, url: str | None = None) -> list[str]:
        """Fetch, from this address as that of the card."""
        conf = self.folder / "conf"
        (conf / "dataset").mkdir(parents=True, exist_ok=True)
        where = self.where or f"url: {url if url is not None else self.url!r}"
        files = [name for name in self.site.files if name != "SHA256SUMS.txt"]
        text = self.card.format(name=self.name, url=url if url is not None else self.url, files=json.dumps(files),
                                counts=self.counts, where=where)  # fmt: skip
        (conf / "dataset" / f"{self.name}.yaml").write_text(text)
        return ["data", "fetch", self.name, "--data-dir", str(self.data_dir), "--config-dir", str(conf)]

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def target(self) -> Path:
        return self.data_dir / self.name

    def check(self, ended: Ended, *, setup: Callable[[], None] = impatient, resume: bool = True) -> str | None:
        """What is in place is as published, all of it if the command says so, and once the server behaves."""
        if wrong := self._wrong(complete=ended.status == 0):
            return wrong
        escaped = {path.name for path in self.folder.iterdir()} - {"data", "conf", "twin"}
        if escaped:
            return f"wrote {escaped}"
        if not resume:
            return None
        self.site.faults.clear()
        again = run(self.command(), cwd=self.folder, setup=setup)
        if again.status:
            return f"does not succeed with a good server: {again.err[-300:]}"
        if left := [path.name for path in self.data_dir.rglob("*.partial*")]:
            return f"leaves {left}"
        return self._wrong(complete=True)

    def _wrong(self, *, complete: bool) -> str | None:
        for name, content in self.site.files.items():
            path = self.target / name
            if name == "SHA256SUMS.txt" or (name == "RECORDS" and not complete):
                continue
            if path.is_file() and path.read_bytes() != content:
                return f"{name} in place has {path.stat().st_size} bytes, not the {len(content)} that are published"
            if complete and not path.is_file():
                return f"succeeds without {name}"
        return None


def campaign(folder: Path, random: Random) -> Case:
    kinds: list[Callable[[Path, Random], Case]] = [*[bad_answers] * 12, listings, checksums, addresses, hosts]
    kinds += [kaggle, leftovers, twins, unchecked]
    return random.choice(kinds)(folder, random)


def bad_answers(folder: Path, random: Random) -> Case:
    """One file, or all, of a database with checksums or of one of which only the number of rows is published."""
    if random.random() < 0.65:
        place = Place(folder, Site(dict(published())))
    else:
        place = Place(folder, Site(dict(table())), card=TABLE, counts="N: {beats: 50}, V: {beats: 30}")
        if random.random() < 0.2:
            place.site.files["SHA256SUMS.txt"] = sums(place.site.files)
    kind = random.choice([*ANSWERS])
    # Other bytes with the published number of rows are not to be known without a checksum.
    fault = random.choice([one for one in ANSWERS[kind] if one is not sends_other_bytes or place.card is CARD])
    names = random.choice([[random.choice([*place.site.files])]] * 4 + [[*place.site.files]])
    place.site.faults = dict.fromkeys(names, fault)
    inner = getattr(fault, "func", fault)
    words = [inner.__name__.replace("_", " "), *map(repr, getattr(fault, "args", ()))]
    return Case(kind, f"{', '.join(names)}: {' '.join(words)}", place.command(), ARRIVES, place.check, impatient)


def listings(folder: Path, random: Random) -> Case:
    """RECORDS names something else than records."""
    place = Place(folder, Site(dict(published())))
    what, content = random.choice(LISTINGS)
    place.site.faults["RECORDS"] = lambda ask: ask.answer(body=content)
    files = {**place.site.files, "RECORDS": content}
    if random.random() < 0.7:  # with the right checksum of the wrong listing
        del files["SHA256SUMS.txt"]
        right = sums(files)
        place.site.faults["SHA256SUMS.txt"] = lambda ask: ask.answer(body=right)
    accepted = ARRIVES if what == "a record twice" else None
    return Case("listings", f"RECORDS has {what}", place.command(), accepted, place.check, impatient)


def checksums(folder: Path, random: Random) -> Case:
    """SHA256SUMS.txt holds something else than checksums."""
    place = Place(folder, Site(dict(published())))
    what, content = random.choice(CHECKSUMS)
    place.site.faults["SHA256SUMS.txt"] = lambda ask: ask.answer(body=content)
    return Case("listings", f"SHA256SUMS.txt has {what}", place.command(), None, place.check, impatient)


def addresses(folder: Path, random: Random) -> Case:
    """The card, or --url, has an address that is none or where nobody answers."""
    place = Place(folder, Site(dict(published())))
    url = random.choice(ADDRESSES)
    in_card = random.random() < 0.5
    command = place.command(url) if in_card else [*place.command(), "--url", url]
    what = f"{'the card' if in_card else '--url'} has {url[:60]!r}"
    accepted = ARRIVES if not url and not in_card else None
    return Case("addresses", what, command, accepted, place.check, impatient)


def hosts(folder: Path, random: Random) -> Case:
    """Other hosts, protocols and certificates."""
    place = Place(folder, Site(dict(published())))
    token, kind = folder.name, random.choice(["ipv6", "certificate", "https to http", "http on https", "https on http"])
    if kind == "ipv6":
        try:
            url = f"{server('ipv6')}/{token}"
        except OSError:  # no IPv6 on this machine
            url = f"{server()}/{token}"
        return Case("hosts", kind, [*place.command(), "--url", url], ARRIVES, place.check, impatient)
    if kind == "https on http":
        return Case("hosts", kind, place.command(place.url.replace("http:", "https:")), None, place.check, impatient)
    secure = f"{server('https')}/{token}"
    if kind == "http on https":
        return Case("hosts", kind, place.command(secure.replace("https:", "http:")), None, place.check, impatient)
    if kind == "certificate":
        return Case("hosts", "a certificate that nobody signed", place.command(secure), None, place.check, impatient)

    def trusting() -> None:
        impatient()
        os.environ["REQUESTS_CA_BUNDLE"] = certificate()

    def away(ask: Ask) -> None:  # both servers have the same sites
        redirects(f"{server()}/{token}/{ask.name}", ask) if isinstance(ask.connection, ssl.SSLSocket) else whole(ask)

    name = random.choice([*place.site.files])
    place.site.faults[name] = away
    return Case("hosts", f"{name}: https redirects to http", place.command(secure), None, place.check, trusting)


def kaggle(folder: Path, random: Random) -> Case:
    """kagglehub fails, or gives files that are cut off."""
    files, hub = dict(table()), folder / "twin"
    hub.mkdir()
    for name, content in files.items():
        (hub / name).write_bytes(content)
    what = random.choice(["an error", "no network", "a file absent", "a file cut off", "a file empty", "no folder"])
    name = random.choice([*files])
    if what == "a file absent":
        (hub / name).unlink()
    elif what in ("a file cut off", "a file empty"):
        (hub / name).write_bytes(files[name][: 1000 * (what == "a file cut off")])

    def download(handle: str) -> str:
        if what == "an error":
            raise RuntimeError("403 Client Error\nYou don't have permission\x1b[31m")
        if what == "no network":
            raise OSError("Network is unreachable")
        return str(hub / "nowhere" if what == "no folder" else hub)

    def setup() -> None:
        impatient()
        sys.modules["kagglehub"] = ModuleType("kagglehub")
        sys.modules["kagglehub"].dataset_download = download  # type: ignore[attr-defined]

    place = Place(folder, Site(files), card=TABLE, counts="N: {beats: 50}, V: {beats: 30}", where="kaggle: some/beats")

    def check(ended: Ended) -> str | None:
        if wrong := place.check(ended, resume=False):
            return wrong
        place.where = ""  # a mirror
        return place.check(ended)

    return Case("Kaggle", f"kagglehub gives {what} ({name})", place.command(), None, check, setup)


def leftovers(folder: Path, random: Random) -> Case:
    """Something is in the folder already."""
    place = Place(folder, Site(dict(published())))
    place.target.mkdir(parents=True)
    of_a_download = ["other bytes", "too many bytes", "half"]
    what = random.choice([*of_a_download, "of a killed process", "of others", "a damaged file", "a folder in its place",
                          "a folder as partial", "a file as folder"])  # fmt: skip
    # RECORDS is not downloaded in parts.
    name = random.choice(["100.dat", "101.hea", *["RECORDS"] * (what not in (*of_a_download, "a folder as partial"))])
    content, path, part = place.site.files[name], place.target / name, place.target / f"{name}.partial"
    if what in of_a_download:
        part.write_bytes({"other bytes": b"x" * 200, "half": content[: len(content) // 2]}.get(what, b"x" * 10**6))
    elif what in ("of a killed process", "of others"):
        part = place.target / (f".partial-999999-{name}" if what == "of a killed process" else "strange.dat.partial")
        part.write_bytes(b"x")
        os.utime(part, (0, 0))
    elif what == "a damaged file":
        path.write_bytes(b"damaged")
    elif what == "a file as folder":
        place.target.rmdir()
        place.target.write_text("a file")
    else:
        (path if what == "a folder in its place" else part).mkdir()
        (path if what == "a folder in its place" else part).joinpath("more").write_text("")
    refused = "folder" in what
    check = partial(place.check, resume=not refused)
    return Case("leftovers", f"{name}: {what}", place.command(), None if refused else ARRIVES, check, impatient)


def twins(folder: Path, random: Random) -> Case:
    """The same database is fetched twice at once."""
    place = Place(folder, Site(dict(published())))
    name, wait = random.choice(["SHA256SUMS.txt", "100.dat", "101.dat"]), random.random() / 5

    def slowly(ask: Ask) -> None:
        time.sleep(wait)
        whole(ask)

    place.site.faults[name] = slowly
    command, twin = place.command(), folder / "twin"

    def setup() -> None:
        impatient()
        if not os.fork():
            ended = run(command, cwd=folder, setup=impatient)
            twin.write_text(json.dumps([ended.status, ended.err]))
            os._exit(0)

    def check(ended: Ended) -> str | None:
        until = time.monotonic() + 30
        while not (twin.is_file() and twin.read_text()) and time.monotonic() < until:
            time.sleep(0.02)
        status, err = json.loads(twin.read_text())
        if status or ended.status:
            return f"one of two at once fails: {err}{ended.err}"
        return place.check(ended)

    return Case("two at once", f"{name} comes slowly", command, ARRIVES, check, setup)


def unchecked(folder: Path, random: Random) -> Case:
    """A file of which nothing is published: neither checksum nor number of rows, perhaps not even its length."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        inside = random.choice(["../../evil.csv", "/etc/evil.csv", "beats.csv"])
        archive.writestr(inside, b"0" * random.choice([10, 1 << 24]))
    content = random.choice([packed.getvalue(), packed.getvalue()[:-30], table()["test.csv"]])
    place = Place(folder, Site({random.choice(["beats.csv.zip", "beats.csv"]): content}), card=TABLE)
    (name,) = place.site.files
    faults: list[Fault] = [whole, states_no_length, sends_a_login_page, sends_too_little_without_length]
    place.site.faults[name] = random.choice(faults)

    def check(ended: Ended) -> str | None:
        return None if ended.status or "not checked" in ended.err else f"does not say that {name} is not checked"

    fault = place.site.faults[name].__name__.replace("_", " ")
    return Case("unchecked", f"{name}: {fault}", place.command(), UNCHECKED, check, impatient)
