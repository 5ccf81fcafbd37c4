// millrace.js against a gateway: node --experimental-websocket tests/doors-web.mjs ws://ADDRESS:PORT/events
import assert from "node:assert";
import { Millrace } from "../gateway/web/millrace.js";

setTimeout(() => {
  console.error("nothing happens any more");
  process.exit(1);
}, 120_000).unref();
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
// A handler that throws costs no other event, and is not silent.
const thrown = [];
process.on("uncaughtException", ({ message }) => thrown.push(message));
let isSecond = false;
await new Promise((resolve) =>
  millrace.subscribe(["door=throws"], {
    subscribed: () => millrace.publish({ door: "throws" }, "1").then(() => millrace.publish({ door: "throws" }, "2")),
    event: () => {
      if (isSecond) resolve();
      isSecond = true;
      throw new Error("of a handler");
    },
  }),
);
while (thrown.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
assert.deepEqual(thrown, ["of a handler", "of a handler"]);
process.removeAllListeners("uncaughtException");
millrace.close();

// The router of tests/doors keeps history. What is published while a connection is away comes with the next one.
const sockets = [];
globalThis.WebSocket = class extends WebSocket {
  constructor(...args) {
    super(...args);
    sockets.push(this);
  }
};
const [receiver, sender] = [new Millrace(process.argv[2]), new Millrace(process.argv[2])];
const seen = [];
const gaps = [];
let wake;
const handlers = (into) => ({
  event: (event) => {
    into.push(event);
    wake?.();
  },
  gap: (gap) => gaps.push(gap),
});
const until = async (list, count) => {
  while (list.length < count) await new Promise((resolve) => (wake = resolve));
};
await new Promise((resolve) => receiver.subscribe(["door=resume"], { ...handlers(seen), subscribed: resolve }));
await sender.publish({ door: "resume" }, "1");
await until(seen, 1);
sockets[0].close();
await sender.publish({ door: "resume" }, "2");
await until(seen, 2);
await sender.publish({ door: "resume" }, "3");
await until(seen, 3);
assert.deepEqual([seen.map(({ payload }) => payload), gaps], [["1", "2", "3"], []]);
assert.ok(seen.every(({ cursor }) => cursor.length <= 128));
const again = [];
sender.subscribe(["door=resume"], handlers(again), { cursor: seen[0].cursor });
await until(again, 2);
assert.deepEqual(again.map(({ payload }) => payload), ["2", "3"]);
receiver.close();
sender.close();
