import type { Bundle, Outcome } from "./delivery.js";
import type { Events, State } from "./events.js";
import type { Answer } from "./http.js";
import type { Platform } from "./platform.js";
import type { Identity, Push, ServerMessage, Service } from "./protocol.js";
import type { Options } from "./refresher.js";
/** @import { Bundle, Outcome } from "./delivery.js" */
/** @import { Cause, Events, State, Via } from "./events.js" */
/** @import { Answer } from "./http.js" */
/** @import { Platform } from "./platform.js" */
/** @import { Ended, ErrorMessage, Identity, Joined, Push, ServerMessage, Service } from "./protocol.js" */
/** @import { Options } from "./refresher.js" */
/** @import { SessionEvent } from "./states.js" */
import { Connection } from "./connection.js";
import { DeliveryQueue } from "./delivery.js";
import { Emitter } from "./emitter.js";
import { BindingRegistry } from "./registry.js";
import { Renewals } from "./renewals.js";
import { ResumeStore } from "./resume.js";
import { Alarms, Clock } from "./time.js";
export type Over = NonNullable<Answer["over"]>;
/** Connects the parts of a session: each part reaches the other parts through the session. */
export declare class Session {
    #private;
    platform: Platform;
    /** The service's URL after "http" or "ws", such as "s://calls.example.com"; requests put one of the two in front. */
    address: string;
    clock: Clock;
    alarms: Alarms;
    resume: ResumeStore;
    connection: Connection;
    deliveries: DeliveryQueue;
    bindings: BindingRegistry;
    renewals: Renewals;
    /** @type {Emitter<Events>} */
    events: Emitter<Events>;
    identity: Identity;
    /** @type {State} */
    state: State;
    /**
     * @param {string} address
     * @param {Identity} identity
     * @param {Pick<Options, "credential" | "storage">} options
     * @param {Platform} platform
     */
    constructor(address: string, identity: Identity, { credential, storage }: Pick<Options, "credential" | "storage">, platform: Platform);
    /**
     * @param {Service} service
     * @returns {Promise<string>}
     */
    token(service: Service): Promise<string>;
    wake(): void;
    /**
     * Ends the session, at the service too. A page that is closing also leaves over HTTP, since Firefox loses the
     * WebSocket messages of such a page.
     */
    leave(): void;
    close(): void;
    /** Fetches a credential if there is no session to resume. Returns a function that makes the first message. */
    prepare(): Promise<(() => {
        session?: string | undefined;
        key?: string | undefined;
        seq?: number | undefined;
        expiresAt?: number | undefined;
        type: string;
    }) | (() => {
        rtc?: {
            channel: string;
            uid?: number;
            account?: string;
            role?: "publisher" | "subscriber";
        };
        rtm?: {
            userId: string;
        };
        chat?: {
            userId: string;
        };
        ttl?: number;
        tokenFormat?: "007" | "006" | "007-single";
        type: string;
        auth: string | undefined;
    })>;
    /** @param {ServerMessage} message */
    onMessage(message: ServerMessage): void;
    /** @param {unknown} error of an operation that is retried */
    onError(error: unknown): void;
    /** @param {Events["lost"]} loss */
    onLost(loss: Events["lost"]): void;
    /**
     * Decides what follows a close: the session's end, a new session at once, or another attempt to
     * connect.
     * @param {number} code
     * @returns {number | undefined} milliseconds to the next attempt; undefined for the backoff
     */
    onClosed(code: number): number | undefined;
    /** @param {Push} push that arrived over HTTP */
    onPush(push: Push): void;
    /** @param {Over} over the answer over HTTP that there are no more tokens */
    onOver({ status, reason, message, accessEndsAt }: Over): void;
    /**
     * Reports the outcome of a delivery to the service and to the app.
     * @param {Bundle} bundle
     * @param {Outcome} outcome
     */
    onDelivered(bundle: Bundle, { ok, took, refusal }: Outcome): void;
}
