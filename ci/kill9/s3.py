"""An S3 server with one empty bucket, in memory: moto, which checks and then writes, made atomic.

usage: s3.py PORT BUCKET
"""

import http.client
import io
import sys
import threading

from moto.server import create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


class OneAtATime:
    """Requests are read in parallel and carried out one by one: a conditional put must be one step.

    A request whose client was killed in the middle of it is refused, as S3 does. moto would store
    what it has got.
    """

    def __init__(self, app):
        self.app = app
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        length = int(environ.get("CONTENT_LENGTH") or 0)
        try:
            body = environ["wsgi.input"].read(length)
        except OSError:
            body = b""
        if len(body) < length:
            start_response("400 Bad Request", [("Content-Length", "0")])
            return [b""]
        environ["wsgi.input"] = io.BytesIO(body)
        with self.lock:
            return [b"".join(self.app(environ, start_response))]


class Quiet(WSGIRequestHandler):
    """Answers, keeps connections, and writes no log of requests."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code="-", size="-"):
        pass


def main():
    port, bucket = int(sys.argv[1]), sys.argv[2]
    app = OneAtATime(create_backend_app("s3"))
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=Quiet)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    client = http.client.HTTPConnection("127.0.0.1", port)
    client.request("PUT", f"/{bucket}")
    answer = client.getresponse()
    assert answer.status == 200, answer.read()
    client.close()
    print(f"serves s3://{bucket} at port {port}", flush=True)
    serving.join()


main()
