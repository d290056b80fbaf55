// What must compile for an app without the types of a DOM, in React Native or
// Node.js, and with the library's own types checked.
import { EndedError, Refresher, type Events, type Options, type Platform } from "@refresher/client";

declare const platform: Partial<Platform>;
const kept = new Map<string, string>();
const options: Options = {
  url: "https://calls.example.com",
  platform,
  storage: { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => void kept.set(key, value), removeItem: (key) => void kept.delete(key) },
};
const refresher = new Refresher({ ...options, rtm: { userId: "ana" } });
refresher.on("ended", ({ reason, code }) => reason === "superseded" && code === 4409);
refresher.on("tokens", ({ cause }) => cause === "certificate");

// Reasons and causes are known by name, and a newer service may have more of them.
declare const ended: Events["ended"];
const reason: "left" | "revoked" | "denied" | "expired" | "superseded" | "closed" | "forbidden" | (string & {}) = ended.reason;
const newer: typeof ended.reason = "something newer";
declare const error: EndedError;
const same: typeof ended.reason = error.reason;
// @ts-expect-error a reason is a text
const wrong: typeof ended.reason = 7;
declare const origin: Events["tokens"];
const known: [Extract<typeof ended.reason, "superseded">, Extract<typeof error.reason, "left">, Extract<typeof origin.cause, "role">] = ["superseded", "left", "role"];
