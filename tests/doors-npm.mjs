// Clients of the npm registry at the doors: NPM=FOLDER node tests/doors-npm.mjs cloudevents|mqtt|nats|chromium http://… [mqtt://… | ADDRESS:PORT | BROWSER]
// FOLDER has the packages of tests/npm/package.json.
import assert from "node:assert";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.NPM}/`);
const [what, http, other] = process.argv.slice(2);
setTimeout(() => {
  console.error("nothing happens any more");
  process.exit(1);
}, 240_000).unref();

/** The events that match, as lines of JSON. */
async function* lines(select) {
  const answer = await fetch(`${http}/events?format=jsonl&${select}`);
  let rest = "";
  for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
    rest += chunk;
    const whole = rest.split("\n");
    rest = whole.pop();
    for (const line of whole.filter(Boolean)) yield JSON.parse(line);
  }
}

async function cloudevents() {
  const { CloudEvent, HTTP, Mode, emitterFor, httpTransport } = require("cloudevents");
  const events = lines("select=sdk=javascript");
  assert.deepEqual((await events.next()).value, { subscribed: {} });
  const make = (id, data) =>
    new CloudEvent({ id, type: "check.sdk", source: "/doors", subject: "raid 3", sdk: "javascript", time: "2026-11-28T12:30:15.250Z", data });
  for (const mode of [Mode.BINARY, Mode.STRUCTURED]) {
    const emit = emitterFor(httpTransport(`${http}/events`), { mode });
    const answer = JSON.parse((await emit(make(mode, { degraded: true }))).body);
    assert.equal(answer.outcome, "confirmed");
    const { value } = await events.next();
    assert.equal(value.id, answer.id);
    assert.equal(value.time, "2026-11-28T12:30:15.25Z");
    const { ce_id, ce_type, ce_source, ce_subject, sdk } = value.tags;
    assert.deepEqual([ce_id, ce_type, ce_source, ce_subject, sdk], [mode, "check.sdk", "/doors", "raid 3", "javascript"]);
    assert.deepEqual(JSON.parse(value.payload), { degraded: true });
  }
  const batch = [0, 1, 2].map((number) => JSON.parse(HTTP.structured(make(String(number), { number })).body));
  const headers = { "content-type": "application/cloudevents-batch+json; charset=UTF-8" };
  const answer = await fetch(`${http}/events`, { method: "POST", headers, body: JSON.stringify(batch) });
  assert.equal(answer.status, 202);
  // Each has tags of its own, and events of different tags may pass each other.
  const numbers = [];
  while (numbers.length < 3) numbers.push((await events.next()).value.tags.ce_id);
  assert.deepEqual(numbers.sort(), ["0", "1", "2"]);
}

async function mqtt() {
  const { connectAsync } = require("mqtt");
  for (const protocolVersion of [4, 5]) {
    const topic = `mqttjs/${protocolVersion}`;
    const one = await connectAsync(other, { protocolVersion, clientId: `mqttjs-${protocolVersion}` });
    const two = await connectAsync(other, { protocolVersion });
    const got = [];
    let arrived = () => {};
    one.on("message", (at, payload, packet) => {
      got.push([at, String(payload), packet.qos, packet.properties?.userProperties?.trace]);
      arrived();
    });
    const count = async (number) => {
      while (got.length < number) await new Promise((resolve) => (arrived = resolve));
    };
    const granted = await one.subscribeAsync(`${topic}/+`, { qos: 1 });
    assert.equal(granted[0].qos, 1);
    const properties = protocolVersion === 5 ? { userProperties: { trace: "17" } } : undefined;
    for (const qos of [0, 1]) await two.publishAsync(`${topic}/q${qos}`, `of QoS ${qos}`, { qos, properties });
    await count(2);
    const trace = protocolVersion === 5 ? "17" : undefined;
    // Two topics are two tag sets, and those may pass each other.
    assert.deepEqual([...got].sort(), [
      [`${topic}/q0`, "of QoS 0", 0, trace],
      [`${topic}/q1`, "of QoS 1", 1, trace],
    ]);
    await Promise.all(Array.from({ length: 200 }, (_, number) => two.publishAsync(`${topic}/many`, String(number), { qos: 1 })));
    await count(202);
    assert.deepEqual(got.slice(2).map(([, payload]) => Number(payload)), Array.from({ length: 200 }, (_, number) => number));
    await one.unsubscribeAsync(`${topic}/+`);
    await two.publishAsync(`${topic}/q1`, "nobody", { qos: 1 });
    // A will, of a client that is gone without a word.
    await one.subscribeAsync(`${topic}/will`, { qos: 1 });
    const three = await connectAsync(other, { protocolVersion, reconnectPeriod: 0, will: { topic: `${topic}/will`, payload: "gone", qos: 1 } });
    three.stream.destroy();
    await count(203);
    assert.equal(got[202][1], "gone");
    await Promise.all([one, two].map((client) => client.endAsync()));
  }
}

async function nats() {
  const { connect, headers } = require("@nats-io/transport-node");
  const patient = { servers: other, timeout: 120_000 };
  const [one, two] = [await connect(patient), await connect(patient)];
  const [star, rest] = [two.subscribe("js.*.x"), two.subscribe("js.>")];
  await two.flush();
  const trace = headers();
  trace.append("Trace", "17");
  for (let number = 0; number < 200; number++) one.publish("js.a.x", String(number), { headers: trace });
  one.publish("js.a.b.c", "deep");
  for (const [subscription, count] of [[star, 200], [rest, 201]]) {
    const got = [];
    for await (const message of subscription) if (got.push(message) === count) break;
    const many = got.filter((message) => message.subject === "js.a.x");
    assert.deepEqual(many.map((message) => message.string()), Array.from({ length: 200 }, (_, number) => String(number)));
    assert.ok(many.every((message) => message.headers.get("Trace") === "17"));
  }
  two.subscribe("js.upper", { callback: (_, message) => message.respond(message.string().toUpperCase()) });
  const taken = [];
  for (const client of [one, one, two, two]) client.subscribe("js.jobs", { queue: "js", callback: (_, message) => taken.push(message.string()) });
  await Promise.all([one.flush(), two.flush()]);
  assert.equal((await one.request("js.upper", "text", { timeout: 120_000 })).string(), "TEXT");
  await assert.rejects(one.request("js.nobody", "?", { timeout: 120_000 }), /no responders/i);
  for (let number = 0; number < 100; number++) one.publish("js.jobs", String(number));
  while (taken.length < 100) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(new Set(taken).size, 100);
  await Promise.all([one.drain(), two.drain()]);
}

async function chromium() {
  const { chromium } = require("playwright-core");
  const browser = await chromium.launch({ executablePath: other, timeout: 120_000, args: ["--no-sandbox", "--disable-gpu"] });
  try {
    const page = await browser.newPage({ viewport: { width: 1000, height: 560 } });
    page.setDefaultTimeout(120_000);
    const wrong = [];
    page.on("pageerror", (error) => wrong.push(String(error)));
    page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
    // The page: what is published there is shown there, with the selector of the address.
    await page.goto(`${http}/#browser=chromium`);
    await page.waitForFunction(() => document.getElementById("state").textContent.startsWith("open"));
    const publish = async (tags, payload) => {
      await page.fill("#tags", tags);
      await page.fill("#payload", payload);
      await page.click("#publish button");
      await page.waitForFunction((text) => document.getElementById("outcome").textContent.includes(text), "confirmed");
      await page.evaluate(() => (document.getElementById("outcome").textContent = ""));
    };
    await publish("browser=other", "not selected");
    await publish("browser=chromium severity=info", "<b>grüße</b>");
    await page.waitForSelector("tr.event");
    assert.deepEqual(await page.locator("tr.event td:nth-child(3)").allTextContents(), ["<b>grüße</b>"]);
    await page.fill("#selectors", "&&");
    await page.click("#select button");
    await page.waitForSelector("#error:not([hidden])");
    await page.fill("#selectors", "browser in (chromium,other)");
    await page.click("#select button");
    await page.waitForSelector("#error", { state: "hidden" });
    assert.match(page.url(), /#browser%20in%20\(chromium%2Cother\)$/);
    if (process.env.PICTURE) await page.screenshot({ path: process.env.PICTURE });
    // EventSource, which comes back by itself and says where it was.
    const seen = await page.evaluate(async () => {
      const source = new EventSource("/events?select=browser=source");
      await new Promise((resolve) => source.addEventListener("subscribed", resolve, { once: true }));
      const next = new Promise((resolve) => source.addEventListener("message", resolve, { once: true }));
      await fetch("/events?tag=browser=source", { method: "POST", body: "of EventSource" });
      const { data, lastEventId } = await next;
      source.close();
      return { payload: JSON.parse(data).payload, lastEventId };
    });
    assert.equal(seen.payload, "of EventSource");
    assert.ok(seen.lastEventId.length > 0 && seen.lastEventId.length <= 128);
    // WebSocket, as a page of one's own would use it.
    const outcome = await page.evaluate(async () => {
      const { Millrace } = await import("/millrace.js");
      const millrace = new Millrace(`ws://${location.host}/events`);
      const got = new Promise((resolve) => {
        millrace.subscribe(["browser=socket"], { event: resolve, subscribed: () => millrace.publish({ browser: "socket" }, "of WebSocket") });
      });
      const { payload } = await got;
      millrace.close();
      return payload;
    });
    assert.equal(outcome, "of WebSocket");
    assert.deepEqual(wrong, []);
  } finally {
    await browser.close();
  }
}

await { cloudevents, mqtt, nats, chromium }[what]();
process.exit(0);
