"""Serves one file over HTTPS until it is ended: `serve.py FILE PORT CERTIFICATE KEY`."""

import http.server
import os
import ssl
import sys


class Pages(http.server.BaseHTTPRequestHandler):
    """Serves one file, as fast as it can."""

    protocol_version = "HTTP/1.1"
    path_of_file = None

    def do_GET(self):
        """All of it: nobody asks for a part."""
        with open(self.path_of_file, "rb") as file:
            self.send_response(200)
            self.send_header("Content-Length", str(os.path.getsize(self.path_of_file)))
            self.send_header("Content-Type", "application/octet-stream")
            self.end_headers()
            while piece := file.read(1 << 18):
                self.wfile.write(piece)

    def log_message(self, *_):
        """Nothing: nobody reads it."""


def serve(file, port, certificate, key):
    """Serves until it is ended."""
    Pages.path_of_file = file
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Pages)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(*sys.argv[1:])
