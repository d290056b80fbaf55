// The processes in which browsers run their pages, read from /proc.

import { readdirSync, readFileSync } from "node:fs";

/** @typedef {{pid: number, parent: number, command: string}} Process */

/** @returns {Process[]} */
function processes() {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "latin1");
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      return [{ pid: Number(name), parent, command: readFileSync(`/proc/${name}/cmdline`, "latin1").replaceAll("\0", " ") }];
    } catch {
      return []; // the process has ended
    }
  });
}

/**
 * Stops the processes that run a browser's pages, as a phone freezes a background page. The network still
 * works, so messages wait in the sockets.
 * @param {number} browser the browser's process id
 * @returns {() => void} resumes the processes
 */
export function freezePages(browser) {
  const all = processes();
  const within = (/** @type {Process | undefined} */ one) => !!one && (one.pid === browser || within(all.find(({ pid }) => pid === one.parent)));
  const pages = all.filter((one) => within(one) && /--type=renderer|-contentproc .* tab *$|WebKitWebProcess/.test(one.command));
  if (!pages.length) throw new Error(`browser ${browser} has no process for pages`);
  const signal = (/** @type {NodeJS.Signals} */ name) => pages.forEach(({ pid }) => process.kill(pid, name));
  signal("SIGSTOP");
  return () => signal("SIGCONT");
}

/** Returns the child process in whose environment the variable has that value. */
export function childWith(variable, value) {
  const child = processes().find(({ pid, parent }) => {
    if (parent !== process.pid) return false;
    try {
      return readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(`${variable}=${value}`);
    } catch {
      return false;
    }
  });
  if (!child) throw new Error("the browser runs no more");
  return child.pid;
}
