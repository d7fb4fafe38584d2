// Runs inside a container: a server with a heap, timers, a worker thread and an open file, and tells of them.
const fs = require("fs"), http = require("http"), crypto = require("crypto"), { Worker } = require("worker_threads");
const started = crypto.randomUUID(), shared = new Int32Array(new SharedArrayBuffer(8)), file = fs.createWriteStream("/srv/log", { flags: "a" });
const kept = new Map(Array.from({ length: 20000 }, (_, i) => [`key:${i}`, crypto.createHash("sha256").update(`${i}`).digest("hex")]));
let next = 0, ticks = 0;
setInterval(() => { ticks++; file.write(`${ticks}\n`); }, 50);
new Worker("const { workerData } = require('worker_threads'); setInterval(() => Atomics.add(workerData, 0, 1), 20);", { eval: true, workerData: shared });
const good = () => [...kept].filter(([k, v]) => crypto.createHash("sha256").update(k.slice(4)).digest("hex") === v).length;
http.createServer((request, response) => {
  if (request.url === "/next") return response.end(`${++next}`);
  fs.promises.readFile("/srv/log", "utf8").then((text) =>
    response.end(JSON.stringify({ started, next, ticks, worker: Atomics.load(shared, 0), good: good(), lines: text.split("\n").length - 1 })));
}).listen(8000);
