// The bindings of a session: which SDKs are bound to which service, and how a
// bundle gets to all of them.

/** @import { Bundle, DeliveryQueue, Outcome, Refusal } from "./delivery.js" */
/** @import { Reports, Sdk } from "./binding.js" */
/** @import { Service, Token } from "./protocol.js" */
/** @import { Renewals } from "./renewals.js" */
/** @import { Alarms, Clock } from "./time.js" */

import { Binding, describeRefusal } from "./binding.js";
import { callSafely } from "./emitter.js";

/** If an SDK has refused more tokens in a row than this, its refusal no longer fails a bundle that others took. */
const maxRefusals = 3;

/**
 * The session's members that the registry uses.
 * @typedef {object} Parts
 * @property {Clock} clock
 * @property {Alarms} alarms
 * @property {DeliveryQueue} deliveries
 * @property {Renewals} renewals
 */

export class BindingRegistry {
  #session;
  /** @type {Map<Service, Set<Binding>>} */
  #bindings = new Map();
  /** For each service that the app joined: the number of the bundle whose token it joined with, or 0 if the token came from elsewhere. @type {Map<Service, number>} */
  #joinedWith = new Map();
  /** The function `unbind` of each binding. @type {Set<() => void>} */
  #unbinds = new Set();

  /** @param {Parts} session */
  constructor(session) {
    this.#session = session;
  }

  /**
   * Binds an SDK. If its listen throws, nothing is bound.
   * @param {Service} service
   * @param {Sdk} sdk
   * @returns {Reports & {unbind: () => void}}
   */
  bind(service, sdk) {
    const binding = new Binding(sdk, this.#session.alarms);
    const reports = this.#reports(service, binding);
    const stopListening = sdk.listen?.(reports);
    const others = this.#bindings.get(service);
    // The SDK that had joined was unbound, and this one is not in the call: the app has to join it.
    if (others?.size === 0 && sdk.isJoined?.() === false) this.#joinedWith.delete(service);
    const bindings = others ?? new Set();
    this.#bindings.set(service, bindings.add(binding));
    if (this.#joinedWith.has(service)) binding.dispatch("tokenTaken");
    void this.#catchUp(service);
    const unbind = () => {
      if (!this.#unbinds.delete(unbind)) return;
      bindings.delete(binding);
      // This SDK has left the call. When it is bound again, it must not be rejoined.
      if (binding.state === "left" && bindings.size === 0) this.#joinedWith.delete(service);
      binding.dispatch("unbind");
      callSafely(stopListening); // an SDK that was released may throw
    };
    this.#unbinds.add(unbind);
    return { ...reports, unbind };
  }

  /** Unbinds all: the session has ended. */
  close() {
    for (const unbind of this.#unbinds) unbind();
  }

  /** Prepares for another session, which numbers its bundles from 1: tokens of the old session now count as from elsewhere. */
  reset() {
    for (const service of this.#joinedWith.keys()) this.#joinedWith.set(service, 0);
  }

  /**
   * Records that the app took a token to join with.
   * @param {Service} service
   * @param {number} seq number of the bundle that the token is from; 0 if it is from elsewhere
   */
  tokenTaken(service, seq) {
    this.#joinedWith.set(service, seq);
    for (const binding of this.#bindings.get(service) ?? []) binding.dispatch("tokenTaken");
  }

  /**
   * Delivers a bundle to all bound SDKs at the same time, and waits for all of them.
   *
   * The bundle is refused if one of them refused, since the service can make another. But an
   * SDK that always refuses must not cause new bundles for ever: after maxRefusals in a row,
   * its refusal no longer fails a bundle that others took.
   * @param {Bundle} bundle
   * @returns {Promise<Outcome>}
   */
  async deliver({ tokens, rejoin }) {
    /** @type {Set<Service>} */
    const took = new Set();
    /** The refusal by the SDK with the fewest refusals in a row. @type {Refusal | null} */
    let refusal = null;
    let fewest = Infinity;
    const services = /** @type {[Service, Token][]} */ (Object.entries(tokens));
    await Promise.all(services.flatMap(([service, { token }]) => [...(this.#bindings.get(service) ?? [])].map(async (binding) => {
      try {
        if (await binding.deliver(token, rejoin)) took.add(service);
        binding.refusals = 0;
      } catch (error) {
        if (!binding.wantsTokens || ++binding.refusals > fewest) return; // the SDK has left or was unbound meanwhile, or the refusal of another one counts
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
      left: (failed) => binding.left(failed),
      joined: () => {
        const changed = binding.dispatch("joined");
        if (binding.wantsTokens && !this.#joinedWith.has(service)) this.tokenTaken(service, 0);
        if (changed) void this.#catchUp(service);
      },
    };
  }

  /** @param {Binding} binding */
  async #expired(binding) {
    binding.dispatch("expired");
    await null; // the SDK may still be leaving while it emits this event
    if (!binding.needsRejoin) return;
    if (this.#session.clock.hasPassed(this.#session.deliveries.expiresAt - 1)) this.#session.renewals.request();
    else this.#session.deliveries.redeliver();
  }

  /**
   * Delivers the newest bundle again if it is newer than the one that the app joined with.
   * @param {Service} service
   */
  async #catchUp(service) {
    if (this.#session.deliveries.seq <= (this.#joinedWith.get(service) ?? Infinity)) return;
    await null; // the SDK may refuse tokens while it emits the event that it has joined
    this.#session.deliveries.redeliver();
  }
}
