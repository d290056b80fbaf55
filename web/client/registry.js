// The bindings of a session: which SDKs are bound to which service. Delivers each bundle to all of them.

/** @import { Bundle, DeliveryQueue, Outcome, Refusal } from "./delivery.js" */
/** @import { Reports, Sdk } from "./binding.js" */
/** @import { Service, Token } from "./protocol.js" */
/** @import { Platform } from "./platform.js" */
/** @import { Renewals } from "./renewals.js" */
/** @import { Alarms, Clock } from "./time.js" */

import { Binding, describeRefusal } from "./binding.js";
import { callSafely } from "./emitter.js";

/**
 * After this many refused tokens in a row, an SDK's refusal no longer makes a bundle fail if other SDKs
 * accepted the bundle.
 */
const maxRefusals = 3;

/**
 * The session's members that the registry uses.
 * @typedef {object} Parts
 * @property {Platform} platform
 * @property {Clock} clock
 * @property {Alarms} alarms
 * @property {DeliveryQueue} deliveries
 * @property {Renewals} renewals
 */

export class BindingRegistry {
  #session;
  /** @type {Map<Service, Set<Binding>>} */
  #bindings = new Map();
  /**
   * For each service that the app has joined, the number of the bundle whose token it used, or 0 for a token
   * from elsewhere.
   * @type {Map<Service, number>}
   */
  #joinedWith = new Map();
  /** @type {Set<() => void>} */
  #unbinds = new Set();

  /** @param {Parts} session */
  constructor(session) {
    this.#session = session;
  }

  /**
   * Binds an SDK. If the SDK's listen throws, it is not bound.
   * @param {Service} service
   * @param {Sdk} sdk
   * @returns {Reports & {unbind: () => void}}
   */
  bind(service, sdk) {
    const binding = new Binding(sdk, this.#session.alarms);
    const reports = this.#reports(service, binding);
    const stopListening = sdk.listen?.(reports);
    const others = this.#bindings.get(service);
    // The app unbound the SDK that had joined, and the new SDK is not in the call. So the app must first join
    // with the new SDK.
    if (others?.size === 0 && sdk.isJoined?.() === false) this.#joinedWith.delete(service);
    const bindings = others ?? new Set();
    this.#bindings.set(service, bindings.add(binding));
    if (this.#joinedWith.has(service)) binding.dispatch("tokenTaken");
    void this.#catchUp(service);
    const unbind = () => {
      if (!this.#unbinds.delete(unbind)) return;
      bindings.delete(binding);
      // This SDK has left the call. If the app binds it again, the library must not rejoin it.
      if (binding.state === "left" && bindings.size === 0) this.#joinedWith.delete(service);
      binding.dispatch("unbind");
      callSafely(stopListening); // removing the listener may throw if the app has released the SDK
    };
    this.#unbinds.add(unbind);
    return { ...reports, unbind };
  }

  close() {
    for (const unbind of this.#unbinds) unbind();
  }

  /**
   * Prepares for another session, whose bundles are numbered from 1. A token of the old session now counts as a
   * token from elsewhere.
   */
  reset() {
    for (const service of this.#joinedWith.keys()) this.#joinedWith.set(service, 0);
  }

  /**
   * Records that the app took a token to join with.
   * @param {Service} service
   * @param {number} seq number of the token's bundle; 0 if the token came from elsewhere
   */
  tokenTaken(service, seq) {
    this.#joinedWith.set(service, seq);
    for (const binding of this.#bindings.get(service) ?? []) binding.dispatch("tokenTaken");
  }

  /**
   * Delivers a bundle to all bound SDKs at once, and waits for all of them. If one SDK refuses its token, the
   * bundle counts as refused, and the service makes another bundle. But an SDK that always refuses must not
   * cause new bundles for ever: see maxRefusals.
   * @param {Bundle} bundle
   * @returns {Promise<Outcome>}
   */
  async deliver({ tokens, rejoin }) {
    /** @type {Set<Service>} */
    const took = new Set();
    /** @type {Refusal | null} */
    let refusal = null;
    let fewest = Infinity;
    const services = /** @type {[Service, Token][]} */ (Object.entries(tokens));
    await Promise.all(services.flatMap(([service, { token }]) => [...(this.#bindings.get(service) ?? [])].map(async (binding) => {
      try {
        if (await binding.deliver(token, rejoin)) took.add(service);
        binding.refusals = 0;
      } catch (error) {
        // This refusal is not reported: the SDK has left or was unbound, or another SDK with fewer refusals in
        // a row has refused the bundle too.
        if (!binding.wantsTokens || ++binding.refusals > fewest) return;
        fewest = binding.refusals;
        refusal = { service, ...describeRefusal(error) };
      }
    })));
    return { ok: !refusal || (took.size > 0 && fewest > maxRefusals), took: [...took], refusal: /** @type {any} */ (refusal) };
  }

  /**
   * @param {Service} service
   * @param {Binding} binding
   * @returns {Reports}
   */
  #reports(service, binding) {
    return {
      willExpire: () => {
        if (binding.state !== "unbound") this.#session.renewals.willExpire();
      },
      expired: () => void this.#expired(binding),
      left: (failed, reason) => {
        if (!binding.left(failed) || typeof reason !== "string" || !reason) return;
        this.#session.platform.warn(`@refresher/client: the SDK has left the call (${reason}), and gets no tokens until the app joins again`);
      },
      joined: () => {
        const changed = binding.dispatch("joined");
        if (binding.wantsTokens && !this.#joinedWith.has(service)) this.tokenTaken(service, 0);
        if (changed) void this.#catchUp(service);
      },
    };
  }

  /** @param {Binding} binding */
  async #expired(binding) {
    if (!binding.dispatch("expired")) return; // the SDK has reported this expiry already: some SDKs have two events for it
    await null; // the SDK may emit this event before it has finished leaving
    if (!binding.needsRejoin) return;
    if (this.#session.clock.hasPassed(this.#session.deliveries.expiresAt - 1)) this.#session.renewals.request();
    else this.#session.deliveries.redeliver();
  }

  /**
   * Delivers the newest bundle again if it is newer than the bundle that the app joined with.
   * @param {Service} service
   */
  async #catchUp(service) {
    if (this.#session.deliveries.seq <= (this.#joinedWith.get(service) ?? Infinity)) return;
    await null; // the SDK may refuse tokens while it emits its event for the join
    this.#session.deliveries.redeliver();
  }
}
