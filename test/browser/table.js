// A reporter for node --test: prints the time of each test in each engine, for tests that several engines run.
//
//   npm run table        writes Markdown to standard output

/** @param {AsyncIterable<any>} events */
export default async function* table(events) {
  /** @type {Map<string, Map<string, string>>} */
  const rows = new Map();
  /** @type {Set<string>} */
  const engines = new Set();
  /** The results of the current suite, which are printed at its end. @type {{name: string, result: string}[]} */
  let finished = [];
  for await (const { type, data } of events) {
    if (type !== "test:pass" && type !== "test:fail") continue;
    const result = type === "test:pass" ? `${(data.details.duration_ms / 1000).toFixed(1)} s` : "**fails**";
    const engine = /^the library in (\w+)$/.exec(data.name)?.[1];
    if (data.details.type !== "suite") finished.push({ name: data.name, result });
    else if (engine) {
      engines.add(engine);
      for (const { name, result } of finished) rows.set(name, (rows.get(name) ?? new Map()).set(engine, result));
    }
    if (data.nesting <= 1) finished = data.details.type === "suite" ? [] : finished;
    if (type === "test:fail") yield `${data.name}: ${data.details.error?.cause?.message ?? data.details.error?.message}\n\n`;
  }
  yield `| test | ${[...engines].join(" | ")} |\n|---|${"---|".repeat(engines.size)}\n`;
  for (const [name, results] of rows) yield `| ${name} | ${[...engines].map((engine) => results.get(engine) ?? "").join(" | ")} |\n`;
}
