/** Enqueues the picture at an address, waits for its job, and downloads the cutout. */

import { writeFile } from "node:fs/promises";

import { ask, send, sleep, type Job, type JobRequest } from "./cutout.js";

const request: JobRequest = { source_url: process.env.PICTURE_URL!, external_id: "SKU-4484" };
let job = await ask<Job>("POST", "/v1/jobs", request);
while (job.state === "queued" || job.state === "running") {
  job = await ask<Job>("GET", `/v1/jobs/${job.id}?wait=30`);
}
while (!job.result && job.state === "succeeded" && job.outputs.some((each) => each.state === "waiting")) {
  await sleep(1);
  job = await ask<Job>("GET", `/v1/jobs/${job.id}`);
}
if (!job.result) throw new Error(`the job is ${job.state}: ${job.error?.code}`);
const picture = await send("GET", job.result.url);
await writeFile("SKU-4484.png", Buffer.from(await picture.arrayBuffer()));
console.log(job.state, job.result.width, job.result.height);
