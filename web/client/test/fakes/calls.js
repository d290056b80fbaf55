import { bindRtc } from "../../bindings/rtc.js";
import { FakeRtcClient } from "./sdk.js";

/** How a client got each of its tokens, oldest first, such as "join renew". */
export const how = (client) => client.taken.map(({ by }) => by).join(" ");

/** Opens a live session whose RTC client is in the call. The app's function `rejoin` joins the call again. */
export async function inCall(sim, joined = {}, { rejoins = true } = {}) {
  const { refresher, socket } = await sim.live({}, joined);
  const client = new FakeRtcClient(sim);
  const rejoin = rejoins ? (token) => client.join(token) : undefined;
  const unbind = bindRtc(refresher, client, { rejoin });
  await client.join(await refresher.token("rtc"));
  return { refresher, socket, client, unbind };
}
