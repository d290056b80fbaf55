// What takes a session up again: its key, and what the SDKs have. It outlives a
// reload of the page where there is a storage for it. The key is a secret of this
// page; a sessionStorage is open to this origin and this tab only.

/** @typedef {{session: string, key: string, seq: number, expiresAt: number}} Value seq and expiresAt (Unix seconds) of the newest bundle that was applied */
/** @typedef {{getItem: (key: string) => string | null, setItem: (key: string, value: string) => void, removeItem: (key: string) => void}} Store the part of a Storage that is used */

export class Ticket {
  #store;
  #name;
  #exclusive;
  /** @type {Value | null} */
  value = null;
  /** It came from the storage, and no connection has proven it yet. */
  unproven = false;

  /**
   * @param {Store | null | undefined} store undefined: sessionStorage, if there is one
   * @param {string} name tells this call from others of the page
   * @param {boolean} exclusive removes the session from the storage while this page uses it: a duplicated tab gets a copy of the storage, and must not find it there
   */
  constructor(store, name, exclusive) {
    this.#store = store === undefined ? tabStorage() : store;
    this.#name = name;
    this.#exclusive = exclusive;
    try {
      const value = JSON.parse(this.#store?.getItem(name) ?? "null");
      if (typeof value?.session === "string" && typeof value.key === "string") {
        this.value = { session: value.session, key: value.key, seq: Number(value.seq) || 0, expiresAt: Number(value.expiresAt) || 0 };
        this.unproven = true;
        this.claim();
      }
    } catch {
      // Somebody else's, or a storage that may not be read: a new session will do.
    }
  }

  /** @param {Value} value */
  keep(value) {
    this.value = value;
    if (!this.#exclusive) this.store();
  }

  /** Puts it into the storage, for the next page of this tab. */
  store() {
    if (!this.value) return;
    try {
      this.#store?.setItem(this.#name, JSON.stringify(this.value));
    } catch {
      // Full: a reload opens a new session.
    }
  }

  /** Removes it from the storage while this page uses it, if it is exclusive. */
  claim() {
    if (this.#exclusive) this.#remove();
  }

  /** Forgets it, here and in the storage. */
  drop() {
    this.#remove();
    this.value = null;
  }

  /** Removes it from the storage, unless another page has stored its own session there. */
  #remove() {
    const own = this.value;
    try {
      const stored = JSON.parse(this.#store?.getItem(this.#name) ?? "null");
      if (own && stored?.session === own.session) this.#store?.removeItem(this.#name);
    } catch {
      // Not allowed, so nothing was kept.
    }
  }
}

function tabStorage() {
  try {
    return globalThis.sessionStorage ?? null;
  } catch {
    return null; // the page may not use any
  }
}
