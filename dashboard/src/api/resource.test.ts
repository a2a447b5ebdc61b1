import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import type { Answer } from "./client.ts"
import type { Failure } from "./problem.ts"
import { pauseOf, Resource } from "./resource.svelte.ts"

function failure(status: number, retryAfterS: number | null = null): Failure {
  return { status, code: "", detail: "", retryAfterS, requestId: null }
}

function answering(...answers: Answer<string>[]): () => Promise<Answer<string>> {
  return vi.fn(() => Promise.resolve(answers.shift() ?? { data: "late", failure: null }))
}

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

describe("a request that failed", () => {
  it.each([
    [failure(429, 7), 7],
    [failure(429), 10],
    [failure(0), 10],
    [failure(503, 0), 1],
    [failure(503, 9999), 300],
    [failure(404), null],
    [failure(401), null],
  ])("is made again after a pause, or never", (why, pause) => {
    expect(pauseOf(why)).toBe(pause)
  })

  it("is made again when the server said so and not before", async () => {
    const ask = answering({ data: null, failure: failure(429, 7) })
    const resource = new Resource<string>()
    resource.load(ask)
    await vi.advanceTimersByTimeAsync(6_900)
    expect(ask).toHaveBeenCalledTimes(1)
    expect(resource.failure?.status).toBe(429)
    expect(resource.retryAtMs).not.toBeNull()
    await vi.advanceTimersByTimeAsync(200)
    expect(resource.data).toBe("late")
    expect(resource.failure).toBeNull()
    expect(resource.retryAtMs).toBeNull()
  })

  it("is not made again once the panel is gone", async () => {
    const ask = answering({ data: null, failure: failure(0) })
    const end = new Resource<string>().load(ask)
    await vi.advanceTimersByTimeAsync(1)
    end()
    await vi.advanceTimersByTimeAsync(60_000)
    expect(ask).toHaveBeenCalledTimes(1)
  })
})

it("an answer that comes after another was asked for is not shown", async () => {
  const resource = new Resource<string>()
  resource.load(() => new Promise((resolve) => setTimeout(resolve, 50, { data: "old", failure: null })))
  resource.load(answering({ data: "new", failure: null }))
  await vi.advanceTimersByTimeAsync(100)
  expect(resource.data).toBe("new")
})
