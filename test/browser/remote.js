// A call by the library in another place: in Node.js or in a page of any browser. Functions that
// are passed to evaluate run in that place: they can use nothing of this module, and take and
// return JSON.

const library = new URL("../../web/client/index.js", import.meta.url).href;
let calls = 0;

/** This process as the place for a call: it has the interface of a page. */
export const here = { library, evaluate: async (run, arg) => run(arg) };

export class Call {
  #id = `call ${++calls}`;
  #place;

  /** @param {{library?: string, evaluate: (run: (arg: any) => any, arg?: any) => Promise<any>}} place a page, or here */
  constructor(place) {
    this.#place = place;
  }

  /**
   * Makes a Refresher with an SDK that takes every token but the first few, and records its events.
   * @param {object} options of the Refresher, which are JSON
   * @param {{refusals?: number, credentialUrl?: string, waitsForWake?: boolean}} [how] waitsForWake: a backoff takes days, so that only a wake connects again
   */
  async start(options, { refusals = 0, credentialUrl, waitsForWake = false } = {}) {
    await this.#place.evaluate(async ({ id, library, options, refusals, credentialUrl, waitsForWake }) => {
      const { Refresher } = await import(library);
      if (credentialUrl) options.credential = async () => (await fetch(credentialUrl)).text();
      if (waitsForWake) options.platform = { random: () => 1e6 };
      if (globalThis.nodePlatform) options.platform = { ...globalThis.nodePlatform, ...options.platform };
      const refresher = new Refresher(options);
      const seen = [];
      const looks = new Set();
      for (const event of ["state", "tokens", "renewed", "refused", "lost", "ended", "error"]) {
        refresher.on(event, (detail) => {
          seen.push({ event, detail: event === "error" ? String(detail) : detail, at: Date.now(), now: refresher.now() });
          for (const look of [...looks]) look();
        });
      }
      const taken = [];
      refresher.bind("rtc", {
        renew: async (token) => {
          if (refusals-- > 0) throw Object.assign(new Error("not joined"), { code: "INVALID_OPERATION" });
          taken.push({ token, at: Date.now(), expiresAt: refresher.expiresAt });
        },
      });
      globalThis.calls ??= {};
      globalThis.calls[id] = { refresher, seen, looks, taken };
    }, { id: this.#id, library: this.#place.library ?? "/client/index.js", options, refusals, credentialUrl, waitsForWake });
    return this;
  }

  /**
   * Runs a function in that place, with the Refresher and its recorded events.
   * @param {(call: {refresher: any, seen: {event: string, detail: any, at: number, now: number}[], taken: {token: string, at: number, expiresAt: number}[]}) => any} act
   */
  run(act) {
    return this.#place.evaluate(({ id, act }) => new Function(`return ${act}`)()(globalThis.calls[id]), { id: this.#id, act: String(act) });
  }

  /** A token to join with, or the fields of the error. */
  token() {
    return this.run(({ refresher }) => refresher.token("rtc").catch(({ name, reason, message }) => ({ name, reason, message })));
  }

  state() {
    return this.run(({ refresher }) => refresher.state);
  }

  session() {
    return this.run(({ refresher }) => refresher.session);
  }

  leave() {
    return this.run(({ refresher }) => void refresher.leave());
  }

  /** The first event that fits, counted from the beginning. */
  first(event, fits = () => true) {
    return this.#await(event, fits, 0);
  }

  /** Marks this moment. Resolves with a function that waits for the first event after it that fits. */
  async expect(event, fits = () => true) {
    const from = await this.run(({ seen }) => seen.length);
    return () => this.#await(event, fits, from);
  }

  #await(event, fits, from) {
    return this.#place.evaluate(({ id, event, fits, from }) => new Promise((resolve) => {
      const { seen, looks } = globalThis.calls[id];
      fits = new Function(`return ${fits}`)();
      const look = () => {
        const found = seen.slice(from).find((one) => one.event === event && fits(one.detail));
        if (!found) return;
        looks.delete(look);
        resolve(found.detail);
      };
      looks.add(look);
      look();
    }), { id: this.#id, event, fits: String(fits), from });
  }
}
