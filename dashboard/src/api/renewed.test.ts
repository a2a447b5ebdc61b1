import { afterEach, beforeEach, expect, it, vi } from "vitest"
import type { Answer } from "./client.ts"
import { Renewed } from "./renewed.svelte.ts"

const BROKEN = { status: 503, code: "X", detail: "It is broken.", retryAfterS: 5, requestId: null }
let replies: Answer<string>[] = []
let asked: string[] = []

function renewed(): Renewed<string> {
  return new Renewed((target) => {
    asked.push(target)
    return Promise.resolve(replies.shift() ?? { data: null, failure: BROKEN })
  }, 1000)
}

beforeEach(() => {
  vi.useFakeTimers()
  asked = []
})

afterEach(() => {
  vi.useRealTimers()
})

it("what is known of a target stays while it is asked for again, also if that fails", async () => {
  replies = [{ data: "first", failure: null }]
  const one = renewed()
  one.ask("SPY")
  await vi.advanceTimersByTimeAsync(0)
  expect([one.data, one.failure]).toEqual(["first", null])
  one.ask("SPY")
  await vi.advanceTimersByTimeAsync(1000)
  expect([one.data, one.failure]).toEqual(["first", BROKEN])
})

it("nothing of another target stays", async () => {
  replies = [{ data: "first", failure: null }]
  const one = renewed()
  one.ask("SPY")
  await vi.advanceTimersByTimeAsync(0)
  one.ask("QQQ")
  expect([one.data, one.failure]).toEqual([null, null])
})

it("a failure is tried again when the server says, by itself", async () => {
  replies = [
    { data: null, failure: BROKEN },
    { data: "second", failure: null },
  ]
  const one = renewed()
  one.ask("SPY")
  await vi.advanceTimersByTimeAsync(4999)
  expect(asked).toEqual(["SPY"])
  await vi.advanceTimersByTimeAsync(1)
  expect([one.data, one.failure]).toEqual(["second", null])
})
