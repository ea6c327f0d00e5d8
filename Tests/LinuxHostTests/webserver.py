"""A web server for tests: serves FILE over http and https, in the manner that the path names. Prints both ports.

  /file      ranges and an entity tag, as it should be
  /cut       the same, but the link is reset behind a third of what is sent, the first two times
  /whole     neither ranges nor an entity tag
  /chunks    in chunks of all sizes
  /close     HTTP/1.0 without a length: the link's end is the file's
  /away      a redirect to /file over https
  /portal    a page for the first request, then the file
  /slow      64 KB, then nothing any more
"""

import http.server
import pathlib
import random
import socket
import ssl
import struct
import sys
import threading

content = pathlib.Path(sys.argv[1]).read_bytes()
counts = {}
tls_port = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def head(self, status, *fields):
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self):
        counts[self.path] = counts.get(self.path, 0) + 1
        self.close_connection = True
        getattr(self, self.path.lstrip("/").split("?")[0])()

    def file(self, share=1):
        tag = '"v1"'
        wanted = self.headers.get("Range")
        start = int(wanted[6:-1]) if wanted and self.headers.get("If-Range", tag) == tag else 0
        body = content[start:]
        fields = [("Content-Length", len(body)), ("ETag", tag), ("Accept-Ranges", "bytes")]
        if start:
            fields.append(("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"))
        self.head(206 if start else 200, *fields)
        self.wfile.write(body[:len(body) // share])

    def cut(self):
        isCut = counts[self.path] < 3
        self.file(3 if isCut else 1)
        if isCut:
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def whole(self):
        self.head(200, ("Content-Length", len(content)))
        self.wfile.write(content)

    def chunks(self):
        self.head(200, ("Transfer-Encoding", "chunked"))
        sizes, start = random.Random(7), 0
        while start < len(content):
            piece = content[start:start + sizes.choice([1, 2, 15, 16, 1000, 8191, 8192, 8193, 70000])]
            self.wfile.write(b"%x;part\r\n%s\r\n" % (len(piece), piece))
            start += len(piece)
        self.wfile.write(b"0\r\nX-Sum: none\r\n\r\n")

    def close(self):
        self.protocol_version = "HTTP/1.0"
        self.head(200)
        self.wfile.write(content)

    def away(self):
        self.head(302, ("Location", f"https://localhost:{tls_port}/file?t=1"), ("Content-Length", 5))
        self.wfile.write(b"moved")

    def portal(self):
        if counts[self.path] > 1:
            return self.file()
        self.head(200, ("Content-Type", "text/html"), ("Content-Length", 6))
        self.wfile.write(b"<html>")

    def slow(self):
        if counts[self.path] > 1:
            return self.file()
        self.head(200, ("Content-Length", len(content)), ("ETag", '"v1"'))
        self.wfile.write(content[:65536])
        self.wfile.flush()
        self.rfile.read()


def listen(context=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
tls_port = listen(context)
print(listen(), tls_port, flush=True)
threading.Event().wait()
