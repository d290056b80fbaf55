// The network that the tests break (network.js).

import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";

// The program of a process whose Network refuses a WebSocket handshake with 403. The Network is cut while the
// FIN after that answer is on its way, and the process must still exit.
const program = `
  import { Socket, connect, createServer } from "node:net";
  import { Network } from ${JSON.stringify(new URL("network.js", import.meta.url))};
  const service = createServer((socket) => socket.on("error", () => {}).resume());
  await new Promise((resolve) => service.listen(0, "127.0.0.1", resolve));
  const network = await new Network(() => "127.0.0.1:" + service.address().port).open();
  network.set("no-upgrade");
  const client = connect(network.address.split(":")[1], "127.0.0.1");
  const gone = new Promise((resolve) => client.on("error", () => {}).on("close", resolve).resume());
  const end = Socket.prototype.end;
  Socket.prototype.end = function (...data) {
    end.apply(this, data);
    network.cut();
  };
  client.write("GET / HTTP/1.1\\r\\nUpgrade: websocket\\r\\n\\r\\n");
  await gone;
  await network.close();
  service.close();
`;

test("a process exits, though its Network was cut while an answer was on its way", async () => {
  await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", program], { timeout: 20_000, killSignal: "SIGKILL" });
});
