import { bindRtc } from "../../bindings/rtc.js";
import { FakeRtcClient } from "./sdk.js";

/** How a client took its tokens, oldest first: "join renew". */
export const how = (client) => client.taken.map(({ by }) => by).join(" ");

/** A live session whose RTC client is in the call; its rejoin joins again. */
export async function inCall(sim, joined = {}, { rejoins = true } = {}) {
  const { refresher, socket } = await sim.live({}, joined);
  const client = new FakeRtcClient(sim);
  const rejoin = rejoins ? (token) => client.join(token) : undefined;
  const unbind = bindRtc(refresher, client, { rejoin });
  await client.join(await refresher.token("rtc"));
  return { refresher, socket, client, unbind };
}
