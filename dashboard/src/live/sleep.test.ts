// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { SleepWatch } from "./sleep.ts"

let woke: number
let hidden: boolean
let watch: SleepWatch
let end: () => void

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "Date"] })
  hidden = false
  vi.spyOn(document, "hidden", "get").mockImplementation(() => hidden)
  woke = 0
  watch = new SleepWatch({ woke: () => (woke += 1), offline: () => undefined, online: () => undefined })
  end = watch.start()
})

afterEach(() => {
  end()
  vi.useRealTimers()
})

function turn(isHidden: boolean): void {
  hidden = isHidden
  document.dispatchEvent(new Event("visibilitychange"))
}

describe("a tab", () => {
  it("that is looked at does not sleep", () => {
    vi.advanceTimersByTime(600_000)
    expect(woke).toBe(0)
  })

  it("slept where it was hidden for a while", () => {
    turn(true)
    vi.advanceTimersByTime(30_000)
    turn(false)
    expect(woke).toBe(1)
  })

  it("did not where it was hidden for a moment", () => {
    turn(true)
    vi.advanceTimersByTime(3_000)
    turn(false)
    expect(woke).toBe(0)
  })

  it("slept where no timer ran though it can be seen, as of a machine that slept", () => {
    vi.setSystemTime(Date.now() + 60_000)
    watch.look()
    expect(woke).toBe(1)
  })

  it("that is hidden may rest for a minute, as browsers make it", () => {
    turn(true)
    vi.setSystemTime(Date.now() + 60_000)
    watch.look()
    expect(woke).toBe(0)
    vi.setSystemTime(Date.now() + 120_000)
    watch.look()
    expect(woke).toBe(1)
  })

  it("slept where it comes out of the back-forward cache", () => {
    dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }))
    expect(woke).toBe(1)
  })
})
