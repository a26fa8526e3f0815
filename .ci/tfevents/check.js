// usage: node check.js RUN
//
// Reads the event files in a run's folder with the TFRecord reader of
// @roboflow/tfrecords, which checks lengths and checksums, and decodes the
// events with google-protobuf. The scalars must be those of the run's tables,
// histograms must add up, images must be PNG files of the size they say.
"use strict";

const fs = require("fs");
const path = require("path");
const assert = require("assert");
const { BinaryReader } = require("google-protobuf");
const records = require("@roboflow/tfrecords/src/tensorFlowRecordsProtoBuf_pb");
const { TFRecordsReader } = require("@roboflow/tfrecords/src/tensorFlowReader");

// The reader has a message type of its own in mind: give it ours.
records.TFRecordsImageMessage.deserializeBinary = event;
// It reports a bad checksum on the console and stops.
console.log = (text) => {
  throw new Error(text);
};

// decode calls the function of each field's number with the protobuf reader.
function decode(bytes, fields) {
  const r = new BinaryReader(bytes);
  const m = {};
  while (r.nextField()) {
    const f = fields[r.getFieldNumber()];
    assert(f, `field ${r.getFieldNumber()} is not expected`);
    f(m, r);
  }
  return m;
}

function event(bytes) {
  return decode(bytes, {
    1: (m, r) => (m.time = r.readDouble()),
    2: (m, r) => (m.step = r.readInt64()),
    3: (m, r) => (m.version = r.readString()),
    5: (m, r) => (m.values = summary(r.readBytes())),
    7: (m, r) => (m.session = r.readBytes()),
  });
}

function summary(bytes) {
  const values = [];
  decode(bytes, { 1: (_, r) => values.push(value(r.readBytes())) });
  return values;
}

function value(bytes) {
  return decode(bytes, {
    1: (m, r) => (m.tag = r.readString()),
    2: (m, r) => (m.scalar = r.readFloat()),
    4: (m, r) => (m.image = image(r.readBytes())),
    5: (m, r) => (m.histogram = histogram(r.readBytes())),
  });
}

function image(bytes) {
  return decode(bytes, {
    1: (m, r) => (m.height = r.readInt32()),
    2: (m, r) => (m.width = r.readInt32()),
    3: (m, r) => (m.channels = r.readInt32()),
    4: (m, r) => (m.png = Buffer.from(r.readBytes())),
  });
}

function histogram(bytes) {
  return decode(bytes, {
    1: (m, r) => (m.min = r.readDouble()),
    2: (m, r) => (m.max = r.readDouble()),
    3: (m, r) => (m.num = r.readDouble()),
    4: (m, r) => (m.sum = r.readDouble()),
    5: (m, r) => (m.squares = r.readDouble()),
    6: (m, r) => (m.limits = r.readPackedDouble()),
    7: (m, r) => (m.counts = r.readPackedDouble()),
  });
}

// table reads a CSV file without quotes into rows of strings by column name.
function table(name) {
  const [head, ...rows] = fs.readFileSync(path.join(run, name), "utf8").trim().split("\n").map((l) => l.split(","));
  return rows.map((r) => Object.fromEntries(head.map((h, i) => [h, r[i]])));
}

// same reports whether two numbers are the same float32.
const same = (a, b) => Object.is(Math.fround(a), Math.fround(b)) || a === b;

const run = process.argv[2];
const train = table("train.csv");
const tests = table("test.csv");
const count = { scalars: 0, losses: 0, tests: 0, histograms: 0, images: 0 };
let lastLoss;

function check(e, v) {
  const step = e.step || 0;
  if (v.scalar !== undefined) {
    count.scalars++;
    if (v.tag === "train/loss") {
      assert(same(v.scalar, Number(train[step].loss)), `loss ${v.scalar} at ${step} is not that of train.csv`);
      count.losses++;
      lastLoss = step;
    } else if (v.tag.startsWith("test/")) {
      const row = tests.find((t) => Number(t.iter) === step && "test/" + t.name === v.tag);
      assert(row && same(v.scalar, Number(row.value)), `${v.tag} ${v.scalar} at ${step} is not that of test.csv`);
      count.tests++;
    }
  } else if (v.histogram) {
    const h = v.histogram;
    count.histograms++;
    assert.strictEqual(h.limits.length, h.counts.length, v.tag);
    assert.strictEqual(h.counts.reduce((a, b) => a + b, 0), h.num, v.tag);
    assert(h.limits.every((x, i) => i === 0 || x > h.limits[i - 1]), `${v.tag}: limits do not ascend`);
    assert(h.num > 0 && h.min <= h.max && h.sum <= h.num * h.max * (1 + 1e-9) + 1e-9, `${v.tag}: ${h.num} values from ${h.min} to ${h.max}`);
  } else {
    count.images++;
    assert.strictEqual(v.image.png.toString("latin1", 0, 8), "\x89PNG\r\n\x1a\n", v.tag);
    assert.strictEqual(v.image.png.readUInt32BE(16), v.image.width, v.tag);
    assert.strictEqual(v.image.png.readUInt32BE(20), v.image.height, v.tag);
  }
}

const files = fs.readdirSync(run).filter((f) => f.includes("tfevents"));
assert(files.length > 0, "no event file");
for (const f of files) {
  const events = new TFRecordsReader(fs.readFileSync(path.join(run, f))).imageMessages;
  assert.strictEqual(events[0].version, "brain.Event:2");
  for (const e of events) {
    assert(e.time > 1.6e9 && e.time < 1e10, `time ${e.time}`);
    (e.values || []).forEach((v) => check(e, v));
  }
}
assert.strictEqual(lastLoss, train.length - 1, "the last iteration's loss is not there");
assert(Object.values(count).every((n) => n > 0), `something is missing: ${JSON.stringify(count)}`);
process.stdout.write(`read ${JSON.stringify(count)}\n`);
