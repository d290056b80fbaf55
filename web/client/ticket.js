// What takes a session up again: its key, and what the SDKs have. It outlives a
// reload of the page where there is a storage for it. The key is a secret of this
// page; a sessionStorage is open to this origin and this tab only.

/** @typedef {{session: string, key: string, seq: number, expiresAt: number}} Value seq and expiresAt (Unix seconds) of the newest bundle that was applied */
/** @typedef {{getItem: (key: string) => string | null, setItem: (key: string, value: string) => void, removeItem: (key: string) => void}} Store the part of a Storage that is used */

export class Ticket {
  #store;
  #name;
  /** @type {Value | null} */
  value = null;
  /** It came from the storage, and no connection has proven it yet. */
  unproven = false;

  /**
   * @param {Store | null | undefined} store undefined: sessionStorage, if there is one
   * @param {string} name tells this call from others of the page
   */
  constructor(store, name) {
    this.#store = store === undefined ? tabStorage() : store;
    this.#name = name;
    try {
      const value = JSON.parse(this.#store?.getItem(name) ?? "null");
      if (typeof value?.session === "string" && typeof value.key === "string") {
        this.value = { session: value.session, key: value.key, seq: Number(value.seq) || 0, expiresAt: Number(value.expiresAt) || 0 };
        this.unproven = true;
      }
    } catch {
      // Somebody else's, or a storage that may not be read: a new session will do.
    }
  }

  /** @param {Value} value */
  keep(value) {
    this.value = value;
    try {
      this.#store?.setItem(this.#name, JSON.stringify(value));
    } catch {
      // Full: a reload opens a new session.
    }
  }

  /** Forgets it, here and in the storage, if that has no other's by now. */
  drop() {
    const own = this.value;
    this.value = null;
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
