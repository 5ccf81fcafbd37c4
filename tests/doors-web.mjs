// millrace.js against a gateway: node --experimental-websocket tests/doors-web.mjs ws://ADDRESS:PORT/events
import assert from "node:assert";
import { Millrace } from "../gateway/web/millrace.js";

setTimeout(() => process.exit(1), 20_000).unref();
const millrace = new Millrace(process.argv[2]);
const got = [];
let arrived;
const next = async (count) => {
  while (got.length < count) await new Promise((resolve) => (arrived = resolve));
};
await new Promise((resolve) =>
  millrace.subscribe(["door=web"], {
    subscribed: resolve,
    event: (event) => {
      got.push(event);
      arrived?.();
    },
  }),
);
const outcome = await millrace.publish({ door: "web" }, "grüße");
assert.equal(outcome.outcome, "confirmed");
assert.ok(outcome.receivers >= 1);
await millrace.publish({ door: "web" }, new Uint8Array([255, 0]));
await next(2);
assert.equal(got[0].payload, "grüße");
assert.equal(got[0].id, outcome.id);
assert.deepEqual([...got[1].payload], [255, 0]);
await assert.rejects(millrace.publish({ "no key": "x" }), { problem: "malformed" });
const problem = await new Promise((resolve) => millrace.subscribe(["&&"], { error: resolve }));
assert.equal(problem.problem, "malformed");
millrace.close();
