/** Calls of the HTTP API with `fetch`. The types are those of its OpenAPI document. */

import { randomUUID } from "node:crypto";

import type { components } from "./api.d.ts";

export type Job = components["schemas"]["JobView"];
export type JobRequest = components["schemas"]["JobRequest"];
export type Batch = components["schemas"]["BatchView"];
export type BatchRequest = components["schemas"]["BatchRequest"];
export type Schedule = components["schemas"]["ScheduleView"];
export type ScheduleRequest = components["schemas"]["ScheduleRequest"];
export type Run = components["schemas"]["RunView"];
export type Problem = components["schemas"]["Problem"];

const API = process.env.CUTOUT_API_URL;
const KEY = process.env.CUTOUT_API_KEY;
const TRIES = 6;
const PASSING = new Set([429, 500, 502, 503, 504]);

/** The API refused. `problem.type` is stable. */
export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(`${problem.status} ${problem.type}: ${problem.detail}`);
  }
}

/**
 * Sends a request, again if the API is away; gives the answer. Throws ApiError.
 *
 * A POST has an idempotency key: sent twice, it is done once.
 */
export async function send(method: string, path: string, body?: BodyInit, type?: string): Promise<Response> {
  const headers = new Headers({ Authorization: `Bearer ${KEY}` });
  if (type) headers.set("Content-Type", type);
  if (method === "POST") headers.set("Idempotency-Key", randomUUID());
  for (let tries = 1; ; tries++) {
    const last = tries === TRIES;
    const answer = await fetch(API + path, { method, headers, body: body ?? null }).catch((error) => {
      if (last) throw error;
      return null;
    });
    if (answer?.ok) return answer;
    if (answer && (last || !PASSING.has(answer.status))) throw await errorOf(answer);
    await sleep(Number(answer?.headers.get("Retry-After") ?? tries));
  }
}

/** Sends JSON and gives the JSON of the answer. */
export async function ask<Answer>(method: string, path: string, body?: object): Promise<Answer> {
  const answer = await send(method, path, body && JSON.stringify(body), body && "application/json");
  return (await answer.json()) as Answer;
}

export function sleep(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
}

async function errorOf(answer: Response): Promise<ApiError> {
  const { status } = answer;
  const unknown = { type: "about:blank", title: answer.statusText, status, detail: "" };
  const problem = await answer.json().catch(() => unknown);
  return new ApiError(problem as Problem);
}
