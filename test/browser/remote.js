// Runs the library elsewhere: in Node.js, or in a page of any browser. A function that is passed to evaluate
// runs in that place: it cannot use anything of this module, and its argument and result are JSON.

const library = new URL("../../web/client/index.js", import.meta.url).href;
let calls = 0;

/** This process as a place for calls, with the interface of a page. */
export const here = { library, evaluate: async (run, arg) => run(arg) };

export class Call {
  #id = `call ${++calls}`;
  #place;

  /** @param {{library?: string, evaluate: (run: (arg: any) => any, arg?: any) => Promise<any>}} place a page, or here */
  constructor(place) {
    this.#place = place;
  }

  /**
   * Makes a Refresher, and records its events. Its SDK refuses the first `refusals` tokens and accepts all later ones.
   * @param {object} options of the Refresher, which are JSON
   * @param {{refusals?: number, credentialUrl?: string, waitsForWake?: boolean}} [how] waitsForWake: makes each backoff last days, so that only a wake connects again
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
   * Runs a function in the place of the call, with the Refresher and its recorded events.
   * @param {(call: {refresher: any, seen: {event: string, detail: any, at: number, now: number}[], taken: {token: string, at: number, expiresAt: number}[]}) => any} act
   */
  run(act) {
    return this.#place.evaluate(({ id, act }) => new Function(`return ${act}`)()(globalThis.calls[id]), { id: this.#id, act: String(act) });
  }

  /** Resolves with a token to join with, or with the fields of the error. */
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

  /** Resolves with the first matching event since the call began. */
  first(event, fits = () => true) {
    return this.#await(event, fits, 0);
  }

  /** Resolves with a function that waits for the first matching event after this moment. */
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
