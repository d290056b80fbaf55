import { createServer } from "node:http";
import { buffer } from "node:stream/consumers";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.EVENTS_SECRET);

createServer(async (request, response) => {
  const body = await buffer(request); // the signature is over the raw bytes: JSON that was parsed and serialized again may differ
  let event;
  try {
    event = webhook.verify(body, request.headers);
  } catch {
    return response.writeHead(401).end();
  }
  console.log(event.type, request.headers["webhook-id"]); // yours
  response.writeHead(204).end();
}).listen(process.env.PORT ?? 3000, () => console.log("listening"));
