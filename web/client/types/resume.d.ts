export type ResumeToken = {
    /**
     * the session's id
     */
    session: string;
    /**
     * the resume key, a secret
     */
    key: string;
    /**
     * number of the newest bundle that was applied; 0 before the first
     */
    seq: number;
    /**
     * when the tokens of that bundle expire, in Unix seconds; 0 before the first
     */
    expiresAt: number;
};
export type Store = {
    getItem: (key: string) => string | null;
    setItem: (key: string, value: string) => void;
    removeItem: (key: string) => void;
};
/**
 * @typedef {object} ResumeToken
 * @property {string} session the session's id
 * @property {string} key the resume key, a secret
 * @property {number} seq number of the newest bundle that was applied; 0 before the first
 * @property {number} expiresAt when the tokens of that bundle expire, in Unix seconds; 0 before the first
 */
/**
 * The part of the browser's Storage interface that the library uses.
 * @typedef {{getItem: (key: string) => string | null, setItem: (key: string, value: string) => void, removeItem: (key: string) => void}} Store
 */
/** Keeps the resume token of one call, in memory and in the storage. */
export declare class ResumeStore {
    #private;
    /** @type {ResumeToken | null} */
    token: ResumeToken | null;
    /** Whether the token came from the storage and the service has not accepted it yet. */
    unproven: boolean;
    /**
     * @param {Store | null | undefined} storage where to keep the token. If it is undefined, the token is kept in sessionStorage, if there is one; if it is null, only in memory
     * @param {string} name the item's name in the storage; each call of a page has its own
     * @param {boolean} exclusive whether the item is removed from the storage while this page uses it. A duplicated tab gets a copy of the storage, and must not find the token there
     */
    constructor(storage: Store | null | undefined, name: string, exclusive: boolean);
    /** @param {ResumeToken} token replaces the one before */
    update(token: ResumeToken): void;
    save(): void;
    /**
     * Removes an exclusive token from the storage while this page uses it, so that a duplicated tab does not copy
     * it.
     */
    claim(): void;
    clear(): void;
}
