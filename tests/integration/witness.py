"""A witness, strictly as c2sp.org/tlog-witness says, written without any code of Keyfold's: a real HTTP server."""

import base64
import hashlib
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

_REQUEST = re.compile(
    rb"old (0|[1-9][0-9]*)\n((?:[A-Za-z0-9+/]{43}=\n){0,63})\n((?:[^\n]+\n){3,})\n((?:\xe2\x80\x94 [^\n]+\n)+)",
    re.DOTALL,
)


def key_id(name: str, kind: int, key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + key).digest()[:4]


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]) -> bool:
    """RFC 9162, section 2.1.4.2, step by step."""
    if old == new:
        return not proof and old_root == new_root
    if not proof:
        return False
    if old & (old - 1) == 0:
        proof = [old_root, *proof]
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = proof[0]
    for c in proof[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node(c, fr), node(c, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return fr == old_root and sr == new_root and sn == 0


class StrictWitness:
    """Knows one log by its verifier key. `answers` replaces its next answers: (status, content type, body)."""

    def __init__(self, log_vkey: str, name: str = "witness.example/w1") -> None:
        self.origin, _, encoded = log_vkey.split("+", 2)
        self.log_key = base64.b64decode(encoded)[1:]
        self.name = name
        self.key = SigningKey(hashlib.sha256(name.encode()).digest())
        self.size, self.root = 0, hashlib.sha256(b"").digest()
        self.requests: list[tuple[int, int]] = []
        """The old size and the status of each."""
        self.answers: list[tuple[int, str, bytes]] = []
        self.delay = 0.0
        self._lock = threading.Lock()

    @property
    def vkey(self) -> str:
        public = bytes(self.key.verify_key)
        return f"{self.name}+{key_id(self.name, 4, public).hex()}+{base64.b64encode(bytes([4]) + public).decode()}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/prefix"

    def __enter__(self) -> "StrictWitness":
        witness = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(witness.delay)
                status, kind, answer = witness.answer(self.path, body)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, body: bytes) -> tuple[int, str, bytes]:
        with self._lock:
            found = _REQUEST.fullmatch(body)
            old = int(found[1]) if found else -1
            answer = self.answers.pop(0) if self.answers else self._judge(path, found)
            self.requests.append((old, answer[0]))
            return answer

    def _judge(self, path: str, found: re.Match[bytes] | None) -> tuple[int, str, bytes]:
        if path != "/prefix/add-checkpoint":
            return 404, "text/plain", b"not here"
        if found is None:
            return 400, "text/plain", b"malformed"
        old, proof = int(found[1]), [base64.b64decode(line, validate=True) for line in found[2].splitlines()]
        text, (origin, size_line, root_line, *_) = found[3], found[3].decode().splitlines()
        if origin != self.origin:
            return 404, "text/plain", b"unknown log"
        if not self._signed(text, found[4]):
            return 403, "text/plain", b"no signature"
        if not re.fullmatch("0|[1-9][0-9]*", size_line) or old > int(size_line):
            return 400, "text/plain", b"size"
        size, root = int(size_line), base64.b64decode(root_line, validate=True)
        if old != self.size:
            return 409, "text/x.tlog.size", f"{self.size}\n".encode()
        if proof if old == 0 else not consistent(old, size, self.root, root, proof):
            return 422, "text/plain", b"inconsistent"
        self.size, self.root = size, root
        return 200, "text/plain", self.cosignature(text)

    def cosignature(self, text: bytes, at: int | None = None) -> bytes:
        now = int(time.time()) if at is None else at
        signature = self.key.sign(b"cosignature/v1\ntime %d\n" % now + text).signature
        blob = key_id(self.name, 4, bytes(self.key.verify_key)) + now.to_bytes(8) + signature
        return f"— {self.name} {base64.b64encode(blob).decode()}\n".encode()

    def _signed(self, text: bytes, lines: bytes) -> bool:
        ident, valid = key_id(self.origin, 1, self.log_key), False
        for line in lines.decode().splitlines():
            _, name, encoded = line.split(" ")
            blob = base64.b64decode(encoded, validate=True)
            if (name, blob[:4]) == (self.origin, ident):
                try:
                    VerifyKey(self.log_key).verify(text, blob[4:])
                except BadSignatureError:
                    return False
                valid = True
        return valid
