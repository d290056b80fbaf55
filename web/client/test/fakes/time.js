export const second = 1000;
export const minute = 60 * second;
export const hour = 60 * minute;
export const day = 24 * hour;

/** Resolves when all promises that can settle now have settled. */
export const settle = () => new Promise((resolve) => void setImmediate(resolve));
