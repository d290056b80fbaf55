// What must compile, and what must not.
import type { IAgoraRTCClient } from "agora-rtc-sdk-ng";
import type { AgoraChat } from "agora-chat";
import type { RTMClient } from "agora-rtm";
import { EndedError, Refresher, type Options, type Platform, type Reports, type Sdk } from "@refresher/client";
import { bindChat, type ChatClient } from "@refresher/client/chat";
import { bindEngine } from "@refresher/client/native";
import { bindRtc, type RtcClient } from "@refresher/client/rtc";
import { bindRtm, bindStreamChannel, type RtmClient } from "@refresher/client/rtm";
import { createClient } from "@refresher/client/testing";

declare const rtc: IAgoraRTCClient;
declare const rtm: RTMClient;
const asRtc: RtcClient = rtc;
const standIn: RtcClient = createClient("http://127.0.0.1:8080");
const asRtm: RtmClient = rtm;
declare const chat: AgoraChat.Connection;
const asChat: ChatClient = chat;

const refresher = new Refresher({ url: "https://calls.example.com", rtc: { channel: "daily", account: "ana" } });
const token: Promise<string> = refresher.token("rtc");
refresher.on("renewed", ({ marginMs }) => marginMs.toFixed());
refresher.on("ended", ({ accessEndsAt }) => new Date(accessEndsAt * 1000));
refresher.bind("chat", { renew: async (token) => token.length, rejoin: () => {}, isJoined: () => true }).expired();
const platform: Partial<Platform> = { WebSocket, random: () => 0.5 };
const options: Options = { url: "wss://calls.example.com", credential: () => "x", storage: sessionStorage, platform };

const fetching: Partial<Platform> = { fetch };
refresher.on("tokens", ({ cause }) => cause === "role");

declare const error: unknown;
if (error instanceof EndedError) error.reason.length;

// @ts-expect-error a call has an address
new Refresher({ rtc: { channel: "daily", uid: 1 } });
// @ts-expect-error roles are publisher and subscriber
new Refresher({ url: "https://calls.example.com", rtc: { channel: "daily", uid: 1, role: "host" } });
new Refresher({ url: "https://calls.example.com", rtc: { channel: "daily", uid: 1 }, tokenFormat: "006" });
// @ts-expect-error formats are 007, 006 and 007-single
new Refresher({ url: "https://calls.example.com", rtc: { channel: "daily", uid: 1 }, tokenFormat: 7 });
// @ts-expect-error no such service
refresher.token("rts");
// @ts-expect-error no such event
refresher.on("renew", () => {});
// @ts-expect-error events carry no tokens
refresher.on("tokens", ({ tokens }) => tokens);
// @ts-expect-error an RTM client is not an RTC client
bindRtc(refresher, rtm);
// @ts-expect-error nor is an RTC client an engine
bindEngine(refresher, rtc, { channelId: "daily" });

// The words of the SDKs by which the library knows that a client has left.
import type { ConnectionDisconnectedReason, ConnectionState } from "agora-rtc-sdk-ng";
type Link = Parameters<import("agora-rtm").RTMEvents.RTMClientEventMap["linkState"]>[0];
const expired: `${ConnectionDisconnectedReason}` = "TOKEN_EXPIRE";
const states: ConnectionState[] = ["CONNECTED", "CONNECTING", "DISCONNECTED"];
const links: Link["currentState"][] = ["CONNECTED", "IDLE", "FAILED"];
const code: Link["reasonCode"] = "TOKEN_EXPIRED";
const services: Link["serviceType"][] = ["MESSAGE", "STREAM"];
const unbinds: (() => void)[] = [
  bindRtc(refresher, rtc), bindRtm(refresher, rtm), bindStreamChannel(refresher, rtm, "room", { rejoin: (token) => token.length }), bindChat(refresher, chat),
];
const sdk: Sdk = { renew: () => -1, listen: ({ willExpire, expired, left, joined }: Reports) => () => (willExpire(), expired(), left(true), joined()) };
refresher.on("renewed", ({ services }) => services.includes("rtm"));
