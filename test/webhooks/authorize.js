import { createServer } from "node:http";
import { buffer } from "node:stream/consumers";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.AUTHORIZE_SECRET);
const mayGoOn = async (request) => request.subject !== "ben"; // yours

createServer(async (request, response) => {
  const body = await buffer(request);
  let requests;
  try {
    ({ requests } = webhook.verify(body, request.headers));
  } catch {
    return response.writeHead(401).end();
  }
  const decisions = await Promise.all(requests.map(async (q) => ({ id: q.id, allow: await mayGoOn(q) })));
  response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify({ decisions }));
}).listen(process.env.PORT ?? 3000, () => console.log("listening"));
