// A client of the protocol in one page: join, confirm each renewal, come back
// after a loss with the newest key. docs/protocol.md has the rules.

const $ = (id) => document.getElementById(id);
const terminal = new Set([1000, 1009, 4400, 4401, 4403, 4404, 4408, 4409, 4410, 4429]);

/** @type {WebSocket | null} */
let socket = null;
/** @type {{session: string, key: string} | null} */
let ticket = null;
let seq = 0;
let expiresAt = 0; // Unix seconds, by the server's clock
let lifetime = 1; // seconds
let skew = 0; // server's clock minus ours, milliseconds
let renewals = 0;
let attempts = 0;
let left = false;
let beat = 0;
let retry = 0;
let moveAfter = 0; // milliseconds, asked for by the server

const now = () => Date.now() + skew;

function say(text) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = new Date().toLocaleTimeString();
  item.append(time, text);
  $("log").prepend(item);
  while ($("log").children.length > 50) $("log").lastChild.remove();
}

function show(state) {
  $("state").textContent = state;
  const live = state === "live";
  for (const id of ["leave", "cut", "renew"]) $(id).disabled = !live;
}

function send(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function connect() {
  const address = new URL("v1/ws", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  socket = new WebSocket(address, "refresher.v1");
  show("connecting");
  const opened = Date.now();
  socket.onopen = () => {
    if (ticket) return send({ type: "resume", ...ticket, seq, expiresAt });
    const form = new FormData($("join"));
    const uid = Number(form.get("uid"));
    send({ type: "join", rtc: { channel: form.get("channel"), uid, role: "publisher" }, rtm: { userId: `user-${uid}` } });
  };
  socket.onmessage = (event) => handle(JSON.parse(event.data));
  socket.onclose = (event) => {
    clearInterval(beat);
    if (event.code === 4404 && ticket) { // unknown session: join afresh
      ticket = null;
      seq = 0;
    } else if (left || terminal.has(event.code)) {
      ticket = null;
      return show(`ended (${event.code})`);
    }
    if (Date.now() - opened > 5000) attempts = 0;
    const wait = moveAfter || Math.random() * Math.min(20000, 500 * 2 ** attempts++);
    moveAfter = 0;
    say(`Connection lost (${event.code}). Trying again in ${(wait / 1000).toFixed(1)} s; the tokens go on working.`);
    show("away");
    retry = setTimeout(connect, wait);
  };
}

function handle(message) {
  if (message.now) skew = message.now - Date.now();
  switch (message.type) {
    case "joined":
      ticket = { session: message.session, key: message.key };
      clearInterval(beat);
      beat = setInterval(() => send({ type: "ping" }), message.heartbeat * 1000);
      show("live");
      say(message.resumed ? `Resumed: ${message.action} with fresh tokens.` : `Joined. Tokens are renewed ${message.renewBefore} s before they run out.`);
      return apply(message);
    case "token-privilege-will-expire":
    case "token-privilege-did-expire":
      return apply(message);
    case "reconnect":
      moveAfter = Math.max(1, message.afterMs);
      say(`The service asks to connect again in ${message.afterMs} ms (${message.reason}).`);
      return socket?.close(4000, "reconnect");
    case "ended":
      return say(`Ended: ${message.reason}. The last tokens work until ${new Date(message.accessEndsAt * 1000).toLocaleTimeString()}.`);
    case "error":
      return say(`Refused: ${message.message}`);
  }
}

// apply is where an app hands the tokens to Agora's SDK: renewToken(), or join
// again when the action is "rejoin".
function apply(message) {
  if (message.seq < seq) return;
  const renewal = message.type !== "joined";
  if (renewal && $("mute").checked) return say(`Push #${message.seq}, attempt ${message.attempt}: not confirmed.`);
  if (renewal && $("refuse").checked) {
    say(`Push #${message.seq}: refused.`);
    return send({ type: "nack", seq: message.seq, code: "DEMO", message: "refused in the demo" });
  }
  const margin = expiresAt - now() / 1000;
  seq = message.seq;
  expiresAt = message.tokens.rtc.expiresAt;
  lifetime = expiresAt - now() / 1000;
  $("token").textContent = message.tokens.rtc.token;
  send({ type: "ack", seq });
  if (!renewal) return;
  $("renewals").textContent = String(++renewals);
  say(`Renewed #${seq} (${message.cause}${message.attempt > 1 ? `, attempt ${message.attempt}` : ""}) with ${margin.toFixed(1)} s left.`);
}

setInterval(() => {
  const seconds = Math.max(0, expiresAt - now() / 1000);
  $("left").textContent = expiresAt ? `${seconds.toFixed(1)} s` : "–";
  $("meter").value = expiresAt ? seconds / lifetime : 0;
}, 200);

$("join").onsubmit = (event) => {
  event.preventDefault();
  if (socket && socket.readyState <= WebSocket.OPEN) return say("This page holds a call already; leave it first.");
  clearTimeout(retry);
  left = false;
  ticket = null;
  seq = renewals = attempts = moveAfter = 0;
  $("renewals").textContent = "0";
  connect();
};
$("leave").onclick = () => {
  left = true;
  send({ type: "leave" });
};
$("cut").onclick = () => socket?.close(4000, "cut in the demo");
$("renew").onclick = () => send({ type: "renew" });
