import os
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["EVENTS_SECRET"])


class Events(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            event = webhook.verify(body, dict(self.headers))
        except (WebhookVerificationError, ValueError):
            self.send_response(401)
        else:
            print(event["type"], self.headers["webhook-id"])  # yours
            self.send_response(204)
        self.end_headers()


server = HTTPServer(("", int(os.environ.get("PORT", 3000))), Events)
print("listening", flush=True)
server.serve_forever()
